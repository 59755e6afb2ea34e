//! Frames: their headers (RFC 9113 4.1), and what can be one.

use crate::protocols::Guess;

/// What the client begins with (RFC 9113 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of a frame's header.
pub(super) const HEADER_LEN: usize = 9;
/// Frames are not longer unless the receiver has said so (RFC 9113 4.2).
const USUAL_MAX: u32 = 16_384;

const END_STREAM: u8 = 0x1;
/// Of SETTINGS and PING.
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The types of frames that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameType {
    Data,
    Headers,
    Reset,
    PushPromise,
    Continuation,
    /// Any other, whose content is passed over.
    Other,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Bytes of the payload.
    pub(super) length: u32,
    pub(super) number: u8,
    flags: u8,
    /// 0 for the connection.
    pub(super) stream: u32,
}

impl FrameHeader {
    pub(super) const fn read(bytes: [u8; HEADER_LEN]) -> Self {
        let [l0, l1, l2, number, flags, s0, s1, s2, s3] = bytes;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            number,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        }
    }

    pub(super) const fn kind(self) -> FrameType {
        match self.number {
            0 => FrameType::Data,
            1 => FrameType::Headers,
            3 => FrameType::Reset,
            5 => FrameType::PushPromise,
            9 => FrameType::Continuation,
            _ => FrameType::Other,
        }
    }

    pub(super) const fn ends_stream(self) -> bool {
        matches!(self.number, 0 | 1) && self.flags & END_STREAM != 0
    }

    pub(super) const fn ends_headers(self) -> bool {
        self.flags & END_HEADERS != 0
    }

    pub(super) const fn is_padded(self) -> bool {
        matches!(self.number, 0 | 1 | 5) && self.flags & PADDED != 0
    }

    /// Whether it is what a side begins with: SETTINGS that acknowledge none (RFC 9113 3.4).
    pub(super) const fn opens_connection(self) -> bool {
        self.number == 4 && self.flags & ACK == 0
    }

    const fn has_priority(self) -> bool {
        self.number == 1 && self.flags & PRIORITY != 0
    }

    /// Whether its length and its stream are what its type asks for (RFC 9113 6).
    pub(super) const fn is_valid(self) -> bool {
        let on_stream = self.stream != 0;
        match self.number {
            0 | 1 | 5 | 9 => on_stream,
            2 => on_stream && self.length == 5,
            3 => on_stream && self.length == 4,
            4 => !on_stream && self.length.is_multiple_of(6),
            6 => !on_stream && self.length == 8,
            7 => !on_stream && self.length >= 8,
            8 => self.length == 4,
            _ => true,
        }
    }

    /// Whether bytes in the middle of a stream that look so are a frame's header: seldom anything else does. Of small numbers in other formats
    /// there would be frames without content that nobody sends.
    pub(super) fn is_plausible(self) -> bool {
        let known_flags = match self.number {
            0 => END_STREAM | PADDED,
            1 => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            4 | 6 => ACK,
            5 => END_HEADERS | PADDED,
            9 => END_HEADERS,
            _ => 0,
        };
        let least = match self.number {
            0 => u32::from(!self.ends_stream()),
            1 => 1,
            5 => 4,
            _ => 0,
        };
        self.number <= 9
            && self.flags & !known_flags == 0
            && self.length >= least
            && self.length <= USUAL_MAX
            && self.stream < 1 << 24
            && self.is_valid()
    }
}

/// The header block's fragment in the payload of a HEADERS frame or a PUSH_PROMISE, and the stream that the latter promises; `None`
/// where the frame is too short for what its flags say.
pub(super) fn fragment(header: FrameHeader, payload: &[u8]) -> Option<(Option<u32>, &[u8])> {
    let mut rest = payload;
    if header.is_padded() {
        let (padding, after) = rest.split_first()?;
        let end = after.len().checked_sub(usize::from(*padding))?;
        rest = after.get(..end)?;
    }
    if header.has_priority() {
        rest = rest.get(5..)?;
    }
    if header.kind() != FrameType::PushPromise {
        return Some((None, rest));
    }
    let (promised, rest) = rest.split_first_chunk()?;
    Some((Some(u32::from_be_bytes(*promised) & 0x7fff_ffff), rest))
}

/// The same of a frame of which only the beginning is there; `None` where the stream that it promises is not.
pub(super) fn cut_fragment(header: FrameHeader, payload: &[u8]) -> Option<(Option<u32>, &[u8])> {
    let before = usize::from(header.is_padded()) + if header.has_priority() { 5 } else { 0 };
    let rest = payload.get(before..).unwrap_or_default();
    if header.kind() != FrameType::PushPromise {
        return Some((None, rest));
    }
    let (promised, rest) = rest.split_first_chunk()?;
    Some((Some(u32::from_be_bytes(*promised) & 0x7fff_ffff), rest))
}

/// Whether `bytes` are frames from the first one on. `Yes` takes two headers, a frame that ends with the bytes, or one of the
/// connection.
pub(super) fn guess_frames(bytes: &[u8]) -> Guess {
    let mut rest = bytes;
    let mut seen = 0;
    while let Some((header, after)) = rest.split_first_chunk::<HEADER_LEN>() {
        let header = FrameHeader::read(*header);
        if !header.is_plausible() {
            return Guess::No;
        }
        seen += 1;
        if seen == 2 || matches!(header.number, 4 | 6 | 8) {
            return Guess::Yes;
        }
        let Some(next) = after.get(header.length as usize..) else { return Guess::Perhaps };
        if next.is_empty() {
            return Guess::Yes;
        }
        rest = next;
    }
    // The first bytes of a length are zeros but for long frames.
    if rest.first().is_none_or(|byte| *byte == 0) { Guess::Perhaps } else { Guess::No }
}

/// Where in `bytes`, behind the first, frames begin: in the rest of a body, of which the first bytes were not seen, they seldom begin with a
/// segment. It takes two headers, or a frame that ends with the bytes.
pub(super) fn find_frames(bytes: &[u8]) -> Option<usize> {
    let frame_at = |at: usize| {
        let (header, _) = bytes.get(at..)?.split_first_chunk()?;
        let header = FrameHeader::read(*header);
        header.is_plausible().then_some(at + HEADER_LEN + header.length as usize)
    };
    let is_followed = |end: usize| end == bytes.len() || frame_at(end).is_some();
    (1..bytes.len()).find(|at| frame_at(*at).is_some_and(is_followed))
}

/// Whether `bytes` begin as a client does that has not said HTTP/1.1 before.
pub(super) fn guess_preface(bytes: &[u8]) -> Guess {
    match bytes.len().min(PREFACE.len()) {
        length if bytes[..length] != PREFACE[..length] => Guess::No,
        // `PRI * HTTP/2.0` is said by nothing else.
        14.. => Guess::Yes,
        _ => Guess::Perhaps,
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameHeader, find_frames, fragment, guess_frames};
    use crate::protocols::Guess;

    #[test]
    fn padding_and_priority_are_taken_off() {
        let header = FrameHeader::read([0, 0, 10, 1, 0x2c, 0, 0, 0, 1]);
        assert_eq!(fragment(header, &[2, 0, 0, 0, 0, 9, 0x82, 0x84, 0, 0]), Some((None, &[0x82, 0x84][..])));
        assert_eq!(fragment(header, &[9, 0, 0, 0, 0, 9, 0x82, 0x84, 0, 0]), None);
        let promise = FrameHeader::read([0, 0, 5, 5, 4, 0, 0, 0, 1]);
        assert_eq!(fragment(promise, &[0, 0, 0, 2, 0x82]), Some((Some(2), &[0x82][..])));
        assert_eq!(fragment(promise, &[0, 0, 0]), None);
    }

    #[test]
    fn frames_are_known_in_the_middle_of_a_stream() {
        assert_eq!(guess_frames(&[0, 0, 0, 4, 0, 0, 0, 0, 0]), Guess::Yes, "settings");
        assert_eq!(guess_frames(&[0, 0, 1, 1, 5, 0, 0, 0, 3, 0x82]), Guess::Yes, "a request alone");
        assert_eq!(guess_frames(&[0, 0, 9, 0, 1, 0, 0, 0, 3, 1]), Guess::Perhaps, "the beginning of data");
        assert_eq!(guess_frames(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]), Guess::No, "TLS");
        assert_eq!(guess_frames(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f, 0]), Guess::No, "PostgreSQL");
        let numbers: Vec<u8> = (1..6_u32).flat_map(u32::to_be_bytes).collect();
        for at in 0..4 {
            assert_eq!(guess_frames(&numbers[at..]), Guess::No, "the numbers of an SOA record of DNS, from {at} on");
        }
    }

    #[test]
    fn frames_are_found_behind_the_rest_of_a_body() {
        let request = [0, 0, 1, 1, 5, 0, 0, 0, 3, 0x82];
        let update = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 9, 9];
        for rest in [&b"x"[..], &[0; 40], b"text of a body", &[0xff; 100]] {
            assert_eq!(find_frames(&[rest, &request].concat()), Some(rest.len()));
            assert_eq!(find_frames(&[rest, &update, &request[..9]].concat()), Some(rest.len()));
            // A header alone tells nothing of what it is followed by.
            assert_eq!(find_frames(&[rest, &request[..9]].concat()), None);
            assert_eq!(find_frames(&[rest, &request, b"other bytes"].concat()), None);
        }
        let numbers: Vec<u8> = (1..50_u64).flat_map(u64::to_be_bytes).collect();
        assert_eq!(find_frames(&numbers), None);
        let numbers: Vec<u8> = [1_u64; 50].into_iter().flat_map(u64::to_be_bytes).collect();
        assert_eq!(find_frames(&numbers), None);
    }
}
