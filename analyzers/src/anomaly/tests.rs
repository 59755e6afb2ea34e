use super::*;

/// Of GRE version 1.
const PPP: u16 = 0x880b;

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

/// An IPv4 packet in Ethernet.
fn packet(proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((20 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(payload);
    frame
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let header = [9, 9, (port >> 8) as u8, port as u8, 0, 8 + payload.len() as u8, 0, 0];
    packet(vxtap_wire::protocol::UDP, &[&header[..], payload].concat())
}

fn names(frame: &[u8]) -> Vec<&'static str> {
    Anomaly::of_packet(&FrameView::parse(frame)).iter().map(Anomaly::as_str).collect()
}

#[test]
fn a_tunnel_of_another_version_or_around_nothing_known_is_told() {
    let gre = |flags: u16, kind: u16| {
        packet(vxtap_wire::protocol::GRE, &[&flags.to_be_bytes()[..], &kind.to_be_bytes(), &[0; 30]].concat())
    };
    let vxlan = |flags: u8, kind: u16| udp(4789, &[&[flags, 0, 0, 0, 0, 0, 7, 0][..], &frame(0, kind)[..60]].concat());
    let geneve = |kind: u16| udp(6081, &[&[0, 0][..], &kind.to_be_bytes(), &[0, 0, 7, 0], &[0; 60]].concat());
    assert_eq!(names(&gre(2, 0x0800)), ["decoder.gre.wrong_version"]);
    assert_eq!(names(&gre(0x3001, 0x0800)), ["decoder.gre.version1_wrong_protocol"]);
    assert_eq!(names(&vxlan(8, 0x1234)), ["decoder.vxlan.unknown_payload_type"]);
    assert_eq!(names(&geneve(0x1234)), ["decoder.geneve.unknown_payload_type"]);
    let whole = [gre(2, 0x0800), gre(0x3001, 0x0800), vxlan(8, 0x1234), geneve(0x1234)];
    for cut in whole.iter().flat_map(|frame| (34..44).filter_map(move |at| frame.get(..at))) {
        assert!(names(cut).iter().all(|name| name.starts_with("decoder.gre") && cut.len() >= 38), "{cut:x?}");
    }
    // PPTP, what neighbours say, and what only has a tunnel's port.
    for right in
        [gre(0x3001, PPP), gre(0, 0x1234), vxlan(8, LLDP), vxlan(8, 60), vxlan(0x48, 0x1234), geneve(ethertype::ARP)]
    {
        assert_eq!(names(&right), [""; 0], "{right:x?}");
    }
    assert_eq!(names(&udp(6081, &[0xff; 40])), [""; 0]);
}

#[test]
fn more_tunnels_than_are_looked_through_are_told_and_as_many_are_not() {
    let nested = |tunnels: usize| {
        let packet = |inside: &[u8], proto: u8| packet(proto, inside)[14..].to_vec();
        let inside = (0..tunnels)
            .fold(packet(&[0; 8], vxtap_wire::protocol::UDP), |inside, _| packet(&inside, vxtap_wire::protocol::IPV4));
        [&frame(0, ethertype::IPV4)[..14], &inside].concat()
    };
    let told = |tunnels| names(&nested(tunnels)).contains(&"decoder.too_many_layers");
    assert_eq!((told(4), told(5)), (false, true));
}
