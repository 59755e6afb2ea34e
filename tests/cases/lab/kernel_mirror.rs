//! What was on the mirrored interface equals what arrives, to the byte.

use vxtap_tests::compare::{bytes, same_frames};
use vxtap_tests::lab::{Lab, Outer, VNI, Watch, between_marks};

/// A control without anything of ours: tcpdump is the mirror target, and only VXLAN headers are cut off.
fn the_lab_mirrors_every_frame(outer: Outer) {
    let Some(lab) = Lab::open(outer) else { return };
    lab.mirror();
    let witness = Watch::start(&lab.host, "mir0", "", &lab.directory().join("host.pcap"));
    let receiver = Watch::start(&lab.target, "col0", "udp dst port 4789", &lab.directory().join("target.pcap"));
    lab.traffic();
    let there = witness.finish();
    let mut arrived = receiver.finish();
    for record in &mut arrived {
        let header = outer.header_len() - 8;
        assert_eq!(record.data[header..header + 8], [8, 0, 0, 0, 0, 0x10, 0x92, 0], "VNI {VNI}");
        record.data.drain(..outer.header_len());
    }
    let (there, arrived) = (between_marks(&there), between_marks(&arrived));
    assert!(there.len() > 2000, "{} frames are too few for the traffic made", there.len());
    same_frames(bytes(there), bytes(arrived)).unwrap();
}

#[test]
fn the_lab_mirrors_every_frame_over_ipv4() {
    the_lab_mirrors_every_frame(Outer::V4);
}

#[test]
fn the_lab_mirrors_every_frame_over_ipv6() {
    the_lab_mirrors_every_frame(Outer::V6);
}
