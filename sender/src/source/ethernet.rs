//! Frames of capture files as frames of Ethernet, the only ones that VXLAN carries.

use vxtap_capfile::{LinkType, Record};
use vxtap_wire::{Behind, ETHERNET_HEADER_LEN, Link};

/// Gives packets behind other link headers one of Ethernet, with addresses of zeros. Frames of Ethernet are not copied.
#[derive(Debug, Default)]
pub(crate) struct EthernetFrames {
    /// The last frame that had to be made.
    made: Vec<u8>,
}

impl EthernetFrames {
    /// Whether packets are found in records of this link type at all.
    pub(crate) const fn has_packets(link_type: LinkType) -> bool {
        Link::of_type(link_type.0).is_some()
    }

    /// The frame of `record` and its length on the wire; `None` where it has no packet that an EtherType names.
    #[inline]
    pub(crate) fn frame<'a>(&'a mut self, record: &Record<'a>) -> Option<(&'a [u8], u32)> {
        let wire_len = record.wire_len.max(record.data.len() as u32);
        if record.link_type == LinkType::ETHERNET { Some((record.data, wire_len)) } else { self.make(record, wire_len) }
    }

    #[cold]
    fn make(&mut self, record: &Record<'_>, wire_len: u32) -> Option<(&[u8], u32)> {
        let link = Link::of_type(record.link_type.0)?;
        let Behind::Packet { at, .. } = link.behind(record.data) else { return None };
        let (header, _) = link.as_ethernet(record.data);
        self.made.clear();
        self.made.extend_from_slice(&header);
        self.made.extend_from_slice(record.data.get(at..)?);
        let wire_len = wire_len.checked_sub(at as u32)?.saturating_add(ETHERNET_HEADER_LEN as u32);
        Some((&self.made, wire_len))
    }
}
