use std::collections::BTreeMap;
use std::time::Duration;

use vxtap_wire::geneve::{self, MirrorDirection};
use vxtap_wire::vxlan;

use super::fixture::{Bench, Collector, HOST, PolicyText, START_NS, bench, captured, frame, session, target};
use super::ledger::DirectionSummary;
use super::*;
use crate::policy::Direction::{Inbound, Outbound};

/// Offers `frames` to the mirror, a batch whenever it is full, and sends them.
fn mirror_at(bench: &mut Bench, now: Instant, frames: &[(Vec<u8>, Direction, u64)]) {
    bench.mirror.begin(now);
    for (bytes, direction, after_ns) in frames {
        if bench.mirror.offer(&captured(bytes, *direction, *after_ns)).is_break() {
            bench.mirror.flush();
            bench.mirror.begin(now);
        }
    }
    bench.mirror.flush();
    bench.ledger.check(bench.control.counters()).unwrap();
}

fn mirror(bench: &mut Bench, frames: &[(Vec<u8>, Direction, u64)]) {
    mirror_at(bench, Instant::now(), frames);
}

fn counts(bench: &Bench, session: &str) -> (DirectionSummary, DirectionSummary) {
    let summary = bench.ledger.summary();
    let found = summary.sessions.into_iter().find(|counts| counts.session == session).unwrap();
    (found.inbound, found.outbound)
}

/// The flow number of a frame that [`frame`] made, from the address that is not the host's.
fn flow_of(frame: &[u8]) -> u16 {
    let source: [u8; 4] = frame[26..30].try_into().unwrap();
    let at = if source == HOST { 32 } else { 28 };
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[test]
fn a_copy_is_the_frame_cut_to_the_session_s_length_in_clean_vxlan_under_its_vni() {
    let collector = Collector::new();
    let text = target("c", &[(collector.address, 1)]) + &session("s", 7, "c", "length = 100");
    let mut bench = bench(&PolicyText::new(&text)).unwrap();
    let (long, short) = (frame(1, Inbound, 500), frame(1, Outbound, 20));
    mirror(&mut bench, &[(long.clone(), Inbound, 0), (short.clone(), Outbound, 1)]);
    let datagrams = collector.datagrams();
    assert_eq!(datagrams.len(), 2);
    for datagram in &datagrams {
        assert_eq!(datagram[..8], vxlan::header(vxlan::Vni::new(107).unwrap()));
    }
    assert!(datagrams.iter().any(|datagram| datagram[8..] == long[..100]));
    assert!(datagrams.iter().any(|datagram| datagram[8..] == short[..]));
    let (inbound, outbound) = counts(&bench, "s");
    assert_eq!((inbound.mirrored.packets, inbound.mirrored.bytes, inbound.truncated), (1, 100, 1));
    assert_eq!((outbound.mirrored.packets, outbound.mirrored.bytes), (1, short.len() as u64));
    assert_eq!(bench.control.progress().bytes_sent, 100 + short.len() as u64 + 16);
}

#[test]
fn a_geneve_copy_tells_time_number_length_and_direction_and_each_series_counts_from_0_without_a_gap() {
    let collector = Collector::new();
    let text =
        target("c", &[(collector.address, 1)]) + &session("s", 7, "c", "length = 100\nencapsulation = \"geneve\"");
    let mut bench = bench(&PolicyText::new(&text)).unwrap();
    let frames: Vec<_> = (0..600_u16)
        .map(|n| {
            let direction = if n % 3 == 0 { Inbound } else { Outbound };
            (frame(n % 50, direction, 200), direction, u64::from(n) * 1_000)
        })
        .collect();
    mirror(&mut bench, &frames[..200]);
    mirror(&mut bench, &frames[200..]);
    let mut series: BTreeMap<u32, (MirrorDirection, Vec<u64>)> = BTreeMap::new();
    let mut times = Vec::new();
    for datagram in collector.datagrams() {
        let (header, inner) = geneve::decapsulate(&datagram).unwrap();
        let mark = header.metadata.mark.unwrap();
        assert_eq!((header.vni.get(), inner.len(), mark.original_len), (107, 100, 242));
        let is_out = inner[26..30] == HOST;
        let direction = if is_out { MirrorDirection::Egress } else { MirrorDirection::Ingress };
        assert_eq!(mark.direction, Some(direction));
        let (of_series, numbers) = series.entry(mark.series).or_insert((direction, Vec::new()));
        assert_eq!(*of_series, direction);
        numbers.push(mark.sequence);
        times.push(mark.captured_ns);
    }
    times.sort_unstable();
    assert_eq!(times, (0..600).map(|n| START_NS + n * 1_000).collect::<Vec<_>>());
    assert!(series.len() <= 8, "{} series of 4 ports and 2 directions", series.len());
    for (_, (_, mut numbers)) in series {
        numbers.sort_unstable();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn flows_stay_whole_on_targets_that_have_their_share_by_weight() {
    let collectors = [Collector::new(), Collector::new(), Collector::new()];
    let members = [(collectors[0].address, 1), (collectors[1].address, 2), (collectors[2].address, 5)];
    let text = target("c", &members) + &session("s", 1, "c", "");
    let mut bench = bench(&PolicyText::new(&text)).unwrap();
    let flows = 1_600_u16;
    let frames: Vec<_> = (0..flows)
        .flat_map(|flow| [Inbound, Outbound].map(|direction| (frame(flow, direction, 10), direction, 0)))
        .collect();
    mirror(&mut bench, &frames);
    let mut owner: BTreeMap<u16, usize> = BTreeMap::new();
    let mut received = 0;
    for (place, collector) in collectors.iter().enumerate() {
        for datagram in collector.datagrams() {
            received += 1;
            assert_eq!(*owner.entry(flow_of(&datagram[8..])).or_insert(place), place, "a flow on two targets");
        }
    }
    assert_eq!((received, owner.len()), (usize::from(flows) * 2, usize::from(flows)));
    for (place, (_, weight)) in members.iter().enumerate() {
        let share = owner.values().filter(|owner| **owner == place).count() as f64 / f64::from(flows);
        assert!((share - f64::from(*weight) / 8.0).abs() < 0.04, "{share} for weight {weight} of 8");
    }
}

#[test]
fn a_sampled_session_uses_all_of_its_targets() {
    let collectors = [Collector::new(), Collector::new()];
    let text =
        target("c", &[(collectors[0].address, 1), (collectors[1].address, 1)]) + &session("s", 1, "c", "sample = 0.1");
    let mut bench = bench(&PolicyText::new(&text)).unwrap();
    let frames: Vec<_> = (0..2_000).map(|flow| (frame(flow, Inbound, 10), Inbound, 0)).collect();
    mirror(&mut bench, &frames);
    let counted = collectors.each_ref().map(|collector| collector.datagrams().len());
    assert!((100..300).contains(&(counted[0] + counted[1])), "{counted:?}");
    assert!(counted.iter().all(|count| *count > 50), "{counted:?}");
    let (inbound, _) = counts(&bench, "s");
    assert_eq!(inbound.skipped.reasons.get("sample"), 2_000 - inbound.mirrored.packets);
}

#[test]
fn what_no_session_takes_is_counted_by_reason_and_direction() {
    let collector = Collector::new();
    let text = format!(
        "{}[[filter]]\nname = \"f\"\n[[filter.inbound]]\nnumber = 1\naction = \"reject\"\nprotocol = \"udp\"\n{}",
        target("c", &[(collector.address, 1)]),
        session("s", 1, "c", "filter = \"f\"")
    );
    let mut bench = bench(&PolicyText::new(&text)).unwrap();
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 2], &[8, 6], &[0; 28]].concat();
    mirror(
        &mut bench,
        &[(frame(1, Inbound, 10), Inbound, 0), (frame(1, Outbound, 10), Outbound, 0), (arp, Inbound, 0)],
    );
    bench.mirror.begin(Instant::now());
    let unknown = frame(2, Inbound, 10);
    let _ = bench.mirror.offer(&Frame { direction: None, ..captured(&unknown, Inbound, 0) });
    let passed = bench.ledger.summary().passed;
    assert_eq!((passed.inbound.reasons.get("rejected"), passed.inbound.reasons.get("never")), (1, 1));
    assert_eq!(passed.outbound.reasons.get("unmatched"), 1);
    assert_eq!(passed.unknown.reasons.get("direction_unknown"), 1);
    assert_eq!(collector.datagrams().len(), 0);
    bench.ledger.check(bench.control.counters()).unwrap();
}

#[test]
fn a_target_that_answers_with_errors_is_left_alone_and_has_all_again_when_it_is_back() {
    let collector = Collector::new();
    let address = collector.address;
    drop(collector);
    let text = target("c", &[(address, 1)]) + &session("s", 1, "c", "");
    let mut bench = bench(&PolicyText::new(&text)).unwrap();
    let frames: Vec<_> = (0..200).map(|flow| (frame(flow, Inbound, 10), Inbound, 0)).collect();
    let start = Instant::now();
    // The first round brings the errors back, the second meets them.
    mirror_at(&mut bench, start, &frames);
    mirror_at(&mut bench, start, &frames);
    let refused = counts(&bench, "s").0.send_errors.get("refused");
    assert!(refused > 0);
    let sent = bench.control.progress().sent;
    for n in 1..10 {
        mirror_at(&mut bench, start + Duration::from_millis(n * 10), &frames);
    }
    let (inbound, _) = counts(&bench, "s");
    assert_eq!(bench.control.progress().sent, sent, "a target that is left alone gets nothing");
    assert!(inbound.skipped.reasons.get("target_down") >= 9 * 200);
    assert_eq!(inbound.send_errors.get("refused"), refused);
    // Back again: it is tried with a few, and then has all.
    let collector = Collector::at(address);
    let later = start + Duration::from_secs(10);
    mirror_at(&mut bench, later, &frames);
    let tried = collector.datagrams().len();
    assert!((1..=8).contains(&tried), "{tried} frames for a target on trial");
    mirror_at(&mut bench, later + Duration::from_secs(1), &frames);
    assert_eq!(collector.datagrams().len(), 200);
}

#[test]
fn a_target_that_is_still_dead_when_it_is_tried_is_left_alone_for_longer() {
    let collector = Collector::new();
    let address = collector.address;
    drop(collector);
    let text = target("c", &[(address, 1)]) + &session("s", 1, "c", "");
    let mut bench = bench(&PolicyText::new(&text)).unwrap();
    let frames: Vec<_> = (0..200).map(|flow| (frame(flow, Inbound, 10), Inbound, 0)).collect();
    let start = Instant::now();
    for n in 0..1_000 {
        mirror_at(&mut bench, start + Duration::from_millis(n * 10), &frames);
    }
    // In ten seconds of 20,000 frames a second it was tried after 0.1, 0.2, 0.4 … 5 s.
    let (inbound, _) = counts(&bench, "s");
    let cost = inbound.mirrored.packets + inbound.send_errors.total();
    assert!(cost < 2_000, "{cost} of 200,000 frames went to a dead target");
}

#[test]
fn a_target_without_an_address_costs_nothing_and_is_counted() {
    let text =
        "[[target]]\nname = \"c\"\naddress = \"no-such-host.invalid\"\n\n".to_owned() + &session("s", 1, "c", "");
    let mut bench = bench(&PolicyText::new(&text)).unwrap();
    mirror(&mut bench, &[(frame(1, Inbound, 10), Inbound, 0)]);
    assert_eq!(counts(&bench, "s").0.skipped.reasons.get("no_target"), 1);
}

#[test]
fn copies_to_this_host_are_refused_where_nothing_keeps_copies_of_copies_from_being_made() {
    let collector = Collector::new();
    let text =
        "[never]\nown = false\n\n".to_owned() + &target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "");
    let error = bench(&PolicyText::new(&text)).err().unwrap();
    let place = "policy.toml:11:11: copies would go to 127.0.0.1:";
    assert!(error.is_usage() && error.to_string().contains(place), "{error}");
    assert!(error.to_string().contains("copies of copies"), "{error}");
}

#[test]
fn our_own_datagrams_are_never_mirrored() {
    let collector = Collector::new();
    let text = target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "");
    let mut bench = bench(&PolicyText::new(&text)).unwrap();
    let mut own = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [2; 6])
        .ipv4([127, 0, 0, 1], [127, 0, 0, 1], 64)
        .udp(40_000, collector.address.port())
        .write(&mut own, &[0; 60])
        .unwrap();
    mirror(&mut bench, &[(own, Outbound, 0)]);
    assert_eq!(bench.ledger.summary().passed.outbound.reasons.get("own"), 1);
    assert_eq!(collector.datagrams().len(), 0);
}

#[test]
fn a_copy_that_another_tunnel_carries_is_not_mirrored_again_but_one_in_a_file_is_what_it_is() {
    let collector = Collector::new();
    let text = target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "length = 40");
    let mut bench = bench(&PolicyText::new(&text)).unwrap();
    let mut copy = Vec::new();
    etherparse::PacketBuilder::ipv4([127, 0, 0, 1], [127, 0, 0, 1], 64)
        .udp(40_000, collector.address.port())
        .write(&mut copy, &[0; 60])
        .unwrap();
    let carrier = |copy: &[u8]| {
        let mut frame = Vec::new();
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [2; 6]).ipv4(HOST, [192, 0, 2, 9], 64);
        // GRE (RFC 2784) with IPv4 in it.
        builder.write(&mut frame, 47.into(), &[&[0, 0, 8, 0], copy].concat()).unwrap();
        frame
    };
    let mut other = copy.clone();
    other[19] = 2;
    mirror(&mut bench, &[(carrier(&copy), Outbound, 0), (carrier(&other), Outbound, 0), (carrier(&copy), Inbound, 0)]);
    let summary = bench.ledger.summary();
    assert_eq!(summary.passed.outbound.reasons.get("own_mirror"), 1);
    assert_eq!(summary.passed.inbound.reasons.get("own_mirror"), 1);
    assert_eq!(collector.datagrams().len(), 1);
    bench.mirror.is_live = false;
    mirror(&mut bench, &[(carrier(&copy), Outbound, 0)]);
    assert_eq!(collector.datagrams().len(), 1);
    bench.ledger.check(bench.control.counters()).unwrap();
}

#[test]
fn the_budget_of_all_sessions_holds_for_them_together() {
    let collector = Collector::new();
    let text = "[budget]\nmax_pps = 1000\nshed = \"packets\"\n\n".to_owned()
        + &target("c", &[(collector.address, 1)])
        + &format!(
            "[[filter]]\nname = \"in\"\n[[filter.inbound]]\nnumber = 1\naction = \"accept\"\n{}{}",
            session("a", 1, "c", "filter = \"in\""),
            session("b", 2, "c", "")
        );
    let mut bench = bench(&PolicyText::new(&text)).unwrap();
    // 10,000 a second for two seconds, half of them in each direction.
    let frames: Vec<_> = (0..20_000_u64)
        .map(|n| {
            let direction = if n % 2 == 0 { Inbound } else { Outbound };
            (frame((n % 100) as u16, direction, 10), direction, n * 100_000)
        })
        .collect();
    mirror(&mut bench, &frames);
    let ((inbound, _), (_, outbound)) = (counts(&bench, "a"), counts(&bench, "b"));
    let sent = inbound.mirrored.packets + outbound.mirrored.packets;
    // A burst of a tenth of a second, and what comes in the time of 19,999 gaps.
    assert_eq!(sent, 100 + 1_999);
    assert_eq!(
        inbound.skipped.reasons.get("packet_budget") + outbound.skipped.reasons.get("packet_budget"),
        20_000 - sent
    );
}
