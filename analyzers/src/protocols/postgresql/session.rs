//! One connection: which requests wait, and what they are answered.

use std::collections::VecDeque;

use super::HEADER_LEN;
use super::request::{Extended, Kind, Request};
use super::response::{Response, authentication};
use super::startup::Startup;
use crate::protocols::framing::Message;
use crate::protocols::statement::STATEMENT_MAX;
use crate::protocols::{Context, EventKind, Guess, Next, Protocol, Side};

/// The most requests that wait for answers. Of a longer pipeline the rest is told without.
const WAITING_MAX: usize = 64;

/// Where a client does not wait, and bytes are missing: it is in order again after nobody has said anything for so many nanoseconds.
const QUIET_NS: u64 = 100_000_000;

/// Whether a message of this type comes from that side.
pub(super) fn is_known(from: Side, kind: u8) -> bool {
    match from {
        Side::Originator => b"BCDEFHPQSXcdfp".contains(&kind),
        Side::Responder => b"123ACDEGHIKNRSTVWZcdnstv".contains(&kind),
    }
}

/// How many bytes behind type and length are wanted.
pub(super) const fn wanted(from: Side, kind: u8) -> usize {
    match (from, kind) {
        (Side::Originator, b'Q') => STATEMENT_MAX + 1,
        (Side::Originator, b'P') => STATEMENT_MAX + 128,
        (Side::Originator, b'B') => 192,
        (Side::Originator, b'D') => 72,
        // The mechanism's name; what is behind it is nobody's business.
        (Side::Originator, b'p') => 24,
        (Side::Responder, b'E') => 1024,
        (Side::Responder, b'C' | b'S') => 320,
        (Side::Responder, b'R' | b'K') => 4,
        (Side::Responder, b'T' | b'D' | b'Z') => 2,
        _ => 0,
    }
}

/// Whether a message surely begins here: where bytes are missing in front, or the flow was picked up in the middle.
pub(super) fn begins(from: Side, bytes: &[u8]) -> Guess {
    let Some((kind, rest)) = bytes.split_first() else { return Guess::Perhaps };
    // What a client begins with, and what a server answers with; the middle of an answer is no place to begin.
    let starts: &[u8] = if from == Side::Originator { b"QPBX" } else { b"TCEZ1RN" };
    if !starts.contains(kind) {
        return Guess::No;
    }
    let Some((length, body)) = rest.split_first_chunk::<4>() else { return Guess::Perhaps };
    let length = u32::from_be_bytes(*length) as usize;
    let Some(length) = length.checked_sub(4).filter(|length| *length < 1 << 24) else { return Guess::No };
    let body = body.get(..length).unwrap_or(body);
    let text = || is_text(body);
    let fits = match (from, kind) {
        (Side::Originator, b'X') | (Side::Responder, b'1') => length == 0,
        (Side::Originator, b'Q') => length > 1 && text() && body.first() != Some(&0),
        (Side::Originator, b'P') => length > 4 && text(),
        (Side::Responder, b'Z') => length == 1 && body.first().is_none_or(|state| b"ITE".contains(state)),
        (Side::Responder, b'C') => length < 64 && text() && body.first().is_none_or(u8::is_ascii_uppercase),
        (Side::Responder, b'E' | b'N') => length > 8 && body.first().is_none_or(|field| *field == b'S'),
        // One of the thirteen kinds of authentication.
        (Side::Responder, b'R') => {
            (4..1 << 16).contains(&length) && body.iter().zip([0, 0, 0, 12]).all(|(byte, most)| *byte <= most)
        }
        (Side::Responder, b'T') => body.len() < 2 || body.first().is_some_and(|high| *high < 8),
        _ => length >= 6,
    };
    if fits { Guess::Yes } else { Guess::No }
}

/// Whether `body` begins with texts.
fn is_text(body: &[u8]) -> bool {
    body.iter().take(24).all(|byte| *byte >= b' ' || b"\n\r\t\0".contains(byte))
}

/// Whether a client answers here what the server asks of a login, and no more than that: the name of a mechanism, or text.
pub(super) fn is_login(bytes: &[u8]) -> bool {
    let Some(([b'p', length @ ..], body)) = bytes.split_first_chunk::<HEADER_LEN>() else { return false };
    let most = (u32::from_be_bytes(*length) as usize).saturating_sub(4);
    (4..1 << 16).contains(&most) && body.len() <= most && is_text(body)
}

/// What was asked behind the requests that wait, told already.
#[derive(Debug, Default)]
struct Beyond {
    /// The extended statement that the client is at.
    statement: Option<Request>,
    /// Extended statements have come since the last Sync.
    is_open: bool,
    /// How often the server will say that it is ready.
    ready: u64,
}

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    waiting: VecDeque<Request>,
    beyond: Beyond,
    response: Response,
    /// The server has asked for SASL: the client's next answer names the mechanism.
    sasl: bool,
    /// Bytes of the server are missing, and no message of it was seen since.
    lost: bool,
    /// The server takes what is copied in, and no Sync.
    copying: bool,
    /// Bytes are missing where statements were on their way: whose the next answers are is not known.
    doubted: bool,
    /// The server has said that it is ready since anything was asked in doubt.
    ready: bool,
    /// The client does not wait until the server is ready before it asks on.
    pipelines: bool,
    /// When anything was heard last, while in doubt.
    heard_ns: u64,
    began: bool,
    told: u64,
}

impl Session {
    /// Memory that what waits takes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.waiting.iter().map(Request::size).sum::<usize>() + self.waiting.capacity() * size_of::<Request>()
    }

    /// The next byte of the server is the answer to a request for encryption.
    pub(super) fn waits_for_encryption(&self) -> bool {
        self.waiting.front().is_some_and(|request| matches!(request.kind, Kind::Startup(Startup::Tls | Startup::Gss)))
    }

    pub(super) fn client_sent(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Next {
        let Some(first) = message.bytes.first() else { return Next::More };
        let body = message.bytes.get(HEADER_LEN..).unwrap_or_default();
        let cut = message.cut;
        if !std::mem::replace(&mut self.began, true) && cx.is_joined(Side::Originator) {
            self.doubted = true;
        }
        match first {
            0 => {
                if let Some(startup) = Startup::read(message.bytes) {
                    let answered = !matches!(startup, Startup::Cancel { .. });
                    self.ask(Kind::Startup(startup), answered, cut, cx);
                }
            }
            b'Q' => self.ask(Kind::query(body), true, cut || !body.contains(&0), cx),
            b'P' => {
                let is_long = body.split(|byte| *byte == 0).nth(1).is_some_and(|text| text.len() > STATEMENT_MAX);
                self.extended(cut || is_long, cx, |extended| extended.parse(body));
            }
            b'B' => self.extended(cut, cx, |extended| extended.bind(body)),
            b'D' => self.extended(cut, cx, |extended| extended.describe(body)),
            b'E' => self.extended(cut, cx, |extended| extended.executed = true),
            // The server leaves it out while it takes what is copied in.
            b'S' if self.copying => {}
            b'S' => self.ask(Kind::Sync, true, cut, cx),
            b'F' => self.ask(Kind::Function, true, cut, cx),
            b'p' => {
                let sasl = std::mem::take(&mut self.sasl);
                self.ask(Kind::authentication(body, sasl), true, cut, cx);
            }
            b'd' if !self.waiting.is_empty() => self.response.copy(message.length.saturating_sub(HEADER_LEN as u64)),
            b'c' | b'f' => self.copied(),
            b'X' => self.ask(Kind::Terminate, false, cut, cx),
            _ => {}
        }
        Next::More
    }

    /// The server begins to take what the client copies in. A Sync that came behind Execute is left out.
    fn copies(&mut self) {
        match self.waiting.front() {
            Some(Request { kind: Kind::Extended(extended), .. }) if extended.copied => {}
            Some(Request { kind: Kind::Extended(_), .. }) => {
                self.copying = true;
                while matches!(self.waiting.get(1), Some(Request { kind: Kind::Sync, .. })) {
                    self.waiting.remove(1);
                }
            }
            _ => {}
        }
    }

    /// The client has copied all, or gives up. What it sent may be seen before the answer that it waited for.
    fn copied(&mut self) {
        if std::mem::take(&mut self.copying) {
            return;
        }
        let last = self.waiting.iter().rposition(|request| !matches!(request.kind, Kind::Sync));
        if let Some(last) = last
            && let Some(Request { kind: Kind::Extended(extended), .. }) = self.waiting.get_mut(last)
        {
            extended.copied = true;
            self.waiting.truncate(last + 1);
        }
    }

    /// Changes the extended statement that the client is at.
    fn extended(&mut self, cut: bool, cx: &mut Context<'_>, change: impl FnOnce(&mut Extended)) {
        let last =
            if self.is_beyond() || self.doubted { self.beyond.statement.as_mut() } else { self.waiting.back_mut() };
        if let Some(Request { kind: Kind::Extended(extended), cut: has_hole, .. }) = last
            && !extended.executed
        {
            *has_hole |= cut;
            change(extended);
            return;
        }
        let mut extended = Extended::default();
        change(&mut extended);
        self.ask(Kind::Extended(extended), true, cut, cx);
    }

    /// Whether requests are told that the server has not answered yet.
    const fn is_beyond(&self) -> bool {
        self.beyond.is_open || self.beyond.ready > 0
    }

    fn ask(&mut self, kind: Kind, answered: bool, cut: bool, cx: &mut Context<'_>) {
        // Clients wait for an answer before they ask on, but for the statements of one pipeline: what waits was answered, unseen.
        if self.lost && !matches!(self.waiting.back(), Some(Request { kind: Kind::Extended(_), .. })) {
            self.flush(true, cx);
        }
        let request = Request { asked_ns: cx.time_ns, kind, cut };
        if self.doubted && answered {
            self.settle(&request.kind, cx);
        }
        self.pipelines |=
            !self.lost && matches!(self.waiting.back(), Some(Request { kind: Kind::Query(_) | Kind::Sync, .. }));
        if !answered {
            self.tell(&request, None, false, cx);
            return;
        }
        if self.waiting.len() >= WAITING_MAX || self.is_beyond() || self.doubted {
            self.ask_beyond(request, cx);
            return;
        }
        self.waiting.push_back(request);
    }

    /// Ends the doubt where a client asks on that has waited until the server was ready. What stands in no pipeline is asked by one that
    /// waits.
    fn settle(&mut self, kind: &Kind, cx: &mut Context<'_>) {
        let waits = matches!(kind, Kind::Query(_) | Kind::Startup(_) | Kind::Authentication { .. });
        let is_quiet = cx.time_ns.saturating_sub(std::mem::replace(&mut self.heard_ns, cx.time_ns)) >= QUIET_NS;
        let is_ready = std::mem::take(&mut self.ready);
        let is_over = if self.pipelines { is_ready && is_quiet } else { is_ready || waits };
        if is_over {
            self.tell_beyond(cx);
            self.beyond = Beyond::default();
            self.doubted = false;
        }
    }

    /// Tells a request that has no place among those that wait, and counts what the server will say to it.
    fn ask_beyond(&mut self, request: Request, cx: &mut Context<'_>) {
        self.tell_beyond(cx);
        if matches!(request.kind, Kind::Extended(_)) {
            self.beyond.is_open = true;
            self.beyond.statement = Some(request);
            return;
        }
        self.beyond.is_open = false;
        self.beyond.ready += 1;
        if !matches!(request.kind, Kind::Sync) {
            self.tell(&request, None, true, cx);
        }
    }

    /// Tells the extended statement beyond those that wait, which is complete.
    fn tell_beyond(&mut self, cx: &mut Context<'_>) {
        if let Some(statement) = self.beyond.statement.take() {
            self.tell(&statement, None, true, cx);
        }
    }

    pub(super) fn server_sent(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Next {
        let Some(kind) = message.bytes.first().copied() else { return Next::More };
        self.lost = false;
        let body = message.bytes.get(HEADER_LEN..).unwrap_or_default();
        if self.waiting.is_empty() {
            match kind {
                b'Z' => {
                    self.ready_beyond();
                    self.ready = true;
                }
                // What the client answers is a request that it makes, though its first one was not seen.
                b'R' => self.sasl = authentication(body).is_some_and(|(_, sasl)| sasl),
                _ => {}
            }
            self.heard_ns = cx.time_ns;
            return Next::More;
        }
        if message.length == 1 {
            return self.encryption(kind, cx);
        }
        // Notices and notifications come at any time and belong to no request.
        if !matches!(kind, b'N' | b'A') {
            self.response.began_ns.get_or_insert(cx.time_ns);
            self.response.cut |= message.cut;
        }
        if matches!(kind, b'C' | b'E' | b'Z') {
            self.copying = false;
        }
        match kind {
            b'R' => self.authentication(body, cx),
            b'S' => self.response.parameter(body),
            b'K' => self.response.process(body),
            b'T' => self.response.columns(body),
            b'D' => self.response.row(body, message.length - 1),
            b'd' => self.response.copy(message.length - HEADER_LEN as u64),
            b'G' => self.copies(),
            b'E' => {
                self.response.error(body);
                // Before a session there is no end of an answer but this.
                if self.is_opening() {
                    self.answered(cx);
                }
            }
            b'C' => self.completed(body, cx),
            // An empty statement, and one that has more rows.
            b'I' | b's' if self.front_is_extended() => self.answered(cx),
            // Both sides copy without an end: replication.
            b'W' => {
                self.answered(cx);
                return Next::Done;
            }
            b'Z' => self.ready(cx),
            _ => {}
        }
        Next::More
    }

    fn is_opening(&self) -> bool {
        matches!(self.waiting.front(), Some(Request { kind: Kind::Startup(_) | Kind::Authentication { .. }, .. }))
    }

    fn front_is_extended(&self) -> bool {
        matches!(self.waiting.front(), Some(Request { kind: Kind::Extended(_), .. }))
    }

    fn encryption(&mut self, answer: u8, cx: &mut Context<'_>) -> Next {
        let tls = matches!(self.waiting.front(), Some(Request { kind: Kind::Startup(Startup::Tls), .. }));
        self.response.began_ns = Some(cx.time_ns);
        self.response.encryption(answer != b'N');
        self.answered(cx);
        match answer {
            b'N' => Next::More,
            _ if tls => Next::Becomes(Protocol::Tls),
            _ => Next::Done,
        }
    }

    fn authentication(&mut self, body: &[u8], cx: &mut Context<'_>) {
        let asked = authentication(body);
        self.sasl = asked.is_some_and(|(_, sasl)| sasl);
        if let Some((name, _)) = asked {
            self.response.says(name);
        }
        // What says that it is over comes before parameters and ReadyForQuery.
        if !matches!(asked, Some(("authentication_ok" | "authentication_sasl_final", _))) && self.is_opening() {
            self.answered(cx);
        }
    }

    fn completed(&mut self, body: &[u8], cx: &mut Context<'_>) {
        self.response.complete(body);
        if self.front_is_extended() {
            self.answered(cx);
        }
    }

    /// The server is ready: a simple query is answered, or all extended statements up to Sync.
    fn ready(&mut self, cx: &mut Context<'_>) {
        while let Some(request) = self.waiting.front() {
            match request.kind {
                Kind::Sync => {
                    self.waiting.pop_front();
                    self.response = Response::default();
                    return;
                }
                Kind::Extended(_) => self.answered(cx),
                _ => {
                    self.answered(cx);
                    return;
                }
            }
        }
        // The Sync behind them was one too many to wait.
        self.ready_beyond();
        self.response = Response::default();
    }

    /// The server is ready, with nothing of what waits before it.
    const fn ready_beyond(&mut self) {
        if self.beyond.ready > 0 {
            self.beyond.ready -= 1;
        } else if self.beyond.statement.is_none() {
            self.beyond.is_open = false;
        }
    }

    fn answered(&mut self, cx: &mut Context<'_>) {
        let mut response = std::mem::take(&mut self.response);
        // What the client copied in may be among what has not come.
        response.cut |= response.copies() && cx.is_unseen(Side::Originator);
        if let Some(request) = self.waiting.pop_front() {
            // What the server skips after an error has no answer of its own.
            self.tell(&request, Some(&response).filter(|response| response.has_begun()), false, cx);
        }
        // After an error all is skipped up to Sync.
        if response.is_error() {
            while matches!(self.waiting.front(), Some(Request { kind: Kind::Extended(_), .. }))
                && (self.beyond.ready > 0 || self.waiting.iter().any(|request| matches!(request.kind, Kind::Sync)))
            {
                if let Some(skipped) = self.waiting.pop_front() {
                    self.tell(&skipped, None, false, cx);
                }
            }
        }
    }

    /// Where messages of `from` begin is not known any more.
    pub(super) fn lose(&mut self, from: Side, cx: &mut Context<'_>) {
        self.lost |= from == Side::Responder;
        let is_within = matches!(self.waiting.back(), Some(Request { kind: Kind::Extended(_), .. }));
        self.doubted |= self.pipelines || is_within || from == Side::Originator;
        self.ready = false;
        self.copying = false;
        self.flush(true, cx);
    }

    /// Tells the requests that wait, with what there is of an answer to the first. `cut` where it is not their end that they have no
    /// more, but that bytes are missing.
    pub(super) fn flush(&mut self, cut: bool, cx: &mut Context<'_>) {
        let mut response = Some(std::mem::take(&mut self.response)).filter(Response::has_begun);
        while let Some(request) = self.waiting.pop_front() {
            if !matches!(request.kind, Kind::Sync) {
                let response = response.take();
                let whole = response.as_ref().is_none_or(Response::is_error);
                self.tell(&request, response.as_ref(), cut || !whole, cx);
            }
        }
        self.tell_beyond(cx);
        self.beyond = Beyond::default();
    }

    fn tell(&mut self, request: &Request, response: Option<&Response>, cut: bool, cx: &mut Context<'_>) {
        // Suricata counts from 1.
        self.told += 1;
        let tx = self.told;
        let cut = cut || request.cut || response.is_some_and(|response| response.cut);
        let began_ns = response.and_then(|response| response.began_ns);
        let time_ns = began_ns.map(|began| began.saturating_sub(request.asked_ns));
        if let Some(nanos) = time_ns {
            cx.response_time(Protocol::PostgreSql, nanos);
        }
        cx.event(EventKind::PostgreSql, Side::Originator, None, |json| {
            json.object("pgsql", |json| {
                json.number("tx_id", tx);
                json.object("request", |json| request.members(json));
                if let Some(response) = response {
                    json.object("response", |json| response.members(json));
                }
                if let Some(nanos) = time_ns {
                    json.number("response_time_us", nanos / 1000);
                }
                if cut {
                    json.flag("truncated", true);
                }
            });
        });
    }
}
