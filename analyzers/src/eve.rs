//! EVE JSON: events in the shape that Suricata writes them, so that what reads Suricata's reads ours.
//!
//! One event is one line. Keys that Suricata has keep its names and formats (addresses of IPv6 written out, times in
//! microseconds with `+0000`); what only a mirror target knows is in the `tunnel` object.

use std::net::IpAddr;

use time::OffsetDateTime;
use vxtap_wire::community_id::community_id;
use vxtap_wire::{FiveTuple, IpVersion, protocol};

use crate::flow::{Flow, FlowRecord, TcpState};
use crate::stream::StreamKey;

/// Appends the `flow` event of `record`, with its newline. `stream` is the mirror stream the flow came by.
pub fn write_flow(line: &mut Vec<u8>, record: &FlowRecord<'_>, stream: &StreamKey) {
    let flow = record.flow;
    let tuple = flow.five_tuple();
    line.extend_from_slice(b"{\"timestamp\":\"");
    write_time(line, flow.last_ns);
    line.extend_from_slice(b"\",\"flow_id\":");
    write_number(line, flow_id(flow));
    line.extend_from_slice(b",\"event_type\":\"flow\"");
    write_tuple(line, &tuple, flow);
    line.extend_from_slice(b",\"flow\":{\"pkts_toserver\":");
    write_number(line, flow.to_responder.frames);
    line.extend_from_slice(b",\"pkts_toclient\":");
    write_number(line, flow.to_originator.frames);
    line.extend_from_slice(b",\"bytes_toserver\":");
    write_number(line, flow.to_responder.bytes);
    line.extend_from_slice(b",\"bytes_toclient\":");
    write_number(line, flow.to_originator.bytes);
    line.extend_from_slice(b",\"start\":\"");
    write_time(line, flow.first_ns);
    line.extend_from_slice(b"\",\"end\":\"");
    write_time(line, flow.last_ns);
    line.extend_from_slice(b"\",\"age\":");
    // Whole seconds between the two, as Suricata counts them.
    write_number(line, (flow.last_ns / NANOS).saturating_sub(flow.first_ns / NANOS));
    line.extend_from_slice(b",\"state\":\"");
    line.extend_from_slice(flow.state().as_str().as_bytes());
    line.extend_from_slice(b"\",\"reason\":\"");
    line.extend_from_slice(record.end.as_str().as_bytes());
    line.extend_from_slice(b"\",\"alerted\":false},\"community_id\":\"");
    line.extend_from_slice(&community_id(0, &tuple));
    line.push(b'"');
    write_tcp(line, flow);
    write_tunnel(line, stream);
    line.extend_from_slice(b"}\n");
}

const NANOS: u64 = 1_000_000_000;

/// A number for a flow that its events share: not 0, and exact in a double as JSON readers use it.
fn flow_id(flow: &Flow) -> u64 {
    use std::hash::BuildHasher as _;
    let hash = foldhash::fast::FixedState::with_seed(0).hash_one((flow.key, flow.first_ns));
    (hash & ((1 << 53) - 1)).max(1)
}

fn write_tuple(line: &mut Vec<u8>, tuple: &FiveTuple, flow: &Flow) {
    let ports = has_ports(tuple);
    line.extend_from_slice(b",\"src_ip\":\"");
    write_address(line, tuple.source_ip());
    line.push(b'"');
    if ports {
        line.extend_from_slice(b",\"src_port\":");
        write_number(line, u64::from(tuple.source_port));
    }
    line.extend_from_slice(b",\"dest_ip\":\"");
    write_address(line, tuple.destination_ip());
    line.push(b'"');
    if ports {
        line.extend_from_slice(b",\"dest_port\":");
        write_number(line, u64::from(tuple.destination_port));
    }
    line.extend_from_slice(if tuple.version == IpVersion::V4 { b",\"ip_v\":4" } else { b",\"ip_v\":6" });
    line.extend_from_slice(b",\"proto\":\"");
    match protocol_name(tuple.protocol) {
        Some(name) => line.extend_from_slice(name.as_bytes()),
        None => line.extend_from_slice(format!("{:03}", tuple.protocol).as_bytes()),
    }
    line.push(b'"');
    if tuple.is_icmp() {
        line.extend_from_slice(b",\"icmp_type\":");
        write_number(line, u64::from(flow.icmp.kind));
        line.extend_from_slice(b",\"icmp_code\":");
        write_number(line, u64::from(flow.icmp.code));
    }
}

fn write_tcp(line: &mut Vec<u8>, flow: &Flow) {
    if flow.key.protocol != protocol::TCP {
        return;
    }
    let (to_responder, to_originator) = (flow.to_responder.tcp_flags.0, flow.to_originator.tcp_flags.0);
    let all = to_responder | to_originator;
    line.extend_from_slice(b",\"tcp\":{");
    for (name, flags) in [("tcp_flags", all), ("tcp_flags_ts", to_responder), ("tcp_flags_tc", to_originator)] {
        line.push(b'"');
        line.extend_from_slice(name.as_bytes());
        line.extend_from_slice(b"\":\"");
        line.extend_from_slice(&[HEX[usize::from(flags >> 4)], HEX[usize::from(flags & 15)]]);
        line.extend_from_slice(b"\",");
    }
    for (bit, name) in ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"].iter().enumerate() {
        if all & (1 << bit) != 0 {
            line.push(b'"');
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b"\":true,");
        }
    }
    line.extend_from_slice(b"\"state\":\"");
    let state = if flow.tcp == TcpState::None { TcpState::Established } else { flow.tcp };
    line.extend_from_slice(state.as_str().as_bytes());
    line.extend_from_slice(b"\"}");
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn write_tunnel(line: &mut Vec<u8>, stream: &StreamKey) {
    let Some(vni) = stream.vni else { return };
    line.extend_from_slice(b",\"tunnel\":{\"proto\":\"");
    line.extend_from_slice(stream.encapsulation.as_str().as_bytes());
    line.extend_from_slice(b"\",\"vni\":");
    write_number(line, u64::from(vni.get()));
    if let Some(source) = stream.source {
        line.extend_from_slice(b",\"src_ip\":\"");
        write_address(line, source);
        line.push(b'"');
    }
    line.push(b'}');
}

/// Whether EVE has ports for this protocol.
pub(crate) const fn has_ports(tuple: &FiveTuple) -> bool {
    matches!(tuple.protocol, protocol::TCP | protocol::UDP | protocol::SCTP | protocol::UDP_LITE)
}

/// The name that EVE has for a protocol.
pub(crate) const fn protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        protocol::ICMP => "ICMP",
        protocol::IGMP => "IGMP",
        protocol::IPV4 => "IPIP",
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::IPV6 => "IPV6",
        protocol::GRE => "GRE",
        protocol::ESP => "ESP",
        protocol::AH => "AH",
        protocol::ICMPV6 => "IPv6-ICMP",
        protocol::SCTP => "SCTP",
        protocol::UDP_LITE => "UDPLite",
        _ => return None,
    })
}

fn write_number(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// IPv4 with dots, IPv6 with all eight groups of four digits, as Suricata prints it.
fn write_address(line: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (at, octet) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    line.push(b'.');
                }
                write_number(line, u64::from(octet));
            }
        }
        IpAddr::V6(v6) => {
            for (at, group) in v6.segments().into_iter().enumerate() {
                if at > 0 {
                    line.push(b':');
                }
                line.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(group >> shift & 15)]));
            }
        }
    }
}

/// `2026-11-21T02:03:16.000001+0000`.
fn write_time(line: &mut Vec<u8>, time_ns: u64) {
    // A u64 of nanoseconds ends in 2554, which the calendar knows.
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_ns)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let digits = |line: &mut Vec<u8>, value: u32, width: u32| {
        line.extend((0..width).rev().map(|place| b'0' + (value / 10u32.pow(place) % 10) as u8));
    };
    digits(line, time.year().unsigned_abs(), 4);
    line.push(b'-');
    digits(line, u32::from(u8::from(time.month())), 2);
    line.push(b'-');
    digits(line, u32::from(time.day()), 2);
    line.push(b'T');
    digits(line, u32::from(time.hour()), 2);
    line.push(b':');
    digits(line, u32::from(time.minute()), 2);
    line.push(b':');
    digits(line, u32::from(time.second()), 2);
    line.push(b'.');
    digits(line, time.microsecond(), 6);
    line.extend_from_slice(b"+0000");
}

#[cfg(test)]
mod tests;
