//! Reading DER (X.690), as much of it as certificates have.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const BMP_STRING: u8 = 0x1e;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// One value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// Whether all of the content is there.
    pub(crate) whole: bool,
}

/// Values one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Der<'a> {
    rest: &'a [u8],
}

impl<'a> Der<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next value, whose content may be cut where the bytes end. Nothing at the end, and of what DER does not have:
    /// lengths of more than four bytes or none; tags of several bytes, which certificates do not have.
    pub(crate) fn next(&mut self) -> Option<Value<'a>> {
        let (&[tag, first], mut rest) = self.rest.split_first_chunk::<2>()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let length = match first {
            0..=0x7f => usize::from(first),
            0x81..=0x84 => {
                let (length, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = behind;
                length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at(length.min(rest.len()));
        self.rest = rest;
        Some(Value { tag, content, whole: content.len() == length })
    }

    /// The content of the next value, which is there in full and of this tag; otherwise nothing is read.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = *self;
        match self.next() {
            Some(value) if value.tag == tag && value.whole => Some(value.content),
            _ => {
                *self = before;
                None
            }
        }
    }

    /// What is in the next value, of this tag, as far as it is there.
    pub(crate) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.next().filter(|value| value.tag == tag).map(|value| Self::new(value.content))
    }
}
