//! HTTP/2 in clear (RFC 9113), and gRPC in it.
//!
//! Each side is a row of frames. Header blocks are decoded, the bytes of DATA frames are counted, other frames are passed over. A
//! stream becomes an event when both sides have ended it.
//!
//! Where bytes are missing within a frame, they are counted over. Of a header block the beginning is told then. After that, or if frames
//! are missing, fields that later blocks take from the part of the table that is not known are left out, and the stream is marked as cut; what is spelt out is
//! right, and so is what was put into the table after that. A connection that was joined in the middle begins so. When a frame's end
//! was missed, frames of any stream may be missing that the side has not ended: they are marked. It goes on with a piece that begins
//! with a frame, or has two in it, one behind the other, and until a few more have shown that it does, what is wrong is taken for no fault
//! of the sender.

mod fields;
mod frame;
mod grpc;
mod hpack;
mod reader;
mod recovery;
mod stream;
#[cfg(test)]
mod tests;

use self::fields::{HeaderFields, Name};
use self::frame::{FrameHeader, FrameType, HEADER_LEN, PREFACE, guess_frames, guess_preface};
use self::hpack::Decoded;
use self::reader::{Block, Data, Reader, State};
use self::stream::Streams;
use super::http_event::Anomalies;
use super::http1::Upgraded;
use super::{Context, Guess, Next, Opening, Protocol, Side, StreamProtocol};

/// Of a header block as it is sent, with its continuations, so many bytes are kept; a frame that goes beyond is passed over.
const BLOCK_MAX: usize = 64 * 1024;

/// Of the preface, its line and the empty one: what HTTP/1.1 takes for a request.
const PREFACE_HEAD_LEN: usize = 18;
/// So much of the preface is nothing else, whatever follows.
const PREFACE_NAME_LEN: usize = 11;
/// What a response of HTTP/1.1 begins with, and what its head ends with.
const SWITCHING: &[u8; 12] = b"HTTP/1.1 101";
const EMPTY_LINE: &[u8; 4] = b"\r\n\r\n";

/// HTTP/2 over one connection.
///
/// Holds at most a header block and a table of 64 KiB each for each side, 256 streams, and 512 KiB of their events.
#[derive(Debug)]
pub struct Http2 {
    /// By [`Side::index`].
    readers: [Reader; 2],
    client: Side,
    /// The preface or the change to this protocol was seen: what the sides say first is how they begin.
    from_start: bool,
    streams: Streams,
    fields: HeaderFields,
    anomalies: Anomalies,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            readers: Default::default(),
            client: Side::Originator,
            from_start: false,
            streams: Streams::default(),
            fields: HeaderFields::default(),
            anomalies: Anomalies::new(Protocol::Http2),
        }
    }
}

impl StreamProtocol for Http2 {
    const PROTOCOL: Protocol = Protocol::Http2;

    fn recognise(opening: &Opening<'_>) -> Guess {
        let mut guess = Guess::No;
        for bytes in [opening.originator, opening.responder] {
            if bytes.is_empty() {
                continue;
            }
            for side in [guess_preface(bytes), guess_frames(bytes)] {
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
        // Only clients send the preface (RFC 9113 section 3.4).
        let begins = |bytes: &[u8]| !bytes.is_empty() && guess_preface(bytes) == Guess::Yes;
        if begins(opening.originator) {
            Some(Side::Originator)
        } else {
            begins(opening.responder).then_some(Side::Responder)
        }
    }

    fn data(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> Next {
        let mut rest = bytes;
        if matches!(self.readers[from.index()].state, State::Lost) {
            let Some(at) = self.resume(from, bytes) else { return Next::More };
            rest = &bytes[at..];
        }
        while !rest.is_empty() {
            let used = self.step(from, rest, cx);
            rest = rest.get(used..).unwrap_or_default();
        }
        Next::More
    }

    fn gap(&mut self, from: Side, bytes: u64, cx: &mut Context<'_>) -> Next {
        self.missing(from, bytes, cx);
        Next::More
    }

    fn kept(&self) -> usize {
        self.readers.iter().map(Reader::size).sum::<usize>() + self.streams.size()
    }

    fn end(&mut self, from: Side, cx: &mut Context<'_>) {
        self.readers[from.index()].ended = true;
        // A side goes on when the other one has closed.
        if self.readers.iter().all(|reader| reader.ended) {
            let is_whole = |side: Side| self.readers[side.index()].is_whole() && !cx.is_unseen(side);
            let all_is_seen = is_whole(from) && is_whole(from.other());
            self.streams.close_all(self.client, all_is_seen, cx);
        }
    }
}

impl Http2 {
    /// A connection that has begun as HTTP/1.1, with a request that is stream 1 now, if it was seen. Where the client has told so
    /// itself, the first line of its preface and the empty one are over.
    pub(super) fn upgraded(client: Side, request: Option<Upgraded>, by_preface: bool) -> Self {
        let mut http2 = Self { client, from_start: true, ..Self::default() };
        http2.streams.upgraded(client, request);
        if by_preface {
            http2.readers[client.index()].state = State::Preface(PREFACE_HEAD_LEN);
        }
        http2
    }

    /// One step further in `bytes`, which are not empty; gives how many were used.
    fn step(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> usize {
        let reader = &mut self.readers[from.index()];
        match &mut reader.state {
            State::Begin => {
                // A frame begins with its length: these would be of four million bytes and more. The preface may overtake the
                // response that the client has waited for.
                let may_switch = self.from_start && from != self.client;
                reader.state = if bytes[0] == PREFACE[0] {
                    State::Preface(0)
                } else if may_switch && SWITCHING.starts_with(bytes.get(..SWITCHING.len()).unwrap_or(bytes)) {
                    State::Switching(0)
                } else {
                    State::FRAME
                };
                0
            }
            State::Preface(seen) => {
                let expected = &PREFACE[*seen..];
                let same = bytes.iter().zip(expected).take_while(|(byte, expected)| byte == expected).count();
                *seen += same;
                if *seen == PREFACE.len() {
                    self.begin(from);
                } else if same < bytes.len() {
                    let is_preface = *seen >= PREFACE_NAME_LEN;
                    if is_preface {
                        self.anomalies.tell(from, "invalid_client_magic", cx);
                    }
                    self.lose(from, cx);
                    return bytes.len();
                }
                same
            }
            State::Switching(matched) => {
                let end = bytes.iter().position(|byte| {
                    *matched = if *byte == EMPTY_LINE[*matched] { *matched + 1 } else { usize::from(*byte == b'\r') };
                    *matched == EMPTY_LINE.len()
                });
                let Some(end) = end else { return bytes.len() };
                reader.state = State::FRAME;
                end + 1
            }
            State::Header(header, filled) => {
                let used = bytes.len().min(HEADER_LEN - *filled);
                header[*filled..*filled + used].copy_from_slice(&bytes[..used]);
                *filled += used;
                if *filled == HEADER_LEN {
                    let header = FrameHeader::read(*header);
                    self.frame(from, header, cx);
                }
                used
            }
            State::Data(data) => {
                let mut data = *data;
                let used = self.data_bytes(from, &mut data, bytes, cx);
                self.readers[from.index()].state = State::Data(data);
                if data.body == 0 && data.padding == 0 {
                    self.frame_over(from, data.header, cx);
                }
                used
            }
            State::Kept(header) => {
                let header = *header;
                let length = header.length as usize;
                if reader.kept.is_empty()
                    && let Some(payload) = bytes.get(..length)
                {
                    self.payload(from, header, payload, cx);
                    return length;
                }
                let used = bytes.len().min(length.saturating_sub(reader.kept.len()));
                reader.kept.extend_from_slice(&bytes[..used]);
                if reader.kept.len() == length {
                    let kept = std::mem::take(&mut reader.kept);
                    self.payload(from, header, &kept, cx);
                }
                used
            }
            State::Passed(header, left) => {
                let used = bytes.len().min(*left as usize);
                *left -= used as u32;
                if *left == 0 {
                    let header = *header;
                    self.passed(from, header, cx);
                }
                used
            }
            State::Lost => bytes.len(),
        }
    }

    /// The client's preface has come.
    fn begin(&mut self, client: Side) {
        self.client = client;
        self.streams.client_is_known = true;
        self.from_start = true;
        self.readers[client.index()].begin();
        self.readers[client.other().index()].peer_begins();
    }

    /// A frame begins.
    fn frame(&mut self, from: Side, header: FrameHeader, cx: &mut Context<'_>) {
        let reader = &mut self.readers[from.index()];
        reader.frame(header, self.from_start || !cx.is_joined(from));
        if !reader.admits(header) {
            self.lose(from, cx);
            return;
        }
        if !header.is_valid() {
            self.misread(from, "invalid_frame_length", cx);
            return;
        }
        let reader = &mut self.readers[from.index()];
        let continues = header.kind() == FrameType::Continuation
            && reader.block.as_ref().is_some_and(|block| block.header.stream == header.stream);
        if reader.block.is_some() && !continues {
            // Nothing may come between (RFC 9113 6.10).
            self.fault(from, "invalid_header", cx);
            self.readers[from.index()].block = None;
            self.readers[from.index()].decoder.miss();
        }
        if header.kind() == FrameType::Data {
            self.data_begins(from, header, cx);
        }
        let reader = &mut self.readers[from.index()];
        let length = header.length as usize;
        reader.state = match header.kind() {
            FrameType::Data => {
                State::Data(Data { header, unpadded: header.is_padded(), body: header.length, padding: 0 })
            }
            FrameType::Headers | FrameType::PushPromise if length <= BLOCK_MAX => State::Kept(header),
            FrameType::Continuation if continues && reader.block_len() + length <= BLOCK_MAX => State::Kept(header),
            FrameType::Headers | FrameType::PushPromise | FrameType::Continuation => {
                reader.break_block(header, &[]);
                State::Passed(header, header.length)
            }
            FrameType::Reset => State::Kept(header),
            FrameType::Other => State::Passed(header, header.length),
        };
        if header.length == 0 {
            match reader.state {
                State::Data(_) => self.frame_over(from, header, cx),
                State::Kept(_) => self.payload(from, header, &[], cx),
                _ => self.passed(from, header, cx),
            }
        }
    }

    /// A frame of data begins. Where frames were missed, the stream is followed from here on, and what should be before it was in them.
    fn data_begins(&mut self, from: Side, header: FrameHeader, cx: &mut Context<'_>) {
        let id = header.stream;
        if self.streams.get(id).is_none() && self.has_missed() {
            self.open(from, id, cx);
        }
        if self.readers[from.index()].decoder.has_missed()
            && let Some(stream) = self.streams.get(id)
        {
            stream.expect_fields(from == self.client);
        }
    }

    /// Whether header blocks of either side were not seen.
    fn has_missed(&self) -> bool {
        self.readers.iter().any(|reader| reader.decoder.has_missed())
    }

    /// Opens a stream that is not open, unless it was. True where it is open.
    fn open(&mut self, from: Side, id: u32, cx: &mut Context<'_>) -> bool {
        if self.streams.get(id).is_some() {
            return true;
        }
        if self.streams.has_closed(id) {
            return false;
        }
        let client = self.client;
        let (stream, full) = self.streams.open(id, client, cx);
        // Odd streams begin with the client, even ones with a promise (RFC 9113 5.1.1).
        if from != client {
            stream.cut();
        }
        // Streams whose end is missing stay open.
        if full && !self.has_missed() {
            self.anomalies.tell(from, "too_many_streams", cx);
        }
        true
    }

    /// Bytes of a frame of data.
    fn data_bytes(&mut self, from: Side, data: &mut Data, bytes: &[u8], cx: &mut Context<'_>) -> usize {
        if std::mem::take(&mut data.unpadded) {
            let padding = u32::from(bytes[0]);
            data.body -= 1;
            if padding > data.body {
                self.fault(from, "invalid_frame_data", cx);
            }
            data.padding = padding.min(data.body);
            data.body -= data.padding;
            return 1;
        }
        let body = bytes.len().min(data.body as usize);
        if body > 0 {
            data.body -= body as u32;
            if let Some(stream) = self.streams.get(data.header.stream) {
                stream.data(from, &bytes[..body]);
            }
        }
        let padding = (bytes.len() - body).min(data.padding as usize);
        data.padding -= padding as u32;
        body + padding
    }

    /// The content of a frame that matters.
    fn payload(&mut self, from: Side, header: FrameHeader, payload: &[u8], cx: &mut Context<'_>) {
        self.readers[from.index()].state = State::FRAME;
        match header.kind() {
            FrameType::Reset => {
                if let (Some(stream), Some(error)) = (self.streams.get(header.stream), payload.first_chunk()) {
                    stream.reset(from, u32::from_be_bytes(*error));
                    self.streams.close_if_over(header.stream, self.client, cx);
                }
            }
            FrameType::Continuation => {
                let Some(mut block) = self.readers[from.index()].block.take() else { return };
                if !block.broken {
                    block.bytes.extend_from_slice(payload);
                }
                if header.ends_headers() {
                    let bytes = std::mem::take(&mut block.bytes);
                    self.block(from, &block, &bytes, cx);
                } else {
                    self.readers[from.index()].block = Some(block);
                }
            }
            FrameType::Headers | FrameType::PushPromise => {
                let Some((promised, fragment)) = frame::fragment(header, payload) else {
                    self.fault(from, "invalid_frame_data", cx);
                    self.readers[from.index()].decoder.miss();
                    return;
                };
                let mut block = Block { header, promised, bytes: Vec::new(), broken: false };
                if header.ends_headers() {
                    self.block(from, &block, fragment, cx);
                } else {
                    block.bytes.extend_from_slice(fragment);
                    self.readers[from.index()].block = Some(block);
                }
            }
            FrameType::Data | FrameType::Other => {}
        }
    }

    /// A frame of which nothing was kept is over.
    fn passed(&mut self, from: Side, header: FrameHeader, cx: &mut Context<'_>) {
        let reader = &mut self.readers[from.index()];
        reader.state = State::FRAME;
        let of_headers = matches!(header.kind(), FrameType::Headers | FrameType::PushPromise | FrameType::Continuation);
        if of_headers
            && header.ends_headers()
            && let Some(block) = reader.block.take()
        {
            self.block(from, &block, &block.bytes, cx);
        }
    }

    /// A header block is complete, or as complete as it will be.
    fn block(&mut self, from: Side, block: &Block, bytes: &[u8], cx: &mut Context<'_>) {
        self.fields.clear();
        let decoder = &mut self.readers[from.index()].decoder;
        let mut decoded = decoder.decode(bytes, |name, value| self.fields.add(name, value));
        if block.broken {
            // Its beginning is right, and where it is cut is no fault of the sender.
            decoder.miss();
            decoded = Decoded::Partly;
        }
        if decoded == Decoded::Invalid {
            if self.readers[from.index()].is_doubtful() {
                // Most likely it is no header block.
                return self.lose(from, cx);
            }
            self.anomalies.tell(from, "failed_decompression", cx);
        }
        if !self.streams.client_is_known && decoded != Decoded::Invalid {
            let request = self.fields.are_of_request();
            if request || self.fields.are_of_response() {
                self.streams.client_is_known = true;
                // A promise is a request as well, and comes from the server.
                self.client = if request == block.promised.is_none() { from } else { from.other() };
            }
        }
        let client = self.client;
        let id = block.promised.unwrap_or(block.header.stream);
        let promised = block.promised.is_some();
        let by_client = from == client || promised;
        let is_new = self.streams.get(id).is_none();
        if !self.open(if promised { client } else { from }, id, cx) {
            return;
        }
        self.streams.fields(id, by_client, &self.fields, cx);
        // A trailer where a request should be, or without a response: what should be before it was in frames that were missed.
        let has_missed = self.readers[from.index()].decoder.has_missed();
        let is_trailer = has_missed && by_client && is_new && self.fields.get(Name::Method).is_none();
        if let Some(stream) = self.streams.get(id) {
            if decoded != Decoded::Whole || is_trailer {
                stream.cut();
            }
            if has_missed && block.header.ends_stream() {
                stream.expect_fields(by_client);
            }
            if promised {
                stream.promised(client);
            } else if block.header.ends_stream() {
                stream.end(from, client, cx);
            }
        }
        self.streams.close_if_over(id, client, cx);
    }

    /// A frame of data is over.
    fn frame_over(&mut self, from: Side, header: FrameHeader, cx: &mut Context<'_>) {
        self.readers[from.index()].state = State::FRAME;
        if header.ends_stream() {
            if let Some(stream) = self.streams.get(header.stream) {
                stream.end(from, self.client, cx);
            }
            self.streams.close_if_over(header.stream, self.client, cx);
        }
    }
}
