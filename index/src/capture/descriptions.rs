//! What the blocks without frames say: sections and their interfaces.

use std::io;

use vxtap_capfile::{LinkType, MAX_INTERFACES};

use super::time_scale::TimeScale;
use super::{ByteOrder, Content, Step, block};
use crate::input::Input;

/// Names and descriptions of a section's interfaces are kept up to so many bytes; an interface beyond has none.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// Length of the header of a classic file, in bytes.
pub(crate) const CLASSIC_HEADER_BYTES: usize = 24;

/// A section of a pcapng file, or a classic file.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(super) order: ByteOrder,
    pub(super) kind: Kind,
    interfaces: Vec<Interface>,
    text_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Pcapng,
    Classic {
        /// Nanoseconds in one unit of the time's second field.
        fraction_ns: u64,
    },
}

/// An interface that records came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) link_type: LinkType,
    pub(super) snap_len: u32,
    pub(super) scale: TimeScale,
}

/// What a capture begins with.
pub(crate) enum Beginning {
    /// The header of a classic file, which is no block.
    Classic(Descriptions, [u8; CLASSIC_HEADER_BYTES]),
    /// The first block of a pcapng file.
    Pcapng,
    /// Something that is no capture.
    Unknown,
}

/// Sections of a capture, in the file's order: all that an index has, or the one that is being read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Descriptions {
    sections: Vec<Section>,
}

impl Descriptions {
    /// From the blocks that an index has. `None` where they are damaged.
    pub(crate) fn parse(mut blocks: &[u8]) -> Option<Self> {
        if let Some(section) = Section::classic_file(blocks) {
            return Some(Self { sections: vec![section] });
        }
        let mut descriptions = Self::default();
        while !blocks.is_empty() {
            let Step::Whole { length, content } = descriptions.current().step(blocks) else { return None };
            match content {
                Content::SectionHeader(whole) => descriptions.sections.push(Section::begun_by(whole).ok()?),
                _ => descriptions.follow(&content).ok()?,
            }
            blocks = blocks.get(length..)?;
        }
        Some(descriptions)
    }

    /// Tells what the capture `input` is by its first bytes. A file without a byte is one without blocks.
    pub(crate) fn begin(input: &mut Input) -> io::Result<Beginning> {
        let mut header = [0; CLASSIC_HEADER_BYTES];
        let mut length = 0;
        while let Some(room) = header.get_mut(length..).filter(|room| !room.is_empty()) {
            match input.read_at(room, length as u64)? {
                0 => break,
                count => length += count,
            }
        }
        let magic = header.first_chunk().map_or(0, |magic| u32::from_le_bytes(*magic));
        Ok(match Section::classic_file(&header).filter(|_| length == CLASSIC_HEADER_BYTES) {
            Some(section) => Beginning::Classic(Self { sections: vec![section] }, header),
            None if length == 0 || magic == block::SECTION_HEADER => Beginning::Pcapng,
            None => Beginning::Unknown,
        })
    }

    /// The section that is the last so far; in front of the first, one that makes sense of its header.
    #[inline]
    pub(crate) fn current(&self) -> &Section {
        self.sections.last().unwrap_or(const { &Section::NONE })
    }

    /// Follows a capture that is read from its beginning: takes a block that describes something, and passes over others. Of
    /// several sections the last is kept, for there may be any number. An error where a block makes no sense.
    pub(crate) fn follow(&mut self, content: &Content<'_>) -> Result<(), &'static str> {
        match content {
            Content::SectionHeader(whole) => {
                self.sections.clear();
                self.sections.push(Section::begun_by(whole)?);
                Ok(())
            }
            Content::Interface(whole) => match self.sections.last_mut() {
                Some(section) => section.add_interface(whole),
                None => Err("an interface in front of the first section"),
            },
            _ => Ok(()),
        }
    }

    /// The interfaces of all sections.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.sections.iter().flat_map(Section::interfaces)
    }

    pub(crate) fn section(&self, number: u32) -> Option<&Section> {
        self.sections.get(number as usize)
    }
}

impl Section {
    /// What is in front of the first section header: nothing.
    const NONE: Self = Self { order: ByteOrder::Little, kind: Kind::Pcapng, interfaces: Vec::new(), text_bytes: 0 };

    /// The one section of a classic file (draft-ietf-opsawg-pcap).
    fn classic_file(header: &[u8]) -> Option<Self> {
        let header = header.first_chunk::<CLASSIC_HEADER_BYTES>()?;
        let (order, fraction_ns) = match header.first_chunk::<4>()? {
            [0xd4, 0xc3, 0xb2, 0xa1] => (ByteOrder::Little, 1_000),
            [0xa1, 0xb2, 0xc3, 0xd4] => (ByteOrder::Big, 1_000),
            [0x4d, 0x3c, 0xb2, 0xa1] => (ByteOrder::Little, 1),
            [0xa1, 0xb2, 0x3c, 0x4d] => (ByteOrder::Big, 1),
            _ => return None,
        };
        // The upper half of the link type tells of a frame check sequence.
        let link_type = LinkType(order.u32_at(header, 20)? & 0xffff);
        let interface = Interface {
            name: String::new(),
            description: String::new(),
            link_type,
            snap_len: 0,
            scale: TimeScale::new(TimeScale::DEFAULT_RESOLUTION, 0),
        };
        let version = order.u16_at(header, 4)?;
        (version == 2).then(|| Self {
            order,
            kind: Kind::Classic { fraction_ns },
            interfaces: vec![interface],
            text_bytes: 0,
        })
    }

    fn begun_by(block: &[u8]) -> Result<Self, &'static str> {
        let body = block.get(8..block.len().saturating_sub(4)).unwrap_or_default();
        let order = ByteOrder::of_section(body).ok_or("a section of unknown byte order")?;
        match order.u16_at(body, 4) {
            Some(1) => Ok(Self { order, kind: Kind::Pcapng, interfaces: Vec::new(), text_bytes: 0 }),
            _ => Err("a section of an unknown pcapng version"),
        }
    }

    fn add_interface(&mut self, block: &[u8]) -> Result<(), &'static str> {
        let body = block.get(8..block.len().saturating_sub(4)).unwrap_or_default();
        let (Some(link_type), Some(snap_len)) = (self.order.u16_at(body, 0), self.order.u32_at(body, 4)) else {
            return Err("an interface description that is too short");
        };
        if self.interfaces.len() == MAX_INTERFACES {
            return Err("more interfaces than a section may have");
        }
        let mut interface = Interface {
            name: String::new(),
            description: String::new(),
            link_type: LinkType(link_type.into()),
            snap_len,
            scale: TimeScale::new(TimeScale::DEFAULT_RESOLUTION, 0),
        };
        self.read_options(&mut interface, body.get(8..).unwrap_or_default());
        let text_bytes = self.text_bytes + interface.name.len() + interface.description.len();
        if text_bytes <= MAX_TEXT_BYTES {
            self.text_bytes = text_bytes;
        } else {
            (interface.name, interface.description) = (String::new(), String::new());
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// Reads the options as far as they make sense; a damaged one does not make the records unreadable.
    fn read_options(&self, interface: &mut Interface, mut options: &[u8]) {
        const END: u16 = 0;
        let (mut resolution, mut offset) = (TimeScale::DEFAULT_RESOLUTION, 0);
        while let (Some(code), Some(length)) = (self.order.u16_at(options, 0), self.order.u16_at(options, 2)) {
            let length = usize::from(length);
            let Some(value) = options.get(4..4 + length).filter(|_| code != END) else { break };
            match (code, value) {
                (2, text) => interface.name = String::from_utf8_lossy(text).into_owned(),
                (3, text) => interface.description = String::from_utf8_lossy(text).into_owned(),
                (9, [value]) => resolution = *value,
                (14, value) => {
                    if let Some(value) = value.first_chunk::<8>().filter(|_| length == 8) {
                        offset = match self.order {
                            ByteOrder::Little => i64::from_le_bytes(*value),
                            ByteOrder::Big => i64::from_be_bytes(*value),
                        };
                    }
                }
                _ => {}
            }
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
        interface.scale = TimeScale::new(resolution, offset);
    }

    #[inline]
    pub(crate) fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }
}

/// How many sections the whole blocks in `blocks` begin; a classic file is one.
pub(crate) fn sections_in(mut blocks: &[u8]) -> u32 {
    if Section::classic_file(blocks).is_some() {
        return 1;
    }
    let mut section = Section::NONE;
    let mut count = 0;
    while let Step::Whole { length, content } = section.step(blocks) {
        if let Content::SectionHeader(whole) = content {
            count += 1;
            section.order = ByteOrder::of_section(whole.get(8..).unwrap_or_default()).unwrap_or(section.order);
        }
        blocks = blocks.get(length..).unwrap_or_default();
    }
    count
}
