//! The formats of capture files.

use vxtap_capfile::LinkType;
use vxtap_capfile::pcapng::PacketView;
use vxtap_wire::{ETHERNET_HEADER_LEN, Link};

/// What capture files are written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureFormat {
    /// pcapng: mirror streams as interfaces, nanoseconds, statistics.
    #[default]
    Pcapng,
    /// Classic pcap with microseconds: frames and times only.
    Pcap,
    /// Classic pcap with nanoseconds.
    PcapNanoseconds,
}

/// Length of a classic file's header, in bytes.
const PCAP_HEADER_LEN: usize = 24;
/// Length of what stands before a frame in a classic file, in bytes.
const PCAP_RECORD_HEADER_LEN: usize = 16;
/// The largest frame that readers expect, in bytes.
const PCAP_SNAPLEN: u32 = 262_144;

impl CaptureFormat {
    /// Every format.
    const ALL: [Self; 3] = [Self::Pcapng, Self::Pcap, Self::PcapNanoseconds];

    /// How the names of files end.
    pub(super) const fn extension(self) -> &'static str {
        match self {
            Self::Pcapng => "pcapng",
            Self::Pcap | Self::PcapNanoseconds => "pcap",
        }
    }

    /// Whether a file of one of the formats is called so.
    pub(super) fn is_of_name(name: &str) -> bool {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        Self::ALL.iter().any(|format| extension == Some(format.extension()))
    }

    /// The bytes at the head of a file that are no block, nor a record.
    pub(super) const fn header_len(self) -> u64 {
        match self {
            Self::Pcapng => 0,
            Self::Pcap | Self::PcapNanoseconds => PCAP_HEADER_LEN as u64,
        }
    }

    /// Whether the file can have blocks that mean nothing, as writing around the page cache needs them.
    pub(super) const fn takes_padding(self) -> bool {
        matches!(self, Self::Pcapng)
    }

    /// Appends the file header of a classic file (draft-ietf-opsawg-pcap, section 4), little-endian.
    pub(super) fn append_pcap_header(self, out: &mut Vec<u8>) {
        let magic: u32 = if self == Self::PcapNanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        let header_at = out.len();
        for word in [magic, 2 | 4 << 16, 0, 0, PCAP_SNAPLEN, LinkType::ETHERNET.0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        debug_assert_eq!(out.len() - header_at, PCAP_HEADER_LEN);
    }

    /// The length of a record of a classic file with `frame`, which begins as `link` says, in bytes.
    pub(super) fn pcap_record_len(link: Link, frame: &[u8]) -> usize {
        let (added, left_out) = match link {
            Link::Ethernet => (0, 0),
            link => (ETHERNET_HEADER_LEN, link.as_ethernet(frame).1),
        };
        PCAP_RECORD_HEADER_LEN + added + frame.len() - left_out
    }

    /// Appends a record (section 5). A classic file has frames of one kind: those of other links get an Ethernet header of zeros that
    /// announces what is behind their own, in place of that.
    pub(super) fn append_pcap_record(self, record: &PacketView<'_>, link: Link, out: &mut Vec<u8>) {
        let (time_ns, frame) = (record.time_ns(), record.frame());
        let other = (link != Link::Ethernet).then(|| link.as_ethernet(frame));
        let (ethernet, left_out) = other.as_ref().map_or((&[][..], 0), |(header, at)| (&header[..], *at));
        let fraction = (time_ns % 1_000_000_000) as u32;
        let fraction = if self == Self::PcapNanoseconds { fraction } else { fraction / 1000 };
        // The field has 32 bits: it lasts until 2106.
        let seconds = (time_ns / 1_000_000_000) as u32;
        let behind = &frame[left_out..];
        let captured = (ethernet.len() + behind.len()) as u32;
        let wire_len = record.wire_len().saturating_sub(left_out as u32).saturating_add(ethernet.len() as u32);
        for word in [seconds, fraction, captured, wire_len] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(ethernet);
        out.extend_from_slice(behind);
    }
}
