//! One inner flow, one worker, whatever the outer headers say.

use std::collections::{BTreeMap, BTreeSet};

use vxtap_analyzers::snapshot::FlowSnapshot;
use vxtap_tests::captures::Captures;
use vxtap_tests::collector::{Collector, Settings, Stopped};
use vxtap_tests::datagram::{Mirror, Peer, tcp_frame, udp_frame};

use vxtap_tests::deadline::{SOON, within};
use vxtap_tests::sender;

use super::shared_machine;

const FLOWS: u16 = 1000;
const WORKERS: u32 = 4;
const ROUNDS: u32 = 3;

/// Sends every flow's frames in both directions, each direction from another outer source port than the other, so
/// that the outer headers say nothing about the flow.
fn send_flows(collector: &Collector) -> u64 {
    let mut mirror = Mirror::new(collector.address(), 9, 8);
    let mut sent = 0;
    for round in 0..ROUNDS {
        for flow in 0..FLOWS {
            let (a, b) = match flow % 3 {
                0 => (Peer::v6(flow, 40_000 + flow), Peer::v6(60_000, 443)),
                _ => (Peer::v4(flow, 40_000 + flow), Peer::v4(60_000, 443)),
            };
            let frame = |from, to| match flow % 2 {
                0 => tcp_frame(from, to, round, b"to and fro"),
                _ => udp_frame(from, to, b"to and fro"),
            };
            mirror.send(usize::from(flow), &frame(a, b));
            mirror.send(usize::from(flow) + 1 + round as usize, &frame(b, a));
            sent += 2;
        }
    }
    sent
}

/// Workers by flow, from the workers' own flow tables.
fn workers_of_flows(flows: &[FlowSnapshot]) -> BTreeMap<String, BTreeSet<u32>> {
    let mut workers: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for flow in flows {
        workers.entry(flow.community_id.clone()).or_default().insert(flow.worker);
    }
    workers
}

/// Flows that more than one worker has.
fn splits(flows: &[FlowSnapshot]) -> usize {
    workers_of_flows(flows).values().filter(|workers| workers.len() > 1).count()
}

fn run(settings: Settings) -> (Vec<FlowSnapshot>, Stopped) {
    let collector = settings.start();
    let sent = send_flows(&collector);
    let page = within(SOON, "all frames in the flow tables", || {
        let page = collector.flows();
        (page.flows.iter().map(FlowSnapshot::frames).sum::<u64>() == sent).then_some(page)
    });
    assert_eq!(page.matching, page.flows.len() as u64, "the list is whole");
    let stopped = collector.stop();
    assert_eq!((stopped.summary.ledger.analysed, stopped.summary.ledger.kernel_dropped), (sent, 0));
    (page.flows, stopped)
}

fn stay_together(settings: Settings) -> Stopped {
    let (flows, stopped) = run(settings);
    assert_eq!((splits(&flows), flows.len()), (0, usize::from(FLOWS)));
    for flow in &flows {
        let frames = (flow.frames_to_responder, flow.frames_to_originator);
        assert_eq!(frames, (u64::from(ROUNDS), u64::from(ROUNDS)), "{flow:?}");
    }
    let busy: BTreeSet<u32> = flows.iter().map(|flow| flow.worker).collect();
    assert_eq!(busy, (0..WORKERS).collect(), "every worker has flows");
    stopped
}

#[test]
fn both_directions_of_a_thousand_flows_meet_on_one_of_four_workers() {
    let _machine = shared_machine();
    let stopped = stay_together(Settings::new(WORKERS));
    assert_eq!(stopped.summary.ledger.misdelivered, 0, "the kernel knows where such frames belong");
}

#[test]
fn flows_stay_together_without_the_kernels_help_by_being_handed_over() {
    let _machine = shared_machine();
    let stopped = stay_together(Settings::new(WORKERS).arg("--no-kernel-steering"));
    assert!(stopped.summary.ledger.misdelivered > 0, "nothing was handed over: the test shows nothing");
}

#[test]
fn tags_tunnels_and_fragments_end_up_on_one_worker_whatever_the_kernel_makes_of_them() {
    let _machine = shared_machine();
    let Some(captures) = Captures::open() else { return };
    let collector = Settings::new(WORKERS).start();
    let mut sent = 0;
    for capture in captures.of(&["l2l3"]) {
        sent += sender::replay(&capture.path, collector.address(), 1).sent;
    }
    let page = within(SOON, "the flow tables to be still", || {
        let (once, again) = (collector.flows(), collector.flows());
        (collector.snapshot().ledger.received == sent && once == again).then_some(again)
    });
    assert!(page.flows.len() > 30, "{} flows", page.flows.len());
    assert_eq!(splits(&page.flows), 0);
    collector.stop();
}

/// A control: the tests above fail when steering is broken, which only a debug build lets be done.
#[cfg(debug_assertions)]
#[test]
fn steering_broken_on_purpose_is_seen_as_split_flows() {
    let _machine = shared_machine();
    let settings = Settings::new(WORKERS).arg("--no-kernel-steering").env("VXTAP_BREAK_STEERING", "1");
    let (flows, _) = run(settings);
    let split = splits(&flows);
    assert!(split > usize::from(FLOWS) / 4, "only {split} flows were split");
}
