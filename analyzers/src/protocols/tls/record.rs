//! The record layer of one side (RFC 8446 section 5.1): what is in records, as it comes, without collecting them.

/// The longest payload of a record that is taken for one: 2^14 and what compression and encryption may add (RFC 5246
/// section 6.2.3).
pub(crate) const PAYLOAD_MAX: u16 = (1 << 14) + 2048;

/// Length of a record's header.
pub(crate) const HEADER_LEN: usize = 5;

/// What is in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    ChangeCipherSpec,
    Alert,
    Handshake,
    ApplicationData,
    Heartbeat,
    /// The `ClientHello` of version 2, which has a record format of its own (RFC 5246 appendix E.2).
    HelloOfVersion2,
}

/// Why bytes are no record; the name is that of the anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRecord(pub(crate) &'static str);

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) content: Content,
    pub(crate) length: u16,
}

impl Header {
    pub(crate) const fn read(bytes: [u8; HEADER_LEN]) -> Result<Self, NoRecord> {
        let [kind, major, minor, high, low] = bytes;
        let content = match kind {
            20 => Content::ChangeCipherSpec,
            21 => Content::Alert,
            22 => Content::Handshake,
            23 => Content::ApplicationData,
            24 => Content::Heartbeat,
            _ => return Err(NoRecord("invalid_record_type")),
        };
        // The drafts of 1.3 wrote 0x7fxx here for a while.
        if !(major == 3 && minor <= 4 || major == 0x7f) {
            return Err(NoRecord("invalid_record_version"));
        }
        let length = u16::from_be_bytes([high, low]);
        if length > PAYLOAD_MAX {
            return Err(NoRecord("invalid_record_length"));
        }
        Ok(Self { content, length })
    }
}

/// A piece of the payload of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) content: Content,
    pub(crate) bytes: &'a [u8],
    /// Length of the record's whole payload.
    pub(crate) length: u16,
}

/// Where in the records the bytes of a side are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Records {
    header: [u8; HEADER_LEN],
    have: u8,
    /// The record that the next bytes are of, and how much of it is to come.
    open: Option<(Header, u16)>,
    /// A record was there: a header of version 2 does not come any more.
    begun: bool,
}

impl Records {
    /// The next piece of payload in `bytes`, which it is taken from; nothing where more bytes are needed. A record
    /// without payload gives an empty piece.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Part<'a>>, NoRecord> {
        let (header, left) = match self.open {
            Some(open) => open,
            None => match self.read_header(bytes)? {
                Some(header) => (header, header.length),
                None => return Ok(None),
            },
        };
        if bytes.is_empty() && left > 0 {
            self.open = Some((header, left));
            return Ok(None);
        }
        let (part, rest) = bytes.split_at(bytes.len().min(usize::from(left)));
        *bytes = rest;
        let left = left - part.len() as u16;
        self.open = (left > 0).then_some((header, left));
        Ok(Some(Part { content: header.content, bytes: part, length: header.length }))
    }

    fn read_header(&mut self, bytes: &mut &[u8]) -> Result<Option<Header>, NoRecord> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.header[usize::from(self.have)] = byte;
            self.have += 1;
            let header = match self.header {
                // The length of two bytes with its highest bit set; a hello of version 2 is never as long as to have
                // more bits.
                [high @ 0x80..=0x87, low, ..] if !self.begun => {
                    if self.have < 2 {
                        continue;
                    }
                    Header { content: Content::HelloOfVersion2, length: u16::from_be_bytes([high & 0x7f, low]) }
                }
                header if usize::from(self.have) == HEADER_LEN => Header::read(header)?,
                _ => continue,
            };
            self.have = 0;
            self.begun = true;
            return Ok(Some(header));
        }
        Ok(None)
    }

    /// What is in the record that is not over yet.
    pub(crate) fn content(&self) -> Option<Content> {
        self.open.map(|(header, _)| header.content)
    }

    /// Forgets where it was: the next bytes are behind a gap, and begin a record if anything is to come of them.
    pub(crate) fn lose(&mut self) {
        *self = Self { begun: true, ..Self::default() };
    }
}
