//! EVE JSON: events in the shape that Suricata writes them, so that what reads Suricata's reads ours.
//!
//! One event is one line. Keys that Suricata has keep its names and formats (addresses of IPv6 written out, times in
//! microseconds with `+0000`); what only a mirror target knows is in the `tunnel` object.

use std::net::IpAddr;

use time::OffsetDateTime;
use vxtap_wire::community_id::community_id;
use vxtap_wire::{FiveTuple, IpVersion, protocol};

use crate::flow::{Flow, FlowRecord, TcpState};
use crate::json::{JsonObject, append_number};
use crate::stream::StreamKey;

/// Appends the `flow` event of `record`, with its newline. `stream` is the mirror stream the flow came by.
pub fn write_flow(line: &mut Vec<u8>, record: &FlowRecord<'_>, stream: &StreamKey) {
    let flow = record.flow;
    let tuple = flow.five_tuple();
    JsonObject::append_to(line, |json| {
        json.raw("timestamp", |line| append_time(line, flow.last_ns));
        json.number("flow_id", flow_id(flow));
        json.text("event_type", "flow");
        write_tuple(json, &tuple);
        if tuple.is_icmp() {
            json.number("icmp_type", flow.icmp.kind);
            json.number("icmp_code", flow.icmp.code);
        }
        json.object("flow", |json| {
            json.number("pkts_toserver", flow.to_responder.frames);
            json.number("pkts_toclient", flow.to_originator.frames);
            json.number("bytes_toserver", flow.to_responder.bytes);
            json.number("bytes_toclient", flow.to_originator.bytes);
            json.raw("start", |line| append_time(line, flow.first_ns));
            json.raw("end", |line| append_time(line, flow.last_ns));
            // Whole seconds between the two, as Suricata counts them.
            json.number("age", (flow.last_ns / NANOS).saturating_sub(flow.first_ns / NANOS));
            json.text("state", flow.state().as_str());
            json.text("reason", record.end.as_str());
            json.flag("alerted", false);
        });
        json.text("community_id", community_id(0, &tuple));
        write_tcp(json, flow);
        write_tunnel(json, stream);
    });
    line.push(b'\n');
}

const NANOS: u64 = 1_000_000_000;

/// A number for a flow that its events share: not 0, and exact in a double as JSON readers use it.
pub(crate) fn flow_id(flow: &Flow) -> u64 {
    use std::hash::BuildHasher as _;
    let hash = foldhash::fast::FixedState::with_seed(0).hash_one((flow.key, flow.first_ns));
    (hash & ((1 << 53) - 1)).max(1)
}

/// The members that say who talks to whom.
pub(crate) fn write_tuple(json: &mut JsonObject<'_>, tuple: &FiveTuple) {
    let ports = has_ports(tuple);
    json.raw("src_ip", |line| append_address(line, tuple.source_ip()));
    if ports {
        json.number("src_port", tuple.source_port);
    }
    json.raw("dest_ip", |line| append_address(line, tuple.destination_ip()));
    if ports {
        json.number("dest_port", tuple.destination_port);
    }
    json.number("ip_v", if tuple.version == IpVersion::V4 { 4u8 } else { 6 });
    match protocol_name(tuple.protocol) {
        Some(name) => json.text("proto", name),
        None => json.text("proto", format!("{:03}", tuple.protocol)),
    }
}

fn write_tcp(json: &mut JsonObject<'_>, flow: &Flow) {
    if flow.key.protocol != protocol::TCP {
        return;
    }
    let (to_responder, to_originator) = (flow.to_responder.tcp_flags.0, flow.to_originator.tcp_flags.0);
    let all = to_responder | to_originator;
    json.object("tcp", |json| {
        for (name, flags) in [("tcp_flags", all), ("tcp_flags_ts", to_responder), ("tcp_flags_tc", to_originator)] {
            json.text(name, [HEX[usize::from(flags >> 4)], HEX[usize::from(flags & 15)]]);
        }
        for (bit, name) in ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"].into_iter().enumerate() {
            if all & (1 << bit) != 0 {
                json.flag(name, true);
            }
        }
        let state = if flow.tcp == TcpState::None { TcpState::Established } else { flow.tcp };
        json.text("state", state.as_str());
    });
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn write_tunnel(json: &mut JsonObject<'_>, stream: &StreamKey) {
    let Some(vni) = stream.vni else { return };
    json.object("tunnel", |json| {
        json.text("proto", stream.encapsulation.as_str());
        json.number("vni", vni.get());
        if let Some(source) = stream.source {
            json.raw("src_ip", |line| append_address(line, source));
        }
    });
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

/// A JSON string: IPv4 with dots, IPv6 with all eight groups of four digits, as Suricata prints it.
pub(crate) fn append_address(line: &mut Vec<u8>, address: IpAddr) {
    line.push(b'"');
    match address {
        IpAddr::V4(v4) => {
            for (at, octet) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    line.push(b'.');
                }
                append_number(line, u64::from(octet));
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
    line.push(b'"');
}

/// Appends a time in nanoseconds since 1970 as a JSON string: `2026-11-21T02:03:16.000001+0000`.
pub fn append_time(line: &mut Vec<u8>, time_ns: u64) {
    line.push(b'"');
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
    line.extend_from_slice(b"+0000\"");
}

#[cfg(test)]
mod tests;
