//! Deciding about mirror streams over the API.
//!
//! What changes something is a POST of JSON, and no page of another site may send one: without a token a browser on this machine would
//! otherwise do it for whoever made the page.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use vxtap_access::Failure;
use vxtap_analyzers::snapshot::Act;

use super::routes::{Source, to_json};
use crate::admission::DecideError;

/// The longest body of a decision, in bytes.
const BODY_MAX: usize = 8 << 10;
/// The longest that a client may take to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What is decided about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// In the words of a selector: `vxlan vni 4242 from 10.0.0.7`.
    stream: String,
}

impl From<DecideError> for Failure {
    fn from(error: DecideError) -> Self {
        let status = match error {
            DecideError::Selector(_) => StatusCode::BAD_REQUEST,
            DecideError::Undecided(_) => StatusCode::NOT_FOUND,
            DecideError::Configured(_) | DecideError::Full(_) => StatusCode::CONFLICT,
            DecideError::State(_) => StatusCode::INSUFFICIENT_STORAGE,
        };
        Self::new(status, error.to_string())
    }
}

/// `GET /v1/admission`.
pub(super) async fn show(State(source): State<Source>) -> Result<Response, Failure> {
    Ok(source.ask(|monitor| to_json(&monitor.admission())).await?.into_response())
}

/// `POST /v1/admission/accept`.
pub(super) async fn accept(state: State<Source>, request: Request) -> Result<Response, Failure> {
    decide(Act::Accept, state, request).await
}

/// `POST /v1/admission/reject`.
pub(super) async fn reject(state: State<Source>, request: Request) -> Result<Response, Failure> {
    decide(Act::Reject, state, request).await
}

/// `POST /v1/admission/forget`.
pub(super) async fn forget(state: State<Source>, request: Request) -> Result<Response, Failure> {
    decide(Act::Forget, state, request).await
}

async fn decide(act: Act, State(source): State<Source>, request: Request) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    check_head(&head.headers)?;
    let Asked { stream } = read(body).await?;
    let selector = source.ask(move |monitor| Ok(monitor.decide(act, &stream)?)).await?;
    Ok(Json(json!({ "choice": act, "stream": selector })).into_response())
}

fn check_head(headers: &HeaderMap) -> Result<(), Failure> {
    if headers.contains_key(ORIGIN) {
        return Err(Failure::new(StatusCode::FORBIDDEN, "decisions are not taken from web pages"));
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let error = r#"expected 'Content-Type: application/json' and a body such as {"stream": "vni 7 from 10.0.0.7"}"#;
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    Ok(())
}

async fn read(body: Body) -> Result<Asked, Failure> {
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_MAX)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let error = format!("the body is broken off, or has more than {BODY_MAX} bytes");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error));
        }
        Err(_) => {
            let error = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
            return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, error));
        }
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        let error = error.to_string().escape_debug().to_string();
        let expected = r#"expected {"stream": "vni 7 from 10.0.0.7"}"#;
        Failure::new(StatusCode::BAD_REQUEST, format!("the body is not understood: {error} ({expected})"))
    })
}
