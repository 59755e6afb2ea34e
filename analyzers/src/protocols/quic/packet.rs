//! Packets with long headers (RFC 9000 section 17.2, RFC 9369 section 3.2), as far as they can be read without keys.

use super::super::tls::reader::Reader;

/// The longest connection id of the versions that are known here.
pub(crate) const CONNECTION_ID_MAX: usize = 20;

/// A version whose first packets can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// RFC 9000.
    One,
    /// RFC 9369.
    Two,
}

impl Version {
    pub(crate) const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::One),
            0x6b33_43cf => Some(Self::Two),
            _ => None,
        }
    }

    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 0x6b33_43cf,
        }
    }
}

/// A packet with a long header.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Packet<'a> {
    /// The server speaks other versions.
    Negotiation,
    /// Hellos.
    Initial(Initial<'a>),
    /// The server wants to see a token; the client begins anew.
    Retry,
    /// Data before the handshake is over.
    ZeroRtt,
    /// The rest of the handshake.
    Handshake(Version),
    /// Of a version that is not known here.
    Unknown(u32),
}

/// A packet with a piece of a hello.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Initial<'a> {
    pub(crate) version: Version,
    pub(crate) destination: &'a [u8],
    /// All of it, from the first byte; cut where the datagram is.
    pub(crate) bytes: &'a [u8],
    /// Where in it the packet number is.
    pub(crate) number_at: usize,
    /// Whether all of it is there.
    pub(crate) whole: bool,
}

/// Whether a packet has a long header (RFC 8999 section 5.1).
pub(crate) const fn is_long(first: u8) -> bool {
    first & 0x80 != 0
}

impl<'a> Packet<'a> {
    /// The packet at the beginning of a datagram, and what comes behind it. Nothing where it has no long header, or a
    /// malformed one.
    pub(crate) fn read(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut reader = Reader::new(datagram);
        let first = reader.u8().filter(|first| is_long(*first))?;
        let number = reader.u32()?;
        let destination = reader.vector8()?;
        let source = reader.vector8()?;
        if number == 0 {
            return Some((Self::Negotiation, &[]));
        }
        let Some(version) = Version::of(number) else {
            return Some((Self::Unknown(number), &[]));
        };
        if destination.len() > CONNECTION_ID_MAX || source.len() > CONNECTION_ID_MAX {
            return None;
        }
        let kind = first >> 4 & 3;
        // Version 2 has the same types one further, so that nobody gets used to their numbers.
        let kind = if version == Version::Two { kind.wrapping_sub(1) & 3 } else { kind };
        match kind {
            0 => {
                let length = varint(&mut reader)?;
                reader.bytes(usize::try_from(length).ok()?)?;
            }
            3 => return Some((Self::Retry, &[])),
            _ => {}
        }
        let length = usize::try_from(varint(&mut reader)?).ok()?;
        let number_at = datagram.len() - reader.rest().len();
        let whole = length <= reader.rest().len();
        let body = reader.up_to(length);
        let packet = match kind {
            0 => {
                let bytes = &datagram[..number_at + body.len()];
                Self::Initial(Initial { version, destination, bytes, number_at, whole })
            }
            1 => Self::ZeroRtt,
            _ => Self::Handshake(version),
        };
        Some((packet, reader.rest()))
    }
}

/// A number of variable length (RFC 9000 section 16).
pub(crate) fn varint(reader: &mut Reader<'_>) -> Option<u64> {
    let first = reader.u8()?;
    let more = reader.bytes((1 << (first >> 6)) - 1)?;
    Some(more.iter().fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte)))
}

/// The name of a version as EVE has it; drafts by their number, those of before the standard by the letters that they
/// are.
pub(crate) fn version_name(number: u32) -> String {
    match (number.to_be_bytes(), Version::of(number)) {
        (_, Some(Version::One)) => "1".to_owned(),
        (_, Some(Version::Two)) => "2".to_owned(),
        ([0xff, 0, 0, draft], _) => format!("draft-{draft}"),
        (letters @ [b'Q' | b'T', rest @ ..], _) if rest.iter().all(u8::is_ascii_digit) => {
            letters.iter().map(|letter| char::from(*letter)).collect()
        }
        _ => format!("{number:x}"),
    }
}

/// Whether a version that is not known here is one that others have or had: drafts, Google's, Facebook's, and the
/// values that clients throw in to keep servers tolerant (RFC 9000 section 15).
pub(crate) const fn is_version_of_others(number: u32) -> bool {
    number & 0xffff_ff00 == 0xff00_0000
        || matches!(number.to_be_bytes(), [b'Q' | b'T', b'0', b'0'..=b'9', b'0'..=b'9'])
        || number & 0xffff_fff0 == 0xface_b000
        || number & 0x0f0f_0f0f == 0x0a0a_0a0a
}
