//! Frames in Initial packets (RFC 9000 sections 12.4 and 19).

use super::super::tls::reader::Reader;
use super::packet::varint;

/// A frame that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A piece of the handshake, cut where the packet is.
    Crypto { offset: u64, bytes: &'a [u8] },
    /// The side has given up.
    Close,
}

/// The frames that matter, in the payload of a packet. Ends at the first that may not be in such a packet, or is cut.
pub(crate) fn frames(payload: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut reader = Reader::new(payload);
    std::iter::from_fn(move || next(&mut reader))
}

fn next<'a>(reader: &mut Reader<'a>) -> Option<Frame<'a>> {
    loop {
        match reader.u8()? {
            // Padding and ping.
            0 | 1 => {}
            kind @ 2..=3 => skip_ack(reader, kind == 3)?,
            6 => {
                let offset = varint(reader)?;
                let length = varint(reader)?;
                let bytes = reader.up_to(usize::try_from(length).ok()?);
                return Some(Frame::Crypto { offset, bytes });
            }
            0x1c => return Some(Frame::Close),
            _ => return None,
        }
    }
}

/// Largest, delay, count of ranges, first range, a gap and a length for each range, and with `ecn` three counts.
fn skip_ack(reader: &mut Reader<'_>, ecn: bool) -> Option<()> {
    varint(reader)?;
    varint(reader)?;
    let ranges = varint(reader)?;
    varint(reader)?;
    // Each takes a byte at least, so that a wrong count ends with the packet.
    for _ in 0..ranges {
        varint(reader)?;
        varint(reader)?;
    }
    if ecn {
        for _ in 0..3 {
            varint(reader)?;
        }
    }
    Some(())
}
