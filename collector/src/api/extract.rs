//! `/v1/extract`: packets that have been captured, found by flow, filter and time.

use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use vxtap_access::Failure;
use vxtap_filter::Filter;
use vxtap_index::{Extract, ExtractError};

use super::connection::{Client, Drain};
use super::live::PCAPNG;
use super::routes::Source;
use crate::capture::CaptureFilter;
use crate::extract::Criteria;
use crate::worker::unix_ns;

/// So many searches may be under way at a time: each may read many captures.
pub(super) const MAX_SEARCHES: usize = 2;
/// So many parts of an answer wait for its client; then the search waits.
const PARTS: usize = 4;
/// The longest part, in bytes.
const PART_BYTES: usize = 256 << 10;
const EXPECTED: &str = "expected any of filter=EXPR, flow=COMMUNITY_ID, since=TIME, until=TIME";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct ExtractQuery {
    filter: String,
    flow: String,
    since: String,
    until: String,
}

impl ExtractQuery {
    /// What is looked for; an empty text says nothing.
    fn criteria(&self) -> Result<Criteria, Failure> {
        let Self { filter, flow, since, until } = self;
        Ok(Criteria {
            filter: given("filter", filter, |text| Filter::parse(text).map(CaptureFilter))?,
            flow: given("flow", flow, str::parse)?,
            since: given("since", since, str::parse)?,
            until: given("until", until, str::parse)?,
        })
    }
}

fn given<T, E: ToString>(
    name: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Failure> {
    let refused = |error: E| bad_request(format!("{name}: {}", error.to_string()));
    if text.is_empty() { Ok(None) } else { parse(text).map(Some).map_err(refused) }
}

fn bad_request(error: impl Into<String>) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, error)
}

/// A stream that begins when the first packets are found, or it is known that there are none.
pub(super) async fn extract(
    State(source): State<Source>,
    Extension(client): Extension<Client>,
    query: Result<Query<ExtractQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) =
        query.map_err(|rejection| bad_request(format!("bad query: {} ({EXPECTED})", rejection.body_text())))?;
    let query = query.criteria()?.query(unix_ns()).map_err(|error| bad_request(error.told_with("")))?;
    let directory = source.captures().ok_or_else(|| {
        Failure::new(
            StatusCode::CONFLICT,
            "nothing is captured: start the collector with --write DIR to write captures",
        )
    })?;
    let place = Arc::clone(source.searches()).try_acquire_owned().map_err(|_| {
        let error = format!("{MAX_SEARCHES} searches are under way already: try again when one has ended");
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, error)
    })?;
    let (sender, mut parts) = channel(PARTS);
    let stop = StopWhenDropped::default();
    let search = Extract::new(query).stopped_by(Arc::clone(&stop.0));
    tokio::task::spawn_blocking(move || {
        look(&search, directory, &sender);
        drop(place);
    });
    let failed = |error: &str| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    let first = match parts.recv().await {
        Some(Part::Bytes(bytes)) => bytes,
        Some(Part::Failed(error)) => return Err(failed(&error)),
        // Even a capture without packets has a beginning.
        Some(Part::End) | None => return Err(failed("the collector failed to search: see its log")),
    };
    let headers = [(CONTENT_TYPE, PCAPNG), (CONTENT_DISPOSITION, "attachment; filename=\"vxtap-extract.pcapng\"")];
    Ok((headers, Body::new(ExtractBody::new(first, parts, stop, &client))).into_response())
}

/// A piece of an answer on its way from the search.
pub(super) enum Part {
    Bytes(Bytes),
    /// All of it was given.
    End,
    Failed(String),
}

/// Searches, on a thread that may block.
fn look(search: &Extract, directory: PathBuf, sender: &Sender<Part>) {
    let begun = Instant::now();
    let last = match search.run(&[directory], PartWriter(sender)) {
        Ok(summary) => {
            for damaged in &summary.damaged {
                let file = damaged.file.display().to_string();
                tracing::warn!("'{}' is damaged: {}", file.escape_debug(), damaged.what.escape_debug());
            }
            tracing::debug!(
                records = summary.records_written,
                captures = summary.files,
                bytes_read = summary.bytes_read,
                "searched for {:?}",
                begun.elapsed()
            );
            // What was found is given all the same, and is not to look like all that there is.
            match summary.damaged.len() {
                0 => Part::End,
                damaged => Part::Failed(format!("{damaged} captures cannot be read to their end")),
            }
        }
        Err(ExtractError::Stopped | ExtractError::Write(_)) => {
            tracing::debug!("a client left its search after {:?}", begun.elapsed());
            return;
        }
        Err(error) => {
            tracing::warn!("cannot search the captures: {error}");
            Part::Failed(error.to_string())
        }
    };
    // The client may have left.
    let _ = sender.blocking_send(last);
}

/// Cuts what a search writes into parts, and waits while too many are on their way.
struct PartWriter<'a>(&'a Sender<Part>);

impl Write for PartWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = bytes.get(..PART_BYTES).unwrap_or(bytes);
        if !part.is_empty() {
            let sent = self.0.blocking_send(Part::Bytes(Bytes::copy_from_slice(part)));
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Ends a search whose answer nobody takes any more.
#[derive(Default)]
pub(super) struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Gives parts as they come. The server drops it when the client leaves, and the search ends.
pub(super) struct ExtractBody {
    first: Option<Bytes>,
    parts: Receiver<Part>,
    end: Option<End>,
    drain: Drain,
    _stop: StopWhenDropped,
}

/// How an answer ends.
enum End {
    Whole,
    /// When all that was found is with the client.
    Fails(String),
}

impl ExtractBody {
    pub(super) fn new(first: Bytes, parts: Receiver<Part>, stop: StopWhenDropped, client: &Client) -> Self {
        Self { first: Some(first), parts, end: None, drain: client.drain(), _stop: stop }
    }
}

impl HttpBody for ExtractBody {
    type Data = Bytes;
    /// An answer that fails ends without the mark of its end, so that a client sees that it is not whole.
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.end.is_none() {
            self.end = Some(match ready!(self.parts.poll_recv(context)) {
                Some(Part::Bytes(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Part::End) => End::Whole,
                Some(Part::Failed(error)) => End::Fails(error),
                None => End::Fails("the search ended by a fault of the program".into()),
            });
            self.drain.ask();
        }
        match &self.end {
            Some(End::Fails(error)) if self.drain.is_done() => Poll::Ready(Some(Err(io::Error::other(error.clone())))),
            Some(End::Fails(_)) => Poll::Pending,
            Some(End::Whole) | None => Poll::Ready(None),
        }
    }
}
