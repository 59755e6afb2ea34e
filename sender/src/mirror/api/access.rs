//! Who may ask: the bearer token; without one, who is on this machine and no web page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::routes::Failure;

/// What a request must show.
#[derive(Clone)]
pub(super) enum Access {
    /// This token.
    Token(Arc<str>),
    /// That it is meant for this machine: a page whose own name resolves to a loopback address would otherwise ask through the
    /// browser of whoever opened it. And that it is from no page at all: a browser says so (`Origin`) with everything that
    /// could change something.
    ThisMachine,
}

impl Access {
    pub(super) fn new(token: Option<&str>) -> Self {
        token.map_or(Self::ThisMachine, |token| Self::Token(token.into()))
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self {
            Self::Token(token) if bearer(headers).is_some_and(|given| equal(given, token.as_bytes())) => Ok(()),
            Self::Token(_) => Err(Refusal::NoToken),
            Self::ThisMachine if headers.contains_key(ORIGIN) => Err(Refusal::WebPage),
            Self::ThisMachine if is_for_an_address(headers) => Ok(()),
            Self::ThisMachine => Err(Refusal::OtherHost),
        }
    }
}

/// Why a request does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NoToken,
    OtherHost,
    WebPage,
}

impl Refusal {
    fn response(self) -> Response {
        let (status, text) = match self {
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "a token is needed: send the header 'Authorization: Bearer TOKEN' with the sender's --control-token",
            ),
            Self::OtherHost => (
                StatusCode::FORBIDDEN,
                "without --control-token, requests must be addressed to localhost or to an IP address",
            ),
            Self::WebPage => (StatusCode::FORBIDDEN, "without --control-token, requests of web pages are refused"),
        };
        let mut response = Failure::new(status, text).into_response();
        if self == Self::NoToken {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Lets a request pass or answers 401 or 403.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.response(),
    }
}

/// Whether only this machine can reach `address`.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Whether both are the same, in a time that tells only whether the lengths are.
fn equal(given: &[u8], token: &[u8]) -> bool {
    given.len() == token.len()
        && given.iter().zip(token).fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b))) == 0
}

/// Whether the request's host is localhost or an address. HTTP/1.0 has none; browsers always send one.
fn is_for_an_address(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(axum::http::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_the_whole_token_after_bearer_passes() {
        let access = Access::new(Some("0123456789abcdef"));
        for (value, passes) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer  0123456789abcdef ", true),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer", false),
            ("Basic 0123456789abcdef", false),
        ] {
            assert_eq!(access.check(&headers(&[(AUTHORIZATION, value)])).is_ok(), passes, "{value}");
        }
        assert_eq!(access.check(&HeaderMap::new()), Err(Refusal::NoToken));
    }

    #[test]
    fn without_a_token_neither_other_names_nor_web_pages_pass() {
        let access = Access::new(None);
        for (host, passes) in [("127.0.0.1:1", true), ("[::1]", true), ("LOCALHOST:9", true), ("evil.example", false)] {
            assert_eq!(access.check(&headers(&[(HOST, host)])).is_ok(), passes, "{host}");
        }
        let page = headers(&[(HOST, "127.0.0.1:1"), (ORIGIN, "http://evil.example")]);
        assert_eq!(access.check(&page), Err(Refusal::WebPage));
    }
}
