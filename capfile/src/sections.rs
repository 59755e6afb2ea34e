//! Records of a pcapng file (draft-ietf-opsawg-pcapng): sections in either byte order, each with its own interfaces.

use byteorder_slice::{BigEndian, LittleEndian};
use pcap_file::pcapng::RawBlock;
use pcap_file::{Endianness, PcapError};

use crate::reader::{Interpret, Located};
use crate::refill::Refill;
use crate::time_scale::TimeScale;
use crate::{Fault, LinkType, MAX_BLOCK_BYTES, MAX_FRAME_BYTES, MAX_INTERFACES};

/// First bytes of every pcapng file: the type of a section header block, the same in both byte orders.
pub(crate) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const OPTION_END: u16 = 0;
const OPTION_DESCRIPTION: u16 = 3;
const OPTION_RESOLUTION: u16 = 9;
const OPTION_OFFSET: u16 = 14;

/// Type, length, and the length again at the end.
const SMALLEST_BLOCK: usize = 12;
const BODY_OFFSET: usize = 8;

/// The section that is being read.
pub(crate) struct Sections {
    endianness: Endianness,
    interfaces: Vec<Interface>,
    /// Time of the record before, for blocks that have none.
    last_ns: u64,
    interpret: Option<Interpret>,
}

/// What later blocks of the section need to know of an interface.
struct Interface {
    link_type: LinkType,
    /// Most bytes of a frame that it keeps; 0 for all.
    snap_len: u32,
    scale: TimeScale,
    /// What was made of its description; 0 without.
    origin: u32,
}

/// What an interface's options say, as far as anybody asks.
struct Options<'a> {
    scale: TimeScale,
    description: Option<&'a str>,
}

/// A frame within the body of a packet block.
struct Packet {
    time_ns: u64,
    link_type: LinkType,
    origin: u32,
    wire_len: u32,
    offset: usize,
    length: usize,
}

impl Sections {
    /// At the beginning of a file, before its first section header.
    pub(crate) const fn new() -> Self {
        Self { endianness: Endianness::Little, interfaces: Vec::new(), last_ns: 0, interpret: None }
    }

    pub(crate) fn interpret_with(&mut self, interpret: Interpret) {
        self.interpret = Some(interpret);
    }

    /// The next packet; `None` at the end of the file. Other blocks are passed over.
    #[inline]
    pub(crate) fn next(&mut self, refill: &mut Refill) -> Result<Option<Located>, Fault> {
        loop {
            let block = match self.endianness {
                Endianness::Little => RawBlock::from_slice::<LittleEndian>(refill.available()),
                Endianness::Big => RawBlock::from_slice::<BigEndian>(refill.available()),
            };
            let block = match block {
                Ok((_, block)) => block,
                Err(PcapError::IncompleteBuffer) => {
                    let needed = self.block_length(refill.available())?;
                    if refill.fill(needed)? {
                        continue;
                    }
                    return match refill.available().len() {
                        0 => Ok(None),
                        present => Err(Fault::Cut { needed, present }),
                    };
                }
                Err(PcapError::InvalidField(_)) => {
                    return Err(Fault::Damaged(
                        "a block whose lengths contradict each other or whose byte order is not known",
                    ));
                }
                Err(_) => return Err(Fault::Damaged("a block that cannot be read")),
            };
            let packet = match block.type_ {
                ENHANCED_PACKET => Some(self.enhanced_packet(&block.body)?),
                SIMPLE_PACKET => Some(self.simple_packet(&block.body)?),
                OBSOLETE_PACKET => Some(self.obsolete_packet(&block.body)?),
                INTERFACE_DESCRIPTION => {
                    self.interface(&block.body)?;
                    None
                }
                SECTION_HEADER => {
                    self.section(&block.body)?;
                    None
                }
                _ => None,
            };
            let at = refill.consume(block.initial_len as usize) + BODY_OFFSET;
            if let Some(Packet { time_ns, link_type, origin, wire_len, offset, length }) = packet {
                self.last_ns = time_ns;
                return Ok(Some(Located { time_ns, link_type, origin, wire_len, at: at + offset, length }));
            }
        }
    }

    /// The length of a block that is not whole yet, as far as known; checked against the bound.
    fn block_length(&self, block: &[u8]) -> Result<usize, Fault> {
        let Some(length) = self.u32_at(block, 4).filter(|_| block.len() >= SMALLEST_BLOCK) else {
            return Ok(SMALLEST_BLOCK);
        };
        // The byte order of a section header is that of the section which it begins.
        let length = if self.u32_at(block, 0) == Some(SECTION_HEADER) {
            let other = match self.endianness {
                Endianness::Little => block[8..12] == [0x1a, 0x2b, 0x3c, 0x4d],
                Endianness::Big => block[8..12] == [0x4d, 0x3c, 0x2b, 0x1a],
            };
            if other { length.swap_bytes() } else { length }
        } else {
            length
        };
        if length as usize > MAX_BLOCK_BYTES {
            return Err(Fault::TooLong { what: "a block", length: length.into(), limit: MAX_BLOCK_BYTES });
        }
        Ok((length as usize).max(SMALLEST_BLOCK))
    }

    fn section(&mut self, body: &[u8]) -> Result<(), Fault> {
        self.endianness = match body.get(..4) {
            Some([0x4d, 0x3c, 0x2b, 0x1a]) => Endianness::Little,
            Some([0x1a, 0x2b, 0x3c, 0x4d]) => Endianness::Big,
            _ => return Err(Fault::Damaged("a section header of unknown byte order")),
        };
        self.interfaces.clear();
        match self.u16_at(body, 4) {
            Some(1) => Ok(()),
            Some(_) => Err(Fault::Damaged("a section of an unknown pcapng version")),
            None => Err(Fault::Damaged("a section header that is too short")),
        }
    }

    fn interface(&mut self, body: &[u8]) -> Result<(), Fault> {
        let (Some(link_type), Some(snap_len)) = (self.u16_at(body, 0), self.u32_at(body, 4)) else {
            return Err(Fault::Damaged("an interface description that is too short"));
        };
        if self.interfaces.len() == MAX_INTERFACES {
            let length = MAX_INTERFACES as u64 + 1;
            return Err(Fault::TooLong { what: "a list of interfaces", length, limit: MAX_INTERFACES });
        }
        let link_type = LinkType(link_type.into());
        let Options { scale, description } = self.options(&body[8..]);
        let origin = match (&self.interpret, description) {
            (Some(interpret), Some(description)) => interpret(link_type, description),
            _ => 0,
        };
        self.interfaces.push(Interface { link_type, snap_len, scale, origin });
        Ok(())
    }

    /// Reads the options as far as they make sense; a damaged one does not make the packets unreadable.
    fn options<'a>(&self, mut options: &'a [u8]) -> Options<'a> {
        let (mut resolution, mut offset) = (TimeScale::DEFAULT_RESOLUTION, 0);
        let mut description = None;
        while let (Some(code), Some(length)) = (self.u16_at(options, 0), self.u16_at(options, 2)) {
            let length = usize::from(length);
            let Some(value) = options.get(4..4 + length).filter(|_| code != OPTION_END) else {
                break;
            };
            match code {
                OPTION_DESCRIPTION => description = std::str::from_utf8(value).ok(),
                OPTION_RESOLUTION if length == 1 => resolution = value[0],
                OPTION_OFFSET if length == 8 => {
                    let (first, second) = (self.u32_at(value, 0), self.u32_at(value, 4));
                    let (high, low) = match self.endianness {
                        Endianness::Big => (first, second),
                        Endianness::Little => (second, first),
                    };
                    offset = join(high.unwrap_or(0), low.unwrap_or(0)).cast_signed();
                }
                _ => {}
            }
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
        Options { scale: TimeScale::new(resolution, offset), description }
    }

    #[inline]
    fn enhanced_packet(&self, body: &[u8]) -> Result<Packet, Fault> {
        const FIXED: usize = 20;
        let Some(fixed) = body.first_chunk::<FIXED>() else {
            return Err(Fault::Damaged("an enhanced packet block that is too short"));
        };
        let [interface, high, low, captured, wire] = std::array::from_fn(|field| self.word(fixed, field));
        self.packet(body, FIXED, interface, join(high, low), [captured, wire])
    }

    fn obsolete_packet(&self, body: &[u8]) -> Result<Packet, Fault> {
        const FIXED: usize = 20;
        let (Some(fixed), Some(interface)) = (body.first_chunk::<FIXED>(), self.u16_at(body, 0)) else {
            return Err(Fault::Damaged("a packet block that is too short"));
        };
        let [_, high, low, captured, wire] = std::array::from_fn(|field| self.word(fixed, field));
        self.packet(body, FIXED, interface.into(), join(high, low), [captured, wire])
    }

    #[inline]
    fn packet(
        &self,
        body: &[u8],
        offset: usize,
        interface: u32,
        ticks: u64,
        [captured, wire]: [u32; 2],
    ) -> Result<Packet, Fault> {
        let Some(Interface { link_type, scale, origin, .. }) = self.interfaces.get(interface as usize) else {
            return Err(Fault::UnknownInterface { interface, described: self.interfaces.len() });
        };
        let length = captured as usize;
        if length > MAX_FRAME_BYTES {
            return Err(Fault::TooLong { what: "a frame", length: captured.into(), limit: MAX_FRAME_BYTES });
        }
        if length > body.len() - offset {
            return Err(Fault::Damaged("a packet block shorter than its frame"));
        }
        let time_ns = scale.nanoseconds(ticks);
        Ok(Packet { time_ns, link_type: *link_type, origin: *origin, wire_len: wire.max(captured), offset, length })
    }

    /// A simple packet block has neither time nor captured length: interface 0, and what its snapshot length leaves.
    fn simple_packet(&self, body: &[u8]) -> Result<Packet, Fault> {
        const FIXED: usize = 4;
        let Some(wire_len) = self.u32_at(body, 0) else {
            return Err(Fault::Damaged("a simple packet block that is too short"));
        };
        let Some(interface) = self.interfaces.first() else {
            return Err(Fault::UnknownInterface { interface: 0, described: 0 });
        };
        let snap_len = if interface.snap_len == 0 { u32::MAX } else { interface.snap_len };
        let length = wire_len.min(snap_len) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(Fault::TooLong { what: "a frame", length: length as u64, limit: MAX_FRAME_BYTES });
        }
        if length > body.len() - FIXED {
            return Err(Fault::Damaged("a simple packet block shorter than its frame"));
        }
        let Interface { link_type, origin, .. } = *interface;
        Ok(Packet { time_ns: self.last_ns, link_type, origin, wire_len, offset: FIXED, length })
    }

    #[inline]
    fn word<const N: usize>(&self, fixed: &[u8; N], field: usize) -> u32 {
        let at = field * 4;
        self.to_u32([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]])
    }

    #[inline]
    const fn to_u32(&self, bytes: [u8; 4]) -> u32 {
        match self.endianness {
            Endianness::Little => u32::from_le_bytes(bytes),
            Endianness::Big => u32::from_be_bytes(bytes),
        }
    }

    fn u32_at(&self, bytes: &[u8], at: usize) -> Option<u32> {
        Some(self.to_u32(bytes.get(at..at + 4)?.try_into().ok()?))
    }

    fn u16_at(&self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(match self.endianness {
            Endianness::Little => u16::from_le_bytes(bytes),
            Endianness::Big => u16::from_be_bytes(bytes),
        })
    }
}

#[inline]
const fn join(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}
