//! One frame, and what the kernel knows of it.

/// A frame in the ring's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The frame from its Ethernet header on, without a VLAN tag that is in [`Frame::vlan`]; as far as the filter
    /// program let it be copied.
    pub bytes: &'a [u8],
    /// Length in bytes that it had when it crossed the interface, without that tag. At least `bytes.len()`.
    pub wire_len: u32,
    /// When, in nanoseconds since 1970, by the kernel's clock.
    pub time_ns: u64,
    /// Which way, and for whom.
    pub packet_type: PacketType,
    /// Index of the interface.
    pub interface: u32,
    /// The VLAN tag that the kernel or the network card took out of the bytes.
    pub vlan: Option<VlanTag>,
    /// Whether the transport checksum in the bytes is not that of the packet: it is still to be computed by the network
    /// card, or was not kept right when packets were merged. What to do about it is in [`Frame::offload`].
    pub checksum_missing: bool,
    /// What is still to be done to make real packets of it; nothing without [`Settings::offload`](crate::Settings::offload).
    pub offload: Offload,
}

/// A frame in the ring's memory, in which the program may write.
#[derive(Debug)]
pub struct FrameMut<'a> {
    bytes: &'a mut [u8],
    /// All but the bytes.
    known: Frame<'static>,
}

impl<'a> FrameMut<'a> {
    /// A frame of which `known` tells all but the bytes.
    pub const fn new(bytes: &'a mut [u8], known: Frame<'static>) -> Self {
        Self { bytes, known }
    }

    /// The frame as it is now.
    #[inline]
    pub fn frame(&self) -> Frame<'_> {
        Frame { bytes: self.bytes, ..self.known }
    }

    /// Its bytes.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}

/// Which way a frame crossed the interface, and for whom it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// Came in, for this host.
    Host,
    /// Came in, for all.
    Broadcast,
    /// Came in, for a group.
    Multicast,
    /// Came in, for another host: the interface is promiscuous, or a bridge's.
    OtherHost,
    /// Went out.
    Outgoing,
    /// What the kernel may come to name.
    Other(u8),
}

impl PacketType {
    pub(crate) const fn new(number: u8) -> Self {
        match number {
            libc::PACKET_HOST => Self::Host,
            libc::PACKET_BROADCAST => Self::Broadcast,
            libc::PACKET_MULTICAST => Self::Multicast,
            libc::PACKET_OTHERHOST => Self::OtherHost,
            libc::PACKET_OUTGOING => Self::Outgoing,
            other => Self::Other(other),
        }
    }

    /// Whether the frame left by the interface.
    pub const fn is_outgoing(self) -> bool {
        matches!(self, Self::Outgoing)
    }
}

/// An IEEE 802.1Q tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// The EtherType that announces it: 0x8100, or 0x88a8 for a service tag.
    pub tpid: u16,
    /// Priority (3 bits), drop eligibility (1) and VLAN identifier (12).
    pub tci: u16,
}

impl VlanTag {
    /// The four bytes that stand behind both MAC addresses.
    pub const fn to_bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.tpid.to_be_bytes(), self.tci.to_be_bytes());
        [a, b, c, d]
    }
}

/// What is between a frame as the kernel has it and packets on a wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The transport checksum, where it is not there yet.
    pub checksum: Option<Checksum>,
    /// That it stands for several packets.
    pub super_frame: Option<SuperFrame>,
}

/// A checksum that is to be computed from `start` to the end of the frame and written at `start + offset`, where
/// the sum of the pseudo-header is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Where the transport header begins, in bytes from the beginning of the frame.
    pub start: u16,
    /// Where in it the checksum is.
    pub offset: u16,
}

/// A super-frame: one header, and the payload of many packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuperFrame {
    /// Of which protocol.
    pub kind: SuperFrameKind,
    /// Payload bytes of each packet but the last, which may have fewer.
    pub segment_bytes: u16,
    /// Whether a set CWR flag belongs to the first packet only (RFC 3168), and not to all (accurate ECN).
    pub ecn: bool,
}

/// Protocols that super-frames are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuperFrameKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP over either.
    Udp,
    /// What the kernel may come to name.
    Other(u8),
}

/// `struct virtio_net_hdr`, in the byte order of the machine.
pub(crate) const VNET_HEADER_LEN: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCP_V4: u8 = 1;
const GSO_TCP_V6: u8 = 4;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;

impl Offload {
    /// What the header that the kernel puts in front of a frame says.
    pub(crate) fn from_vnet_header(header: &[u8; VNET_HEADER_LEN]) -> Self {
        let &[flags, gso, _, _, size_a, size_b, start_a, start_b, offset_a, offset_b] = header;
        let checksum = (flags & NEEDS_CHECKSUM != 0).then(|| Checksum {
            start: u16::from_ne_bytes([start_a, start_b]),
            offset: u16::from_ne_bytes([offset_a, offset_b]),
        });
        let kind = match gso & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCP_V4 => Some(SuperFrameKind::TcpV4),
            GSO_TCP_V6 => Some(SuperFrameKind::TcpV6),
            GSO_UDP => Some(SuperFrameKind::Udp),
            other => Some(SuperFrameKind::Other(other)),
        };
        let segment_bytes = u16::from_ne_bytes([size_a, size_b]);
        let super_frame = kind.map(|kind| SuperFrame { kind, segment_bytes, ecn: gso & GSO_ECN != 0 });
        Self { checksum, super_frame }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vnet_header_tells_checksum_and_super_frame() {
        let mut header = [0; VNET_HEADER_LEN];
        assert_eq!(Offload::from_vnet_header(&header), Offload::default());
        header[0] = NEEDS_CHECKSUM;
        header[1] = GSO_TCP_V6 | GSO_ECN;
        header[4..6].copy_from_slice(&1428_u16.to_ne_bytes());
        header[6..8].copy_from_slice(&54_u16.to_ne_bytes());
        header[8..10].copy_from_slice(&16_u16.to_ne_bytes());
        let offload = Offload::from_vnet_header(&header);
        assert_eq!(offload.checksum, Some(Checksum { start: 54, offset: 16 }));
        let super_frame = SuperFrame { kind: SuperFrameKind::TcpV6, segment_bytes: 1428, ecn: true };
        assert_eq!(offload.super_frame, Some(super_frame));
    }

    #[test]
    fn a_tag_is_written_as_it_stands_in_a_frame() {
        assert_eq!(VlanTag { tpid: 0x88a8, tci: 0x6123 }.to_bytes(), [0x88, 0xa8, 0x61, 0x23]);
    }
}
