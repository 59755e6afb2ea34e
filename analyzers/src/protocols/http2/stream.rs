//! The streams of a connection: requests, responses, and the events made of them.

use super::fields::{HeaderFields, Name};
use super::grpc::Grpc;
use crate::protocols::http_event::{Interim, Measures, Members, RequestFields, ResponseFields};
use crate::protocols::http1::Upgraded;
use crate::protocols::{Context, EventKind, Protocol, Side};

/// So many streams are followed at a time. When there are more, the oldest one is told as far as it went.
const STREAMS_MAX: usize = 256;
/// So many bytes of events wait for their streams, and one event more; then likewise.
const TEXT_MAX: usize = 512 * 1024;
/// So many streams that have ended are remembered, for frames that come after.
const CLOSED_MAX: usize = 32;

/// Why streams are reset, by number, as Suricata spells them (RFC 9113 7).
const ERRORS: [&str; 14] = [
    "NOERROR",
    "PROTOCOLERROR",
    "INTERNALERROR",
    "FLOWCONTROLERROR",
    "SETTINGSTIMEOUT",
    "STREAMCLOSED",
    "FRAMESIZEERROR",
    "REFUSEDSTREAM",
    "CANCEL",
    "COMPRESSIONERROR",
    "CONNECTERROR",
    "ENHANCEYOURCALM",
    "INADEQUATESECURITY",
    "HTTP11REQUIRED",
];

/// All streams that are open.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The oldest first.
    open: Vec<Stream>,
    /// Bytes of their members.
    text: usize,
    closed: [u32; CLOSED_MAX],
    closed_next: usize,
    next_tx: u64,
    /// The preface, a request or a response has told which side the client is.
    pub(super) client_is_known: bool,
}

/// A request and its response.
#[derive(Debug, Default)]
pub(super) struct Stream {
    id: u32,
    tx: u64,
    request: Option<Members>,
    response: Option<Members>,
    grpc: Option<Box<Grpc>>,
    /// By [`Side::index`].
    lengths: [u64; 2],
    ended: [bool; 2],
    /// Of which sides frames may be missing, the last one among them.
    lost: [bool; 2],
    sent_ns: Option<u64>,
    response_time_ns: Option<u64>,
    interim: Interim,
    reset: Option<(Side, u32)>,
    truncated: bool,
}

impl Streams {
    /// Memory that open streams take, in bytes.
    pub(super) fn size(&self) -> usize {
        self.text + self.open.capacity() * size_of::<Stream>()
    }

    /// The place of an open stream.
    fn find(&self, id: u32) -> Option<usize> {
        self.open.iter().rposition(|stream| stream.id == id)
    }

    /// The stream, if it is open.
    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let at = self.find(id)?;
        self.open.get_mut(at)
    }

    /// Whether the stream was open and has ended, not long ago.
    pub(super) fn has_closed(&self, id: u32) -> bool {
        self.closed.contains(&id)
    }

    /// The stream, which is opened if it is not open. True with it where there were too many.
    pub(super) fn open(&mut self, id: u32, client: Side, cx: &mut Context<'_>) -> (&mut Stream, bool) {
        let mut full = false;
        let at = if let Some(at) = self.find(id) {
            at
        } else {
            while self.open.len() >= STREAMS_MAX || (self.text > TEXT_MAX && !self.open.is_empty()) {
                full = true;
                self.open[0].truncated = true;
                self.close(0, client, cx);
            }
            self.open.push(Stream { id, tx: self.next_tx, ..Stream::default() });
            self.next_tx += 1;
            self.open.len() - 1
        };
        (&mut self.open[at], full)
    }

    /// Takes a request that came by HTTP/1.1, if it was seen, as stream 1.
    pub(super) fn upgraded(&mut self, client: Side, request: Option<Upgraded>) {
        let mut stream = Stream { id: 1, truncated: true, ..Stream::default() };
        if let Some(request) = request {
            self.text += request.members.size();
            stream.lengths[client.index()] = request.length;
            stream.sent_ns = request.sent_ns;
            stream.truncated = request.truncated;
            stream.request = Some(request.members);
        }
        stream.ended[client.index()] = true;
        self.client_is_known = true;
        self.next_tx = 1;
        self.open.push(stream);
    }

    /// Takes the header block of a request, a response or a trailer.
    pub(super) fn fields(&mut self, id: u32, by_client: bool, fields: &HeaderFields, cx: &mut Context<'_>) {
        let Some(stream) = self.get(id) else { return };
        let before = stream.size();
        if by_client {
            stream.request_fields(fields, cx);
        } else {
            stream.response_fields(fields, cx);
        }
        let after = stream.size();
        self.text = (self.text + after).saturating_sub(before);
    }

    /// Tells the stream if nothing more comes of it.
    pub(super) fn close_if_over(&mut self, id: u32, client: Side, cx: &mut Context<'_>) {
        let Some(at) = self.find(id) else { return };
        let stream = &self.open[at];
        let [client_ended, server_ended] = [client, client.other()].map(|side| stream.ended[side.index()]);
        let unseen = (stream.request.is_none() && stream.truncated) || stream.lost[client.index()];
        if stream.reset.is_some() || (server_ended && (client_ended || unseen)) {
            self.close(at, client, cx);
        }
    }

    /// Frames of that side may be missing: of any stream that it has not ended.
    pub(super) fn lose(&mut self, from: Side) {
        for stream in self.open.iter_mut().filter(|stream| !stream.ended[from.index()]) {
            stream.lose(from);
        }
    }

    /// Tells all streams: nothing more comes. `whole` where all was seen that was sent.
    pub(super) fn close_all(&mut self, client: Side, whole: bool, cx: &mut Context<'_>) {
        for mut stream in std::mem::take(&mut self.open) {
            stream.truncated |= !whole || stream.is_half_answered(client.other());
            self.tell(&stream, client, cx);
        }
        self.text = 0;
    }

    fn close(&mut self, at: usize, client: Side, cx: &mut Context<'_>) {
        let stream = self.open.remove(at);
        self.text = self.text.saturating_sub(stream.size());
        self.closed[self.closed_next] = stream.id;
        self.closed_next = (self.closed_next + 1) % CLOSED_MAX;
        self.tell(&stream, client, cx);
    }

    /// Where neither the connection's beginning nor a field of any stream has told who is who, nobody knows whose bytes were counted.
    fn tell(&self, stream: &Stream, client: Side, cx: &mut Context<'_>) {
        let is_guess = cx.is_joined(client) && cx.is_joined(client.other());
        if self.client_is_known || !is_guess {
            stream.write(client, cx);
        }
    }
}

impl Stream {
    /// Nothing more comes from that side.
    pub(super) fn end(&mut self, from: Side, client: Side, cx: &Context<'_>) {
        self.ended[from.index()] = true;
        // What is shown only when it was answered was sent earlier.
        if from == client && self.sent_ns.is_none() && self.response.is_none() && !cx.is_unseen(client) {
            self.sent_ns = Some(cx.time_ns);
        }
    }

    /// The client sends nothing on it: the server has promised it.
    pub(super) fn promised(&mut self, client: Side) {
        self.ended[client.index()] = true;
    }

    pub(super) fn reset(&mut self, from: Side, error: u32) {
        self.reset = Some((from, error));
    }

    /// Bytes of a body.
    pub(super) fn data(&mut self, from: Side, bytes: &[u8]) {
        self.lengths[from.index()] += bytes.len() as u64;
        if let Some(grpc) = &mut self.grpc {
            grpc.data(from, bytes);
        }
    }

    /// So many bytes of a body are missing.
    pub(super) fn gap(&mut self, from: Side, bytes: u64) {
        self.truncated = true;
        if let Some(grpc) = &mut self.grpc {
            grpc.gap(from, bytes);
        }
    }

    /// Frames of that side may be missing.
    fn lose(&mut self, from: Side) {
        self.truncated = true;
        self.lost[from.index()] = true;
        if let Some(grpc) = &mut self.grpc {
            grpc.lose(from);
        }
    }

    /// Something comes that stands behind the fields of the request, or of the response: if those were not seen, they are missing.
    pub(super) fn expect_fields(&mut self, of_request: bool) {
        let fields = if of_request { &self.request } else { &self.response };
        self.truncated |= fields.is_none();
    }

    /// Whether the answer has begun and not ended.
    fn is_half_answered(&self, server: Side) -> bool {
        let has_begun = self.response.is_some() || self.lengths[server.index()] > 0;
        has_begun && !self.ended[server.index()]
    }

    /// Something that belongs to it was not seen.
    pub(super) fn cut(&mut self) {
        self.truncated = true;
    }

    fn request_fields(&mut self, fields: &HeaderFields, cx: &mut Context<'_>) {
        if self.request.is_some() {
            return;
        }
        if fields.is_grpc() {
            self.grpc = Some(Box::new(Grpc::new(fields.get(Name::Path))));
        }
        let request = RequestFields {
            method: fields.get(Name::Method),
            target: fields.get(Name::Path),
            protocol: None,
            authority: fields.get(Name::Authority).or_else(|| fields.get(Name::Host)),
            user_agent: fields.get(Name::UserAgent),
            referer: fields.get(Name::Referer),
            forwarded_for: fields.get(Name::ForwardedFor),
        };
        let wanted = cx.events.wants(EventKind::Http);
        self.request = Some(if wanted { request.members(cx.events.spare_texts().take()) } else { Members::default() });
    }

    fn response_fields(&mut self, fields: &HeaderFields, cx: &mut Context<'_>) {
        let status = fields.status();
        if let Some(status @ 100..200) = status {
            self.interim.push(status);
            return;
        }
        if fields.is_grpc() && self.grpc.is_none() {
            self.grpc = Some(Box::default());
        }
        if let Some(grpc) = &mut self.grpc {
            grpc.outcome(fields);
        }
        let Some(status) = status.filter(|_| self.response.is_none()) else { return };
        let response = ResponseFields {
            status,
            content_type: fields.get(Name::ContentType),
            content_range: fields.get(Name::ContentRange),
            location: fields.get(Name::Location),
        };
        let wanted = cx.events.wants(EventKind::Http);
        self.response =
            Some(if wanted { response.members(cx.events.spare_texts().take()) } else { Members::default() });
        self.response_time_ns = self.sent_ns.and_then(|sent| cx.time_ns.checked_sub(sent));
        if let Some(nanos) = self.response_time_ns {
            cx.response_time(Protocol::Http2, nanos);
        }
    }

    fn size(&self) -> usize {
        let members = [&self.request, &self.response].into_iter().flatten().map(Members::size).sum::<usize>();
        members + self.grpc.as_ref().map_or(0, |grpc| grpc.size())
    }

    fn write(&self, client: Side, cx: &mut Context<'_>) {
        let nothing = Members::default();
        let request = self.request.as_ref().unwrap_or(&nothing);
        let response = self.response.as_ref().unwrap_or(&nothing);
        cx.event(EventKind::Http, client, Some(self.tx), |json| {
            json.object("http", |json| {
                json.text("version", "2");
                json.members(request.first());
                json.members(response.first());
                json.members(request.second());
                json.members(response.second());
                let measures = Measures {
                    request_length: self.lengths[client.index()],
                    length: self.lengths[client.other().index()],
                    response_time_ns: self.response_time_ns,
                    interim: self.interim,
                    truncated: self.truncated,
                };
                measures.write(json);
                json.object("http2", |json| {
                    json.number("stream_id", self.id);
                    if let Some((side, error)) = self.reset {
                        json.object(if side == client { "request" } else { "response" }, |json| {
                            match ERRORS.get(error as usize) {
                                Some(name) => json.text("error_code", name),
                                None => json.number("error_code", error),
                            }
                        });
                    }
                });
                if let Some(grpc) = &self.grpc {
                    grpc.write(client, json);
                }
            });
        });
    }
}
