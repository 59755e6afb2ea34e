//! Requests and the responses that answer them, in the order in which they were sent (RFC 9112 9.3.2).

use super::asked::{Asked, Method, Upgrade};
use super::head::Fields;
use super::queue::Queue;
use super::start::RequestLine;
use crate::protocols::http_event::{Interim, Measures, Members, RequestFields, ResponseFields};
use crate::protocols::{Context, EventKind, Protocol, Side};

/// So many requests wait for their response. Of more than these the event is written at once, and their responses are told apart.
const WAITING_MAX: usize = 1024;
/// So many bytes of events wait for their response, and one event more. Of other requests only what their response needs waits: their event is
/// written at once.
const WAITING_TEXT_MAX: usize = 256 * 1024;

/// A request that changes the protocol: what follows answers it.
#[derive(Debug, Default)]
pub(in crate::protocols) struct Upgraded {
    pub(in crate::protocols) members: Members,
    pub(in crate::protocols) length: u64,
    pub(in crate::protocols) sent_ns: Option<u64>,
    pub(in crate::protocols) truncated: bool,
}

impl Upgraded {
    fn of(request: Request) -> Self {
        let Request { members, length, sent_ns, truncated, .. } = request;
        Self { members, length, sent_ns, truncated }
    }
}

#[derive(Debug, Default)]
struct Request {
    tx: u64,
    members: Members,
    asked: Asked,
    length: u64,
    /// When its last byte came; `None` while there is more.
    sent_ns: Option<u64>,
    /// Where it ends was not seen: what comes next from its client may be of it.
    open: bool,
    truncated: bool,
    /// Its event is written.
    told: bool,
}

#[derive(Debug)]
struct Response {
    members: Members,
    response_time_ns: Option<u64>,
    length: u64,
    truncated: bool,
    /// It answers the first request that waits.
    answers: bool,
}

/// Whether it is known which of the requests that were told apart the next response is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doubt {
    /// They are answered in turn.
    #[default]
    None,
    /// Responses to some may be lost. When as many have come as there were requests, none was.
    Responses,
    /// Requests may be lost, and how many is not known.
    Requests,
}

/// What bytes that are missing from the client's side may have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum RequestsLost {
    #[default]
    None,
    /// The rest of a request, and others of a client that does not wait.
    Perhaps,
    /// A request: the one before was whole.
    Surely,
}

/// How a message was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind the one before it.
    #[default]
    Next,
    /// The first of a side whose beginning was not shown.
    First,
    /// Behind bytes that are missing, or that were not understood: others may have been in them.
    BehindGap,
}

/// What waits to be told.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    waiting: Queue<Request>,
    /// Bytes of the members in `waiting`.
    text: usize,
    /// Requests behind those that wait, told already: their responses are told apart.
    apart: u64,
    doubt: Doubt,
    /// Number of the request whose body comes.
    current: u64,
    response: Option<Response>,
    interim: Interim,
    next_tx: u64,
    /// A request was seen.
    has_asked: bool,
    /// The client does not wait for the response before it sends its next request.
    pipelines: bool,
    /// Bytes of the client are missing since the last request that was seen; and ever.
    requests_lost: RequestsLost,
    ever_lost: bool,
    /// Since the last request that was seen a response has come that is not to it.
    others_answered: bool,
    /// The response to a request that was lost has not been seen: where nothing is missing before the next one, that is it.
    owed: bool,
}

impl Exchanges {
    /// Bytes are missing from the client's side, and where the next request begins was in them; `between` requests they are, and long
    /// enough for one.
    pub(super) fn lose_requests(&mut self, between: bool) {
        let lost = if between { RequestsLost::Surely } else { RequestsLost::Perhaps };
        self.requests_lost = self.requests_lost.max(lost);
        self.ever_lost = true;
    }

    /// Whether it is known that nobody asked for a response that comes while no request waits.
    pub(super) const fn has_all_requests(&self) -> bool {
        !self.ever_lost && self.apart == 0 && matches!(self.doubt, Doubt::None)
    }

    /// A request comes; `server_is_lost` when it is not known where the next response begins.
    ///
    /// A client that waits for its responses has seen those to all that it asked before. One that does not may have seen some or none, and
    /// which of those that follow is for which is known only as long as nothing is missing on either side.
    pub(super) fn request_begins(&mut self, client: Side, place: Place, server_is_lost: bool, cx: &mut Context<'_>) {
        let responses_are_seen = !server_is_lost && !cx.is_unseen(client.other());
        if responses_are_seen && self.unanswered() > 0 {
            self.does_not_wait(client, cx);
        }
        if server_is_lost {
            self.responses_lost(client, cx);
        }
        let others_answered = std::mem::take(&mut self.others_answered);
        let is_in_doubt = match std::mem::take(&mut self.requests_lost) {
            RequestsLost::None => false,
            RequestsLost::Perhaps => self.pipelines,
            // What was lost asked something that has yet to be answered.
            RequestsLost::Surely if others_answered => self.pipelines,
            // Where responses are lost as well, its may be among them.
            RequestsLost::Surely if !responses_are_seen && !self.pipelines => {
                self.owed = true;
                false
            }
            RequestsLost::Surely => true,
        };
        if is_in_doubt && place != Place::Next {
            self.doubt = Doubt::Requests;
        }
    }

    /// The client is seen not to wait. Of one that was picked up in the middle nobody knows how many responses were due then.
    fn does_not_wait(&mut self, client: Side, cx: &mut Context<'_>) {
        let is_new = !std::mem::replace(&mut self.pipelines, true);
        if is_new && cx.is_joined(client) {
            self.doubt = Doubt::Requests;
            self.responses_lost(client, cx);
        }
    }

    /// Memory that what waits takes, in bytes; that of one request is in place.
    pub(super) fn size(&self) -> usize {
        self.text + self.waiting.len().saturating_sub(1) * size_of::<Request>()
    }

    /// Requests that wait and whose response has not begun.
    fn unanswered(&self) -> usize {
        self.waiting.len() - usize::from(self.response.as_ref().is_some_and(|response| response.answers))
    }

    /// Bytes are missing from the server's side, and the responses to any that wait may have been in them.
    fn responses_lost(&mut self, client: Side, cx: &mut Context<'_>) {
        if self.pipelines {
            self.tell_apart(client, cx);
        } else {
            self.tell_waiting(client, true, cx);
        }
    }

    /// Which of those that wait the next response is for is not known.
    fn tell_apart(&mut self, client: Side, cx: &mut Context<'_>) {
        self.apart += self.unanswered() as u64;
        self.tell_waiting(client, true, cx);
        if self.apart > 0 && self.doubt == Doubt::None {
            self.doubt = Doubt::Responses;
        }
    }

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
        let tx = self.number();
        self.has_asked = true;
        let mut request = Request { tx, members, asked, length: 0, sent_ns: None, open: false, truncated, told: false };
        self.current = request.tx;
        if self.apart > 0 || self.doubt == Doubt::Requests || self.waiting.len() >= WAITING_MAX {
            self.apart += 1;
            request.truncated |= self.doubt != Doubt::None;
            write(client, &request, None, Interim::default(), cx);
            cx.events.spare_texts().put(request.members.into_text());
            return;
        }
        let text = self.text + request.members.size();
        if text > WAITING_TEXT_MAX && !self.waiting.is_empty() {
            write(client, &request, None, Interim::default(), cx);
            cx.events.spare_texts().put(std::mem::take(&mut request.members).into_text());
            request.told = true;
        }
        self.text += request.members.size();
        self.waiting.push_back(request);
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

    /// Nothing more comes of the request, or where its end is was `lost`.
    pub(super) fn request_end(&mut self, time_ns: u64, lost: bool) {
        if let Some(request) = self.current() {
            request.sent_ns = Some(time_ns);
            request.open = lost;
        }
    }

    /// The client sends what is no new request: of one whose end was not seen it is a part. A response that has begun was not the answer to
    /// all of it.
    pub(super) fn request_goes_on(&mut self, time_ns: u64) {
        let is_answered = self.unanswered() == 0;
        let Some(request) = self.current().filter(|request| request.open) else { return };
        request.sent_ns = Some(time_ns);
        if let Some(response) = self.response.as_mut().filter(|_| is_answered) {
            response.response_time_ns = None;
        }
    }

    fn current(&mut self) -> Option<&mut Request> {
        let current = self.current;
        self.waiting.back_mut().filter(|request| request.tx == current)
    }

    /// The head of a response has come that is not interim. Of a client that waits for each response, the newest request is the one that
    /// it answers: where it stands behind a gap, responses to the others were in that. Of one that does not wait, nobody knows.
    pub(super) fn response_begins(&mut self, client: Side, place: Place, cx: &mut Context<'_>) {
        let owed = std::mem::take(&mut self.owed);
        if place == Place::Next {
            if owed {
                (self.pipelines, self.doubt) = (true, Doubt::Requests);
                self.responses_lost(client, cx);
            } else if self.unanswered() > 1 {
                self.does_not_wait(client, cx);
            }
            return;
        }
        let waiting = self.waiting.len() as u64 + self.apart;
        if self.requests_lost == RequestsLost::Surely || self.pipelines && waiting > 1 {
            return self.responses_lost(client, cx);
        }
        if place == Place::First && waiting > 1 {
            // The first requests may have been answered, or the client may not wait.
            return self.tell_apart(client, cx);
        }
        while self.waiting.len() > 1 {
            let Some(request) = self.waiting.pop_front() else { return };
            self.text = self.text.saturating_sub(request.members.size());
            self.tell(client, request, true, cx);
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
    pub(super) fn response(
        &mut self,
        client: Side,
        (status, fields): (u16, &Fields<'_>),
        started_ns: u64,
        cx: &mut Context<'_>,
    ) {
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
        let request = self.waiting.front();
        // Of a request without an end the last byte is known where nothing is missing behind what was seen.
        let is_sent = |request: &&Request| !(request.open && cx.is_unseen(client));
        let (answers, sent_ns) = (request.is_some(), request.filter(is_sent).and_then(|request| request.sent_ns));
        let response_time_ns = sent_ns.and_then(|sent| started_ns.checked_sub(sent));
        if let Some(nanos) = response_time_ns {
            cx.response_time(Protocol::Http1, nanos);
        }
        let truncated = !answers && self.is_cut_off(client, cx);
        if !answers {
            self.others_answered = true;
            self.apart = self.apart.saturating_sub(1);
            if self.apart == 0 && self.doubt == Doubt::Responses {
                self.doubt = Doubt::None;
            }
        }
        self.response = Some(Response { members, response_time_ns, length: 0, truncated, answers });
    }

    /// Whether a response that is told alone has a request that was not seen, or that is told elsewhere since it is not known which it is.
    fn is_cut_off(&self, client: Side, cx: &Context<'_>) -> bool {
        let is_before_all = !self.has_asked && cx.is_joined(client);
        self.doubt != Doubt::None || (self.apart == 0 && (self.ever_lost || is_before_all || cx.is_unseen(client)))
    }

    /// So many bytes of the response's body.
    #[inline]
    pub(super) fn response_bytes(&mut self, bytes: u64) {
        if let Some(response) = &mut self.response {
            response.length += bytes;
        }
    }

    /// Bytes are missing between two responses. Where one request waits they are an interim response to it, or all of its response.
    pub(super) fn gap_before_response(&mut self) {
        if self.unanswered() == 1
            && let Some(request) = self.waiting.back_mut()
        {
            request.truncated = true;
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
        self.answered(client, cx).map(Upgraded::of)
    }

    /// The client goes on in HTTP/2, so that its last request has changed the protocol: the response that said so has not been seen. Tells
    /// what waits, and gives that request, if it is known that it asked for that.
    pub(super) fn upgrade_unseen(&mut self, client: Side, cx: &mut Context<'_>) -> Option<Upgraded> {
        self.response_gap();
        self.response_end(client, cx);
        let mut upgraded = None;
        while let Some(mut request) = self.waiting.pop_front() {
            if self.waiting.is_empty() && request.asked.upgrade == Some(Upgrade::Http2) && !request.told {
                let truncated = std::mem::replace(&mut request.truncated, true);
                write(client, &request, None, std::mem::take(&mut self.interim), cx);
                upgraded = Some(Upgraded { truncated, ..Upgraded::of(request) });
            } else {
                self.tell(client, request, true, cx);
            }
        }
        self.give_up(client, true, cx);
        upgraded
    }

    /// Writes the event of the response, with the first request that waits if it answers that; gives the request.
    fn answered(&mut self, client: Side, cx: &mut Context<'_>) -> Option<Request> {
        let response = self.response.take()?;
        let interim = std::mem::take(&mut self.interim);
        let request = if response.answers { self.waiting.pop_front() } else { None };
        let request = request.map(|mut request| {
            // Its end is not shown, or is not yet.
            request.truncated |= request.sent_ns.is_none() && cx.is_unseen(client);
            request
        });
        if let Some(request) = &request {
            self.text = self.text.saturating_sub(request.members.size());
            write(client, request, Some(&response), interim, cx);
        } else {
            let request = Request { tx: self.number(), ..Request::default() };
            write(client, &request, Some(&response), interim, cx);
        }
        cx.events.spare_texts().put(response.members.into_text());
        request
    }

    /// The requests that wait will not be answered, or their responses were not seen (`lost`): their events are written.
    pub(super) fn give_up(&mut self, client: Side, lost: bool, cx: &mut Context<'_>) {
        let lost = lost || cx.is_unseen(client.other());
        self.tell_waiting(client, lost, cx);
        self.apart = 0;
    }

    /// A response that has begun is told apart from now on as well.
    fn tell_waiting(&mut self, client: Side, lost: bool, cx: &mut Context<'_>) {
        if let Some(response) = self.response.as_mut().filter(|response| response.answers) {
            (response.answers, response.truncated, response.response_time_ns) = (false, true, None);
        }
        while let Some(request) = self.waiting.pop_front() {
            self.tell(client, request, lost, cx);
        }
        self.text = 0;
        self.interim = Interim::default();
    }

    /// Writes the event of a request without a response, which was `lost` or did not come.
    fn tell(&mut self, client: Side, mut request: Request, lost: bool, cx: &mut Context<'_>) {
        let interim = std::mem::take(&mut self.interim);
        if !request.told {
            request.truncated |= lost;
            write(client, &request, None, interim, cx);
            cx.events.spare_texts().put(request.members.into_text());
        }
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
