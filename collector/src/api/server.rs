//! The thread that serves the API: binds, accepts, and stops.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;
use tokio::task::JoinSet;
use vxtap_access::is_loopback;

use super::connection::{self, Limits};
use super::{Monitor, extract, routes};
use crate::settings::ApiSettings;

/// How long requests that are under way may take to end when the server stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Pause after `accept` failed, so that a process out of file descriptors does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Threads that may wait for the monitor at a time.
const MONITOR_THREADS: usize = 4;

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be bound.
    #[error("cannot serve the API on {address}: {}: choose another with --api, or --api none", reason(cause))]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said; part of the text already, so not its source.
        cause: io::Error,
    },
    /// Other machines could read the traffic.
    #[error(
        "cannot serve the API on {0} without a token, because other machines can reach it: set --api-token, \
         or serve on 127.0.0.1"
    )]
    TokenNeeded(SocketAddr),
    /// Its thread cannot be started.
    #[error("cannot start the API: {0}")]
    Start(io::Error),
}

impl ApiError {
    /// Whether something else has the address.
    pub fn address_in_use(&self) -> bool {
        matches!(self, Self::Bind { cause, .. } if cause.kind() == io::ErrorKind::AddrInUse)
    }
}

/// Why an address cannot be bound, in words that say what to do where there are such.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".into(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

/// A running API server; stops when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// The most connections at a time; further ones are answered 503 and closed.
    pub const MAX_CONNECTIONS: usize = Limits::DEFAULT.connections;

    /// Takes the address of `settings`. Apart from [`BoundServer::serve`], so that a run can see that it has its address
    /// before it opens anything else.
    pub fn bind(settings: &ApiSettings) -> Result<BoundServer, ApiError> {
        if settings.token.is_none() && !is_loopback(settings.address.ip()) {
            return Err(ApiError::TokenNeeded(settings.address));
        }
        let listener = TcpListener::bind(settings.address);
        let listener = listener.map_err(|cause| ApiError::Bind { address: settings.address, cause })?;
        Self::on(listener, settings)
    }

    /// As [`Server::bind`], on a socket that a service manager has bound, wherever that is.
    pub(crate) fn on(listener: TcpListener, settings: &ApiSettings) -> Result<BoundServer, ApiError> {
        let bind_error = |cause| ApiError::Bind { address: settings.address, cause };
        listener.set_nonblocking(true).map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        if settings.token.is_none() && !is_loopback(address.ip()) {
            return Err(ApiError::TokenNeeded(address));
        }
        Ok(BoundServer { listener, address, token: settings.token.clone() })
    }

    /// The address that is served, with the port that the system chose if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets requests that are under way end (for two seconds at most) and returns.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the API thread panicked");
        }
    }
}

/// A server that has its address and does not answer yet.
#[derive(Debug)]
pub struct BoundServer {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<String>,
}

impl BoundServer {
    /// Serves what `monitor` tells; the socket accepts when this returns.
    pub fn serve(self, monitor: Arc<dyn Monitor>) -> Result<Server, ApiError> {
        self.serve_within(monitor, Limits::DEFAULT)
    }

    /// [`BoundServer::serve`] with bounds that a test can reach.
    pub(super) fn serve_within(self, monitor: Arc<dyn Monitor>, limits: Limits) -> Result<Server, ApiError> {
        let Self { listener, address, token } = self;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MONITOR_THREADS + extract::MAX_SEARCHES)
            .thread_name("vxtap-api-ask")
            .build()
            .map_err(ApiError::Start)?;
        let router = routes::router(monitor, token.as_deref(), MONITOR_THREADS);
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("vxtap-api".into())
            .spawn(move || {
                runtime.block_on(async {
                    match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => serve(listener, router, limits, stopped).await,
                        Err(error) => tracing::error!("cannot serve the API on {address}: {error}"),
                    }
                });
                runtime.shutdown_timeout(SHUTDOWN_GRACE);
            })
            .map_err(ApiError::Start)?;
        Ok(Server { address, stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
    }
}

async fn serve(listener: tokio::net::TcpListener, router: Router, limits: Limits, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < limits.connections => {
                connections.spawn(connection::serve(stream, peer, router.clone(), limits, stopped.clone()));
            }
            Ok((stream, _)) => connection::refuse(&stream),
            Err(error) => {
                tracing::debug!("cannot accept an API connection: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE, ended).await.is_err() {
        connections.shutdown().await;
    }
}
