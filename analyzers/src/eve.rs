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
use crate::json::{JsonObject, append_number};
use crate::protocols::Side;
use crate::stream::{StreamKey, StreamNames};
use crate::tcp::{DirectionMetrics, Metrics};

/// Writes the members that a `flow` event has behind its envelope.
pub(crate) fn write_flow(
    json: &mut JsonObject<'_>,
    record: &FlowRecord<'_>,
    app: &FlowApp,
    (starts, ends): (&mut Times, &mut Times),
) {
    let flow = record.flow;
    if app.facts().tuple.is_icmp() {
        json.number("icmp_type", flow.icmp.kind);
        json.number("icmp_code", flow.icmp.code);
    }
    // Every flow has one of these: what stands around its values is written as it is.
    let line = json.behind();
    if let Some(protocol) = app.protocol() {
        line.extend_from_slice(b",\"app_proto\":\"");
        line.extend_from_slice(protocol.as_str().as_bytes());
        line.push(b'"');
    }
    line.extend_from_slice(b",\"flow\":{\"pkts_toserver\":");
    append_number(line, flow.to_responder.frames);
    line.extend_from_slice(b",\"pkts_toclient\":");
    append_number(line, flow.to_originator.frames);
    line.extend_from_slice(b",\"bytes_toserver\":");
    append_number(line, flow.to_responder.bytes);
    line.extend_from_slice(b",\"bytes_toclient\":");
    append_number(line, flow.to_originator.bytes);
    if flow.to_responder.cut_frames > 0 || flow.to_originator.cut_frames > 0 {
        append_cut(line, flow);
    }
    line.extend_from_slice(b",\"start\":");
    starts.append(line, flow.first_ns);
    line.extend_from_slice(b",\"end\":");
    ends.append(line, flow.last_ns);
    // Whole seconds between the two, as Suricata counts them.
    line.extend_from_slice(b",\"age\":");
    append_number(line, (flow.last_ns / NANOS).saturating_sub(flow.first_ns / NANOS));
    line.extend_from_slice(b",\"state\":\"");
    line.extend_from_slice(flow.state().as_str().as_bytes());
    line.extend_from_slice(b"\",\"reason\":\"");
    line.extend_from_slice(record.end.as_str().as_bytes());
    line.extend_from_slice(b"\",\"alerted\":false}");
    append_tcp(line, flow);
    if let Some(metrics) = app.metrics().filter(|metrics| **metrics != Metrics::default()) {
        write_metrics(json, metrics);
    }
}

/// Ours: what the mirror cut off frames, for the directions where it did.
#[cold]
fn append_cut(line: &mut Vec<u8>, flow: &Flow) {
    for (frames, bytes, counters) in [
        ("cut_pkts_toserver", "cut_bytes_toserver", &flow.to_responder),
        ("cut_pkts_toclient", "cut_bytes_toclient", &flow.to_originator),
    ] {
        if counters.cut_frames > 0 {
            for (key, count) in [(frames, u64::from(counters.cut_frames)), (bytes, counters.cut_bytes)] {
                line.extend_from_slice(b",\"");
                line.extend_from_slice(key.as_bytes());
                line.extend_from_slice(b"\":");
                append_number(line, count);
            }
        }
    }
}

const NANOS: u64 = 1_000_000_000;

/// A number for a flow that its events share: not 0, and exact in a double as JSON readers use it.
pub(crate) fn flow_id(key: &FlowKey, begun_ns: u64) -> u64 {
    use std::hash::BuildHasher as _;
    let hash = foldhash::fast::FixedState::with_seed(0).hash_one((key, begun_ns));
    (hash & ((1 << 53) - 1)).max(1)
}

/// The members that say who talks to whom, each with a comma before it.
pub(crate) fn append_tuple(line: &mut Vec<u8>, tuple: &FiveTuple) {
    let ports = has_ports(tuple);
    line.extend_from_slice(b",\"src_ip\":");
    append_address(line, tuple.source_ip());
    if ports {
        line.extend_from_slice(b",\"src_port\":");
        append_number(line, u64::from(tuple.source_port));
    }
    line.extend_from_slice(b",\"dest_ip\":");
    append_address(line, tuple.destination_ip());
    if ports {
        line.extend_from_slice(b",\"dest_port\":");
        append_number(line, u64::from(tuple.destination_port));
    }
    line.extend_from_slice(match tuple.version {
        IpVersion::V4 => b",\"ip_v\":4,\"proto\":\"",
        IpVersion::V6 => b",\"ip_v\":6,\"proto\":\"",
    });
    match tuple.protocol {
        // Of known length: nearly all are of one of these.
        protocol::TCP => line.extend_from_slice(b"TCP"),
        protocol::UDP => line.extend_from_slice(b"UDP"),
        number => append_protocol(line, number),
    }
    line.push(b'"');
}

#[inline(never)]
fn append_protocol(line: &mut Vec<u8>, number: u8) {
    match protocol_name(number) {
        Some(name) => line.extend_from_slice(name.as_bytes()),
        None => line.extend_from_slice(format!("{number:03}").as_bytes()),
    }
}

fn append_tcp(line: &mut Vec<u8>, flow: &Flow) {
    if flow.key.protocol != protocol::TCP {
        return;
    }
    let (to_responder, to_originator) = (flow.to_responder.tcp_flags.0, flow.to_originator.tcp_flags.0);
    let all = to_responder | to_originator;
    let digits = |flags: u8| [HEX[usize::from(flags >> 4)], HEX[usize::from(flags & 15)], b'"'];
    line.extend_from_slice(b",\"tcp\":{\"tcp_flags\":\"");
    line.extend_from_slice(&digits(all));
    line.extend_from_slice(b",\"tcp_flags_ts\":\"");
    line.extend_from_slice(&digits(to_responder));
    line.extend_from_slice(b",\"tcp_flags_tc\":\"");
    line.extend_from_slice(&digits(to_originator));
    // One by one, so that each is of known length.
    macro_rules! flags {
        ($($bit:literal $member:literal),+) => {
            $(if all & (1 << $bit) != 0 {
                line.extend_from_slice($member);
            })+
        };
    }
    flags!(
        0 b",\"fin\":true",
        1 b",\"syn\":true",
        2 b",\"rst\":true",
        3 b",\"psh\":true",
        4 b",\"ack\":true",
        5 b",\"urg\":true",
        6 b",\"ecn\":true",
        7 b",\"cwr\":true"
    );
    let state = if flow.tcp == TcpState::None { TcpState::Established } else { flow.tcp };
    line.extend_from_slice(b",\"state\":\"");
    line.extend_from_slice(state.as_str().as_bytes());
    line.extend_from_slice(b"\"}");
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What operators ask of a TCP connection: ours, Suricata has nothing of it. Figures that are 0 are left out.
fn write_metrics(json: &mut JsonObject<'_>, metrics: &Metrics) {
    json.object("tcp_metrics", |json| {
        macro_rules! times {
            ($($member:literal $time:expr),+) => {
                $(if let Some(time) = $time {
                    let line = json.next();
                    line.extend_from_slice($member);
                    append_number(line, time.get() / 1000);
                })+
            };
        }
        times!(
            b"\"rtt_server_us\":" metrics.responder_rtt_ns,
            b"\"rtt_client_us\":" metrics.originator_rtt_ns,
            b"\"first_byte_us\":" metrics.first_byte_ns
        );
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
    match address {
        IpAddr::V4(v4) => {
            // The longest, and what is not of this one is cut off again. Put together elsewhere and copied as one it takes longer: the copy waits
            // for the parts.
            let begin = line.len();
            line.extend_from_slice(&[b'"'; ADDRESS_ROOM]);
            let Some(place) = line.last_chunk_mut::<ADDRESS_ROOM>() else { return };
            let mut at = 1;
            for octet in v4.octets() {
                // Four bytes for each: a copy of known length is one instruction.
                let (digits, count) = OCTETS[usize::from(octet)];
                if let Some(place) = place.get_mut(at..at + 4) {
                    place.copy_from_slice(&digits);
                }
                at += usize::from(count);
            }
            // In place of the last dot.
            if let Some(last) = place.get_mut(at - 1) {
                *last = b'"';
            }
            line.truncate(begin + at);
        }
        IpAddr::V6(v6) => {
            let mut text = [b'"'; 41];
            for (at, group) in v6.segments().into_iter().enumerate() {
                let digits = [12, 8, 4, 0].map(|shift| HEX[usize::from(group >> shift & 15)]);
                text[1 + at * 5..5 + at * 5].copy_from_slice(&digits);
                text[5 + at * 5] = if at < 7 { b':' } else { b'"' };
            }
            line.extend_from_slice(&text);
        }
    }
}

/// Bytes for the longest address of IPv4 with its quotes, and for what is copied behind its last octet.
const ADDRESS_ROOM: usize = 20;

/// Each octet in decimal with a dot behind it, and how long that is.
static OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let (digits, len) = &mut octets[octet];
        let mut power = 100;
        while power > 0 {
            if octet >= power || power == 1 {
                digits[*len as usize] = b'0' + (octet / power % 10) as u8;
                *len += 1;
            }
            power /= 10;
        }
        digits[*len as usize] = b'.';
        *len += 1;
        octet += 1;
    }
    octets
};

/// Bytes of a time as events have it, its quotes among them.
const TIME_LEN: usize = 33;
/// Where the microseconds begin in it.
const MICROS_AT: usize = 21;

/// Times as events have them. Most are of the same second as the one before.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// When the second began, in nanoseconds since 1970, and a time within it as text.
    known: Option<(u64, [u8; TIME_LEN])>,
}

impl Times {
    /// As [`append_time`].
    pub(crate) fn append(&mut self, line: &mut Vec<u8>, time_ns: u64) {
        let (began_ns, text) = match &self.known {
            Some((began_ns, text)) if time_ns.wrapping_sub(*began_ns) < NANOS => (*began_ns, text),
            _ => self.learn(time_ns),
        };
        let micros = (time_ns - began_ns) as u32 / 1000;
        let at = line.len() + MICROS_AT;
        line.extend_from_slice(text);
        if let Some(place) = line.get_mut(at..at + 6) {
            // In two halves, which do not wait for each other.
            for (half, mut three) in [(0, micros / 1000), (3, micros % 1000)] {
                for digit in place[half..half + 3].iter_mut().rev() {
                    *digit = b'0' + (three % 10) as u8;
                    three /= 10;
                }
            }
        }
    }

    #[cold]
    fn learn(&mut self, time_ns: u64) -> (u64, &[u8; TIME_LEN]) {
        let began_ns = time_ns / NANOS * NANOS;
        let mut text = Vec::new();
        append_time(&mut text, began_ns);
        // Years have four digits as long as a u64 of nanoseconds lasts.
        let text = text.first_chunk().copied().unwrap_or([b'"'; TIME_LEN]);
        (began_ns, &self.known.insert((began_ns, text)).1)
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
