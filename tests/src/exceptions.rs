//! Where tshark's conversations are not what a flow table counts, capture by capture, and what must hold all the same.

use crate::conversations::{Both, Ends, Tally};

/// Why the flows between two hosts of one capture are not counted as tshark counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Fragments. tshark reassembles: the frame that completes a packet counts for its conversation, the others for
    /// none. A flow table has each fragment under a five-tuple without ports, also where the fragmented packet is a
    /// tunnel's.
    Fragments,
    /// Frames that had lost their end before they were captured: the IP header announces more than the record's
    /// original length. A mirror that cuts frames leaves no other trace, so the announced length is taken.
    Cut,
}

/// One entry: the hosts of a capture that are concerned. Flows between other hosts are compared in full.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// Name of the capture.
    pub capture: &'static str,
    /// Why.
    pub reason: Reason,
    /// Both hosts, in either order.
    pub hosts: (&'static str, &'static str),
}

/// All of them.
pub const EXCEPTIONS: &[Exception] = &[
    fragments("zeek_dns_edns_ecs", "193.24.227.238", "74.125.47.136"),
    fragments("zeek_dns_edns_ecs", "193.24.227.238", "172.217.40.76"),
    fragments("zeek_dns_edns_ecs", "193.24.227.238", "173.194.169.104"),
    fragments("zeek_dns_edns_ecs", "193.24.227.238", "194.247.5.6"),
    fragments("pcpp_ipv4_fragments", "10.118.213.211", "10.118.213.212"),
    fragments("zeek_ipv6_fragmented_dns", "2001:470:1f11:81f:d138:5f55:6d4:1fe2", "2607:f740:b::f93"),
    // The ERSPAN packets around long segments are fragmented.
    fragments("zeek_erspan_mixed", "192.168.69.2", "192.168.69.10"),
    // Frames 7, 26, 35, 39 and 85.
    Exception { capture: "zeek_tcp_reassembly", reason: Reason::Cut, hosts: ("128.3.97.175", "63.193.213.194") },
];

const fn fragments(capture: &'static str, one: &'static str, other: &'static str) -> Exception {
    Exception { capture, reason: Reason::Fragments, hosts: (one, other) }
}

/// Each way in which `got` is not as it must be for the capture called `name`, whose conversations are `expected`.
pub fn differences(name: &str, got: &Tally, expected: &Tally) -> Vec<String> {
    let reason = |ends: &Ends| {
        let between = |exception: &&Exception| {
            let (one, other) = exception.hosts;
            let [one, other] = [one, other].map(|host| host.parse::<std::net::IpAddr>().expect("an address"));
            exception.capture == name && [(one, other), (other, one)].contains(&(ends.low.0, ends.high.0))
        };
        EXCEPTIONS.iter().find(between).map(|exception| exception.reason)
    };
    got.differences_but(expected, |ends, have, want| match reason(ends) {
        None => false,
        Some(Reason::Fragments) => (ends.low.1, ends.high.1) == (0, 0) || not_more(have, want),
        Some(Reason::Cut) => same_packets_not_fewer_bytes(have, want),
    })
}

fn not_more(have: Both, want: Both) -> bool {
    [(have.0, want.0), (have.1, want.1)]
        .iter()
        .all(|(have, want)| have.packets <= want.packets && have.bytes <= want.bytes)
}

fn same_packets_not_fewer_bytes(have: Both, want: Both) -> bool {
    [(have.0, want.0), (have.1, want.1)]
        .iter()
        .all(|(have, want)| have.packets == want.packets && have.bytes >= want.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[(&str, u16, &str, u16, u64, u64)]) -> Tally {
        let events = lines.iter().map(|(source, source_port, destination, destination_port, packets, bytes)| {
            format!(
                r#"{{"event_type":"flow","proto":"UDP","src_ip":"{source}","src_port":{source_port},"dest_ip":"{destination}","dest_port":{destination_port},"flow":{{"pkts_toserver":{packets},"bytes_toserver":{bytes},"pkts_toclient":0,"bytes_toclient":0}}}}"#
            )
        });
        Tally::of_eve(&events.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn an_exception_is_for_its_hosts_in_its_capture_and_only_for_what_it_explains() {
        let (a, b, other) = ("10.118.213.211", "10.118.213.212", "10.0.0.1");
        let expected = tally(&[(a, 2049, b, 789, 6, 5724), (a, 5, other, 6, 1, 60)]);
        let fragmented = tally(&[(a, 2049, b, 789, 1, 954), (a, 0, b, 0, 50, 71_220), (a, 5, other, 6, 1, 60)]);
        let count = |name: &str, got: &Tally| differences(name, got, &expected).len();
        assert_eq!(count("pcpp_ipv4_fragments", &fragmented), 0);
        assert_eq!(count("another_capture", &fragmented), 2);
        let too_many = tally(&[(a, 2049, b, 789, 7, 5724), (a, 0, b, 0, 50, 71_220), (a, 5, other, 6, 1, 60)]);
        assert_eq!(count("pcpp_ipv4_fragments", &too_many), 1);
        let wrong_port = tally(&[(a, 2049, b, 790, 1, 954), (a, 5, other, 6, 1, 60)]);
        assert_eq!(count("pcpp_ipv4_fragments", &wrong_port), 1);
        let elsewhere = tally(&[(a, 2049, b, 789, 6, 5724), (a, 5, other, 6, 1, 59)]);
        assert_eq!(count("pcpp_ipv4_fragments", &elsewhere), 1);
    }

    #[test]
    fn a_cut_frame_may_make_a_flow_longer_but_not_shorter() {
        let (a, b) = ("128.3.97.175", "63.193.213.194");
        let got = tally(&[(a, 80, b, 2564, 54, 37_994)]);
        assert!(differences("zeek_tcp_reassembly", &got, &tally(&[(a, 80, b, 2564, 54, 37_930)])).is_empty());
        assert_eq!(differences("zeek_tcp_reassembly", &got, &tally(&[(a, 80, b, 2564, 54, 37_995)])).len(), 1);
        assert_eq!(differences("zeek_tcp_reassembly", &got, &tally(&[(a, 80, b, 2564, 55, 37_930)])).len(), 1);
    }
}
