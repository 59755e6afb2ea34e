//! The bearer token; without one, who is on this machine and no web page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::Failure;

/// What a request must show.
#[derive(Clone)]
pub struct Access {
    token: Option<Arc<str>>,
    name: TokenName,
}

/// What is told to whoever has no token.
#[derive(Clone, Copy, Debug)]
pub struct TokenName {
    /// Whose port it is: `collector`.
    pub program: &'static str,
    /// The flag that sets the token: `--api-token`.
    pub flag: &'static str,
}

impl Access {
    /// For those with this token; without one for this machine alone. A page whose own name resolves to a loopback address would otherwise ask
    /// through the browser of whoever opened it, so requests must be addressed to localhost or an address then; and a browser says
    /// (`Origin`) that it asks for a page, with everything that could change something.
    pub fn new(token: Option<&str>, name: TokenName) -> Self {
        Self { token: token.map(Into::into), name }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match &self.token {
            Some(token) if bearer(headers).is_some_and(|given| equal(given, token.as_bytes())) => Ok(()),
            Some(_) => Err(Refusal::NoToken),
            None if headers.contains_key(ORIGIN) => Err(Refusal::WebPage),
            None if is_for_an_address(headers) => Ok(()),
            None => Err(Refusal::OtherHost),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Response {
        let TokenName { program, flag } = self.name;
        let (status, text) = match refusal {
            Refusal::NoToken => (
                StatusCode::UNAUTHORIZED,
                format!("a token is needed: send the header 'Authorization: Bearer TOKEN' with the {program}'s {flag}"),
            ),
            Refusal::OtherHost => (
                StatusCode::FORBIDDEN,
                format!("without {flag}, requests must be addressed to localhost or to an IP address"),
            ),
            Refusal::WebPage => (StatusCode::FORBIDDEN, format!("without {flag}, requests of web pages are refused")),
        };
        let mut response = Failure::new(status, text).into_response();
        if refusal == Refusal::NoToken {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Without the token, so that it is in no log.
impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "(secret)");
        f.debug_struct("Access").field("token", &token).field("name", &self.name).finish()
    }
}

/// Why a request does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// There is no token in it, or another.
    NoToken,
    /// It is addressed to a name.
    OtherHost,
    /// It is from a web page.
    WebPage,
}

/// Lets a request pass or answers 401 or 403. For `axum::middleware::from_fn_with_state`.
pub async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => access.refuse(refusal),
    }
}

/// Whether only this machine can reach `address`.
pub fn is_loopback(address: IpAddr) -> bool {
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

    const NAME: TokenName = TokenName { program: "collector", flag: "--api-token" };

    fn headers(pairs: &[(axum::http::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_the_whole_token_after_bearer_passes() {
        let access = Access::new(Some("0123456789abcdef"), NAME);
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
            assert_eq!(access.check(&headers(&[(AUTHORIZATION, value)])).is_ok(), passes, "{value}");
        }
        assert_eq!(access.check(&HeaderMap::new()), Err(Refusal::NoToken));
        let page = headers(&[(AUTHORIZATION, "Bearer 0123456789abcdef"), (ORIGIN, "http://dashboard.example")]);
        assert!(access.check(&page).is_ok(), "whoever has the token may have a page of its own");
    }

    #[test]
    fn without_a_token_neither_other_names_nor_web_pages_pass() {
        let access = Access::new(None, NAME);
        for (host, passes) in [
            ("127.0.0.1:9789", true),
            ("[::1]:9789", true),
            ("LOCALHOST:9789", true),
            ("localhost", true),
            ("attacker.example:9789", false),
            ("localhost.attacker.example", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(access.check(&headers(&[(HOST, host)])).is_ok(), passes, "{host}");
        }
        assert!(access.check(&HeaderMap::new()).is_ok());
        for origin in ["http://evil.example", "null"] {
            let page = headers(&[(HOST, "127.0.0.1:1"), (ORIGIN, origin)]);
            assert_eq!(access.check(&page), Err(Refusal::WebPage), "{origin}");
        }
    }

    #[test]
    fn refusals_say_which_flag_it_is_about_and_a_token_is_in_no_text() {
        let access = Access::new(Some("0123456789abcdef"), NAME);
        let response = access.refuse(Refusal::NoToken);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        for refusal in [Refusal::OtherHost, Refusal::WebPage] {
            let response = access.refuse(refusal);
            assert_eq!((response.status(), response.headers().get(WWW_AUTHENTICATE)), (StatusCode::FORBIDDEN, None));
        }
        assert!(!format!("{access:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn a_mapped_ipv4_loopback_address_is_loopback() {
        assert!(is_loopback("::ffff:127.0.0.1".parse().unwrap()));
        assert!(is_loopback("127.8.8.8".parse().unwrap()));
        assert!(!is_loopback("::".parse().unwrap()));
        assert!(!is_loopback("10.0.0.1".parse().unwrap()));
    }
}
