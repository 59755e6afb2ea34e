//! What our sender sends as VXLAN is clean to others: the kernel's own VXLAN device and tshark.

use serde_json::Value;
use vxtap_tests::compare::same_frames;
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::lab::{Lab, Outer, VNI, Watch};
use vxtap_tests::tshark;

use super::live_capture::talk;
use super::sender::{Sender, count};

/// Fewer frames than this are not the traffic that the lab makes.
const FRAMES: usize = 2000;

/// The kernel's counts of `device` in the target's namespace.
fn received(lab: &Lab, device: &str) -> Value {
    let listed = lab.target.ip(&format!("-json -statistics link show dev {device}")).stdout;
    let mut listed: Value = serde_json::from_str(&listed).unwrap();
    listed[0]["stats64"]["rx"].take()
}

fn others_take_what_our_sender_sends(outer: Outer) {
    let Some(lab) = Lab::open(outer) else { return };
    lab.target.ip(&format!(
        "link add vx0 mtu 8900 type vxlan id {VNI} local {} dstport 4789 dev col0 nolearning",
        outer.target()
    ));
    lab.target.ip("link set vx0 addrgenmode none");
    lab.target.quiet_offloads("vx0");
    lab.target.ip("link set vx0 up");
    let (there_file, outer_file) = (lab.directory().join("host.pcap"), lab.directory().join("outer.pcap"));
    let there = Watch::start(&lab.host, "mir0", "", &there_file);
    let on_wire = Watch::start(&lab.target, "col0", "udp dst port 4789", &outer_file);
    let here = Watch::start(&lab.target, "vx0", "", &lab.directory().join("device.pcap"));
    let sender = Sender::start(&lab, &["mir0"], outer.target(), &[]);
    lab.traffic();
    let there = there.finish();
    let sent = sender.stop();
    // The last mark need not be the last that arrives.
    wait_until(SOON, "all frames on the kernel's device", || {
        count(&received(&lab, "vx0"), "packets") >= count(&sent, "sent")
    });
    let (on_wire, here) = (on_wire.finish(), here.finish());

    // The kernel: every frame is on its device, as it was on the mirrored interface, and it has nothing to complain of.
    let (there, here) = (talk(&there), talk(&here));
    assert!(there.len() > FRAMES, "{} frames are too few for the traffic made", there.len());
    same_frames(there, here).unwrap();
    let device = received(&lab, "vx0");
    assert_eq!((count(&device, "packets"), count(&device, "errors")), (count(&sent, "sent"), 0), "{device}");

    // tshark: headers without a bit that should not be there, right outer checksums, no complaint but those that it has of the
    // mirrored traffic itself.
    let fields =
        ["vxlan.flags", "vxlan.gbp", "vxlan.vni", "vxlan.reserved8", "udp.checksum.status", "ip.checksum.status"];
    let headers = tshark::checked_fields(&outer_file, &fields).unwrap();
    // 1 is good; IPv6 has no checksum of its own, and the first that is found is the inner packet's.
    let of_ip = if outer == Outer::V4 { "1" } else { "" };
    let clean = format!("0x0800\t0\t{VNI}\t0\t1\t{of_ip}");
    assert_eq!(headers.len(), on_wire.len());
    let unclean: Vec<_> = headers.iter().filter(|header| !header.starts_with(&clean)).collect();
    assert!(unclean.is_empty(), "{} of {}, as {:?}", unclean.len(), headers.len(), unclean[0]);
    assert_eq!(tshark::complaints(&outer_file).unwrap(), tshark::complaints(&there_file).unwrap());
}

#[test]
fn the_kernels_vxlan_device_and_tshark_find_nothing_wrong_with_our_vxlan_over_ipv4() {
    others_take_what_our_sender_sends(Outer::V4);
}

#[test]
fn the_kernels_vxlan_device_and_tshark_find_nothing_wrong_with_our_vxlan_over_ipv6() {
    others_take_what_our_sender_sends(Outer::V6);
}
