use serde_json::{Value, json};
use vxtap_wire::vxlan::Vni;
use vxtap_wire::{Direction, FlowKey, FrameView, IpAddress, NetworkId, TcpFlags};

use super::*;
use crate::Analysis;
use crate::flow::FlowEnd;
use crate::protocols::EventKinds;
use crate::stream::StreamId;

fn event(tuple: FiveTuple, change: impl FnOnce(&mut Flow), stream: &StreamKey) -> Value {
    event_with_names(tuple, change, stream, StreamNames::default())
}

fn event_with_names(tuple: FiveTuple, change: impl FnOnce(&mut Flow), stream: &StreamKey, names: StreamNames) -> Value {
    let (key, direction) = FlowKey::new(NetworkId(1), &tuple);
    let mut flow = Flow::begin(key, direction, StreamId(0), &FrameView::parse(&[]));
    flow.originator = direction;
    change(&mut flow);
    let stream = *stream;
    let mut analysis = Analysis::new(EventKinds::ALL, move |_| stream).with_names(move |_| names);
    let app = analysis.begin(&flow, 7);
    analysis.record(&FlowRecord { flow: &flow, end: FlowEnd::Idle }, &app);
    let mut line = Vec::new();
    analysis.events().take(|lines, _| line.extend_from_slice(lines));
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "one event is one line");
    serde_json::from_slice(&line).unwrap()
}

fn tuple(proto: u8) -> FiveTuple {
    FiveTuple {
        source: IpAddress::v4([192, 168, 1, 104]),
        destination: IpAddress::v4([63, 245, 209, 11]),
        source_port: 1673,
        destination_port: 80,
        protocol: proto,
        version: IpVersion::V4,
    }
}

#[test]
fn a_tcp_flow_has_suricatas_keys_and_values() {
    let stream = StreamKey::vxlan("10.0.0.7".parse().unwrap(), Vni::new(4242).unwrap());
    let change = |flow: &mut Flow| {
        flow.tcp = TcpState::Closed;
        flow.first_ns = 1_258_577_884_822_720_000;
        flow.last_ns = 1_258_577_912_403_915_999;
        flow.to_responder.frames = 16;
        flow.to_responder.bytes = 3714;
        flow.to_responder.tcp_flags = TcpFlags(0x1b);
        flow.to_originator.frames = 33;
        flow.to_originator.bytes = 41_430;
        flow.to_originator.tcp_flags = TcpFlags(0x1a);
    };
    let mut event = event(tuple(protocol::TCP), change, &stream);
    let id = event.as_object_mut().unwrap().remove("flow_id").unwrap().as_u64().unwrap();
    assert!(id > 0 && id < 1 << 53);
    assert_eq!(
        event,
        json!({
            "timestamp": "2009-11-18T20:58:32.403915+0000", "event_type": "flow",
            "src_ip": "192.168.1.104", "src_port": 1673, "dest_ip": "63.245.209.11", "dest_port": 80, "ip_v": 4,
            "proto": "TCP",
            "flow": {
                "pkts_toserver": 16, "pkts_toclient": 33, "bytes_toserver": 3714, "bytes_toclient": 41430,
                "start": "2009-11-18T20:58:04.822720+0000", "end": "2009-11-18T20:58:32.403915+0000", "age": 28,
                "state": "closed", "reason": "timeout", "alerted": false
            },
            "community_id": event["community_id"],
            "tcp": {
                "tcp_flags": "1b", "tcp_flags_ts": "1b", "tcp_flags_tc": "1a",
                "fin": true, "syn": true, "psh": true, "ack": true, "state": "closed"
            },
            "tunnel": {"proto": "vxlan", "vni": 4242, "src_ip": "10.0.0.7"}
        })
    );
}

#[test]
fn what_the_mirror_cut_off_is_told_for_each_direction_that_lacks_something() {
    let change = |flow: &mut Flow| {
        flow.to_originator.frames = 9;
        flow.to_originator.cut_frames = 7;
        flow.to_originator.cut_bytes = 9000;
    };
    let flow = &event(tuple(protocol::UDP), change, &StreamKey::PLAIN)["flow"];
    assert_eq!((&flow["cut_pkts_toclient"], &flow["cut_bytes_toclient"]), (&json!(7), &json!(9000)));
    assert_eq!((flow.get("cut_pkts_toserver"), flow.get("cut_bytes_toserver")), (None, None));
}

#[test]
fn ipv6_is_written_out_and_icmp_has_type_and_code_for_ports() {
    let tuple = FiveTuple {
        source: IpAddress::from("fe80::1".parse::<IpAddr>().unwrap()),
        destination: IpAddress::from("ff02::1:ff5e:31ba".parse::<IpAddr>().unwrap()),
        source_port: 135,
        destination_port: 136,
        protocol: protocol::ICMPV6,
        version: IpVersion::V6,
    };
    let event = event(tuple, |flow| flow.icmp.kind = 135, &StreamKey::PLAIN);
    assert_eq!(event["src_ip"], "fe80:0000:0000:0000:0000:0000:0000:0001");
    assert_eq!(event["dest_ip"], "ff02:0000:0000:0000:0000:0001:ff5e:31ba");
    assert_eq!((&event["proto"], &event["ip_v"]), (&json!("IPv6-ICMP"), &json!(6)));
    assert_eq!((&event["icmp_type"], &event["icmp_code"]), (&json!(135), &json!(0)));
    assert_eq!((event.get("src_port"), event.get("tcp"), event.get("tunnel")), (None, None, None));
}

#[test]
fn a_protocol_without_a_name_is_three_digits() {
    let event = event(tuple(89), |_| {}, &StreamKey::PLAIN);
    assert_eq!(event["proto"], "089");
}

#[test]
fn the_direction_of_the_event_is_the_originators() {
    let event = event(tuple(protocol::UDP), |flow| flow.originator = flow.originator.reversed(), &StreamKey::PLAIN);
    assert_eq!((&event["src_port"], &event["dest_port"]), (&json!(80), &json!(1673)));
    assert_ne!(Direction::LowToHigh, Direction::LowToHigh.reversed());
}

#[test]
fn the_tunnel_has_the_names_that_configuration_gives() {
    let stream = StreamKey::vxlan("10.0.0.7".parse().unwrap(), Vni::new(4242).unwrap());
    let names = StreamNames { network: Some("blue"), vni: Some("web"), source: Some("gateway") };
    let event = event_with_names(tuple(protocol::TCP), |_| {}, &stream, names);
    let expected = json!({
        "proto": "vxlan", "vni": 4242, "src_ip": "10.0.0.7", "network": "blue", "vni_name": "web", "src_name": "gateway"
    });
    assert_eq!(event["tunnel"], expected);
}
