//! A capture as a mirror would send it: each frame in VXLAN, whole, doubled or with losses.

use std::collections::HashSet;
use std::path::PathBuf;

use etherparse::PacketBuilder;
use tempfile::TempDir;
use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::datagram::vxlan;

/// The VNI of every frame, or of its first copy.
pub(crate) const VNI: u32 = 7;
/// The VNI of second copies.
pub(crate) const SECOND_VNI: u32 = 8;

const TARGET: [u8; 4] = [198, 51, 100, 9];
const SOURCE: [u8; 4] = [198, 51, 100, 1];
const SECOND_SOURCE: [u8; 4] = [198, 51, 100, 2];

/// A capture file that is there as long as this is.
pub(crate) struct File(TempDir);

impl File {
    /// Writes `records`.
    pub(crate) fn of(records: &[Record]) -> Self {
        let directory = TempDir::new().unwrap();
        capture_file::write(&directory.path().join("mirrored.pcap"), records);
        Self(directory)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("mirrored.pcap")
    }
}

/// Each frame in VXLAN.
pub(crate) fn whole(records: &[Record]) -> Vec<Record> {
    records.iter().map(|record| wrap(record, &record.data, VNI, SOURCE)).collect()
}

/// `record` with this UDP payload in place of its frame, as it comes from the mirror.
pub(crate) fn datagram(record: &Record, payload: &[u8]) -> Record {
    in_datagram(record, SOURCE, payload)
}

/// Each frame in VXLAN, and as the next hop's mirror sees it: by another source under another VNI, one hop older. One in four of these
/// comes before the first.
pub(crate) fn doubled(records: &[Record], seed: u64) -> Vec<Record> {
    let mut random = Random(seed);
    let both = |record: &Record| {
        let mut older = record.data.clone();
        age(&mut older);
        let mut both = [wrap(record, &record.data, VNI, SOURCE), wrap(record, &older, SECOND_VNI, SECOND_SOURCE)];
        if random.one_in(4) {
            both.reverse();
        }
        both
    };
    records.iter().take(1).map(first_of_second).chain(records.iter().flat_map(both)).collect()
}

/// Each frame in VXLAN, once. The second mirror is known: nobody looks for copies of what came before there were two.
pub(crate) fn whole_behind_a_frame_of_the_second_mirror(records: &[Record]) -> Vec<Record> {
    records.iter().take(1).map(first_of_second).chain(whole(records)).collect()
}

/// A frame without IP, before `record`.
fn first_of_second(record: &Record) -> Record {
    let mut frame = [0; 60];
    // Local Experimental EtherType 1 (IEEE 802).
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    wrap(record, &frame, SECOND_VNI, SECOND_SOURCE)
}

/// Frames as a poor network leaves them.
pub(crate) struct Lossy {
    pub(crate) arrived: Vec<Record>,
    /// Numbers of the records that did not arrive.
    pub(crate) dropped: HashSet<usize>,
}

/// Each frame in VXLAN but for one in a hundred, and two in a hundred behind the one that followed it.
pub(crate) fn lossy(records: &[Record], seed: u64) -> Lossy {
    let mut random = Random(seed);
    let mut lossy = Lossy { arrived: Vec::new(), dropped: HashSet::new() };
    for (number, record) in records.iter().enumerate() {
        if random.one_in(100) {
            lossy.dropped.insert(number);
        } else {
            lossy.arrived.push(wrap(record, &record.data, VNI, SOURCE));
        }
    }
    let mut at = 1;
    while at < lossy.arrived.len() {
        if random.one_in(50) {
            // Times stay in order: they are taken at the receiver.
            let (earlier, later) = (lossy.arrived[at - 1].time_ns, lossy.arrived[at].time_ns);
            lossy.arrived.swap(at - 1, at);
            (lossy.arrived[at - 1].time_ns, lossy.arrived[at].time_ns) = (earlier, later);
            at += 1;
        }
        at += 1;
    }
    lossy
}

fn wrap(record: &Record, frame: &[u8], vni: u32, source: [u8; 4]) -> Record {
    in_datagram(record, source, &vxlan(vni, frame))
}

fn in_datagram(record: &Record, source: [u8; 4], payload: &[u8]) -> Record {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source, TARGET, 64).udp(50_000, 4789);
    let mut data = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut data, payload).expect("a vector takes it");
    Record { original_len: data.len(), data, ..record.clone() }
}

/// Takes one from the hop limit of an IP packet, as a router does; leaves other frames, and one that says 0, as they are.
fn age(frame: &mut [u8]) {
    let mut at = 12;
    // IEEE 802.1Q and 802.1ad tags.
    while matches!(frame.get(at..at + 2), Some([0x81 | 0x91, 0x00] | [0x88, 0xa8])) {
        at += 4;
    }
    match frame.get(at..at + 2) {
        Some([0x08, 0x00]) if frame.get(at + 10).is_some_and(|hops| *hops > 0) && frame.len() >= at + 14 => {
            frame[at + 10] -= 1;
            // RFC 1624, equation 3: the word with the hop limit is 0x0100 smaller.
            let sum = u16::from_be_bytes([frame[at + 12], frame[at + 13]]);
            let (sum, carry) = sum.overflowing_add(0x0100);
            frame[at + 12..at + 14].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
        }
        Some([0x86, 0xdd]) if frame.get(at + 9).is_some_and(|hops| *hops > 0) => frame[at + 9] -= 1,
        _ => {}
    }
}

/// SplitMix64: the same numbers in each run.
struct Random(u64);

impl Random {
    fn one_in(&mut self, number: u64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31).is_multiple_of(number)
    }
}

#[test]
fn a_frame_one_hop_older_has_a_right_checksum() {
    let peer = vxtap_tests::datagram::Peer::v4;
    let frame = vxtap_tests::datagram::udp_frame(peer(1, 2), peer(3, 4), b"x");
    let mut older = frame.clone();
    age(&mut older);
    let header = |frame: &[u8]| etherparse::Ipv4HeaderSlice::from_slice(&frame[14..]).unwrap().to_header();
    assert_eq!(header(&older).time_to_live, header(&frame).time_to_live - 1);
    assert_eq!(header(&older).header_checksum, header(&older).calc_header_checksum());
}
