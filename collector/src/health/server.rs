//! The health port: plain HTTP for probes of load balancers, with bounds on what a client can make it hold.
//!
//! | Path | Answer |
//! |---|---|
//! | `/readyz`, `/` | 200 or 503: whether it should get traffic, and why not |
//! | `/healthz` | 200 while the process answers |
//!
//! A header of the PROXY protocol in front of a request is passed over (AWS and HAProxy send it with probes where it is on for a target).
//!
//! A probe that only connects learns that the process is there. When there are too many connections, the one that has been
//! silent for longest makes room for the next, so that those who open connections and say nothing keep no probe out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};

use super::{HealthPort, HealthState, proxy_header};
use crate::api::{ConnectionLimits, Readiness, serve_connection};

/// What a client may make the health port hold.
const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 128,
    // The least that the library takes.
    head_bytes: 8 * 1024,
    head_timeout: Duration::from_secs(15),
    stall_timeout: Duration::from_secs(5),
};
/// Pause after `accept` failed, so that a process out of file descriptors does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Answers at `port` until `stopped` turns true.
pub(super) async fn serve(port: Option<HealthPort>, state: Arc<HealthState>, stopped: watch::Receiver<bool>) {
    let Some(HealthPort { listener, address }) = port else { return };
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => accept(listener, state, LIMITS, stopped).await,
        Err(error) => tracing::error!("cannot serve the health port on {address}: {error}"),
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    state: Arc<HealthState>,
    limits: ConnectionLimits,
    mut stopped: watch::Receiver<bool>,
) {
    let router = router(Arc::clone(&state));
    let mut connections = Connections::default();
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => return,
            () = connections.reap(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                state.visits.connections.fetch_add(1, Ordering::Relaxed);
                while connections.len() >= limits.connections {
                    connections.evict().await;
                    state.visits.evicted.fetch_add(1, Ordering::Relaxed);
                }
                let heard = connections.hear();
                let router = router.clone().layer(Extension(Arc::clone(&heard)));
                connections.add(heard, serve_one(stream, peer, router, limits, stopped.clone()));
            }
            Err(error) => {
                tracing::debug!("cannot accept a connection at the health port: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Answers on `stream`, which comes from `peer`.
async fn serve_one(
    mut stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: ConnectionLimits,
    stopped: watch::Receiver<bool>,
) {
    match proxy_header::take_off(&mut stream, limits.head_timeout).await {
        Ok(()) => serve_connection(stream, peer, router, limits, stopped).await,
        Err(error) => tracing::debug!("a connection to the health port ended: {error}"),
    }
}

fn router(state: Arc<HealthState>) -> Router {
    Router::new()
        .route("/", get(ready))
        .route("/readyz", get(ready))
        .route("/healthz", get(alive))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&state), count))
        .with_state(state)
}

async fn ready(State(state): State<Arc<HealthState>>) -> Response {
    Readiness::of(state.state(), state.snapshot()).answer()
}

async fn alive(State(state): State<Arc<HealthState>>) -> Response {
    crate::api::alive(state.state())
}

async fn unknown_path() -> Response {
    let error = "expected /readyz (whether to send traffic here) or /healthz (whether the process is alive)";
    (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response()
}

async fn unknown_method() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, Json(json!({ "error": "only GET is answered here" }))).into_response()
}

/// Counts a request and notes that its connection was heard from.
async fn count(
    State(state): State<Arc<HealthState>>,
    Extension(heard): Extension<Arc<Heard>>,
    request: Request,
    next: Next,
) -> Response {
    state.visits.requests.fetch_add(1, Ordering::Relaxed);
    heard.now();
    let mut response = next.run(request).await;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Which of all times that a connection was heard from was this one's last: of a time of day, connections that come in a burst would share one,
/// and the one that has just asked could be taken for the most silent of them.
#[derive(Debug)]
struct Heard {
    times: Arc<AtomicU64>,
    last: AtomicU64,
}

impl Heard {
    fn now(&self) {
        self.last.store(self.times.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Connections that are open.
#[derive(Default)]
struct Connections {
    /// How often any was heard from.
    times: Arc<AtomicU64>,
    tasks: JoinSet<()>,
    open: HashMap<Id, (Arc<Heard>, AbortHandle)>,
}

impl Connections {
    fn len(&self) -> usize {
        self.tasks.len()
    }

    fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The note of a connection that has just come.
    fn hear(&self) -> Arc<Heard> {
        let heard = Heard { times: Arc::clone(&self.times), last: AtomicU64::new(0) };
        heard.now();
        Arc::new(heard)
    }

    fn add(&mut self, heard: Arc<Heard>, serving: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(serving);
        self.open.insert(task.id(), (heard, task));
    }

    /// Waits until one has ended.
    async fn reap(&mut self) {
        let ended = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return,
        };
        self.open.remove(&ended);
    }

    /// Closes the one that has been silent for longest, and waits until one is closed.
    async fn evict(&mut self) {
        let silent = self.open.values().min_by_key(|(heard, _)| heard.last.load(Ordering::Relaxed));
        if let Some((_, task)) = silent {
            task.abort();
        }
        self.reap().await;
    }
}

#[cfg(test)]
mod tests;
