//! Who may ask: the bearer token, and the host that a request is addressed to.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::routes::Failure;

/// What a request must show.
#[derive(Clone)]
pub(super) enum Access {
    /// This token.
    Token(Arc<str>),
    /// Nothing but that it is meant for this machine: a web page that had its own name resolve to a loopback address
    /// would otherwise read the API through the browser of whoever opened it.
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
            Self::ThisMachine if host_is_address(headers) => Ok(()),
            Self::ThisMachine => Err(Refusal::OtherHost),
        }
    }
}

/// Why a request does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// There is no token in it, or another.
    NoToken,
    /// It is addressed to a name.
    OtherHost,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NoToken => (
                [(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))],
                Failure::new(
                    StatusCode::UNAUTHORIZED,
                    "a token is needed: send the header 'Authorization: Bearer TOKEN' with the collector's --api-token",
                ),
            )
                .into_response(),
            Self::OtherHost => Failure::new(
                StatusCode::FORBIDDEN,
                "without --api-token, requests must be addressed to localhost or to an IP address",
            )
            .into_response(),
        }
    }
}

/// Lets a request pass or answers 401 or 403.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Whether only this machine can reach `address`.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Whether both are the same, in a time that tells only whether the lengths are.
fn equal(given: &[u8], token: &[u8]) -> bool {
    if given.len() != token.len() {
        return false;
    }
    let difference = given.iter().zip(token).fold(0, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
    difference == 0
}

fn host_is_address(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else {
        // HTTP/1.0; browsers always send the header.
        return true;
    };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_the_whole_token_after_bearer_passes() {
        let access = Access::new(Some("0123456789abcdef"));
        for (value, passes) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer  0123456789abcdef ", true),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdefg", false),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(access.check(&headers(AUTHORIZATION, value)).is_ok(), passes, "{value}");
        }
        assert_eq!(access.check(&HeaderMap::new()), Err(Refusal::NoToken));
    }

    #[test]
    fn without_a_token_only_requests_addressed_to_this_machine_pass() {
        let access = Access::new(None);
        for (value, passes) in [
            ("127.0.0.1:9789", true),
            ("[::1]:9789", true),
            ("LOCALHOST:9789", true),
            ("localhost", true),
            ("attacker.example:9789", false),
            ("localhost.attacker.example", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(access.check(&headers(HOST, value)).is_ok(), passes, "{value}");
        }
        assert!(access.check(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn a_mapped_ipv4_loopback_address_is_loopback() {
        assert!(is_loopback("::ffff:127.0.0.1".parse().unwrap()));
        assert!(is_loopback("127.8.8.8".parse().unwrap()));
        assert!(!is_loopback("::".parse().unwrap()));
        assert!(!is_loopback("10.0.0.1".parse().unwrap()));
    }
}
