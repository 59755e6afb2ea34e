//! Followers that come over TCP and get a pcapng stream without asking: pcap-over-IP, as Wireshark's `TCP@host:port` and nc
//! take it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use vxtap_capfile::pcapng::Padding;
use vxtap_filter::{Filter, FilterError};

use super::{Follower, Hub, STALL_TIMEOUT, notice_when_gone};
use crate::settings::FollowSettings;

/// How long followers may take at the end to read what they were given.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Pause after `accept` failed, so that a process out of file descriptors does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How often a client that has ended its own direction is sent a block without meaning: only that shows whether it
/// still reads.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// Why followers cannot come over TCP.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The address cannot be bound.
    #[error("cannot serve followers on {address}: {}: choose another with --follow", crate::api::reason(cause))]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said; part of the text already, so not its source.
        cause: io::Error,
    },
    /// Other machines could read the traffic.
    #[error(
        "cannot serve followers on {0}, because other machines can reach it and nobody is asked who he is: follow on \
         127.0.0.1, or over the API with a token, or allow it with --follow-insecure"
    )]
    Insecure(SocketAddr),
    /// The filter is none.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Its thread cannot be started.
    #[error("cannot start serving followers: {0}")]
    Start(io::Error),
}

/// A pcap-over-IP server; stops when dropped.
#[derive(Debug)]
pub struct PcapOverIp {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// A server that has its address and serves nobody yet.
#[derive(Debug)]
pub struct BoundPcapOverIp {
    listener: TcpListener,
    address: SocketAddr,
    filter: Filter,
}

impl PcapOverIp {
    /// Takes the address of `settings`. Apart from [`BoundPcapOverIp::serve`], so that a run can see that it has its address
    /// before it opens anything else.
    pub fn bind(settings: &FollowSettings) -> Result<BoundPcapOverIp, FollowError> {
        let filter = Filter::parse(&settings.filter)?;
        if !settings.address.ip().to_canonical().is_loopback() {
            if !settings.insecure {
                return Err(FollowError::Insecure(settings.address));
            }
            tracing::warn!(
                "whoever reaches {} gets the captured packets: pcap-over-IP asks nobody who he is",
                settings.address
            );
        }
        let bind_error = |cause| FollowError::Bind { address: settings.address, cause };
        let listener = TcpListener::bind(settings.address).map_err(bind_error)?;
        listener.set_nonblocking(true).map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        Ok(BoundPcapOverIp { listener, address, filter })
    }

    /// The address that is served, with the port that the system chose if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nobody more, lets followers take what is there (for two seconds at most) and returns. The hub is to be closed
    /// before: until then there is always more.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of pcap-over-IP panicked");
        }
    }
}

impl Drop for PcapOverIp {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl BoundPcapOverIp {
    /// Gives everybody who connects what `hub` publishes; the socket accepts when this returns.
    pub fn serve(self, hub: Hub) -> Result<PcapOverIp, FollowError> {
        let Self { listener, address, filter } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(FollowError::Start)?;
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("vxtap-follow".into())
            .spawn(move || {
                runtime.block_on(async {
                    match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => accept(listener, &hub, &filter, stopped).await,
                        Err(error) => tracing::error!("cannot serve followers on {address}: {error}"),
                    }
                });
            })
            .map_err(FollowError::Start)?;
        tracing::info!("followers on TCP@{address}");
        Ok(PcapOverIp { address, stop, thread: Some(thread) })
    }
}

async fn accept(listener: tokio::net::TcpListener, hub: &Hub, filter: &Filter, mut stopped: watch::Receiver<bool>) {
    let mut followers = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = followers.join_next(), if !followers.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match hub.follow(filter.clone(), &format!("tcp {peer}")) {
                Ok(follower) => drop(followers.spawn(serve(stream, peer, follower))),
                Err(error) => tracing::debug!("a follower from {peer} is refused: {error}"),
            },
            Err(error) => {
                tracing::debug!("cannot accept a follower: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    let ended = async { while followers.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, ended).await.is_err() {
        followers.shutdown().await;
    }
}

/// Until the client leaves, or the hub is closed.
async fn serve(mut stream: TcpStream, peer: SocketAddr, mut follower: Follower) {
    notice_when_gone(&stream);
    if let Err(error) = give(&mut stream, &mut follower).await {
        tracing::debug!("the follower from {peer} left: {error}");
    }
}

async fn give(stream: &mut TcpStream, follower: &mut Follower) -> io::Result<()> {
    let (mut from, mut to) = stream.split();
    let mut probe = interval(PROBE_INTERVAL);
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A client may end its own direction and go on reading, as some versions of nc do.
    let mut silent = false;
    loop {
        let blocks = tokio::select! {
            chunk = follower.chunk() => match chunk {
                Some(chunk) => chunk,
                None => return to.shutdown().await,
            },
            ended = discard(&mut from), if !silent => {
                ended?;
                silent = true;
                continue;
            }
            _ = probe.tick(), if silent => nothing(),
        };
        write(&mut to, &blocks).await?;
    }
}

/// Reads to the end of what a client says: nobody asked it to say anything.
async fn discard(from: &mut ReadHalf<'_>) -> io::Result<()> {
    let mut bytes = [0; 1024];
    while from.read(&mut bytes).await? > 0 {}
    Ok(())
}

/// A block without meaning.
fn nothing() -> Vec<u8> {
    let mut block = Vec::new();
    Padding::append_shortest_to(&mut block);
    block
}

/// All of `blocks`, as long as the client takes some of it now and then.
async fn write(to: &mut WriteHalf<'_>, mut blocks: &[u8]) -> io::Result<()> {
    while !blocks.is_empty() {
        let written = timeout(STALL_TIMEOUT, to.write(blocks)).await??;
        blocks = &blocks[written..];
    }
    Ok(())
}

#[cfg(test)]
mod tests;
