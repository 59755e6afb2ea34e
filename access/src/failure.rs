//! Requests that get no answer.

use axum::Json;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// The most of a path that is told again, in characters.
const PATH_MAX: usize = 100;

/// A request that gets no answer: the status, and `{"error": …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    status: StatusCode,
    error: String,
}

impl Failure {
    /// One with a text that says what was wrong and what was expected.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(serde_json::json!({ "error": self.error }))).into_response()
    }
}

/// The beginning of `text`, which may be anybody's, with nothing in it that would act on a terminal.
pub fn readable(text: &str) -> String {
    text.chars().take(PATH_MAX).flat_map(char::escape_default).collect()
}

/// Has nobody keep an answer: each is of one moment. For `axum::middleware::map_response`.
pub async fn never_stored(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_asked_for_is_told_again_in_part_and_harmlessly() {
        assert_eq!(readable("/a\u{1b}[2J\u{e9}"), r"/a\u{1b}[2J\u{e9}");
        assert_eq!(readable(&"x".repeat(5000)).len(), PATH_MAX);
    }
}
