use std::io::Write as _;
use std::path::PathBuf;

use vxtap_wire::vxlan::Vni;

use super::*;
use crate::control::Control;
use crate::transmit::TransmitSettings;

const ETHERNET: u16 = 1;
const RAW: u16 = 101;
const NETLINK: u16 = 253;
const SLL: u16 = 113;

/// A classic pcap file with microseconds.
fn pcap(link_type: u16, records: &[(u64, &[u8])]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    file.extend(u32::from(link_type).to_le_bytes());
    for (us, frame) in records {
        for field in [(us / 1_000_000) as u32, (us % 1_000_000) as u32, frame.len() as u32, frame.len() as u32 + 9] {
            file.extend(field.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}

/// A pcapng file with one interface for each of `link_types`, and records of interface and frame.
fn pcapng(link_types: &[u16], records: &[(u32, &[u8])]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let len = (12 + body.len() as u32).to_le_bytes();
        [&kind.to_le_bytes(), &len, body, &len].concat()
    };
    let mut file = block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    for link_type in link_types {
        file.extend(block(1, &[&link_type.to_le_bytes()[..], &[0, 0, 0, 0, 4, 0]].concat()));
    }
    for (interface, frame) in records {
        let len = (frame.len() as u32).to_le_bytes();
        let mut body = [&interface.to_le_bytes()[..], &[0; 8], &len, &len, frame].concat();
        body.resize(body.len().next_multiple_of(4), 0);
        file.extend(block(6, &body));
    }
    file
}

struct Fixture {
    folder: tempfile::TempDir,
    settings: ReplaySettings,
}

impl Fixture {
    fn new(files: &[Vec<u8>], loops: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = files.iter().enumerate().map(|(index, bytes)| {
            let path = folder.path().join(format!("{index}.pcap"));
            std::fs::write(&path, bytes).unwrap();
            path
        });
        let transmit = TransmitSettings::new("127.0.0.1".parse().unwrap(), Vni::new(1).unwrap());
        let settings = ReplaySettings { loops, ..ReplaySettings::new(transmit, paths.collect()) };
        Self { folder, settings }
    }

    /// Every frame with its gap, as the sender would send them.
    fn read(&self, control: &Control) -> Result<Vec<(Vec<u8>, u64)>, SendError> {
        Records::check(&self.settings.files, self.settings.loops)?;
        let mut files = Files::open(&self.settings, 16, control.counters())?;
        let (mut frames, mut slots) = (Vec::new(), Vec::new());
        loop {
            slots.clear();
            files.fill(&mut slots)?;
            if slots.is_empty() {
                return Ok(frames);
            }
            let bytes = files.bytes();
            let frame = |slot: &Slot| (bytes[slot.offset..slot.offset + slot.frame_len as usize].to_vec(), slot.gap_ns);
            frames.extend(slots.iter().map(frame));
        }
    }
}

fn skipped(control: &Control, reason: SkipReason) -> u64 {
    control.counters().skipped[reason as usize].get()
}

#[test]
fn frames_come_as_they_are_with_the_gaps_of_the_capture() {
    let (one, two) =
        (pcap(ETHERNET, &[(5, b"first"), (9, b"second"), (7, b"third"), (10, b"4")]), pcap(ETHERNET, &[(1, b"5")]));
    let fixture = Fixture::new(&[one, two], 1);
    let frames = fixture.read(&Control::default()).unwrap();
    let frame = |bytes: &[u8], gap_us: u64| (bytes.to_vec(), gap_us * 1000);
    // The third went back in time; the second file begins when the first has ended.
    assert_eq!(frames, [frame(b"first", 0), frame(b"second", 4), frame(b"third", 0), frame(b"4", 1), frame(b"5", 0)]);
}

#[test]
fn all_files_are_replayed_as_often_as_asked() {
    let fixture = Fixture::new(&[pcap(ETHERNET, &[(0, b"a")]), pcap(ETHERNET, &[(0, b"b")])], 3);
    let control = Control::default();
    let frames: Vec<u8> = fixture.read(&control).unwrap().into_iter().flat_map(|(frame, _)| frame).collect();
    assert_eq!(frames, b"ababab");
    assert_eq!(control.counters().loops.get(), 3);
}

#[test]
fn files_without_a_frame_do_not_loop_for_ever() {
    let fixture = Fixture::new(&[pcap(ETHERNET, &[])], 0);
    assert_eq!(fixture.read(&Control::default()).unwrap(), []);
}

#[test]
fn a_file_without_packets_is_refused_by_the_name_of_its_link_type() {
    for file in [pcap(NETLINK, &[(0, b"x")]), pcapng(&[ETHERNET, NETLINK], &[(1, b"x")])] {
        let fixture = Fixture::new(&[pcap(ETHERNET, &[(0, b"a")]), file], 1);
        let control = Control::default();
        let error = fixture.read(&control).unwrap_err();
        assert!(error.is_usage());
        let message = error.to_string();
        assert!(message.contains("netlink (253)") && message.contains("1.pcap"), "{message}");
        assert_eq!(control.progress().read, 0);
    }
}

#[test]
fn records_without_packets_among_others_are_skipped_and_counted() {
    let fixture = Fixture::new(&[pcapng(&[NETLINK, ETHERNET], &[(0, b"x"), (1, b"frame"), (0, b"y"), (1, b"")])], 1);
    let control = Control::default();
    assert_eq!(fixture.read(&control).unwrap(), [(b"frame".to_vec(), 0)]);
    assert_eq!(skipped(&control, SkipReason::LinkType), 2);
    assert_eq!(skipped(&control, SkipReason::EmptyFrame), 1);
}

#[test]
fn packets_of_other_links_get_an_ethernet_header_and_what_is_no_packet_is_skipped() {
    let packet = [&[0x45, 0, 0, 24][..], &[0; 16], b"data"].concat();
    let sll = |protocol: [u8; 2]| [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &protocol, &packet].concat();
    let (ip, llc, cut) = (sll([8, 0]), sll([0, 4]), sll([8, 0])[..15].to_vec());
    let files = [pcap(RAW, &[(0, &packet)]), pcap(SLL, &[(0, &ip), (0, &llc), (0, &cut)])];
    let fixture = Fixture::new(&files, 1);
    let control = Control::default();
    let expected = [&[0; 12][..], &[8, 0], &packet].concat();
    assert_eq!(fixture.read(&control).unwrap(), [(expected.clone(), 0), (expected, 0)]);
    assert_eq!(skipped(&control, SkipReason::LinkType), 2);
}

#[test]
fn what_comes_before_damage_is_sent_and_the_damage_counted() {
    let mut cut = pcap(ETHERNET, &[(0, b"whole"), (0, b"cut off")]);
    cut.truncate(cut.len() - 3);
    let fixture = Fixture::new(&[cut, pcap(ETHERNET, &[(0, b"next")])], 1);
    let control = Control::default();
    let frames = fixture.read(&control).unwrap();
    assert_eq!(frames, [(b"whole".to_vec(), 0), (b"next".to_vec(), 0)]);
    assert_eq!(skipped(&control, SkipReason::FileDamaged), 1);
}

#[test]
fn a_missing_file_and_one_that_is_no_capture_are_bad_arguments() {
    let mut fixture = Fixture::new(&[b"plain text, long enough to have a header".to_vec()], 1);
    let error = fixture.read(&Control::default()).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("0.pcap"), "{error}");
    fixture.settings.files = vec![fixture.folder.path().join("missing.pcap")];
    let error = fixture.read(&Control::default()).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("missing.pcap"), "{error}");
}

#[test]
fn a_large_file_comes_whole_through_many_batches() {
    let frames: Vec<Vec<u8>> = (0..20_000_u32).map(|n| n.to_be_bytes().repeat(1 + n as usize % 300)).collect();
    let records: Vec<(u64, &[u8])> = frames.iter().map(|frame| (0, frame.as_slice())).collect();
    let read = Fixture::new(&[pcap(ETHERNET, &records)], 1).read(&Control::default()).unwrap();
    assert!(read.iter().map(|(frame, _)| frame).eq(&frames));
}

#[test]
fn a_pipe_is_read_once_and_cannot_loop() {
    let fixture = Fixture::new(&[], 2);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let pipe = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader)));
    writer.write_all(&pcap(NETLINK, &[(0, b"x")])).unwrap();
    drop(writer);
    let settings = ReplaySettings { files: vec![pipe], ..fixture.settings.clone() };
    let looping = Fixture { settings: settings.clone(), folder: tempfile::tempdir().unwrap() };
    let error = looping.read(&Control::default()).unwrap_err();
    assert!(matches!(error, SendError::Setting(_)), "{error}");
    // It cannot be looked into before; what is in it is refused when it is read.
    let once = Fixture { settings: ReplaySettings { loops: 1, ..settings }, folder: tempfile::tempdir().unwrap() };
    let error = once.read(&Control::default()).unwrap_err();
    assert!(matches!(error, SendError::LinkType { .. }), "{error}");
    drop(reader);
}

#[test]
fn frames_without_a_five_tuple_hash_alike_in_both_directions() {
    let arp = |to: u8, from: u8| {
        [[2, 0, 0, 0, 0, to], [2, 0, 0, 0, 0, from]].concat().into_iter().chain([8, 6]).collect::<Vec<_>>()
    };
    let hash = SteerHash::new(0);
    assert_eq!(flow_hash(hash, &arp(1, 2)), flow_hash(hash, &arp(2, 1)));
    assert_ne!(flow_hash(hash, &arp(1, 2)), flow_hash(hash, &arp(1, 3)));
    assert_eq!(flow_hash(hash, &[1, 2, 3]), 0);
}
