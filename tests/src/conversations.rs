//! Flows as two programs count them: `flow` events of `eve.json` against tshark's conversations.
//!
//! Both are summed per canonical five-tuple, because they cut conversations differently: tshark begins a new one with
//! each SYN that re-uses a five-tuple and keeps VLANs apart, the flow table has timeouts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use crate::captures::Row;

/// A flow's identity: protocol and both ends, the lower one first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ends {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The end that orders first.
    pub low: (IpAddr, u16),
    /// The other one.
    pub high: (IpAddr, u16),
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Frames.
    pub packets: u64,
    /// Bytes of whole frames on the wire.
    pub bytes: u64,
}

/// What went from the low to the high end, and back.
pub type Both = (Count, Count);

/// Counts of every five-tuple.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<Ends, Both>);

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((low, low_port), (high, high_port)) = (self.low, self.high);
        write!(f, "{} {low} {low_port} - {high} {high_port}", self.protocol)
    }
}

impl Tally {
    /// From the lines of `eve.json`; events other than TCP and UDP `flow`s are passed over.
    ///
    /// # Panics
    /// When a line is not JSON, or a flow event lacks a field.
    pub fn of_eve(eve: &str) -> Self {
        let mut tally = Self::default();
        for line in eve.lines() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
            let protocol = event["proto"].as_str().unwrap_or_default().to_ascii_lowercase();
            if event["event_type"] != "flow" || !matches!(protocol.as_str(), "tcp" | "udp") {
                continue;
            }
            let text = |name: &str| event[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}"));
            let port = |name: &str| event[name].as_u64().unwrap_or_else(|| panic!("no {name} in {line}")) as u16;
            let end = |ip: &str, number: &str| (text(ip).parse().expect("an address"), port(number));
            let number =
                |name: &str| event["flow"][name].as_u64().unwrap_or_else(|| panic!("no flow.{name} in {line}"));
            let count =
                |to: &str| Count { packets: number(&format!("pkts_{to}")), bytes: number(&format!("bytes_{to}")) };
            let (source, destination) = (end("src_ip", "src_port"), end("dest_ip", "dest_port"));
            tally.add(&protocol, source, destination, (count("toserver"), count("toclient")));
        }
        tally
    }

    /// From the lines of `conv.tsv` that are of `unit`.
    ///
    /// # Panics
    /// When a line lacks a field.
    pub fn of_conversations(rows: &[Row], unit: &str) -> Self {
        let mut tally = Self::default();
        for row in rows.iter().filter(|row| row["unit"] == unit) {
            let end = |ip: &str, port: &str| (row[ip].parse().expect("an address"), row[port].parse().expect("a port"));
            let number = |name: &str| row[name].parse().expect("a number");
            let ab = Count { packets: number("pkts_ab"), bytes: number("bytes_ab") };
            let ba = Count { packets: number("pkts_ba"), bytes: number("bytes_ba") };
            tally.add(&row["proto"], end("a_ip", "a_port"), end("b_ip", "b_port"), (ab, ba));
        }
        tally
    }

    /// The fields of each frame from which [`Tally::of_frames`] counts.
    pub const FRAME_FIELDS: [&str; 11] = [
        "frame.len",
        "ip.proto",
        "ipv6.nxt",
        "ip.src",
        "ipv6.src",
        "ip.dst",
        "ipv6.dst",
        "tcp.srcport",
        "udp.srcport",
        "tcp.dstport",
        "udp.dstport",
    ];

    /// From lines of [`Tally::FRAME_FIELDS`], one for each frame, separated by tabs. Frames that are neither TCP nor UDP
    /// in the outermost packet are passed over.
    ///
    /// # Panics
    /// When a line lacks a field.
    pub fn of_frames(lines: &[String]) -> Self {
        let mut tally = Self::default();
        for line in lines {
            let fields: Vec<&str> = line.split('\t').collect();
            let either = |place: usize| if fields[place].is_empty() { fields[place + 1] } else { fields[place] };
            let protocol = match either(1) {
                "6" => "tcp",
                "17" => "udp",
                _ => continue,
            };
            let end = |address: usize, port: usize| {
                (either(address).parse().expect("an address"), either(port).parse().expect("a port"))
            };
            let one = Count { packets: 1, bytes: fields[0].parse().expect("a length") };
            tally.add(protocol, end(3, 7), end(5, 9), (one, Count::default()));
        }
        tally
    }

    fn add(&mut self, protocol: &str, a: (IpAddr, u16), b: (IpAddr, u16), (ab, ba): Both) {
        let ordered = a <= b;
        let (low, high) = if ordered { (a, b) } else { (b, a) };
        let (forth, back) = if ordered { (ab, ba) } else { (ba, ab) };
        let sum = self.0.entry(Ends { protocol: protocol.to_owned(), low, high }).or_default();
        for (sum, more) in [(&mut sum.0, forth), (&mut sum.1, back)] {
            sum.packets += more.packets;
            sum.bytes += more.bytes;
        }
    }

    /// How many five-tuples there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Packets of both directions of all five-tuples.
    pub fn packets(&self) -> u64 {
        self.0.values().map(|(forth, back)| forth.packets + back.packets).sum()
    }

    /// Each difference from `expected`, one line each.
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        self.differences_but(expected, |_, _, _| false)
    }

    /// Each difference from `expected` but for those that `allowed` accepts, given what is here and what was expected
    /// (zeros where a five-tuple is missing).
    pub fn differences_but(&self, expected: &Self, allowed: impl Fn(&Ends, Both, Both) -> bool) -> Vec<String> {
        let all: BTreeSet<&Ends> = self.0.keys().chain(expected.0.keys()).collect();
        let line = |ends: &Ends| {
            let (have, want) = (self.0.get(ends).copied(), expected.0.get(ends).copied());
            if have == want || allowed(ends, have.unwrap_or_default(), want.unwrap_or_default()) {
                return None;
            }
            let told = |both: Option<Both>| both.map_or("none".to_owned(), |both| format!("{both:?}"));
            Some(format!("{ends}: expected {}, got {}", told(want), told(have)))
        };
        all.into_iter().filter_map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(a: &str, a_port: u16, b: &str, b_port: u16, counts: [u64; 4]) -> Row {
        let [pkts_ab, bytes_ab, pkts_ba, bytes_ba] = counts.map(|count| count.to_string());
        let (a_port, b_port) = (a_port.to_string(), b_port.to_string());
        let cells = [
            ("unit", "-"),
            ("proto", "tcp"),
            ("a_ip", a),
            ("a_port", &a_port),
            ("b_ip", b),
            ("b_port", &b_port),
            ("pkts_ab", &pkts_ab),
            ("bytes_ab", &bytes_ab),
            ("pkts_ba", &pkts_ba),
            ("bytes_ba", &bytes_ba),
        ];
        cells.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn event(source: (&str, u16), destination: (&str, u16), [to, to_bytes, from, from_bytes]: [u64; 4]) -> String {
        format!(
            r#"{{"event_type":"flow","proto":"TCP","src_ip":"{}","src_port":{},"dest_ip":"{}","dest_port":{},"flow":{{"pkts_toserver":{to},"bytes_toserver":{to_bytes},"pkts_toclient":{from},"bytes_toclient":{from_bytes}}}}}"#,
            source.0, source.1, destination.0, destination.1
        )
    }

    #[test]
    fn conversations_cut_or_seen_from_the_other_side_sum_up_alike() {
        let rows =
            [row("10.0.0.2", 80, "10.0.0.1", 9, [1, 60, 2, 120]), row("10.0.0.1", 9, "10.0.0.2", 80, [3, 180, 4, 240])];
        let expected = Tally::of_conversations(&rows, "-");
        let eve = event(("10.0.0.1", 9), ("10.0.0.2", 80), [5, 300, 5, 300]) + "\n" + r#"{"event_type":"stats"}"#;
        assert_eq!(Tally::of_eve(&eve).differences(&expected), Vec::<String>::new());
        assert_eq!((expected.len(), expected.packets()), (1, 10));
    }

    #[test]
    fn frames_are_counted_into_their_conversations() {
        let lines = [
            "60\t6\t\t10.0.0.1\t\t10.0.0.2\t\t9\t\t80\t",
            "70\t6\t\t10.0.0.2\t\t10.0.0.1\t\t80\t\t9\t",
            "98\t1\t\t10.0.0.2\t\t10.0.0.1\t\t\t\t\t",
            "42\t\t\t\t\t\t\t\t\t\t",
        ]
        .map(str::to_owned);
        let expected = Tally::of_conversations(&[row("10.0.0.1", 9, "10.0.0.2", 80, [1, 60, 1, 70])], "-");
        assert_eq!(Tally::of_frames(&lines), expected);
    }

    #[test]
    fn a_byte_too_many_a_missing_flow_and_one_too_many_are_differences() {
        let rows =
            [row("10.0.0.1", 9, "10.0.0.2", 80, [1, 60, 0, 0]), row("10.0.0.1", 8, "10.0.0.2", 80, [1, 60, 0, 0])];
        let expected = Tally::of_conversations(&rows, "-");
        let eve = event(("10.0.0.1", 9), ("10.0.0.2", 80), [1, 61, 0, 0])
            + "\n"
            + &event(("10.0.0.1", 7), ("10.0.0.2", 80), [1, 60, 0, 0]);
        let lines = Tally::of_eve(&eve).differences(&expected);
        assert_eq!(lines.len(), 3, "{lines:?}");
        let with = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
        assert_eq!((with("got none"), with("expected none")), (1, 1), "{lines:?}");
    }
}
