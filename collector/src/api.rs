//! The HTTP API: what a running collector tells to load balancers, to Prometheus, to `vxtap-tui` and to scripts.
//!
//! | Path | Answer |
//! |---|---|
//! | `/healthz` | 200 while the process answers |
//! | `/readyz` | 200 or 503, a [`Readiness`] as JSON |
//! | `/metrics` | the ledger in OpenMetrics text |
//! | `/v1/snapshot` | a [`Snapshot`] as JSON |
//! | `/v1/flows?sort=&ascending=&filter=&limit=` | a [`FlowPage`] as JSON for a [`FlowQuery`] |
//! | `/v1/admission` | which mirror streams are let in, and which wait: an [`AdmissionSnapshot`] as JSON |
//! | `/v1/admission/accept`, `/v1/admission/reject` | POST of `{"stream": "vni 7 from 10.0.0.7"}`: decides about it |
//! | `/v1/admission/forget` | POST of the same: takes back what was decided in these words; 404 when nothing was |
//! | `/v1/captures` | the capture part of the snapshot, 404 when nothing is captured |
//! | `/v1/extract?filter=&flow=&since=&until=` | packets that have been captured, in pcapng, without the last chunk where a capture is damaged; 409 when nothing is captured |
//! | `/v1/live.pcapng?filter=` | packets as they are captured, without end, in pcapng |
//!
//! Off loopback it takes a token. Without one, requests must be meant for this machine and be from no web page (`vxtap-access`).
//!
//! The API runs in a thread of its own and knows the collector only as a [`Monitor`]. It is bounded in everything that
//! a client could make it hold: connections ([`Server::MAX_CONNECTIONS`]), bytes of a request head, time to send one,
//! time to take an answer, questions to the monitor at a time, and searches of captures at a time.

mod admission;
mod connection;
mod extract;
mod live;
mod metrics;
mod routes;
mod server;

use std::path::Path;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use vxtap_analyzers::snapshot::{
    Act, AdmissionSnapshot, FlowPage, FlowQuery, HealthSnapshot, NotReady, RunState, Snapshot,
};

use crate::admission::DecideError;
use crate::capture::{CutFrames, TornFiles};
use crate::follow::Hub;
use crate::health::words;
pub(crate) use connection::{Limits as ConnectionLimits, serve as serve_connection};
pub(crate) use server::reason;
pub use server::{ApiError, BoundServer, Server};

/// What the API asks of a running collector.
pub trait Monitor: Send + Sync + 'static {
    /// The collector as it is now. May block for some milliseconds.
    fn snapshot(&self) -> Snapshot;

    /// What is counted of captures besides what the snapshot has. Must not block.
    fn captured(&self) -> CaptureCounts;

    /// The flows that `query` asks for. May block until the workers have answered, a second or so.
    fn flows(&self, query: &FlowQuery) -> Result<FlowPage, FlowsError>;

    /// Which mirror streams are let in, and which wait. May block for some milliseconds.
    fn admission(&self) -> AdmissionSnapshot;

    /// Decides about the mirror streams that `selector` stands for; gives how it is written. May block while the decision is kept.
    fn decide(&self, act: Act, selector: &str) -> Result<String, DecideError>;

    /// Where the live capture is followed. Must not block.
    fn hub(&self) -> &Hub;

    /// The directory that captures are written into; `None` when nothing is captured. Must not block.
    fn captures(&self) -> Option<&Path>;

    /// Whether a load balancer should send traffic here. Must not block.
    fn readiness(&self) -> Readiness;
}

/// What is counted of captures besides what a snapshot has; `/v1/snapshot` shows it beside the snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CaptureCounts {
    /// Frames captured without their end, by choice.
    #[serde(flatten)]
    pub cut: CutFrames,
    /// Files whose writers were killed.
    #[serde(flatten)]
    pub torn: TornFiles,
    /// Files that somebody deleted, cut or moved away while they were written.
    #[serde(rename = "capture_displaced_files")]
    pub displaced: u64,
}

/// Whether a load balancer should send traffic here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Readiness {
    /// Whether it should.
    pub ready: bool,
    /// What the collector is doing.
    pub state: RunState,
    /// Why, or why not, in words.
    pub reason: String,
    /// What speaks against it.
    pub not_ready: Vec<NotReady>,
}

impl Readiness {
    /// That of a collector that is doing `state` and is seen so.
    pub fn of(state: RunState, health: HealthSnapshot) -> Self {
        let reason = if health.ready { "receiving".to_owned() } else { words(&health) };
        Self { ready: health.ready, state, reason, not_ready: health.not_ready }
    }

    /// The answer to whoever asks whether to send traffic: 200 or 503.
    pub(crate) fn answer(self) -> Response {
        let status = if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(self)).into_response()
    }
}

/// The answer to whoever asks whether the process is alive, of a collector that is doing `state`.
pub(crate) fn alive(state: RunState) -> Response {
    Json(serde_json::json!({ "alive": true, "state": state })).into_response()
}

/// Why there is no [`FlowPage`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowsError {
    /// The query cannot be answered as it is; the text says what was expected. Status 400.
    #[error("{0}")]
    BadQuery(String),
    /// The workers did not answer; the text says why. Status 503.
    #[error("{0}")]
    Unavailable(String),
}

#[cfg(test)]
mod tests;
