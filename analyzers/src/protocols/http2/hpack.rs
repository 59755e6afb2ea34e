//! Header blocks (RFC 7541), of one side.
//!
//! The dynamic table is what the block says it is: an index counts from the newest entry. So a decoder that has missed blocks, since it
//! joined in the middle or bytes are missing, begins with an empty table, and what it can resolve after that is right; an index
//! beyond what it has seen is an unknown field, not an error. Only an entry whose size is not known may be kept longer than the
//! encoder keeps it, to which no index points then.

mod huffman;
mod static_table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::static_table::STATIC;

/// A dynamic table has at most so many bytes, counted as RFC 7541 4.1 does, whatever was agreed upon.
const TABLE_MAX: usize = 64 * 1024;
/// What it has at first (RFC 7541 4.2, RFC 9113 6.5.2).
const TABLE_DEFAULT: usize = 4096;
/// Fields of one block are told up to so many bytes of names and values, counted in the same way: a block of a few bytes may name a
/// long entry again and again.
const LIST_MAX: usize = 64 * 1024;
/// Most names and values have no more than so many bytes.
const USUAL: usize = 1024;
/// What an entry counts besides its name and value (RFC 7541 4.1).
const ENTRY_OVERHEAD: usize = 32;

/// Decodes the header blocks of one side.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
    /// Blocks were missed: there may be entries that are not known.
    missed: bool,
    name: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    /// Name and value.
    text: Box<[u8]>,
    /// Length of the name; `None` where that is not known.
    name: Option<usize>,
}

impl Decoder {
    /// Memory that this takes, in bytes, as the table counts.
    pub(super) fn size(&self) -> usize {
        self.size + self.name.capacity() + self.value.capacity()
    }
}

/// An index points at nothing.
struct NoEntry;

/// What a block came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// All fields were told.
    Whole,
    /// Some were not known, or too many.
    Partly,
    /// It is no header block: nothing after this can be trusted.
    Invalid,
}

/// A name or a value: in the block, in a table, or decoded into a buffer.
#[derive(Clone, Copy)]
enum Text<'a> {
    Plain(&'a [u8]),
    Decoded,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max: TABLE_DEFAULT,
            missed: false,
            name: Vec::new(),
            value: Vec::new(),
        }
    }
}

impl Decoder {
    /// A block was not seen: what it has put into the table is not known, and so the place of what was there before.
    pub(super) fn miss(&mut self) {
        self.entries = VecDeque::new();
        self.size = 0;
        self.missed = true;
    }

    /// What it has seen were all blocks, after all.
    pub(super) const fn has_all(&mut self) {
        self.missed = false;
    }

    /// Whether blocks were missed.
    pub(super) const fn has_missed(&self) -> bool {
        self.missed
    }

    /// Tells the fields of a block in their order.
    pub(super) fn decode(&mut self, block: &[u8], mut tell: impl FnMut(&[u8], &[u8])) -> Decoded {
        let mut list = 0usize;
        let mut whole = true;
        let mut rest = block;
        let mut tell_some = |name: &[u8], value: &[u8]| {
            list += name.len() + value.len() + ENTRY_OVERHEAD;
            let fits = list <= LIST_MAX;
            if fits {
                tell(name, value);
            }
            fits
        };
        while let Some(&first) = rest.first() {
            let told = if first & 0x80 != 0 {
                self.indexed(&mut rest, &mut tell_some)
            } else if first & 0xe0 == 0x20 {
                integer(&mut rest, 5).map(|max| {
                    self.resize(max);
                    true
                })
            } else {
                self.literal(&mut rest, first & 0x40 != 0, &mut tell_some)
            };
            let Some(told) = told else {
                self.miss();
                return Decoded::Invalid;
            };
            whole &= told;
        }
        if whole { Decoded::Whole } else { Decoded::Partly }
    }

    /// A field that is in a table (RFC 7541 6.1). `Some(false)` where it was not told, `None` where it is invalid.
    fn indexed(&self, rest: &mut &[u8], tell: &mut impl FnMut(&[u8], &[u8]) -> bool) -> Option<bool> {
        let index = integer(rest, 7)?;
        if let Some((name, value)) = index.checked_sub(1).and_then(|index| STATIC.get(index)) {
            return Some(tell(name.as_bytes(), value.as_bytes()));
        }
        match self.entry(index).ok()? {
            Some(Entry { text, name: Some(name) }) => {
                let (name, value) = text.split_at_checked(*name)?;
                Some(tell(name, value))
            }
            _ => Some(false),
        }
    }

    /// A field that is spelt out, perhaps but for its name (RFC 7541 6.2).
    fn literal(&mut self, rest: &mut &[u8], keep: bool, tell: &mut impl FnMut(&[u8], &[u8]) -> bool) -> Option<bool> {
        let index = integer(rest, if keep { 6 } else { 4 })?;
        let mut name_buffer = std::mem::take(&mut self.name);
        let mut value_buffer = std::mem::take(&mut self.value);
        let known = self.literal_name(index, rest, &mut name_buffer);
        let value = string(rest, &mut value_buffer);
        let told = known.zip(value).map(|(known, value)| {
            let value = match value {
                Text::Plain(value) => value,
                Text::Decoded => &value_buffer,
            };
            if keep {
                self.insert(known.then_some(&name_buffer[..]), value);
            }
            known && tell(&name_buffer, value)
        });
        // What an unusual field took is given back.
        name_buffer.clear();
        name_buffer.shrink_to(USUAL);
        value_buffer.clear();
        value_buffer.shrink_to(USUAL);
        self.name = name_buffer;
        self.value = value_buffer;
        told
    }

    /// Puts the name into `buffer`; `Some(false)` where it is not known.
    fn literal_name(&self, index: usize, rest: &mut &[u8], buffer: &mut Vec<u8>) -> Option<bool> {
        if index == 0 {
            if let Text::Plain(name) = string(rest, buffer)? {
                buffer.clear();
                buffer.extend_from_slice(name);
            }
            return Some(true);
        }
        buffer.clear();
        if let Some((name, _)) = STATIC.get(index - 1) {
            buffer.extend_from_slice(name.as_bytes());
            return Some(true);
        }
        let Some(Entry { text, name: Some(name) }) = self.entry(index).ok()? else { return Some(false) };
        buffer.extend_from_slice(text.get(..*name)?);
        Some(true)
    }

    /// The entry of the dynamic table; `None` where it was missed.
    fn entry(&self, index: usize) -> Result<Option<&Entry>, NoEntry> {
        let index = index.checked_sub(STATIC.len() + 1).ok_or(NoEntry)?;
        let entry = self.entries.get(index);
        if entry.is_some() || self.missed { Ok(entry) } else { Err(NoEntry) }
    }

    fn insert(&mut self, name: Option<&[u8]>, value: &[u8]) {
        let entry = Entry { text: [name.unwrap_or_default(), value].concat().into(), name: name.map(<[u8]>::len) };
        self.size += entry.size();
        self.entries.push_front(entry);
        self.evict();
    }

    /// The encoder has a table of another size now (RFC 7541 6.3).
    fn resize(&mut self, max: usize) {
        // Entries that do not fit here may still be in the encoder's table.
        self.missed |= max > TABLE_MAX;
        self.max = max.min(TABLE_MAX);
        self.evict();
    }

    fn evict(&mut self) {
        while self.size > self.max {
            let Some(entry) = self.entries.pop_back() else { break };
            self.size -= entry.size();
        }
    }
}

impl Entry {
    fn size(&self) -> usize {
        self.text.len() + ENTRY_OVERHEAD
    }
}

/// An integer behind a prefix of so many bits (RFC 7541 5.1), below 2^28: more is no length and no index here.
fn integer(rest: &mut &[u8], prefix: u32) -> Option<usize> {
    let (&first, mut tail) = rest.split_first()?;
    let most = (1usize << prefix) - 1;
    let mut value = first as usize & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (&byte, after) = tail.split_first()?;
            tail = after;
            if shift > 21 {
                return None;
            }
            value += (byte as usize & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = tail;
    Some(value)
}

/// A string (RFC 7541 5.2): where it lies, or decoded into `buffer`.
fn string<'a>(rest: &mut &'a [u8], buffer: &mut Vec<u8>) -> Option<Text<'a>> {
    let coded = rest.first()? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    if !coded {
        return Some(Text::Plain(text));
    }
    buffer.clear();
    huffman::decode(text, buffer).then_some(Text::Decoded)
}
