//! Requests and the responses that answer them, in the order in which they were sent (RFC 9112 9.3.2).

use super::head::Fields;
use super::queue::Queue;
use super::start::RequestLine;
use crate::protocols::http_event::{Interim, Measures, Members, RequestFields, ResponseFields};
use crate::protocols::{Context, EventKind, Protocol, Side};

/// So many requests wait for their response. Of more than these the event is written at once, without a response.
const WAITING_MAX: usize = 64;
/// So many bytes of events wait for their response, and one event more.
const WAITING_TEXT_MAX: usize = 256 * 1024;

/// Which requests have responses of their own kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Connect,
    #[default]
    Other,
}

/// A protocol to change to (RFC 9110 7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    WebSocket,
    Http2,
    Tls,
}

impl Upgrade {
    /// The first one that is known in a field `Upgrade`.
    pub(super) fn read(field: &[u8]) -> Option<Self> {
        field.split(|byte| *byte == b',').find_map(|token| match token.trim_ascii() {
            token if token.eq_ignore_ascii_case(b"websocket") => Some(Self::WebSocket),
            token if token.eq_ignore_ascii_case(b"h2c") => Some(Self::Http2),
            token if token.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"TLS/")) => Some(Self::Tls),
            _ => None,
        })
    }
}

/// What a response needs of its request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) upgrade: Option<Upgrade>,
}

/// A request that changes the protocol: what follows answers it.
#[derive(Debug, Default)]
pub(in crate::protocols) struct Upgraded {
    pub(in crate::protocols) members: Members,
    pub(in crate::protocols) length: u64,
    pub(in crate::protocols) sent_ns: Option<u64>,
}

#[derive(Debug, Default)]
struct Request {
    tx: u64,
    members: Members,
    asked: Asked,
    length: u64,
    /// When its last byte came; `None` while there is more.
    sent_ns: Option<u64>,
    truncated: bool,
}

#[derive(Debug)]
struct Response {
    members: Members,
    response_time_ns: Option<u64>,
    length: u64,
    truncated: bool,
}

/// What waits to be told.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    waiting: Queue<Request>,
    /// Bytes of the members in `waiting`.
    text: usize,
    /// Requests behind those that wait, whose event is written.
    told: u64,
    /// Number of the request whose body comes.
    current: u64,
    response: Option<Response>,
    interim: Interim,
    next_tx: u64,
    /// The client does not wait for the response before it sends its next request.
    pipelines: bool,
}

impl Exchanges {
    /// A request's head has come from `client`; its body follows unless `complete`.
    pub(super) fn request(
        &mut self,
        client: Side,
        (line, fields): (&RequestLine<'_>, &Fields<'_>),
        truncated: bool,
        cx: &mut Context<'_>,
    ) {
        let method = match line.method {
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        };
        let members = if cx.events.wants(EventKind::Http) {
            RequestFields {
                method: Some(line.method),
                target: line.target,
                protocol: line.protocol,
                authority: line.authority().or(fields.host),
                user_agent: fields.user_agent,
                referer: fields.referer,
                forwarded_for: fields.forwarded_for,
            }
            .members(cx.events.spare_texts().take())
        } else {
            Members::default()
        };
        let asked = Asked { method, upgrade: fields.upgrade.and_then(Upgrade::read) };
        let request = Request { tx: self.number(), members, asked, length: 0, sent_ns: None, truncated };
        self.current = request.tx;
        let text = self.text + request.members.size();
        let full = self.waiting.len() >= WAITING_MAX || (text > WAITING_TEXT_MAX && !self.waiting.is_empty());
        if self.told > 0 || full {
            self.told += 1;
            write(client, &request, None, Interim::default(), cx);
        } else {
            self.text = text;
            self.waiting.push_back(request);
        }
    }

    /// So many bytes of the request's body.
    pub(super) fn request_bytes(&mut self, bytes: u64) {
        if let Some(request) = self.current() {
            request.length += bytes;
        }
    }

    /// Bytes of the request are missing.
    pub(super) fn request_gap(&mut self) {
        if let Some(request) = self.current() {
            request.truncated = true;
        }
    }

    /// Nothing more comes of the request.
    pub(super) fn request_end(&mut self, time_ns: u64) {
        if let Some(request) = self.current() {
            request.sent_ns = Some(time_ns);
        }
    }

    fn current(&mut self) -> Option<&mut Request> {
        let current = self.current;
        self.waiting.back_mut().filter(|request| request.tx == current)
    }

    /// The head of a response has come that is not interim. Of a client that waits for each response, the newest request is the one that
    /// it answers: where it stands behind a gap, responses to the others were in that.
    pub(super) fn response_begins(&mut self, client: Side, behind_gap: bool, cx: &mut Context<'_>) {
        if !behind_gap {
            self.pipelines |= self.waiting.len() > 1;
            return;
        }
        while !self.pipelines && self.waiting.len() > 1 {
            let Some(mut request) = self.waiting.pop_front() else { return };
            self.text = self.text.saturating_sub(request.members.size());
            request.truncated = true;
            write(client, &request, None, std::mem::take(&mut self.interim), cx);
        }
    }

    /// What is asked that the next response answers; `None` where no request waits.
    pub(super) fn asked(&self) -> Option<Asked> {
        self.waiting.front().map(|request| request.asked)
    }

    /// An interim response has come.
    pub(super) fn interim(&mut self, status: u16) {
        self.interim.push(status);
    }

    /// A response's head has come, whose first byte came at `started_ns`; its body follows.
    pub(super) fn response(&mut self, status: u16, fields: &Fields<'_>, started_ns: u64, cx: &mut Context<'_>) {
        let members = if cx.events.wants(EventKind::Http) {
            ResponseFields {
                status,
                content_type: fields.content_type,
                content_range: fields.content_range,
                location: fields.location,
            }
            .members(cx.events.spare_texts().take())
        } else {
            Members::default()
        };
        let sent_ns = self.waiting.front().and_then(|request| request.sent_ns);
        let response_time_ns = sent_ns.and_then(|sent| started_ns.checked_sub(sent));
        if let Some(nanos) = response_time_ns {
            cx.response_time(Protocol::Http1, nanos);
        }
        self.response = Some(Response { members, response_time_ns, length: 0, truncated: false });
    }

    /// So many bytes of the response's body.
    #[inline]
    pub(super) fn response_bytes(&mut self, bytes: u64) {
        if let Some(response) = &mut self.response {
            response.length += bytes;
        }
    }

    /// Bytes of the response are missing.
    pub(super) fn response_gap(&mut self) {
        if let Some(response) = &mut self.response {
            response.truncated = true;
        }
    }

    /// Nothing more comes of the response: the event is written.
    pub(super) fn response_end(&mut self, client: Side, cx: &mut Context<'_>) {
        if let Some(request) = self.answered(client, cx) {
            cx.events.spare_texts().put(request.members.into_text());
        }
    }

    /// The same of a response that changes the protocol. Gives the request, if it was seen.
    pub(super) fn upgrade(&mut self, client: Side, cx: &mut Context<'_>) -> Option<Upgraded> {
        let request = self.answered(client, cx)?;
        Some(Upgraded { members: request.members, length: request.length, sent_ns: request.sent_ns })
    }

    /// Writes the event of the first request that waits, with the response; gives the request, if it was seen.
    fn answered(&mut self, client: Side, cx: &mut Context<'_>) -> Option<Request> {
        let response = self.response.take()?;
        let interim = std::mem::take(&mut self.interim);
        let request = self.waiting.pop_front();
        if let Some(request) = &request {
            self.text = self.text.saturating_sub(request.members.size());
            write(client, request, Some(&response), interim, cx);
        } else {
            self.told = self.told.saturating_sub(1);
            let request = Request { tx: self.number(), ..Request::default() };
            write(client, &request, Some(&response), interim, cx);
        }
        cx.events.spare_texts().put(response.members.into_text());
        request
    }

    /// The requests that wait will not be answered, or their responses were not seen (`lost`): their events are written.
    pub(super) fn give_up(&mut self, client: Side, lost: bool, cx: &mut Context<'_>) {
        while let Some(mut request) = self.waiting.pop_front() {
            request.truncated |= lost;
            write(client, &request, None, std::mem::take(&mut self.interim), cx);
            cx.events.spare_texts().put(request.members.into_text());
        }
        self.text = 0;
        self.told = 0;
        self.interim = Interim::default();
    }

    fn number(&mut self) -> u64 {
        let tx = self.next_tx;
        self.next_tx += 1;
        tx
    }
}

fn write(client: Side, request: &Request, response: Option<&Response>, interim: Interim, cx: &mut Context<'_>) {
    cx.event(EventKind::Http, client, Some(request.tx), |json| {
        json.object("http", |json| {
            json.members(request.members.first());
            if let Some(response) = response {
                json.members(response.members.first());
            }
            json.members(request.members.second());
            if let Some(response) = response {
                json.members(response.members.second());
            }
            let measures = Measures {
                request_length: request.length,
                length: response.map_or(0, |response| response.length),
                response_time_ns: response.and_then(|response| response.response_time_ns),
                interim,
                truncated: request.truncated || response.is_some_and(|response| response.truncated),
            };
            measures.write(json);
        });
    });
}
