//! Paths and their answers.

use std::sync::PoisonError;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::oneshot;
use vxtap_access::{Access, Failure, TokenName, guard, never_stored, readable};

use super::{Shown, metrics};
use crate::mirror::ledger::SessionSummary;
use crate::mirror::steward::{Answer, Outcome, Refusal, Request};

/// How the token is called where there is none.
const TOKEN: TokenName = TokenName { program: "sender", flag: "--control-token" };
/// The longest that a request waits for the steward, who may have to look names up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// All paths.
pub(super) fn router(shown: Shown, token: Option<&str>) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/v1/sessions", get(sessions))
        .route("/v1/sessions/{session}/{action}", post(enable))
        .route("/v1/reload", post(reload))
        .method_not_allowed_fallback(unknown_method)
        .fallback(unknown_path)
        .layer(middleware::from_fn_with_state(Access::new(token, TOKEN), guard))
        .merge(Router::new().route("/healthz", get(async || "ok\n")).method_not_allowed_fallback(unknown_method))
        .layer(middleware::map_response(never_stored))
        .with_state(shown)
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownSession(session) => Self::new(
                StatusCode::NOT_FOUND,
                format!("there is no session {}: see /v1/sessions", readable(&session)),
            ),
            Refusal::Policy(error) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, error),
        }
    }
}

async fn show_metrics(State(shown): State<Shown>) -> Result<Response, Failure> {
    let text = metrics::encode(&shown)
        .map_err(|_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the metrics"))?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

async fn sessions(State(shown): State<Shown>) -> Response {
    let status = shown.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut counts = shown.ledger.summary();
    let sessions: Vec<_> = status
        .sessions
        .iter()
        .map(|session| {
            let at = counts.sessions.iter().position(|counts| counts.session == session.name);
            let SessionSummary { inbound, outbound, .. } = at.map(|at| counts.sessions.remove(at)).unwrap_or_default();
            json!({
                "name": session.name, "number": session.number, "enabled": session.enabled, "vni": session.vni,
                "encapsulation": session.encapsulation, "target": session.target,
                "inbound": inbound, "outbound": outbound,
            })
        })
        .collect();
    Json(json!({
        "policy": status.policy, "generation": status.generation, "reloads": status.reloads, "sessions": sessions, "targets": status.targets,
        "passed": counts.passed, "gone": counts.sessions,
    }))
    .into_response()
}

async fn enable(
    State(shown): State<Shown>,
    Path((session, action)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Failure> {
    let on = match action.as_str() {
        "enable" => true,
        "disable" => false,
        _ => return Err(unknown_path(uri).await),
    };
    ask(&shown, |answer| Request::Enable { session, on, answer }).await
}

async fn reload(State(shown): State<Shown>) -> Result<Response, Failure> {
    ask(&shown, Request::Reload).await
}

async fn ask(shown: &Shown, request: impl FnOnce(Answer) -> Request) -> Result<Response, Failure> {
    let (tell, told) = oneshot::channel();
    let answer: Answer = Box::new(move |outcome| {
        // Whoever asked may have gone.
        let _ = tell.send(outcome);
    });
    let gone = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the mirror is about to end");
    shown.requests.send(request(answer)).map_err(|_| gone())?;
    match tokio::time::timeout(ANSWER_TIMEOUT, told).await {
        Ok(Ok(outcome)) => {
            let Outcome { generation, in_force } = outcome?;
            Ok(Json(json!({ "generation": generation, "in_force": in_force })).into_response())
        }
        Ok(Err(_)) => Err(gone()),
        Err(_) => {
            Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "names are still being looked up: see /v1/sessions"))
        }
    }
}

async fn unknown_path(uri: Uri) -> Failure {
    let expected = "GET /healthz, /metrics, /v1/sessions, or POST /v1/reload, /v1/sessions/SESSION/enable, …/disable";
    let error = format!("there is no {}: expected {expected}", readable(uri.path()));
    Failure::new(StatusCode::NOT_FOUND, error)
}

async fn unknown_method() -> Failure {
    let error = "GET shows (/healthz, /metrics, /v1/sessions), POST changes (/v1/reload, /v1/sessions/SESSION/enable, …/disable)";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, error)
}
