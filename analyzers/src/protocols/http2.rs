//! HTTP/2 in clear (RFC 9113), and gRPC in it.
//!
//! Each side is a row of frames. Header blocks are decoded, the bytes of DATA frames are counted, other frames are passed over. A
//! stream becomes an event when both sides have ended it.
//!
//! Where bytes are missing within a frame, they are counted over. Of a header block the beginning is told then. After that, or if frames
//! are missing, fields that later blocks take from the part of the table that is not known are left out, and the stream is marked as cut; what is spelt out is
//! right, and so is what was put into the table after that. A connection that was joined in the middle begins so. When a frame's end
//! was missed, that side goes on with a piece that begins with a frame.

mod fields;
mod frame;
mod grpc;
mod hpack;
mod stream;
#[cfg(test)]
mod tests;

use self::fields::{HeaderFields, Name};
use self::frame::{FrameHeader, FrameType, HEADER_LEN, PREFACE, guess_frames, guess_preface};
use self::hpack::{Decoded, Decoder};
use self::stream::Streams;
use super::http_event::Anomalies;
use super::http1::Upgraded;
use super::{Context, Guess, Next, Opening, Protocol, Side, StreamProtocol};

/// Of a header block as it is sent, with its continuations, so many bytes are kept; a frame that goes beyond is passed over.
const BLOCK_MAX: usize = 64 * 1024;

/// HTTP/2 over one connection.
///
/// Holds at most a header block and a table of 64 KiB each for each side, 256 streams, and 512 KiB of their events.
#[derive(Debug)]
pub struct Http2 {
    /// By [`Side::index`].
    readers: [Reader; 2],
    client: Side,
    /// The preface or a request has told which side the client is.
    client_is_known: bool,
    streams: Streams,
    fields: HeaderFields,
    anomalies: Anomalies,
}

/// Where one side is.
#[derive(Debug, Default)]
struct Reader {
    state: State,
    /// The beginning of a frame whose content matters.
    kept: Vec<u8>,
    /// A header block of which more comes.
    block: Option<Block>,
    decoder: Decoder,
    /// A frame was seen.
    begun: bool,
    ended: bool,
}

#[derive(Debug, Default)]
enum State {
    /// At the beginning, with so many bytes of the preface.
    #[default]
    Begin,
    Preface(usize),
    /// In a frame's header, of which so many bytes are here.
    Header([u8; HEADER_LEN], usize),
    /// In a frame of data, with what is to come of body and padding.
    Data(Data),
    /// In a frame of which all is kept.
    Kept(FrameHeader),
    /// In a frame of which so many bytes are passed over, and then it is over.
    Passed(FrameHeader, u32),
    /// Where the next frame begins is not known.
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Data {
    header: FrameHeader,
    /// The length of the padding comes first.
    unpadded: bool,
    body: u32,
    padding: u32,
}

/// A header block that goes on in the next frame.
#[derive(Debug)]
struct Block {
    /// Of the frame that it began with.
    header: FrameHeader,
    promised: Option<u32>,
    bytes: Vec<u8>,
    /// Bytes are missing, or it is too long: there is only its beginning.
    broken: bool,
}

impl Reader {
    /// Memory that what is kept takes, in bytes.
    fn size(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |block| block.bytes.capacity());
        self.kept.capacity() + block + self.decoder.size()
    }
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            readers: Default::default(),
            client: Side::Originator,
            client_is_known: false,
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
        if matches!(self.readers[from.index()].state, State::Lost) {
            if guess_frames(bytes) == Guess::No {
                return Next::More;
            }
            self.readers[from.index()].state = State::Header([0; HEADER_LEN], 0);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = self.step(from, rest, cx);
            rest = rest.get(used..).unwrap_or_default();
        }
        Next::More
    }

    fn gap(&mut self, from: Side, bytes: u64, cx: &mut Context<'_>) -> Next {
        let reader = &mut self.readers[from.index()];
        let mut state = std::mem::replace(&mut reader.state, State::Lost);
        if let State::Kept(header) = state {
            let left = header.length - reader.kept.len() as u32;
            let kept = std::mem::take(&mut reader.kept);
            reader.break_block(header, &kept);
            state = State::Passed(header, left);
        }
        match state {
            State::Passed(header, left) => {
                let after = u64::from(left).checked_sub(bytes);
                if let Some(left @ 1..) = after {
                    self.readers[from.index()].state = State::Passed(header, left as u32);
                    return Next::More;
                }
                self.passed(from, header, cx);
                if after.is_none() {
                    self.lose(from);
                }
            }
            State::Data(mut data) => {
                let body = bytes.min(u64::from(data.body)) as u32;
                let padding = (bytes - u64::from(body)).min(u64::from(data.padding)) as u32;
                let beyond = bytes - u64::from(body) - u64::from(padding);
                if let Some(stream) = self.streams.get(data.header.stream) {
                    stream.gap(from, u64::from(body));
                }
                // A length of padding that is missing makes body of it: not to be told.
                data.unpadded = false;
                data.body -= body;
                data.padding -= padding;
                if data.body > 0 || data.padding > 0 {
                    self.readers[from.index()].state = State::Data(data);
                } else {
                    self.frame_over(from, data.header, cx);
                    if beyond > 0 {
                        self.lose(from);
                    }
                }
            }
            _ => self.lose(from),
        }
        Next::More
    }

    fn kept(&self) -> usize {
        self.readers.iter().map(Reader::size).sum::<usize>() + self.streams.size()
    }

    fn end(&mut self, from: Side, cx: &mut Context<'_>) {
        self.readers[from.index()].ended = true;
        if from != self.client || self.readers[from.other().index()].ended {
            self.streams.close_all(self.client, cx);
        }
    }
}

impl Http2 {
    /// A connection that has begun as HTTP/1.1, with a request that is stream 1 now.
    pub(super) fn upgraded(client: Side, request: Upgraded) -> Self {
        let mut http2 = Self { client, client_is_known: true, ..Self::default() };
        http2.streams.upgraded(client, request.members, request.length, request.sent_ns);
        http2
    }

    /// One step further in `bytes`, which are not empty; gives how many were used.
    fn step(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> usize {
        let reader = &mut self.readers[from.index()];
        match &mut reader.state {
            State::Begin => {
                // A frame begins with its length: `P` would be more than five million bytes.
                if bytes[0] == PREFACE[0] {
                    self.client = from;
                    self.client_is_known = true;
                    reader.state = State::Preface(0);
                } else {
                    reader.state = State::Header([0; HEADER_LEN], 0);
                }
                0
            }
            State::Preface(seen) => {
                let expected = &PREFACE[*seen..];
                let same = bytes.iter().zip(expected).take_while(|(byte, expected)| byte == expected).count();
                *seen += same;
                if *seen == PREFACE.len() {
                    reader.state = State::Header([0; HEADER_LEN], 0);
                } else if same < bytes.len() {
                    self.anomalies.tell(from, "invalid_client_magic", cx);
                    self.lose(from);
                    return bytes.len();
                }
                same
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

    /// A frame begins.
    fn frame(&mut self, from: Side, header: FrameHeader, cx: &mut Context<'_>) {
        let reader = &mut self.readers[from.index()];
        if !std::mem::replace(&mut reader.begun, true) && !header.is_settings() {
            // Both sides begin with SETTINGS (RFC 9113 3.4): this one was joined in the middle.
            reader.decoder.miss();
            if !header.is_plausible() {
                self.lose(from);
                return;
            }
        }
        if !header.is_valid() {
            self.anomalies.tell(from, "invalid_frame_length", cx);
            self.lose(from);
            return;
        }
        let reader = &mut self.readers[from.index()];
        let continues = header.kind() == FrameType::Continuation
            && reader.block.as_ref().is_some_and(|block| block.header.stream == header.stream);
        if reader.block.is_some() && !continues {
            // Nothing may come between (RFC 9113 6.10).
            self.anomalies.tell(from, "invalid_header", cx);
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

    /// A frame of data begins; where the request was not seen, the stream is followed from here on.
    fn data_begins(&mut self, from: Side, header: FrameHeader, cx: &mut Context<'_>) {
        let id = header.stream;
        if self.streams.get(id).is_none() && self.readers.iter().any(|reader| reader.decoder.has_missed()) {
            self.open(from, id, cx);
        }
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
        if full {
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
                self.anomalies.tell(from, "invalid_frame_data", cx);
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
        self.readers[from.index()].state = State::Header([0; HEADER_LEN], 0);
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
                    self.anomalies.tell(from, "invalid_frame_data", cx);
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
        reader.state = State::Header([0; HEADER_LEN], 0);
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
            self.anomalies.tell(from, "failed_decompression", cx);
        }
        if !self.client_is_known && decoded != Decoded::Invalid {
            let request = self.fields.get(Name::Method).is_some() || self.fields.get(Name::Path).is_some();
            if request || self.fields.get(Name::Status).is_some() {
                self.client_is_known = true;
                // A promise is a request as well, and comes from the server.
                self.client = if request == block.promised.is_none() { from } else { from.other() };
            }
        }
        let client = self.client;
        let id = block.promised.unwrap_or(block.header.stream);
        let promised = block.promised.is_some();
        if !self.open(if promised { client } else { from }, id, cx) {
            return;
        }
        self.streams.fields(id, from == client || promised, &self.fields, cx);
        if let Some(stream) = self.streams.get(id) {
            if decoded != Decoded::Whole {
                stream.cut();
            }
            if promised {
                stream.promised(client);
            } else if block.header.ends_stream() {
                stream.end(from, client, cx.time_ns);
            }
        }
        self.streams.close_if_over(id, client, cx);
    }

    /// A frame of data is over.
    fn frame_over(&mut self, from: Side, header: FrameHeader, cx: &mut Context<'_>) {
        self.readers[from.index()].state = State::Header([0; HEADER_LEN], 0);
        if header.ends_stream() {
            if let Some(stream) = self.streams.get(header.stream) {
                stream.end(from, self.client, cx.time_ns);
            }
            self.streams.close_if_over(header.stream, self.client, cx);
        }
    }

    /// The end of a frame was missed, and perhaps frames after it.
    fn lose(&mut self, from: Side) {
        let reader = &mut self.readers[from.index()];
        reader.state = State::Lost;
        reader.kept = Vec::new();
        reader.block = None;
        reader.decoder.miss();
    }
}

impl Reader {
    fn block_len(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.bytes.len())
    }

    /// Of the frame of a header block only the beginning can be had.
    fn break_block(&mut self, header: FrameHeader, payload: &[u8]) {
        match header.kind() {
            FrameType::Headers | FrameType::PushPromise => {
                self.block = frame::cut_fragment(header, payload).map(|(promised, fragment)| Block {
                    header,
                    promised,
                    bytes: fragment.to_vec(),
                    broken: true,
                });
            }
            FrameType::Continuation => {
                if let Some(block) = &mut self.block
                    && !std::mem::replace(&mut block.broken, true)
                {
                    block.bytes.extend_from_slice(payload);
                }
            }
            FrameType::Data | FrameType::Reset | FrameType::Other => return,
        }
        self.decoder.miss();
    }
}
