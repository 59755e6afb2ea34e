//! One message, read where it lies (RFC 1035, section 4.1).

use super::name;

/// The first twelve bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Chosen by who asks, repeated by who answers.
    pub(super) id: u16,
    /// QR, opcode, the single bits and the response code.
    pub(super) flags: u16,
    /// How many entries the four sections have.
    pub(super) counts: [u16; 4],
}

impl Header {
    pub(super) const LEN: usize = 12;

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| read_u16(bytes, at * 2);
        Some(Self { id: word(0)?, flags: word(1)?, counts: [word(2)?, word(3)?, word(4)?, word(5)?] })
    }

    pub(super) const fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    pub(super) const fn opcode(&self) -> u8 {
        (self.flags >> 11) as u8 & 0x0f
    }
}

pub(super) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

pub(super) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// What a section consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Questions,
    Answers,
    Authorities,
    Additionals,
}

/// An entry of a section. A question has neither `ttl` nor data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Where its name begins.
    pub(super) name_at: usize,
    /// Its type.
    pub(super) kind: u16,
    /// Its class; of an OPT record the size of datagrams that are taken.
    pub(super) class: u16,
    /// Seconds that it may be kept; of an OPT record flags.
    pub(super) ttl: u32,
    /// Where its data begins.
    pub(super) data_at: usize,
    /// Where its data ends; not behind the end of the message.
    pub(super) data_end: usize,
    /// Its data is there to its end. Of other data nobody can tell what it says: half a name is another name.
    pub(super) whole: bool,
}

/// Entries of one section, as far as they are there.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    message: &'a [u8],
    questions: bool,
    left: u16,
    at: usize,
    /// An entry is not there to its end; the last that was given may be that one.
    broken: bool,
}

impl Entries<'_> {
    fn entry(&mut self) -> Option<Record> {
        let fixed = name::skip(self.message, self.at)?;
        let mut record = Record {
            name_at: self.at,
            kind: read_u16(self.message, fixed)?,
            class: read_u16(self.message, fixed + 2)?,
            ttl: 0,
            data_at: fixed + 4,
            data_end: fixed + 4,
            whole: true,
        };
        if !self.questions {
            record.ttl = read_u32(self.message, fixed + 4)?;
            record.data_at = fixed + 10;
            let end = record.data_at + usize::from(read_u16(self.message, fixed + 8)?);
            record.whole = end <= self.message.len();
            self.broken = !record.whole;
            record.data_end = end.min(self.message.len());
        }
        self.at = record.data_end;
        Some(record)
    }
}

impl Iterator for Entries<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.left == 0 || self.broken {
            return None;
        }
        self.left -= 1;
        let entry = self.entry();
        self.broken |= entry.is_none();
        entry
    }
}

/// A message and where its sections begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// All of it that is there.
    pub(super) bytes: &'a [u8],
    pub(super) header: Header,
    starts: [usize; 4],
    /// The section in which the message ends too early, if it does.
    pub(super) broken: Option<Section>,
}

impl<'a> Message<'a> {
    /// `None` where not even the header is there.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let header = Header::read(bytes)?;
        let mut message = Self { bytes, header, starts: [bytes.len(); 4], broken: None };
        let mut at = Header::LEN;
        for (index, section) in
            [Section::Questions, Section::Answers, Section::Authorities, Section::Additionals].into_iter().enumerate()
        {
            message.starts[index] = at;
            let mut entries = message.entries(section);
            while entries.next().is_some() {}
            if entries.broken {
                message.broken = Some(section);
                break;
            }
            at = entries.at;
        }
        Some(message)
    }

    /// Whether it ends where its last entry does.
    pub(super) fn is_exact(&self) -> bool {
        let mut last = self.entries(Section::Additionals);
        while last.next().is_some() {}
        self.broken.is_none() && last.at == self.bytes.len()
    }

    /// The entries of `section`.
    pub(super) fn entries(&self, section: Section) -> Entries<'a> {
        let index = section as usize;
        Entries {
            message: self.bytes,
            questions: section == Section::Questions,
            left: self.header.counts[index],
            at: self.starts[index],
            broken: false,
        }
    }

    /// The data of `record`.
    pub(super) fn data(&self, record: &Record) -> &'a [u8] {
        self.bytes.get(record.data_at..record.data_end).unwrap_or_default()
    }
}
