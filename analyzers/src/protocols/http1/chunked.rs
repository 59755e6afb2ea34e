//! Bodies in chunks (RFC 9112 7.1): counted as they are sent, with the sizes of the chunks, as Suricata does; not copied.

use memchr::memchr;

/// A size has at most so many digits, leading zeros among them.
const DIGITS_MAX: u8 = 32;

/// A body in chunks, read so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunked {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The line with a chunk's size; `named` when what follows is an extension.
    Size { value: u64, digits: u8, named: bool },
    /// So many bytes of a chunk are to come.
    Data(u64),
    /// The line end behind a chunk.
    DataEnd,
    /// The trailer, up to an empty line.
    Trailer(LineScan),
}

impl Default for State {
    fn default() -> Self {
        Self::Size { value: 0, digits: 0, named: false }
    }
}

/// What a piece of a body came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes of the piece that belong to the body, with its sizes and trailer.
    pub(super) used: usize,
    /// The chunks and their sizes among them: all but the trailer.
    pub(super) body: u64,
    pub(super) outcome: Outcome,
}

/// Whether more of a body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    More,
    Complete,
    /// It is not in chunks: where it ends is not known.
    Invalid,
}

impl Chunked {
    pub(super) fn read(&mut self, bytes: &[u8]) -> Progress {
        let mut progress = Progress { used: 0, body: 0, outcome: Outcome::More };
        while let Some(rest) = bytes.get(progress.used..).filter(|rest| !rest.is_empty()) {
            let in_trailer = matches!(self.state, State::Trailer(_));
            let used;
            (used, progress.outcome) = match &mut self.state {
                State::Data(left) => {
                    let length = (*left).min(rest.len() as u64);
                    *left -= length;
                    if *left == 0 {
                        self.state = State::DataEnd;
                    }
                    (length as usize, Outcome::More)
                }
                State::DataEnd => match rest {
                    [b'\r', ..] => (1, Outcome::More),
                    [b'\n', ..] => {
                        self.state = State::default();
                        (1, Outcome::More)
                    }
                    _ => (0, Outcome::Invalid),
                },
                State::Size { .. } => self.read_size(rest),
                State::Trailer(scan) => match scan.find_empty(rest) {
                    Some(end) => (end, Outcome::Complete),
                    None => (rest.len(), Outcome::More),
                },
            };
            progress.used += used;
            progress.body += if in_trailer { 0 } else { used as u64 };
            if progress.outcome != Outcome::More {
                break;
            }
        }
        progress
    }

    /// Takes so many bytes where they lie within a chunk, and more of it follows; gives whether they do.
    #[inline]
    pub(super) const fn passes(&mut self, bytes: u64) -> bool {
        match &mut self.state {
            State::Data(left) if *left > bytes => {
                *left -= bytes;
                true
            }
            _ => false,
        }
    }

    /// Reads as much of the line with a size as is there.
    fn read_size(&mut self, bytes: &[u8]) -> (usize, Outcome) {
        let State::Size { value, digits, named } = &mut self.state else { return (0, Outcome::Invalid) };
        for (index, &byte) in bytes.iter().enumerate() {
            if byte == b'\n' {
                if *digits == 0 {
                    return (index, Outcome::Invalid);
                }
                self.state = if *value == 0 { State::Trailer(LineScan::default()) } else { State::Data(*value) };
                return (index + 1, Outcome::More);
            }
            match char::from(byte).to_digit(16) {
                _ if *named => {}
                Some(digit) => {
                    *digits += 1;
                    if *digits > DIGITS_MAX || *value >> 60 != 0 {
                        return (index, Outcome::Invalid);
                    }
                    *value = *value << 4 | u64::from(digit);
                }
                None if matches!(byte, b' ' | b'\t') => {}
                None if matches!(byte, b';' | b'\r') && *digits > 0 => *named = true,
                None => return (index, Outcome::Invalid),
            }
        }
        (bytes.len(), Outcome::More)
    }

    /// So many bytes are missing. False where the body cannot be followed any more.
    pub(super) fn gap(&mut self, bytes: u64) -> bool {
        match &mut self.state {
            State::Data(left) if *left > bytes => *left -= bytes,
            State::Data(left) if *left == bytes => self.state = State::DataEnd,
            _ => return false,
        }
        true
    }
}

/// Looks for an empty line without keeping lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineScan {
    /// Nothing but a carriage return is in the line so far.
    empty: bool,
}

impl Default for LineScan {
    fn default() -> Self {
        Self { empty: true }
    }
}

impl LineScan {
    /// A scan that begins within a line.
    pub(super) const fn within_line() -> Self {
        Self { empty: false }
    }

    /// Where the first empty line ends in `bytes`, which follow those given before.
    pub(super) fn find_empty(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..) {
            let end = memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            self.empty &= matches!(line, [] | [b'\r']);
            let Some(end) = end else { break };
            at += end + 1;
            if self.empty {
                return Some(at);
            }
            self.empty = true;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunked, Outcome, Progress};

    fn read(pieces: &[&[u8]]) -> Progress {
        let mut body = Chunked::default();
        let mut sum = Progress { used: 0, body: 0, outcome: Outcome::More };
        for piece in pieces {
            let progress = body.read(piece);
            sum.used += progress.used;
            sum.body += progress.body;
            sum.outcome = progress.outcome;
        }
        sum
    }

    const BODY: &[u8] = b"5\r\nhello\r\nA; name=\"x\"\r\n0123456789\r\n0\r\nTrailer: y\r\n\r\n";

    #[test]
    fn chunks_extensions_and_trailers_are_followed_however_they_are_cut() {
        for at in 0..BODY.len() {
            let body = BODY.len() as u64 - 14;
            let whole = Progress { used: BODY.len(), body, outcome: Outcome::Complete };
            assert_eq!(read(&[&BODY[..at], &BODY[at..]]), whole, "cut at {at}");
        }
        let with_rest = [BODY, b"HTTP/1.1 200"].concat();
        assert_eq!(read(&[&with_rest]).used, BODY.len());
    }

    #[test]
    fn what_is_no_size_is_invalid() {
        assert_eq!(read(&[b"xyz\r\n"]).outcome, Outcome::Invalid);
        assert_eq!(read(&[b"\r\n"]).outcome, Outcome::Invalid);
        assert_eq!(read(&[b"11111111111111111\r\n"]).outcome, Outcome::Invalid);
        assert_eq!(read(&[b"2\r\nabc\r\n"]).outcome, Outcome::Invalid);
    }

    #[test]
    fn a_gap_within_a_chunk_is_counted_over_and_elsewhere_it_is_the_end() {
        let mut body = Chunked::default();
        body.read(b"a\r\n01");
        assert!(body.gap(3));
        assert!(body.gap(5));
        assert_eq!(body.read(b"\r\n0\r\n\r\n").outcome, Outcome::Complete);
        let mut body = Chunked::default();
        body.read(b"a\r\n01");
        assert!(!body.gap(9));
    }
}
