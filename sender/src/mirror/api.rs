//! The control port: what a running mirror tells to Prometheus and to scripts, and what may be changed about it.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /healthz` | 200 `ok` while the process answers |
//! | `GET /metrics` | counts in OpenMetrics text; `docs/policy.md` says what the clouds call them |
//! | `GET /v1/sessions` | sessions and targets as they are in force, with their counts |
//! | `POST /v1/sessions/SESSION/enable`, `…/disable` | turns a session on or off, by its name or number |
//! | `POST /v1/reload` | reads the policy again; 422 with what is wrong with it, and the old one stays |
//!
//! It runs in a thread of its own, and is bounded in connections, bytes of a request, and time. Off loopback it takes a token; without one, requests
//! must be meant for this machine, and what changes something must not come from a web page.

mod metrics;
mod routes;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use vxtap_access::is_loopback;

use super::ledger::Ledger;
use super::status::Status;
use super::steward::Request;
use crate::control::Control;
use crate::error::SendError;

/// Connections at a time; more are closed at once.
const MAX_CONNECTIONS: usize = 16;
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// How long a request may take to come, and a connection in all.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);
/// Pause after `accept` failed, so that a process out of file descriptors does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Where the control port is, and who may use it.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlSettings {
    /// The address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What requests must show; needed off loopback.
    pub token: Option<String>,
}

/// Without the token, so that it is in no log.
impl std::fmt::Debug for ControlSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "(secret)");
        f.debug_struct("ControlSettings").field("address", &self.address).field("token", &token).finish()
    }
}

/// What the control port shows and where it sends requests.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) ledger: Arc<Ledger>,
    pub(super) control: Arc<Control>,
    pub(super) status: Arc<Mutex<Status>>,
    pub(super) requests: Sender<Request>,
}

/// A control port that has its address and does not answer yet.
pub(super) struct BoundServer {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<String>,
}

/// A control port; closed when dropped.
pub(super) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BoundServer {
    /// Takes the address of `settings`.
    pub(super) fn bind(settings: &ControlSettings) -> Result<Self, SendError> {
        let address = settings.address;
        if settings.token.is_none() && !is_loopback(address.ip()) {
            return Err(SendError::Setting(format!(
                "cannot serve the control port on {address} without a token, because other machines can reach it: set \
                 --control-token, or serve on 127.0.0.1"
            )));
        }
        let failed = |source| SendError::Control { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, token: settings.token.clone() })
    }

    /// The address, with the port that the system chose.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from now on.
    pub(super) fn serve(self, shown: Shown) -> Result<Server, SendError> {
        let address = self.address;
        let failed = |source| SendError::Control { address, source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let router = routes::router(shown, self.token.as_deref());
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(self.listener) {
                    Ok(listener) => accept(listener, router, stopped).await,
                    Err(error) => tracing::error!("cannot serve the control port on {address}: {error}"),
                }
            });
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(serve).map_err(failed)?;
        Ok(Server { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone only if the thread is.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the control port panicked");
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, router: Router, mut stopped: oneshot::Receiver<()>) {
    // Dropped at the end, and connections with it: nobody waits for an answer of a mirror that has ended.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(serve_connection(stream, router.clone()));
            }
            Ok(_) => tracing::debug!("too many connections to the control port: one was closed"),
            Err(error) => {
                tracing::debug!("cannot accept a connection to the control port: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        tracing::debug!("a connection to the control port ended: {error}");
    }
}

/// What `text` must be to keep a control port.
pub(crate) fn control_token(text: &str) -> Result<String, String> {
    if (16..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("expected 16 to 256 ASCII characters without spaces (openssl rand -hex 16 makes some)".to_owned())
    }
}

/// Why an address cannot be bound, in words that say what to do where there are such.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use (choose another with --control)".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
