use super::*;

#[test]
fn flags_that_no_stack_sends_have_names_and_others_have_none() {
    let name = |flags| Anomaly::of_flags(TcpFlags(flags)).map(Anomaly::as_str);
    for flags in [0x02, 0x12, 0x10, 0x18, 0x11, 0x19, 0x04, 0x14, 0x38, 0xc2, 0x52] {
        assert_eq!(name(flags), None, "{flags:#x}");
    }
    assert_eq!(name(0x03), Some("decoder.tcp.flags_syn_fin"));
    assert_eq!(name(0x3f), Some("decoder.tcp.flags_syn_fin"));
    assert_eq!(name(0x06), Some("decoder.tcp.flags_syn_rst"));
    assert_eq!(name(0x00), Some("decoder.tcp.flags_null"));
    assert_eq!(name(0xc0), Some("decoder.tcp.flags_null"));
    assert_eq!(name(0x29), Some("decoder.tcp.flags_xmas"));
    assert_eq!(name(0x01), Some("decoder.tcp.flags_fin_without_ack"));
}

#[test]
fn an_anomaly_is_in_a_set_once() {
    let mut set = AnomalySet::default();
    assert!(set.is_empty());
    assert!(set.insert(Anomaly::StreamOverlap) && set.insert(Anomaly::TcpNull) && !set.insert(Anomaly::TcpNull));
    assert!(set.iter().eq([Anomaly::TcpNull, Anomaly::StreamOverlap]));
}

#[test]
fn too_many_in_a_second_are_counted_and_not_told() {
    const SECOND: u64 = 1_000_000_000;
    let mut counters = AnomalyCounters::default();
    let mut told = |subject, time_ns| (0..1000).filter(|_| counters.admit(subject, "x", time_ns)).count();
    assert_eq!(told(Subject::Frame, 100 * SECOND), FRAMES_PER_SECOND as usize);
    assert_eq!(told(Subject::Flow, 100 * SECOND + 5), FLOWS_PER_SECOND as usize, "frames leave flows their share");
    assert_eq!(told(Subject::Flow, 99 * SECOND), 0, "a time a little earlier is of the same second");
    assert_eq!(told(Subject::Flow, 101 * SECOND), FLOWS_PER_SECOND as usize);
    assert_eq!(told(Subject::Flow, 10 * SECOND), FLOWS_PER_SECOND as usize, "the clock was set back");
    assert_eq!(counters.found().collect::<Vec<_>>(), [("x", 5000)]);
    assert_eq!(counters.suppressed(), 5000 - 3 * 256 - 16);
}

/// An Ethernet frame with so many tags and `kind` behind them.
fn frame(tags: usize, kind: u16) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for _ in 0..tags {
        frame.extend([0x81, 0, 0, 5]);
    }
    frame.extend(kind.to_be_bytes());
    frame.resize(128, 0);
    frame
}

#[test]
fn what_is_in_a_frame_that_nobody_knows_is_told_and_what_neighbours_say_is_not() {
    let found = |frame: &[u8]| Anomaly::of_frame(&FrameView::parse(frame)).map(Anomaly::as_str);
    assert_eq!(found(&frame(0, 0x1234)), Some("decoder.ethernet.unknown_ethertype"));
    assert_eq!(found(&frame(1, 0x1234)), Some("decoder.vlan.unknown_type"));
    assert_eq!(found(&frame(0, LLDP)), None);
    assert_eq!(found(&frame(0, ethertype::ARP)), None);
    assert_eq!(found(&frame(0, 60)), None, "a length");
    assert_eq!(found(&frame(17, ethertype::ARP)), Some("decoder.vlan.too_many_layers"));
    // An IPv4 header of 4 words; and the same cut by a mirror, which is nothing.
    let mut short = frame(0, ethertype::IPV4);
    short[14] = 0x44;
    assert_eq!(found(&short), Some("decoder.ipv4.hlen_too_small"));
    assert_eq!(found(&short[..14]), None);
    assert_eq!(found(&frame(1, 0x1234)[..17]), None);
}
