//! EVE JSON: events in the shape that Suricata writes them, so that what reads Suricata's reads ours.
//!
//! One event is one line. Keys that Suricata has keep its names and formats (addresses of IPv6 written out, times in
//! microseconds with `+0000`); what only a mirror target knows is in the `tunnel` object.

use std::net::IpAddr;

use time::OffsetDateTime;
use vxtap_wire::geneve::{Balancer, Cookie, GoogleCookie};
use vxtap_wire::{FiveTuple, FlowKey, IpVersion, protocol};

use crate::app::FlowApp;
use crate::flow::{Flow, FlowRecord, TcpState};
use crate::json::JsonObject;
use crate::protocols::Side;
use crate::stream::{StreamKey, StreamNames};
use crate::tcp::{DirectionMetrics, Metrics};

/// Writes the members that a `flow` event has behind its envelope.
pub(crate) fn write_flow(
    json: &mut JsonObject<'_>,
    record: &FlowRecord<'_>,
    tuple: &FiveTuple,
    (starts, ends): (&mut Times, &mut Times),
) {
    let flow = record.flow;
    if tuple.is_icmp() {
        json.number("icmp_type", flow.icmp.kind);
        json.number("icmp_code", flow.icmp.code);
    }
    let app = flow.app.as_deref();
    if let Some(protocol) = app.and_then(FlowApp::protocol) {
        json.word("app_proto", protocol.as_str());
    }
    json.object("flow", |json| {
        json.number("pkts_toserver", flow.to_responder.frames);
        json.number("pkts_toclient", flow.to_originator.frames);
        json.number("bytes_toserver", flow.to_responder.bytes);
        json.number("bytes_toclient", flow.to_originator.bytes);
        // Ours: what the mirror cut off frames, where it did.
        for (frames, bytes, counters) in [
            ("cut_pkts_toserver", "cut_bytes_toserver", &flow.to_responder),
            ("cut_pkts_toclient", "cut_bytes_toclient", &flow.to_originator),
        ] {
            if counters.cut_frames > 0 {
                json.number(frames, counters.cut_frames);
                json.number(bytes, counters.cut_bytes);
            }
        }
        json.raw("start", |line| starts.append(line, flow.first_ns));
        json.raw("end", |line| ends.append(line, flow.last_ns));
        // Whole seconds between the two, as Suricata counts them.
        json.number("age", (flow.last_ns / NANOS).saturating_sub(flow.first_ns / NANOS));
        json.word("state", flow.state().as_str());
        json.word("reason", record.end.as_str());
        json.flag("alerted", false);
    });
    write_tcp(json, flow);
    if let Some(metrics) = app.and_then(FlowApp::metrics).filter(|metrics| **metrics != Metrics::default()) {
        write_metrics(json, metrics);
    }
}

const NANOS: u64 = 1_000_000_000;

/// A number for a flow that its events share: not 0, and exact in a double as JSON readers use it.
pub(crate) fn flow_id(key: &FlowKey, begun_ns: u64) -> u64 {
    use std::hash::BuildHasher as _;
    let hash = foldhash::fast::FixedState::with_seed(0).hash_one((key, begun_ns));
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
        Some(name) => json.word("proto", name),
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
            let digits = [b'"', HEX[usize::from(flags >> 4)], HEX[usize::from(flags & 15)], b'"'];
            json.raw(name, |line| line.extend_from_slice(&digits));
        }
        for (bit, name) in ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"].into_iter().enumerate() {
            if all & (1 << bit) != 0 {
                json.flag(name, true);
            }
        }
        let state = if flow.tcp == TcpState::None { TcpState::Established } else { flow.tcp };
        json.word("state", state.as_str());
    });
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What operators ask of a TCP connection: ours, Suricata has nothing of it. Figures that are 0 are left out.
fn write_metrics(json: &mut JsonObject<'_>, metrics: &Metrics) {
    json.object("tcp_metrics", |json| {
        for (name, time) in [
            ("rtt_server_us", metrics.responder_rtt_ns),
            ("rtt_client_us", metrics.originator_rtt_ns),
            ("first_byte_us", metrics.first_byte_ns),
        ] {
            if let Some(time) = time {
                json.number(name, time.get() / 1000);
            }
        }
        for (name, side) in [("toserver", Side::Originator), ("toclient", Side::Responder)] {
            let sent = metrics.sent_by(side);
            if *sent == DirectionMetrics::default() {
                continue;
            }
            json.object(name, |json| {
                for (name, count) in [
                    ("lost_bytes", sent.lost_bytes),
                    ("cut_bytes", sent.cut_bytes),
                    ("missing_bytes", sent.missing_bytes),
                    ("retransmitted_bytes", sent.retransmitted_bytes),
                    ("retransmissions", u64::from(sent.retransmissions)),
                    ("out_of_order", u64::from(sent.out_of_order)),
                    ("duplicate_acks", u64::from(sent.duplicate_acks)),
                    ("zero_windows", u64::from(sent.zero_windows)),
                    ("overlaps", u64::from(sent.overlaps)),
                    ("outside", u64::from(sent.outside)),
                ] {
                    if count > 0 {
                        json.number(name, count);
                    }
                }
            });
        }
    });
}

/// The `tunnel` member of the events of flows that came by `stream`; nothing for one without encapsulation.
pub(crate) fn tunnel(stream: &StreamKey, names: &StreamNames) -> Vec<u8> {
    let mut member = Vec::new();
    let Some(vni) = stream.vni else { return member };
    member.extend_from_slice(b"\"tunnel\":");
    JsonObject::append_to(&mut member, |json| {
        json.word("proto", stream.encapsulation.as_str());
        json.number("vni", vni.get());
        if !stream.around.is_empty() {
            json.array("vnis", |list| stream.vnis().for_each(|vni| list.number(vni.get())));
        }
        if let Some(source) = stream.source {
            json.raw("src_ip", |line| append_address(line, source));
        }
        // Ours: what configuration calls them.
        for (member, name) in [("network", names.network), ("vni_name", names.vni), ("src_name", names.source)] {
            if let Some(name) = name {
                json.text(member, name);
            }
        }
        if let Some(direction) = stream.direction {
            json.word("direction", direction.as_str());
        }
        // Numbers of 64 bits and more are text: readers of JSON round them.
        match stream.cookie {
            Cookie::None => {}
            Cookie::Balancer(Balancer { cloud, endpoint, attachment }) => {
                json.word("cloud", cloud.as_str());
                json.word("endpoint", &format!("{endpoint:016x}"));
                json.word("attachment", &format!("{attachment:016x}"));
            }
            Cookie::Google(GoogleCookie { network, endpoint, profile }) => {
                json.word("cloud", "google");
                json.number("network_cookie", network);
                json.word("endpoint", &format!("{:032x}", u128::from_be_bytes(endpoint)));
                json.word("profile", &format!("{profile:016x}"));
            }
        }
    });
    member
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
            // Together, for room is asked for once then.
            let (mut text, mut len) = ([0; 16], 0);
            for octet in v4.octets() {
                let (digits, count) = OCTETS[usize::from(octet)];
                // The dot, and digits where there are fewer than three, are overwritten by what follows.
                text[len..len + 4].copy_from_slice(&digits);
                len += count;
            }
            // Without the last dot.
            line.extend_from_slice(&text[..len - 1]);
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

/// Each octet in decimal with a dot behind it, and how long that is.
static OCTETS: [([u8; 4], usize); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let (digits, len) = &mut octets[octet];
        let mut power = 100;
        while power > 0 {
            if octet >= power || power == 1 {
                digits[*len] = b'0' + (octet / power % 10) as u8;
                *len += 1;
            }
            power /= 10;
        }
        digits[*len] = b'.';
        *len += 1;
        octet += 1;
    }
    octets
};

/// Times as events have them. Most are of the same second as the one before.
#[derive(Debug, Default)]
pub(crate) struct Times {
    second: u64,
    /// The text up to the second; empty before the first.
    text: Vec<u8>,
}

impl Times {
    /// As [`append_time`].
    pub(crate) fn append(&mut self, line: &mut Vec<u8>, time_ns: u64) {
        let second = time_ns / NANOS;
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text.clear();
            append_time(&mut self.text, second * NANOS);
            // `"2026-11-21T02:03:16.`
            self.text.truncate(21);
        }
        line.extend_from_slice(&self.text);
        let micros = (time_ns % NANOS / 1000) as u32;
        let mut digits = *b"000000+0000\"";
        // In two halves, which do not wait for each other.
        for (half, mut three) in [(0, micros / 1000), (3, micros % 1000)] {
            for digit in digits[half..half + 3].iter_mut().rev() {
                *digit = b'0' + (three % 10) as u8;
                three /= 10;
            }
        }
        line.extend_from_slice(&digits);
    }
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
