//! Records of a classic pcap file (draft-ietf-opsawg-pcap): microseconds or nanoseconds, either byte order.

use pcap_file::pcap::PcapParser;
use pcap_file::{Endianness, PcapError, TsResolution};

use crate::reader::Located;
use crate::refill::Refill;
use crate::{Fault, LinkType, MAX_FRAME_BYTES};

/// Length of the file header, in bytes.
pub(crate) const FILE_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;

/// What the file header says.
pub(crate) struct Classic {
    parser: PcapParser,
    link_type: LinkType,
    /// Nanoseconds in one unit of the time's second field.
    fraction_ns: u64,
    endianness: Endianness,
}

impl Classic {
    /// Reads the file header; `None` where this is no classic pcap file.
    pub(crate) fn new(file_header: &[u8]) -> Option<(Self, u16)> {
        let (_, parser) = PcapParser::new(file_header).ok()?;
        let header = parser.header();
        let fraction_ns = match header.ts_resolution {
            TsResolution::MicroSecond => 1_000,
            TsResolution::NanoSecond => 1,
        };
        // The upper half of the field tells of a frame check sequence.
        let link_type = LinkType(u32::from(header.datalink) & 0xffff);
        let classic = Self { parser, link_type, fraction_ns, endianness: header.endianness };
        Some((classic, header.version_major))
    }

    /// The link type of all records.
    pub(crate) const fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// Puts every record that is whole in what is there, up to one that is not or that is too long, into `records`.
    #[inline]
    pub(crate) fn take_whole(&self, refill: &mut Refill, records: &mut Vec<Located>) {
        match self.endianness {
            Endianness::Little => self.take_whole_in(refill, records, u32::from_le_bytes),
            Endianness::Big => self.take_whole_in(refill, records, u32::from_be_bytes),
        }
    }

    #[inline]
    fn take_whole_in(&self, refill: &mut Refill, records: &mut Vec<Located>, word: fn([u8; 4]) -> u32) {
        loop {
            let there = refill.available();
            let Some((header, behind)) = there.split_first_chunk::<RECORD_HEADER_LEN>() else { return };
            let field = |at: usize| word([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            let (length, orig_len) = (field(8) as usize, field(12));
            if length > MAX_FRAME_BYTES || length > behind.len() {
                return;
            }
            let time_ns = self.time_ns(field(0), field(4));
            let at = refill.consume(RECORD_HEADER_LEN + length) + RECORD_HEADER_LEN;
            let wire_len = orig_len.max(length as u32);
            records.push(Located { time_ns, link_type: self.link_type, origin: 0, wire_len, at, length });
        }
    }

    #[inline]
    fn time_ns(&self, seconds: u32, fraction: u32) -> u64 {
        u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.fraction_ns
    }

    /// The next record; `None` at the end of the file.
    #[inline]
    pub(crate) fn next(&self, refill: &mut Refill) -> Result<Option<Located>, Fault> {
        loop {
            match self.parser.next_raw_packet(refill.available()) {
                Ok((_, packet)) => {
                    let length = frame_length(packet.incl_len)?;
                    let time_ns = self.time_ns(packet.ts_sec, packet.ts_frac);
                    let wire_len = packet.orig_len.max(packet.incl_len);
                    let at = refill.consume(RECORD_HEADER_LEN + length) + RECORD_HEADER_LEN;
                    return Ok(Some(Located { time_ns, link_type: self.link_type, origin: 0, wire_len, at, length }));
                }
                Err(PcapError::IncompleteBuffer) => {
                    let needed = RECORD_HEADER_LEN + self.captured_length(refill.available())?;
                    if !refill.fill(needed)? {
                        return match refill.available().len() {
                            0 => Ok(None),
                            present => Err(Fault::Cut { needed, present }),
                        };
                    }
                }
                Err(_) => return Err(Fault::Damaged("a record header that cannot be read")),
            }
        }
    }

    /// The captured length in a record header that may not be there yet; then 0.
    fn captured_length(&self, record: &[u8]) -> Result<usize, Fault> {
        let Some(field) = record.get(8..12).and_then(|field| <[u8; 4]>::try_from(field).ok()) else {
            return Ok(0);
        };
        frame_length(match self.endianness {
            Endianness::Big => u32::from_be_bytes(field),
            Endianness::Little => u32::from_le_bytes(field),
        })
    }
}

#[inline]
fn frame_length(length: u32) -> Result<usize, Fault> {
    if length as usize <= MAX_FRAME_BYTES {
        Ok(length as usize)
    } else {
        Err(Fault::TooLong { what: "a frame", length: length.into(), limit: MAX_FRAME_BYTES })
    }
}
