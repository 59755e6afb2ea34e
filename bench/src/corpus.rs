//! Capture files to measure with, made here: the same bytes on every machine and in every run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::Context as _;

mod frames;

use frames::{Conversation, FLAG_SYN};

/// Conversations that are under way at a time, frame by frame in turn.
const INTERLEAVED: usize = 64;
/// The first packet's time, microseconds since 1970, and the time between two packets.
const BEGIN_US: u64 = 1_700_000_000_000_000;
const GAP_US: u64 = 3;

/// What is in a capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Corpus {
    /// Four conversations in five are HTTP over TCP (handshake, request, a response of 9000 bytes, end), one is a DNS
    /// query with its answer: 14 packets for each conversation on average.
    Mixed {
        /// Conversations.
        flows: u32,
        /// Whether frames are in VXLAN.
        vxlan: bool,
        /// Bytes kept of each inner frame, as a mirror session with a packet length does; 0 keeps all.
        packet_length: usize,
    },
    /// DNS queries with their answers, in VXLAN.
    Dns {
        /// Conversations.
        flows: u32,
    },
    /// TCP handshakes and nothing behind them: established flows, no VXLAN.
    Established {
        /// Conversations.
        flows: u32,
    },
    /// The first segment of TCP conversations, no VXLAN.
    Opening {
        /// Conversations.
        flows: u32,
    },
}

/// A capture file that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Packets in it.
    pub(crate) packets: u64,
    /// Conversations in it.
    pub(crate) flows: u64,
}

impl Corpus {
    /// The benchmark file: 840,000 packets.
    pub(crate) const BENCHMARK: Self = Self::Mixed { flows: 60_000, vxlan: true, packet_length: 0 };

    /// The benchmark file with other flows.
    pub(crate) const fn benchmark_of(flows: u32) -> Self {
        Self::Mixed { flows, vxlan: true, packet_length: 0 }
    }

    const fn flows(self) -> u32 {
        match self {
            Self::Mixed { flows, .. } | Self::Dns { flows } | Self::Established { flows } | Self::Opening { flows } => {
                flows
            }
        }
    }

    /// Events that `flows` conversations of the benchmark file make, by their type: a flow each, and an HTTP exchange or both messages
    /// of a DNS query.
    pub(crate) fn benchmark_events(flows: u64) -> BTreeMap<String, u64> {
        let dns = flows / 5;
        BTreeMap::from([("dns", 2 * dns), ("flow", flows), ("http", flows - dns)].map(|(kind, n)| (kind.to_owned(), n)))
    }

    /// Writes it to `path` as a pcap file.
    pub(crate) fn write(self, path: &Path) -> anyhow::Result<Written> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let packets = self
            .write_to(&mut BufWriter::with_capacity(1 << 20, file))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(Written { packets, flows: self.flows().into() })
    }

    fn write_to(self, out: &mut impl std::io::Write) -> std::io::Result<u64> {
        // Magic number (microseconds), version 2.4, no time zone, no accuracy, longest packet, Ethernet.
        for word in [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 65_535, 1] {
            out.write_all(&word.to_le_bytes())?;
        }
        let body = frames::printable(9000);
        let mut packets = 0;
        let mut next = 0;
        let mut live: Vec<(u32, std::vec::IntoIter<Vec<u8>>)> = Vec::with_capacity(INTERLEAVED);
        let mut packet = Vec::new();
        while next < self.flows() || !live.is_empty() {
            while live.len() < INTERLEAVED && next < self.flows() {
                live.push((next, self.conversation(next, &body).into_iter()));
                next += 1;
            }
            for (number, frames) in &mut live {
                let Some(frame) = frames.next() else { continue };
                // A mirror that cuts sends short packets: what is missing was not on this wire either.
                let (frame, envelope) = self.cut(&frame);
                packet.clear();
                if envelope {
                    frames::write_envelope(*number, frame.len(), &mut packet);
                }
                packet.extend_from_slice(frame);
                packets += 1;
                let time = BEGIN_US + packets * GAP_US;
                let len = packet.len() as u32;
                for word in [(time / 1_000_000) as u32, (time % 1_000_000) as u32, len, len] {
                    out.write_all(&word.to_le_bytes())?;
                }
                out.write_all(&packet)?;
            }
            live.retain(|(_, frames)| frames.len() > 0);
        }
        out.flush()?;
        Ok(packets)
    }

    /// What is left of `frame`, and whether an envelope goes around it.
    fn cut(self, frame: &[u8]) -> (&[u8], bool) {
        match self {
            Self::Mixed { vxlan, packet_length, .. } => {
                let kept = if packet_length == 0 { frame.len() } else { frame.len().min(packet_length) };
                (&frame[..kept], vxlan)
            }
            Self::Dns { .. } => (frame, true),
            Self::Established { .. } | Self::Opening { .. } => (frame, false),
        }
    }

    fn conversation(self, number: u32, body: &[u8]) -> Vec<Vec<u8>> {
        let conversation = Conversation::new(number);
        match self {
            Self::Mixed { .. } if number % 5 == 4 => conversation.dns(),
            Self::Mixed { .. } => conversation.http(body),
            Self::Dns { .. } => conversation.dns(),
            Self::Established { .. } => conversation.handshake(),
            Self::Opening { .. } => vec![conversation.segment(true, (0, 0), FLAG_SYN, &[])],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(corpus: Corpus) -> (u64, Vec<u8>) {
        let mut bytes = Vec::new();
        let packets = corpus.write_to(&mut bytes).unwrap();
        (packets, bytes)
    }

    /// Lengths of the records, which must fill the file to its end.
    fn records(file: &[u8]) -> Vec<&[u8]> {
        let mut rest = &file[24..];
        let mut records = Vec::new();
        while !rest.is_empty() {
            let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
            records.push(&rest[16..16 + len]);
            rest = &rest[16 + len..];
        }
        records
    }

    #[test]
    fn a_conversation_of_the_benchmark_file_has_fourteen_packets_on_average_and_the_file_repeats() {
        let (packets, file) = bytes(Corpus::benchmark_of(1000));
        assert_eq!((packets, records(&file).len()), (14_000, 14_000));
        assert_eq!(file, bytes(Corpus::benchmark_of(1000)).1);
    }

    #[test]
    fn every_record_is_vxlan_in_udp_to_port_4789_with_lengths_that_agree() {
        let (_, file) = bytes(Corpus::benchmark_of(20));
        for record in records(&file) {
            assert_eq!((&record[12..14], record[23], &record[36..38]), (&[8, 0][..], 17, &4789_u16.to_be_bytes()[..]));
            let ip = usize::from(u16::from_be_bytes([record[16], record[17]]));
            let udp = usize::from(u16::from_be_bytes([record[38], record[39]]));
            assert_eq!((ip, udp), (record.len() - 14, record.len() - 34));
            assert_eq!(frames::sum(&record[14..34]), 0xffff, "outer header checksum");
            assert_eq!(frames::sum(&record[64..84]), 0xffff, "inner header checksum");
        }
    }

    #[test]
    fn a_packet_length_cuts_the_inner_frame() {
        let (packets, file) = bytes(Corpus::Mixed { flows: 10, vxlan: true, packet_length: 128 });
        assert_eq!(packets, 140);
        assert_eq!(records(&file).iter().map(|record| record.len()).max(), Some(50 + 128));
    }

    #[test]
    fn handshakes_and_openings_have_three_packets_and_one() {
        assert_eq!(bytes(Corpus::Established { flows: 100 }).0, 300);
        assert_eq!(bytes(Corpus::Opening { flows: 100 }).0, 100);
        let (_, file) = bytes(Corpus::Opening { flows: 2 });
        assert!(records(&file).iter().all(|record| record.len() == 54 && record[47] == FLAG_SYN));
    }
}
