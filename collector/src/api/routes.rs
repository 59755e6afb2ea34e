//! Paths and their answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::sync::Semaphore;
use vxtap_access::{Access, Failure, TokenName, guard, never_stored, readable};
use vxtap_analyzers::snapshot::{FlowQuery, Snapshot};

use super::{CaptureCounts, FlowsError, Monitor, admission, alive, extract, live, metrics};
use crate::follow::Hub;

/// How the token is called where there is none.
const TOKEN: TokenName = TokenName { program: "collector", flag: "--api-token" };
/// The longest that a request waits for the monitor.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// All paths of the API; at most `questions` requests ask `monitor` at a time.
pub(super) fn router(monitor: Arc<dyn Monitor>, token: Option<&str>, questions: usize) -> Router {
    let searches = Arc::new(Semaphore::new(extract::MAX_SEARCHES));
    let source = Source { monitor, questions: Arc::new(Semaphore::new(questions)), searches };
    let open = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .method_not_allowed_fallback(unknown_method);
    Router::new()
        .route("/metrics", get(metrics))
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/flows", get(flows))
        .route("/v1/admission", get(admission::show))
        .route("/v1/admission/accept", post(admission::accept).fallback(only_post))
        .route("/v1/admission/reject", post(admission::reject).fallback(only_post))
        .route("/v1/admission/forget", post(admission::forget).fallback(only_post))
        .route("/v1/captures", get(captures))
        .route("/v1/extract", get(extract::extract))
        .route("/v1/live.pcapng", get(live::live))
        .method_not_allowed_fallback(unknown_method)
        .fallback(unknown_path)
        .layer(middleware::from_fn_with_state(Access::new(token, TOKEN), guard))
        .merge(open)
        .layer(middleware::map_response(never_stored))
        .with_state(source)
}

impl From<FlowsError> for Failure {
    fn from(error: FlowsError) -> Self {
        let status = match error {
            FlowsError::BadQuery(_) => StatusCode::BAD_REQUEST,
            FlowsError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

/// Where answers come from.
#[derive(Clone)]
pub(super) struct Source {
    monitor: Arc<dyn Monitor>,
    questions: Arc<Semaphore>,
    searches: Arc<Semaphore>,
}

impl Source {
    /// Where the live capture is followed.
    pub(super) fn hub(&self) -> &Hub {
        self.monitor.hub()
    }

    /// Where captures are, if anything is captured.
    pub(super) fn captures(&self) -> Option<PathBuf> {
        self.monitor.captures().map(Path::to_owned)
    }

    /// Places for searches of captures.
    pub(super) fn searches(&self) -> &Arc<Semaphore> {
        &self.searches
    }

    /// Asks the monitor on a thread that may block. A client that leaves takes its question out of the queue; one that
    /// is being asked keeps its place until the monitor is done, so that no more threads than places ever wait.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Monitor) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let answer = async {
            let place = Arc::clone(&self.questions).acquire_owned().await;
            let monitor = Arc::clone(&self.monitor);
            tokio::task::spawn_blocking(move || {
                let answer = question(&*monitor);
                drop(place);
                answer
            })
            .await
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the collector failed to answer: see its log"))
            }
            Err(_) => Err(Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the collector did not answer within {} s: try again", ANSWER_TIMEOUT.as_secs()),
            )),
        }
    }
}

async fn healthz(State(source): State<Source>) -> Response {
    alive(source.monitor.readiness().state)
}

async fn readyz(State(source): State<Source>) -> Response {
    source.monitor.readiness().answer()
}

async fn metrics(State(source): State<Source>) -> Result<Response, Failure> {
    let text = source
        .ask(|monitor| {
            metrics::encode(monitor.snapshot(), monitor.captured())
                .map_err(|_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the metrics"))
        })
        .await?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

async fn snapshot(State(source): State<Source>) -> Result<Response, Failure> {
    let body = |monitor: &dyn Monitor| SnapshotBody { snapshot: monitor.snapshot(), captured: monitor.captured() };
    let json = source.ask(move |monitor| to_json(&body(monitor))).await?;
    Ok(json.into_response())
}

#[derive(Serialize)]
struct SnapshotBody {
    #[serde(flatten)]
    snapshot: Snapshot,
    #[serde(flatten)]
    captured: CaptureCounts,
}

async fn flows(
    State(source): State<Source>,
    query: Result<Query<FlowQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(mut query) = query.map_err(|rejection| bad_query(&rejection))?;
    query.limit = query.limit.min(FlowQuery::MAX_LIMIT);
    let json = source.ask(move |monitor| to_json(&monitor.flows(&query)?)).await?;
    Ok(json.into_response())
}

async fn captures(State(source): State<Source>) -> Result<Response, Failure> {
    let json = source
        .ask(|monitor| match monitor.snapshot() {
            Snapshot { capture: Some(capture), .. } => to_json(&capture),
            _ => Err(Failure::new(
                StatusCode::NOT_FOUND,
                "nothing is captured: start the collector with --write DIR to write captures",
            )),
        })
        .await?;
    Ok(json.into_response())
}

async fn unknown_path(uri: Uri) -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        format!(
            "there is no {}: expected /healthz, /readyz, /metrics, /v1/snapshot, /v1/flows, \
             /v1/admission, /v1/captures, /v1/extract or /v1/live.pcapng",
            readable(uri.path())
        ),
    )
}

async fn unknown_method() -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here")
}

async fn only_post() -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "only POST is answered here")
}

fn bad_query(rejection: &QueryRejection) -> Failure {
    let text = rejection.body_text();
    let detail = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    Failure::new(
        StatusCode::BAD_REQUEST,
        format!(
            "bad query: {detail} (expected any of sort=COLUMN, ascending=true|false, filter=TEXT, limit=0..{})",
            FlowQuery::MAX_LIMIT
        ),
    )
}

/// JSON written where blocking is allowed: ten thousand flows take milliseconds.
pub(super) struct RawJson(Vec<u8>);

impl IntoResponse for RawJson {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

pub(super) fn to_json(value: &impl Serialize) -> Result<RawJson, Failure> {
    serde_json::to_vec(value)
        .map(RawJson)
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the answer: {error}")))
}
