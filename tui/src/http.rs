//! A collector seen over its HTTP API.

use std::fmt;
use std::io::{Read as _, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{HeaderValue, Response, StatusCode, Uri};
use ureq::{Agent, Body};
use vxtap_analyzers::snapshot::{FlowPage, FlowQuery, Ruling, Snapshot};

use crate::source::{Captured, CapturedFlow, Source, SourceError};

/// Longest answer that is read, in bytes: [`FlowQuery::MAX_LIMIT`] flows are about a third of it.
const ANSWER_MAX: u64 = 16 << 20;
/// Longest that a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest from the question to the end of the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest that a search of captures may take, packets and all.
const SEARCH_TIMEOUT: Duration = Duration::from_hours(1);
/// Longest refusal that is read, in bytes.
const REFUSAL_MAX: u64 = 64 << 10;
/// So many bytes of packets are read at a time.
const READ_BYTES: usize = 64 << 10;

/// Where a collector's API is: `http://HOST[:PORT]`, and a path before `/v1` if it is behind a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected for example http://127.0.0.1:9789";
        let uri = text.parse::<Uri>().map_err(|error| format!("not a URL: {error} ({expected})"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err("the collector's API speaks plain HTTP; from another machine reach it through \
                            `ssh -L 9789:127.0.0.1:9789 HOST`"
                    .into());
            }
            Some(scheme) => return Err(format!("unknown scheme '{scheme}' ({expected})")),
            None => return Err(format!("no http:// at its start ({expected})")),
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("no user name or password can be part of it; give a token with --token".into());
        }
        if uri.query().is_some() {
            return Err(format!("no query can be part of it ({expected})"));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A [`Source`] that asks `/v1/snapshot`, `/v1/flows`, `/v1/admission` and `/v1/extract` of a collector's API, again from the start with each
/// question, so that it finds the collector again when that comes back.
///
/// Takes no proxy from the environment (the collector is on this machine or behind a tunnel) and follows no redirection, so
/// that the token goes nowhere else.
pub struct HttpSource {
    api: Api,
}

/// How to ask a collector's API.
#[derive(Clone)]
struct Api {
    agent: Agent,
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
}

impl HttpSource {
    /// A source of the collector at `endpoint`, which may ask for `token`. Nothing is sent yet.
    pub fn new(endpoint: Endpoint, token: Option<&str>) -> Result<Self, InvalidToken> {
        let authorization = token.map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| InvalidToken)?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self { api: Api { agent: agent(ANSWER_TIMEOUT), endpoint, authorization: authorization.transpose()? } })
    }
}

/// A client that waits for the end of an answer as long as `timeout`.
fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("vxtap-tui/", env!("CARGO_PKG_VERSION")))
        .build();
    config.into()
}

impl Api {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoint)
    }

    fn ask(&self, url: &str, query: &[(&str, String)]) -> Result<Response<Body>, SourceError> {
        let mut request = self.agent.get(url).query_pairs(query.iter().map(|(name, value)| (*name, value.as_str())));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        request.call().map_err(|error| unreachable(url, &error))
    }

    /// Sends `body`, and takes no interest in the answer unless it is a refusal.
    fn post(&self, path: &str, body: &impl Serialize) -> Result<(), SourceError> {
        let url = self.url(path);
        let mut request = self.agent.post(&url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.send_json(body).map_err(|error| unreachable(&url, &error))?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(());
        }
        let body = response.body_mut().with_config().limit(REFUSAL_MAX).read_to_vec();
        Err(match refusal(status, &url, &body.unwrap_or_default()) {
            // There is no filter in it.
            SourceError::Filter(reason) => SourceError::Refused(reason),
            other => other,
        })
    }

    fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, SourceError> {
        let url = self.url(path);
        let mut response = self.ask(&url, query)?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_MAX).read_to_vec();
        let body = body.map_err(|error| unreachable(&url, &error))?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| {
                SourceError::Refused(format!(
                    "the answer of {url} can't be read ({error}): is it another version of vxtap?"
                ))
            });
        }
        Err(refusal(status, &url, &body))
    }
}

fn unreachable(url: &str, error: &ureq::Error) -> SourceError {
    SourceError::Unreachable(format!("can't get {url}: {}", reason(error)))
}

impl Captured for Api {
    fn copy_flow(&self, flow: &CapturedFlow, output: &mut dyn Write) -> Result<(), SourceError> {
        let url = self.url("/v1/extract");
        let CapturedFlow { community_id, filter } = flow;
        let query = [("flow", community_id.clone()), ("filter", filter.clone())];
        let given = query.iter().filter(|(_, text)| !text.is_empty()).cloned();
        let mut response = self.ask(&url, &given.collect::<Vec<_>>())?;
        let status = response.status();
        if status != StatusCode::OK {
            let body = response.body_mut().with_config().limit(REFUSAL_MAX).read_to_vec();
            return Err(refusal(status, &url, &body.unwrap_or_default()));
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let broken = |error| SourceError::Unreachable(format!("the answer of {url} broke off: {error}"));
            let length = body.read(&mut buffer).map_err(broken)?;
            let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            output
                .write_all(bytes)
                .map_err(|error| SourceError::Refused(format!("can't keep the answer of {url}: {error}")))?;
        }
    }
}

/// A token with a character that no HTTP header can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token has a character that no HTTP header can carry (expected visible ASCII characters)")]
pub struct InvalidToken;

impl Source for HttpSource {
    fn snapshot(&mut self) -> Result<Snapshot, SourceError> {
        self.api.get("/v1/snapshot", &[])
    }

    fn flows(&mut self, query: &FlowQuery) -> Result<FlowPage, SourceError> {
        self.api.get("/v1/flows", &parameters(query)?)
    }

    fn decide(&mut self, decision: &Ruling) -> Result<(), SourceError> {
        let path = format!("/v1/admission/{}", decision.act.as_str());
        self.api.post(&path, &serde_json::json!({ "stream": decision.selector }))
    }

    fn captured(&self) -> Option<Arc<dyn Captured>> {
        Some(Arc::new(Api { agent: agent(SEARCH_TIMEOUT), ..self.api.clone() }))
    }
}

/// `query` as the parameters of a URL: every field by its own name, so that a field added later is sent as well.
fn parameters(query: &FlowQuery) -> Result<Vec<(&'static str, String)>, SourceError> {
    let FlowQuery { sort, ascending, filter, limit } = query;
    let sort = match serde_json::to_value(sort) {
        Ok(serde_json::Value::String(name)) => name,
        other => return Err(SourceError::Refused(format!("the order {sort:?} has no name: {other:?}"))),
    };
    Ok(vec![
        ("sort", sort),
        ("ascending", ascending.to_string()),
        ("filter", filter.clone()),
        ("limit", limit.min(&FlowQuery::MAX_LIMIT).to_string()),
    ])
}

/// What went wrong below HTTP, without the prefix that the library puts before it.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(_) => "no answer in time".into(),
        ureq::Error::HostNotFound => "no such host".into(),
        ureq::Error::BodyExceedsLimit(limit) => format!("the answer is longer than {limit} bytes"),
        other => other.to_string(),
    }
}

/// A status other than 200 as an error. The API tells the reason as text, or as `{"error": "…"}`.
fn refusal(status: StatusCode, url: &str, body: &[u8]) -> SourceError {
    let json = serde_json::from_slice::<serde_json::Value>(body).ok();
    let told = json.as_ref().and_then(|json| json.get("error")).and_then(serde_json::Value::as_str);
    let text = told.map_or_else(|| String::from_utf8_lossy(body), Into::into);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
    match status {
        StatusCode::BAD_REQUEST => SourceError::Filter(line.to_owned()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => SourceError::Refused(format!(
            "{url} refused access ({status}): give the collector's token with --token or VXTAP_API_TOKEN (doctor: --api-token)"
        )),
        StatusCode::NOT_FOUND => SourceError::Refused(format!(
            "{url} is not there ({status}): is a vxtap collector listening at this address?"
        )),
        status => SourceError::Refused(format!("{url} answered {status}: {line}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_endpoints() {
        for (text, shown) in [
            ("http://127.0.0.1:9789", "http://127.0.0.1:9789"),
            ("http://[::1]:9789/", "http://[::1]:9789"),
            ("http://collector/behind/proxy/", "http://collector/behind/proxy"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        for (text, told) in [
            ("https://collector", "ssh -L"),
            ("127.0.0.1:9789", "expected for example http://127.0.0.1:9789"),
            ("ftp://collector", "unknown scheme 'ftp'"),
            ("http://user:secret@collector", "--token"),
            ("http://collector/?a=b", "no query"),
            ("", "expected for example"),
            ("http://", "expected for example"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        let endpoint = || Endpoint("http://localhost".into());
        assert!(HttpSource::new(endpoint(), Some("secret-Token_1")).is_ok());
        assert_eq!(HttpSource::new(endpoint(), Some("two\nlines")).err(), Some(InvalidToken));
    }

    #[test]
    fn a_refusal_tells_what_to_do() {
        let url = "http://collector/v1/flows";
        for (status, body, error) in [
            (400, r#"{"error": "port: 'x' is no number"}"#, SourceError::Filter("port: 'x' is no number".into())),
            (400, "\n  port: 'x' is no number\nmore", SourceError::Filter("port: 'x' is no number".into())),
            (
                401,
                "",
                SourceError::Refused(
                    "http://collector/v1/flows refused access (401 Unauthorized): give the collector's token with --token or \
                     VXTAP_API_TOKEN (doctor: --api-token)"
                        .into(),
                ),
            ),
            (
                503,
                "starting",
                SourceError::Refused("http://collector/v1/flows answered 503 Service Unavailable: starting".into()),
            ),
            (
                500,
                "",
                SourceError::Refused(
                    "http://collector/v1/flows answered 500 Internal Server Error: no reason given".into(),
                ),
            ),
        ] {
            assert_eq!(refusal(StatusCode::from_u16(status).unwrap(), url, body.as_bytes()), error);
        }
    }
}
