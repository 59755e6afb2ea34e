//! What the view says of the shared captures against what tshark says of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::captures::{self, Record};
use crate::{Direction, FiveTuple, FlowKey, FrameView, IpVersion, NetworkId, protocol};

/// Captures in which packets are missing from our conversations that tshark has, and why.
const EXCEPTIONS: [(&str, &str); 6] = [
    // tshark puts datagrams together and counts the frame that completes one to the ports; a view is of one frame and
    // a fragment has no ports.
    ("zeek_dns_edns_ecs", "DNS answers in IPv4 fragments"),
    ("pcpp_ipv4_fragments", "NFS answers in IPv4 fragments"),
    ("zeek_ipv6_fragmented_dns", "DNS answers in IPv6 fragments"),
    ("ndpi_badpackets", "DNS answers that all are IPv4 fragments"),
    // The GRE packets around them are fragments, so what is in them is seen by none of the frames alone.
    ("zeek_erspan_mixed", "ERSPAN in IPv4 fragments"),
    // Random bits in the fragment field; tshark lists none of these under ports, so that nothing is missing.
    ("ndpi_fuzz_2020", "fragments made by a fuzzer"),
];

/// Low end to high end and back.
type Counts = [Total; 2];
type Conversations = BTreeMap<FlowKey, Counts>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    packets: u64,
    bytes: u64,
}

fn add(to: &mut Conversations, tuple: &FiveTuple, total: Total) {
    if total.packets > 0 {
        let (key, direction) = FlowKey::new(NetworkId::NONE, tuple);
        let sum = &mut to.entry(key).or_default()[usize::from(direction == Direction::HighToLow)];
        *sum = Total { packets: sum.packets + total.packets, bytes: sum.bytes + total.bytes };
    }
}

/// TCP and UDP conversations of `records`, and how many of these are fragments, which are in none.
fn ours(records: &[Record]) -> (Conversations, u64) {
    let (mut conversations, mut fragments) = (Conversations::new(), 0);
    for record in records {
        let view = record.view();
        if view.fragment.is_some() {
            fragments += 1;
        } else if let Some(tuple) = view.five_tuple
            && matches!(tuple.protocol, protocol::TCP | protocol::UDP)
            // tshark needs ports for a conversation.
            && (tuple.source_port, tuple.destination_port) != (0, 0)
        {
            add(&mut conversations, &tuple, Total { packets: 1, bytes: u64::from(record.original_len) });
        }
    }
    (conversations, fragments)
}

fn tsharks(rows: &[Vec<String>], unit: &str) -> Conversations {
    let mut conversations = Conversations::new();
    for row in rows.iter().filter(|row| row[0] == unit) {
        let number = |at: usize| row[at].parse::<u64>().unwrap();
        let (a, b): (IpAddr, IpAddr) = (row[4].parse().unwrap(), row[6].parse().unwrap());
        let tuple = FiveTuple {
            source: a.into(),
            destination: b.into(),
            source_port: number(5) as u16,
            destination_port: number(7) as u16,
            protocol: if row[1] == "tcp" { protocol::TCP } else { protocol::UDP },
            version: if a.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 },
        };
        add(&mut conversations, &tuple, Total { packets: number(8), bytes: number(9) });
        add(&mut conversations, &tuple.reversed(), Total { packets: number(10), bytes: number(11) });
    }
    conversations
}

#[test]
fn conversations_are_those_of_tshark() {
    let Some(captures) = captures::ethernet() else { return };
    let mut compared = 0;
    for capture in captures {
        // The outer lengths are 0, as offload leaves them; tshark does not look into the tunnel then.
        if capture.name == "tcpdump_vxlan_bigtcp_v4v4" {
            continue;
        }
        let rows = capture.table("conv.tsv");
        let mut units = capture.decapsulated();
        if units.is_empty() {
            units.push(("-".to_owned(), capture.records));
        }
        for (unit, records) in units {
            let place = format!("{} {unit}", capture.name);
            let ((ours, fragments), theirs) = (ours(&records), tsharks(&rows, &unit));
            compared += theirs.len();
            if EXCEPTIONS.iter().any(|(name, _)| *name == capture.name) {
                assert!(fragments > 0, "{place} has no fragment");
                let missing = missing(&ours, &theirs, &place);
                assert!(missing <= fragments, "{place}: {missing} packets are missing, {fragments} are fragments");
            } else {
                for (key, counts) in &theirs {
                    assert_eq!(ours.get(key), Some(counts), "{place} {key:?}");
                }
                assert_eq!(ours.len(), theirs.len(), "{place} has conversations that tshark has not");
            }
        }
    }
    assert!(compared > 2900, "only {compared} conversations");
}

/// How many packets of their conversations are not in ours, which must not have one that theirs have not.
fn missing(ours: &Conversations, theirs: &Conversations, place: &str) -> u64 {
    for (key, counts) in ours {
        let most = theirs.get(key).copied().unwrap_or_default();
        for (ours, theirs) in counts.iter().zip(most) {
            assert!(ours.packets <= theirs.packets && ours.bytes <= theirs.bytes, "{place} {key:?}");
        }
    }
    let packets = |of: &Conversations| of.values().flatten().map(|total| total.packets).sum::<u64>();
    packets(theirs) - packets(ours)
}

#[test]
fn packets_in_tunnels_are_found_through_the_outer_headers_too() {
    let Some(captures) = captures::ethernet() else { return };
    for capture in captures.iter().filter(|capture| ["vxlan", "geneve"].contains(&capture.class.as_str())) {
        let mut through = Conversations::new();
        for record in &capture.records {
            let view = FrameView::parse(&record.bytes);
            if view.tunnels > 0
                && let Some(tuple) = view.five_tuple
            {
                add(&mut through, &tuple, Total { packets: 1, bytes: 0 });
            }
        }
        let mut inside = Conversations::new();
        for record in capture.decapsulated().iter().flat_map(|(_, records)| records) {
            if let Some(tuple) = record.view().five_tuple {
                add(&mut inside, &tuple, Total { packets: 1, bytes: 0 });
            }
        }
        match capture.name.as_str() {
            // tshark was told that the port is a tunnel's; we are not.
            "tcpdump_vxlan_port8472" => assert!(through.is_empty() && !inside.is_empty()),
            // tshark does not look into the tunnel when the outer lengths are 0; we do.
            "tcpdump_vxlan_bigtcp_v4v4" => assert!(inside.is_empty() && through.len() == 1),
            name => assert_eq!(through, inside, "{name}"),
        }
    }
}

#[test]
fn the_length_of_frames_that_the_capturing_machine_cut_is_recovered() {
    let Some(captures) = captures::ethernet() else { return };
    let mut cut = 0;
    for capture in captures.iter().filter(|capture| capture.class != "malformed") {
        for record in &capture.records {
            if record.bytes.len() < record.original_len as usize {
                cut += 1;
                assert_eq!(record.view().wire_len, record.original_len, "{}", capture.name);
            }
        }
    }
    assert!(cut > 0);
}
