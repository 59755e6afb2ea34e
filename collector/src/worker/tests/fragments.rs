//! Packets put together of fragments, on their way between workers.

use vxtap_analyzers::{PacketMeta, Shown, StreamKey, WholePacket};

use super::*;
use crate::pipeline::Entrant;

/// VXLAN datagrams with the two fragments of a UDP packet, which `worker` of two puts together and the other has the flow of; and one with a packet
/// of that flow that is not cut.
fn fragments_for(worker: u32, steering: Steering, payload: usize) -> ([Vec<u8>; 2], Vec<u8>) {
    let frame_at = vxlan::HEADER_LEN;
    let owner = |datagram: &[u8]| steering.owner(&FrameView::parse(&datagram[frame_at..]));
    // Other hosts, until the fragments are for this worker; other ports, until the flow is not.
    for (host, number) in (3..50).flat_map(|host| (0..50).map(move |number| (host, number))) {
        let mut whole = datagram(number, payload);
        // Behind headers of VXLAN, Ethernet and IP: a multiple of 8 bytes.
        whole[frame_at + 33] = host;
        let (ip, cut) = (frame_at + 14, frame_at + 34 + 8 + ((payload / 2) & !7));
        let part = |range: std::ops::Range<usize>, field: u16| {
            let mut part = [&whole[..frame_at + 34], &whole[range]].concat();
            let length = (part.len() - ip) as u16;
            part[ip + 2..ip + 4].copy_from_slice(&length.to_be_bytes());
            part[ip + 6..ip + 8].copy_from_slice(&field.to_be_bytes());
            part
        };
        let last_at = (cut - frame_at - 34) as u16 / 8;
        let fragments = [part(frame_at + 34..cut, 0x2000), part(cut..whole.len(), last_at)];
        if owner(&fragments[0]) == worker && owner(&whole) != worker {
            return (fragments, whole);
        }
    }
    panic!("no such flow");
}

/// A bench of two workers that puts packets together.
fn bench_of_fragments(directory: &std::path::Path) -> Bench {
    let log = Some(LogSettings::new(directory.to_owned()));
    bench_with(Kind::Vxlan, 2, &PipelineSettings { log, ..PipelineSettings::default() })
}

#[test]
fn a_packet_put_together_goes_to_the_owner_of_its_flow_in_its_place_and_counts_for_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = bench_of_fragments(directory.path());
    let ([first, last], other) = fragments_for(0, bench.worker.parts.steering, 3000);
    bench.pass(&[first, last, other.clone()]);
    let ledger = bench.worker.parts.pipeline.ledger;
    assert_eq!((ledger.received, ledger.analysed, ledger.misdelivered), (3, 2, 1));
    assert_eq!(ledger.check_worker_received(), Ok(()));
    let parcel = bench.others[0].next().unwrap();
    let items: Vec<_> = parcel.items().collect();
    let [Item::Whole(whole), Item::Frame(frame)] = items[..] else { panic!("{items:?}") };
    assert_eq!((whole.bytes.len(), frame.bytes.len()), (3028, other.len() - vxlan::HEADER_LEN));
    assert_eq!(&whole.bytes[20..], &frame.bytes[34..], "from the UDP header on they are alike");
}

#[test]
fn a_packet_that_another_worker_has_put_together_is_in_its_flow_and_in_no_sum() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = bench_of_fragments(directory.path());
    // Put together by the other one.
    let (_, whole) = fragments_for(1, bench.worker.parts.steering, 500);
    bench.pass(std::slice::from_ref(&whole));
    let meta = PacketMeta { time_ns: unix_ns(), ..Default::default() };
    let network = bench.worker.parts.pipeline.flows().part(0, 10).0.next().unwrap().key.network;
    let packet = WholePacket {
        meta: PacketMeta { network, ..meta },
        wire_len: 200,
        shown: Shown::default(),
        bytes: &whole[vxlan::HEADER_LEN + 14..],
    };
    assert!(bench.other_outboxes[0].push(0, &Item::Whole(packet)));
    bench.other_outboxes[0].flush();
    assert!(bench.worker.take_parcels());
    let ledger = bench.worker.parts.pipeline.ledger;
    assert_eq!((ledger.received, ledger.analysed, ledger.taken_over), (1, 1, 0));
    let flows: Vec<_> =
        bench.worker.parts.pipeline.flows().part(0, 10).0.map(|flow| flow.to_responder.frames).collect();
    assert_eq!(flows, [2]);
}

#[test]
fn packets_put_together_that_find_no_room_are_counted_by_the_worker_that_put_them_together() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = bench_of_fragments(directory.path());
    let (fragments, _) = fragments_for(0, bench.worker.parts.steering, 60_000);
    // One fills a parcel. Each is another packet by its identification.
    let sent = 100;
    for number in 0..sent {
        let mut fragments = fragments.clone();
        for fragment in &mut fragments {
            fragment[vxlan::HEADER_LEN + 19] = number;
        }
        bench.pass(&fragments);
    }
    let counters = bench.worker.parts.pipeline.analysis_snapshot().fragments;
    assert_eq!(counters.reassembled, u64::from(sent));
    assert!(counters.hand_over_full > 0, "{counters:?}");
    let ledger = bench.worker.parts.pipeline.ledger;
    assert_eq!((ledger.received, ledger.analysed, ledger.dropped.total()), (200, 200, 0));
    // What waits besides the inbox may be one more.
    let mut arrived = bench.handed_over();
    bench.worker.parts.outbox.flush();
    arrived += bench.handed_over();
    assert_eq!(arrived + counters.hand_over_full, u64::from(sent));
}

#[test]
fn at_the_end_a_fragment_that_was_handed_over_still_brings_its_packet_to_the_owner_of_the_flow() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = bench_of_fragments(directory.path());
    let ([first, last], _) = fragments_for(0, bench.worker.parts.steering, 3000);
    bench.pass(&[first]);
    // The other worker has received the last one, handed it over, and has nothing else.
    let meta = bench.worker.parts.pipeline.admit(
        StreamKey::vxlan(std::net::Ipv4Addr::LOCALHOST.into(), Vni::new(9).unwrap()),
        unix_ns(),
        last.len(),
    );
    let entry = meta.unwrap();
    let meta = PacketMeta { time_ns: unix_ns(), stream: entry.id, network: entry.network };
    let bytes = &last[vxlan::HEADER_LEN..];
    let frame = Entrant { meta, link: Link::Ethernet, bytes, wire_len: 0 };
    assert!(bench.other_outboxes[0].push(0, &Item::Frame(frame)));
    bench.other_outboxes[0].flush();
    let shared = &bench.worker.parts.shared;
    shared.receiving.fetch_sub(1, Ordering::SeqCst);
    shared.putting_together.fetch_sub(1, Ordering::SeqCst);
    bench.worker.finish_hand_over();
    let parcel = bench.others[0].next().expect("sent before the worker ended");
    assert!(matches!(parcel.items().collect::<Vec<_>>()[..], [Item::Whole(_)]));
    let ledger = bench.worker.parts.pipeline.ledger;
    assert_eq!((ledger.received, ledger.taken_over, ledger.analysed), (1, 1, 2));
}
