//! HTTP/1.0 and 1.1 (RFC 9112).
//!
//! A head that lies within one piece is read where it lies; bodies are counted and not looked at. Each side is read on its own, and
//! responses answer requests in their order. Which side is the client is told by the first message, not by who opened the
//! connection: a flow that was picked up in the middle may begin with a response.
//!
//! Where bytes are missing within a body whose length is known, or within a chunk, they are counted over. Elsewhere the message
//! ends, marked as cut, and that side goes on with what looks like a message's first line, at the beginning of a piece or of a
//! line. Which response is for which request is then known of a client that waits for each before it asks again, as nearly all do: when
//! its next request comes, those before are over. What a client that does not wait has asked, and what it is answered behind
//! bytes that are missing, is told apart and marked, until as many answers have come as there were requests. So it is where the connection was
//! picked up in the middle, and where the answer to a request that was lost comes behind the next request.

mod asked;
mod check;
mod chunked;
mod exchange;
mod framing;
mod head;
mod queue;
mod reader;
mod recovery;
mod start;
#[cfg(test)]
mod tests;

use self::asked::{Method, Upgrade};
use self::chunked::{Chunked, LineScan, Outcome};
pub(in crate::protocols) use self::exchange::Upgraded;
use self::exchange::{Exchanges, Place};
use self::framing::Framing;
use self::head::{Fields, Head, end_of_head};
use self::reader::{Reader, State, reader_state};
use self::start::RequestLine;
use super::http_event::Anomalies;
use super::http2::Http2;
use super::{Context, Guess, Next, Opening, Protocol, Side, StreamProtocol};

/// So many bytes of a head are kept. Of a longer one these are told, and the rest is passed over.
const HEAD_MAX: usize = 64 * 1024;

/// HTTP/1 over one connection.
///
/// Holds at most 64 KiB of the beginning of a head for each side, and 1024 requests that wait for their response, with 256 KiB of text.
#[derive(Debug)]
pub struct Http1 {
    /// By [`Side::index`].
    readers: [Reader; 2],
    /// `None` until the first message.
    client: Option<Side>,
    exchanges: Exchanges,
    anomalies: Anomalies,
    /// Nothing was missing yet.
    is_whole: bool,
    /// After a response to CONNECT.
    tunnel: bool,
    upgraded: Option<Upgraded>,
    /// The client has begun HTTP/2, with the first line of its preface.
    by_preface: bool,
    unused: usize,
}

/// How much of a piece was used, and what is wanted then.
type Step = (usize, Next);

impl Default for Http1 {
    fn default() -> Self {
        let reader = || Reader { fresh: true, ..Reader::default() };
        Self {
            readers: [reader(), reader()],
            client: None,
            exchanges: Exchanges::default(),
            anomalies: Anomalies::new(Protocol::Http1),
            is_whole: true,
            tunnel: false,
            upgraded: None,
            by_preface: false,
            unused: 0,
        }
    }
}

impl StreamProtocol for Http1 {
    const PROTOCOL: Protocol = Protocol::Http1;

    fn recognise(opening: &Opening<'_>) -> Guess {
        let mut guess = Guess::No;
        for bytes in [opening.originator, opening.responder] {
            if bytes.is_empty() {
                continue;
            }
            for side in [start::guess_request(bytes), start::guess_response(bytes)] {
                match side {
                    Guess::Yes => return Guess::Yes,
                    Guess::Perhaps => guess = Guess::Perhaps,
                    Guess::No => {}
                }
            }
        }
        guess
    }

    fn client(opening: &Opening<'_>) -> Option<Side> {
        let is = |bytes: &[u8], guess: fn(&[u8]) -> Guess| !bytes.is_empty() && guess(bytes) == Guess::Yes;
        [(Side::Originator, opening.originator), (Side::Responder, opening.responder)].into_iter().find_map(
            |(from, bytes)| {
                if is(bytes, start::guess_response) {
                    Some(from.other())
                } else {
                    is(bytes, start::guess_request).then_some(from)
                }
            },
        )
    }

    fn data(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> Next {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.tunnel {
                self.unused = rest.len();
                // A handshake record of TLS (RFC 8446 5.1): nothing else that goes through proxies begins so.
                return if rest.starts_with(&[0x16]) { Next::Becomes(Protocol::Tls) } else { Next::Done };
            }
            let (used, next) = self.step(from, rest, cx);
            rest = rest.get(used..).unwrap_or_default();
            if next != Next::More {
                self.unused = rest.len();
                return next;
            }
        }
        Next::More
    }

    #[inline]
    fn passes(&mut self, from: Side, bytes: &[u8]) -> bool {
        let length = bytes.len() as u64;
        let passes = !self.tunnel
            && match &mut self.readers[from.index()].state {
                State::Body(left) if *left > length => {
                    *left -= length;
                    true
                }
                State::Chunked(body) => body.passes(length),
                State::UntilEnd => true,
                _ => false,
            };
        if passes {
            self.count(from, length);
        }
        passes
    }

    fn gap(&mut self, from: Side, bytes: u64, cx: &mut Context<'_>) -> Next {
        self.missing(from, bytes, cx)
    }

    fn kept(&self) -> usize {
        self.readers.iter().map(|reader| reader.kept.capacity()).sum::<usize>() + self.exchanges.size()
    }

    fn end(&mut self, from: Side, cx: &mut Context<'_>) {
        let server_is_lost = self.client.is_some_and(|client| {
            matches!(self.readers[client.other().index()].state, State::Lost)
                && !self.readers[client.other().index()].ended
        });
        match self.readers[from.index()].state {
            State::Head => {
                self.last_head(from, cx);
            }
            State::HeadRest(..) | State::Body(_) | State::Chunked(_) => self.finish(from, true, cx),
            State::UntilEnd | State::BodyOrHead(_) => self.finish(from, false, cx),
            State::Lost => {}
        }
        let reader = &mut self.readers[from.index()];
        reader.state = State::Lost;
        reader.ended = true;
        if let Some(client) = self.client
            && (from != client || self.readers[from.other().index()].ended)
        {
            self.exchanges.give_up(client, server_is_lost, cx);
        }
    }

    fn unused(&self) -> usize {
        self.unused
    }
}

impl Http1 {
    /// HTTP/2 that goes on with the request that asked for it, after [`Next::Becomes`] said so: the request is stream 1
    /// (RFC 7540 3.2).
    pub fn into_http2(self) -> Http2 {
        Http2::upgraded(self.client.unwrap_or(Side::Originator), self.upgraded, self.by_preface)
    }

    /// One step further in `bytes`, which are not empty.
    fn step(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> Step {
        let reader = &mut self.readers[from.index()];
        let used = match &mut reader.state {
            State::Body(left) => {
                let length = (*left).min(bytes.len() as u64);
                *left -= length;
                let complete = *left == 0;
                self.count(from, length);
                if complete {
                    self.finish(from, false, cx);
                }
                length as usize
            }
            State::UntilEnd => {
                self.count(from, bytes.len() as u64);
                bytes.len()
            }
            State::Chunked(body) => {
                let progress = body.read(bytes);
                self.count(from, progress.body);
                match progress.outcome {
                    Outcome::More => {}
                    Outcome::Complete => self.finish(from, false, cx),
                    Outcome::Invalid => {
                        if self.is_all_seen(cx) {
                            let name = self.name(from, "invalid_request_chunk_len", "invalid_response_chunk_len");
                            self.anomalies.tell(from, name, cx);
                        }
                        self.finish(from, true, cx);
                    }
                }
                progress.used
            }
            State::Head => return self.head(from, bytes, cx),
            State::BodyOrHead(framing) => {
                let framing = *framing;
                return (self.body_or_head(from, framing, bytes, cx), Next::More);
            }
            State::HeadRest(scan, framing) => match scan.find_empty(bytes) {
                Some(end) => {
                    let framing = *framing;
                    self.begin_body(from, framing, cx);
                    end
                }
                None => bytes.len(),
            },
            State::Lost => {
                let used = self.look_for_start(from, bytes);
                if used > 0 && self.client == Some(from) {
                    self.exchanges.request_goes_on(cx.time_ns);
                }
                used
            }
        };
        (used, Next::More)
    }

    /// Reads a head, or keeps its beginning.
    fn head(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> Step {
        let response = self.client.map(|client| client != from);
        let reader = &mut self.readers[from.index()];
        if reader.fresh && !reader.doubtful && cx.is_joined(from) {
            reader.state = State::Lost;
            reader.place = Place::First;
            return (0, Next::More);
        }
        if reader.kept.is_empty() {
            let text = start::skip_empty_lines(bytes);
            if text.len() < bytes.len() {
                return (bytes.len() - text.len(), Next::More);
            }
            if !reader.begins(bytes, response) {
                self.not_a_head(from, response == Some(true), cx);
                return (0, Next::More);
            }
            reader.started_ns = cx.time_ns;
            let within = bytes.get(..HEAD_MAX).unwrap_or(bytes);
            let mut head = Head::default();
            if let (used, true) = head.read(within) {
                return (used, self.message(from, &head, false, cx));
            }
        }
        let before = reader.kept.len();
        let taken = bytes.len().min(HEAD_MAX.saturating_sub(before));
        reader.kept.extend_from_slice(&bytes[..taken]);
        if !reader.begins(&reader.kept, response) {
            reader.kept = Vec::new();
            self.not_a_head(from, response == Some(true), cx);
            return (taken, Next::More);
        }
        // The empty line may have begun in what was kept: CR LF CR are three bytes.
        if let Some(end) = end_of_head(&reader.kept, before.saturating_sub(3)) {
            let kept = std::mem::take(&mut reader.kept);
            let mut head = Head::default();
            let (_, whole) = head.read(&kept[..end]);
            let next = if whole { self.message(from, &head, false, cx) } else { Next::More };
            return (end - before, next);
        }
        if reader.kept.len() < HEAD_MAX {
            return (taken, Next::More);
        }
        let response = reader.kept.starts_with(b"HTTP/");
        let next = self.cut_head(from, cx);
        self.anomalies.tell(from, if response { "response_field_too_long" } else { "request_field_too_long" }, cx);
        (taken, next)
    }

    /// Tells what was kept of a head that is too long; its rest follows.
    fn cut_head(&mut self, from: Side, cx: &mut Context<'_>) -> Next {
        let kept = std::mem::take(&mut self.readers[from.index()].kept);
        if kept.is_empty() {
            self.readers[from.index()].state = State::Lost;
            return Next::More;
        }
        if start::guess_request(&kept) == Guess::Yes || start::guess_response(&kept) == Guess::Yes {
            return self.message(from, &Head::cut(&kept), true, cx);
        }
        self.readers[from.index()].state = State::Lost;
        Next::More
    }

    /// Tells what was kept of a head of which nothing more comes.
    fn last_head(&mut self, from: Side, cx: &mut Context<'_>) -> Next {
        let next = self.cut_head(from, cx);
        if matches!(self.readers[from.index()].state, State::HeadRest(..)) {
            self.finish(from, true, cx);
        }
        next
    }

    /// A head has come; `cut` when its end has not.
    fn message(&mut self, from: Side, head: &Head<'_>, cut: bool, cx: &mut Context<'_>) -> Next {
        let response = head.start.starts_with(b"HTTP/");
        let client = *self.client.get_or_insert(if response { from.other() } else { from });
        if response == (from == client) {
            self.not_a_head(from, from != client, cx);
            return Next::More;
        }
        if response { self.response(from, head, cut, cx) } else { self.request(from, head, cut, cx) }
    }

    fn request(&mut self, from: Side, head: &Head<'_>, cut: bool, cx: &mut Context<'_>) -> Next {
        let line = if cut { RequestLine::read_cut(head.start) } else { RequestLine::read(head.start) };
        if line.is_preface() && !cut {
            // Whoever did not see that the server has agreed: this is HTTP/2 (RFC 9113 3.4).
            self.by_preface = true;
            self.upgraded = self.exchanges.upgrade_unseen(from, cx);
            return Next::Becomes(Protocol::Http2);
        }
        let reader = &mut self.readers[from.index()];
        // What is no method is perhaps its end, behind bytes that are missing.
        let begins_late = std::mem::take(&mut reader.doubtful) && !start::is_known_method(line.method);
        reader.fresh = false;
        let place = std::mem::take(&mut reader.place);
        if !begins_late {
            for name in check::request(&line, &head.fields, cut) {
                self.anomalies.tell(from, name, cx);
            }
        }
        self.check_fields(from, &head.fields, cx);
        let server_is_lost = matches!(self.readers[from.other().index()].state, State::Lost);
        self.exchanges.request_begins(from, place, server_is_lost, cx);
        self.exchanges.request(from, (&line, &head.fields), cut || begins_late, cx);
        self.begin_body_or_rest(from, Framing::of_request(&head.fields), cut, cx);
        Next::More
    }

    fn response(&mut self, from: Side, head: &Head<'_>, cut: bool, cx: &mut Context<'_>) -> Next {
        let reader = &mut self.readers[from.index()];
        let Some(status) = start::status(head.start) else {
            if !cut && !reader.doubtful {
                self.anomalies.tell(from, "response_invalid_status", cx);
            }
            self.readers[from.index()].state = State::Lost;
            return Next::More;
        };
        let fresh = std::mem::take(&mut reader.fresh);
        reader.doubtful = false;
        let started_ns = reader.started_ns;
        self.check_fields(from, &head.fields, cx);
        if matches!(status, 100..200) && status != 101 {
            self.exchanges.interim(status);
            reader_state(&mut self.readers, from, if cut { State::Lost } else { State::Head });
            return Next::More;
        }
        let place = std::mem::take(&mut self.readers[from.index()].place);
        self.exchanges.response_begins(from.other(), place, cx);
        let asked = self.exchanges.asked();
        if asked.is_none() && !fresh && self.client_is_whole(from.other(), cx) {
            self.anomalies.tell(from, "unable_to_match_response_to_request", cx);
        }
        let is_asked = asked.is_some();
        let asked = asked.unwrap_or_default();
        self.exchanges.response(from.other(), (status, &head.fields), started_ns, cx);
        if cut {
            self.exchanges.response_gap();
        }
        if status == 101 || (asked.method == Method::Connect && matches!(status, 200..300)) {
            self.upgraded = self.exchanges.upgrade(from.other(), cx);
            self.exchanges.give_up(from.other(), false, cx);
            if status != 101 {
                self.tunnel = true;
                return Next::More;
            }
            return match head.fields.upgrade.and_then(Upgrade::read).or(asked.upgrade) {
                Some(_) if cut => Next::Done,
                Some(Upgrade::WebSocket) => Next::Becomes(Protocol::WebSocket),
                Some(Upgrade::Http2) => Next::Becomes(Protocol::Http2),
                Some(Upgrade::Tls) => Next::Becomes(Protocol::Tls),
                None => Next::Done,
            };
        }
        let framing = Framing::of_response(&head.fields, status, asked.method == Method::Head);
        if !is_asked && !cut && !matches!(framing, Framing::Empty) {
            // Perhaps it answers HEAD.
            reader_state(&mut self.readers, from, State::BodyOrHead(framing));
        } else {
            self.begin_body_or_rest(from, framing, cut, cx);
        }
        Next::More
    }

    /// Whether all that the client has asked was seen.
    fn client_is_whole(&self, client: Side, cx: &Context<'_>) -> bool {
        let reader = &self.readers[client.index()];
        !reader.fresh
            && !matches!(reader.state, State::Lost)
            && self.exchanges.has_all_requests()
            && self.is_all_seen(cx)
    }

    /// Tells what a message's fields say that cannot be.
    fn check_fields(&mut self, from: Side, fields: &Fields<'_>, cx: &mut Context<'_>) {
        if check::is_none_in(fields) {
            return;
        }
        for name in check::fields(fields, self.client == Some(from)) {
            self.anomalies.tell(from, name, cx);
        }
    }

    fn begin_body_or_rest(&mut self, from: Side, framing: Framing, cut: bool, cx: &mut Context<'_>) {
        if !cut {
            return self.begin_body(from, framing, cx);
        }
        self.mark_gap(from);
        // Without the end of the fields, no word of a length does not mean that there is no body.
        let framing = match framing {
            Framing::UntilEnd => Framing::Unknown,
            framing => framing,
        };
        reader_state(&mut self.readers, from, State::HeadRest(LineScan::within_line(), framing));
    }

    fn begin_body(&mut self, from: Side, framing: Framing, cx: &mut Context<'_>) {
        let state = match framing {
            Framing::Empty => return self.finish(from, false, cx),
            Framing::Unknown => return self.finish(from, true, cx),
            Framing::Bytes(bytes) => State::Body(bytes),
            Framing::Chunked => State::Chunked(Chunked::default()),
            Framing::UntilEnd => State::UntilEnd,
        };
        reader_state(&mut self.readers, from, state);
    }

    /// So many bytes of a body.
    #[inline]
    fn count(&mut self, from: Side, bytes: u64) {
        if self.client == Some(from) {
            self.exchanges.request_bytes(bytes);
        } else {
            self.exchanges.response_bytes(bytes);
        }
    }

    fn mark_gap(&mut self, from: Side) {
        if self.client == Some(from) {
            self.exchanges.request_gap();
        } else {
            self.exchanges.response_gap();
        }
    }

    /// Nothing more comes of the message. `lost` when its end was not seen: what comes next is not known then.
    fn finish(&mut self, from: Side, lost: bool, cx: &mut Context<'_>) {
        if lost {
            self.mark_gap(from);
        }
        if self.client == Some(from) {
            self.exchanges.request_end(cx.time_ns, lost);
        } else {
            self.exchanges.response_end(from.other(), cx);
        }
        reader_state(&mut self.readers, from, if lost { State::Lost } else { State::Head });
    }

    fn name(&self, from: Side, in_request: &'static str, in_response: &'static str) -> &'static str {
        if self.client == Some(from) { in_request } else { in_response }
    }
}
