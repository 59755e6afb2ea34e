//! RESP, the form of what both sides send: walking over it without keeping it.

use arrayvec::ArrayVec;

use crate::protocols::{Guess, Side};

/// The most bytes of a line that are kept: errors, statuses, and commands that are a line.
pub(super) const LINE_MAX: usize = 256;

/// How deep arrays may lie in arrays. `COMMAND` and `CLUSTER SHARDS` have five.
const DEPTH_MAX: usize = 16;

/// The longest value that servers take (`proto-max-bulk-len`) is 512 MiB by default, and may be set higher.
const BULK_MAX: u64 = 1 << 40;

/// The most elements that an array is believed to have.
const ELEMENTS_MAX: u64 = 1 << 32;

/// What the walker comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// An array, map, set or push of so many elements begins.
    Aggregate { kind: u8, elements: u64 },
    /// A line of so many bytes behind the first, which says what it is; the text is what is kept of it.
    Line { kind: u8, text: &'a [u8], length: u64 },
    /// A line that is a whole command: what is kept of it, and the words of all of it.
    Inline { text: &'a [u8], words: &'a Words },
    /// A value of so many bytes begins; `None` is null.
    Bulk { length: Option<u64> },
    /// Bytes of that value.
    Bytes(&'a [u8]),
    /// What began at the top is complete.
    Complete,
}

/// The words of a command that is a line, counted byte by byte. Quotes hold words together, and are no part of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Words that have begun.
    pub(super) count: u64,
    /// Bytes in them.
    pub(super) bytes: u64,
    in_word: bool,
    quote: Option<u8>,
    escaped: bool,
}

impl Words {
    /// Takes the next byte of the line; gives whether it is one of a word.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        match self.quote {
            Some(_) if self.escaped => self.escaped = false,
            Some(quote) if byte == quote => {
                self.quote = None;
                return false;
            }
            Some(_) if byte == b'\\' => {
                self.escaped = true;
                return false;
            }
            Some(_) => {}
            None if byte.is_ascii_whitespace() => {
                self.in_word = false;
                return false;
            }
            None => {
                self.count += u64::from(!self.in_word);
                self.in_word = true;
                if matches!(byte, b'"' | b'\'') {
                    self.quote = Some(byte);
                    return false;
                }
            }
        }
        self.bytes += 1;
        true
    }
}

#[derive(Debug, Default)]
enum State {
    /// Before or in a line.
    #[default]
    Line,
    /// In a value; its line end counts.
    Bulk {
        left: u64,
    },
    Lost,
}

/// Where one side is.
#[derive(Debug, Default)]
pub(super) struct Walker {
    state: State,
    line: ArrayVec<u8, LINE_MAX>,
    /// Bytes of the line that are not kept, the carriage return at its end left out.
    beyond: u64,
    /// The last byte of the line so far is a carriage return.
    returns: bool,
    words: Words,
    /// Elements that are still to come, outermost first.
    open: ArrayVec<u64, DEPTH_MAX>,
}

impl Walker {
    /// Whether it does not know where it is.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// What comes next begins something.
    pub(super) fn find(&mut self) {
        *self = Self::default();
    }

    /// Nothing is known of what comes next.
    pub(super) fn lose(&mut self) {
        self.find();
        self.state = State::Lost;
    }

    /// Whether so many bytes end no later than the value that is on its way.
    pub(super) const fn is_within_value(&self, bytes: u64) -> bool {
        matches!(self.state, State::Bulk { left } if left >= bytes)
    }

    /// Leaves out bytes of a value, which are missing.
    pub(super) fn skip(&mut self, bytes: u64, mut show: impl FnMut(Step<'_>)) {
        if let State::Bulk { left } = &mut self.state {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                self.state = State::Line;
                self.element(&mut show);
            }
        }
    }

    /// The next bytes. `inline`: a line that begins with no sign of a type is a command.
    pub(super) fn feed(&mut self, mut bytes: &[u8], inline: bool, mut show: impl FnMut(Step<'_>)) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Lost => return,
                State::Bulk { left } => {
                    let here = (*left).min(bytes.len() as u64) as usize;
                    let (value, rest) = bytes.split_at(here);
                    // The line end behind the value is no part of it.
                    let of_value = (*left).saturating_sub(2).min(here as u64) as usize;
                    if let Some(value) = value.get(..of_value).filter(|value| !value.is_empty()) {
                        show(Step::Bytes(value));
                    }
                    *left -= here as u64;
                    bytes = rest;
                    if *left == 0 {
                        self.state = State::Line;
                        self.element(&mut show);
                    }
                }
                State::Line => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    let room = part.len().min(self.line.remaining_capacity());
                    let (kept, beyond) = part.split_at(room);
                    self.line.extend(kept.iter().copied());
                    self.go_beyond(beyond);
                    if inline && self.open.is_empty() {
                        for byte in part {
                            self.words.take(*byte);
                        }
                    }
                    bytes = rest;
                    if end.is_some() {
                        let line = std::mem::take(&mut self.line);
                        self.line(line.trim_ascii_end(), inline, &mut show);
                        (self.beyond, self.returns, self.words) = Default::default();
                    }
                }
            }
        }
    }

    /// Counts bytes of a line that are not kept.
    fn go_beyond(&mut self, bytes: &[u8]) {
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let Some((last, others)) = text.split_last() else { return };
        // A carriage return counts only where more of the line comes behind it.
        self.beyond += u64::from(self.returns) + others.len() as u64;
        self.returns = *last == b'\r';
        self.beyond += u64::from(!self.returns);
    }

    fn line(&mut self, line: &[u8], inline: bool, show: &mut impl FnMut(Step<'_>)) {
        let Some((kind, text)) = line.split_first() else {
            // Clients may send empty lines between commands.
            if !inline || !self.open.is_empty() {
                self.lose();
            }
            return;
        };
        match kind {
            b'*' | b'~' | b'>' | b'%' | b'|' => self.aggregate(*kind, text, show),
            b'$' | b'=' | b'!' => match number(text) {
                Some(Length::Null) => {
                    show(Step::Bulk { length: None });
                    self.element(show);
                }
                Some(Length::Of(length)) if length <= BULK_MAX => {
                    show(Step::Bulk { length: Some(length) });
                    self.state = State::Bulk { left: length + 2 };
                }
                _ => self.lose(),
            },
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {
                show(Step::Line { kind: *kind, text, length: text.len() as u64 + self.beyond });
                self.element(show);
            }
            _ if inline && self.open.is_empty() && line.iter().all(|byte| *byte >= b' ') => {
                show(Step::Inline { text: line, words: &self.words });
                show(Step::Complete);
            }
            _ => self.lose(),
        }
    }

    fn aggregate(&mut self, kind: u8, text: &[u8], show: &mut impl FnMut(Step<'_>)) {
        let elements = match number(text) {
            Some(Length::Of(elements)) if elements <= ELEMENTS_MAX => elements,
            Some(Length::Null) => {
                show(Step::Bulk { length: None });
                return self.element(show);
            }
            _ => return self.lose(),
        };
        let parts = match kind {
            b'%' => elements * 2,
            // Attributes stand before what they belong to and are no element.
            b'|' => elements * 2 + 1,
            _ => elements,
        };
        show(Step::Aggregate { kind, elements });
        if parts == 0 {
            self.element(show);
        } else if self.open.try_push(parts).is_err() {
            self.lose();
        }
    }

    /// An element is complete, and with it perhaps what it is in.
    fn element(&mut self, show: &mut impl FnMut(Step<'_>)) {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        show(Step::Complete);
    }
}

/// How much follows.
#[derive(Clone, Copy, Debug)]
enum Length {
    /// -1: no value.
    Null,
    Of(u64),
}

fn number(text: &[u8]) -> Option<Length> {
    if text == b"-1" {
        return Some(Length::Null);
    }
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter()
        .try_fold(0u64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
        .map(Length::Of)
}

/// The first value of an array, where that has a length: the length, and what is there of the value. Null has none of both.
pub(super) fn first_value(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut lines = bytes.strip_prefix(b"*")?.splitn(3, |byte| *byte == b'\n');
    let (_, length, rest) = (lines.next()?, lines.next()?, lines.next()?);
    match number(length.strip_prefix(b"$")?.strip_suffix(b"\r")?)? {
        Length::Null => Some((0, &[])),
        Length::Of(length) => Some((length, rest.get(..usize::try_from(length).ok()?).unwrap_or(rest))),
    }
}

/// Whether a command, or an answer, surely begins here.
pub(super) fn begins(bytes: &[u8], from: Side) -> Guess {
    let Some(kind) = bytes.first() else { return Guess::Perhaps };
    let kinds: &[u8] = if from == Side::Originator { b"*" } else { b"*+-:$%~>_,#(=!" };
    if !kinds.contains(kind) {
        return Guess::No;
    }
    let shown = bytes.get(..LINE_MAX).unwrap_or(bytes);
    let Some(end) = shown.iter().position(|byte| *byte == b'\n') else {
        return if shown.len() < LINE_MAX { Guess::Perhaps } else { Guess::No };
    };
    let Some(line) = shown.get(1..end).and_then(|line| line.strip_suffix(b"\r")) else { return Guess::No };
    match (from, kind) {
        (Side::Originator, _) => match (number(line), bytes.get(end + 1)) {
            (Some(Length::Of(1..=0x10_0000)), Some(b'$')) => Guess::Yes,
            (Some(Length::Of(1..=0x10_0000)), None) => Guess::Perhaps,
            _ => Guess::No,
        },
        (Side::Responder, b'+' | b'-' | b',' | b'(') if line.iter().all(|byte| *byte >= b' ') => Guess::Yes,
        (Side::Responder, b'_' | b'#') if line.len() <= 1 => Guess::Yes,
        (Side::Responder, b':') => {
            let digits = line.strip_prefix(b"-").unwrap_or(line);
            if number(digits).is_some() { Guess::Yes } else { Guess::No }
        }
        _ => {
            if number(line).is_some() {
                Guess::Yes
            } else {
                Guess::No
            }
        }
    }
}
