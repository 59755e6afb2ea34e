//! `/v1/live.pcapng`: packets as they are captured.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use serde::Deserialize;
use vxtap_access::Failure;
use vxtap_filter::Filter;

use super::connection::Client;
use super::routes::Source;
use crate::follow::Follower;

/// No media type is registered for pcapng; this one is in use.
pub(super) const PCAPNG: &str = "application/x-pcapng";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LiveQuery {
    /// In the language of tcpdump; empty for everything.
    #[serde(default)]
    filter: String,
}

/// A stream without end, its first bytes at once.
pub(super) async fn live(
    State(source): State<Source>,
    Extension(client): Extension<Client>,
    query: Result<Query<LiveQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(LiveQuery { filter }) = query.map_err(|rejection| {
        Failure::new(StatusCode::BAD_REQUEST, format!("bad query: {} (expected filter=TEXT)", rejection.body_text()))
    })?;
    let filter = Filter::parse(&filter).map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let follower = source
        .hub()
        .follow(filter, &format!("http {}", client.address()))
        .map_err(|error| Failure::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    client.follows();
    Ok(([(CONTENT_TYPE, PCAPNG)], Body::new(LiveBody(follower))).into_response())
}

/// Gives chunks when the client has taken those before. The server drops it when the client leaves, and the follower with
/// it.
struct LiveBody(Follower);

impl HttpBody for LiveBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_chunk(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk.into()))))
    }
}
