//! Two collectors behind a load balancer: what happens when one of them ends, dies, or stands still.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use vxtap_analyzers::snapshot::{FlowPage, FlowSnapshot};
use vxtap_tests::datagram::{Mirror, Peer, tcp_frame};
use vxtap_tests::deadline::{SOON, wait_until, within};
use vxtap_tests::lab::{Balanced, Balancer, PROBES, Prober, StoppedThread, Target};
use vxtap_tests::process::{Running, Signal};
use vxtap_tests::summary::{self, SenderSummary};

/// Packets a second of the steady load.
const PPS: u64 = 2000;
/// What makes a collector quick to tell, and to be done with telling.
const RULES: &str = "--unready-after 1s --ready-after 1s";
/// The drain that SIGTERM begins: longer than the prober takes.
const DRAIN: Duration = Duration::from_secs(5);
/// What a probe and its consequence may take besides the prober's interval.
const SLACK: Duration = Duration::from_millis(500);
/// VNIs of flows that are sent one by one.
const TOGETHER: u32 = 77;
const APART: u32 = 78;
const FLOWS: u16 = 40;

fn steady_load(lab: &Balanced) -> Running {
    lab.generator(&format!("--vni 3 --pps {PPS} --size 200 --flows 100 --seconds 600"))
}

fn end_of_load(load: Running) -> SenderSummary {
    load.signal(Signal::TERM);
    summary::parse(&load.finish_within(SOON).success().stdout)
}

fn received(target: &Target<'_>) -> u64 {
    let ledger = target.snapshot().ledger;
    assert_eq!(ledger.kernel_dropped, 0);
    ledger.received
}

fn wait_for_traffic(target: &Target<'_>) {
    let before = received(target);
    wait_until(SOON, "traffic", || received(target) > before + PPS / 20);
}

/// Flows of the network `vni`.
fn flows_in(page: FlowPage, vni: u32) -> Vec<FlowSnapshot> {
    page.flows.into_iter().filter(|flow| flow.network == Some(vni)).collect()
}

/// A flow of which one direction was seen.
fn one_sided(flow: &FlowSnapshot) -> bool {
    flow.frames_to_originator == 0 || flow.frames_to_responder == 0
}

/// Sends both directions of some flows, each direction from an outer port of its own or both from one, and gives how many flows
/// are one-sided and how many there are, on both targets together.
fn send_both_directions(
    lab: &Balanced,
    targets: [&Target<'_>; 2],
    vni: u32,
    ports_by_direction: bool,
) -> (usize, usize) {
    let mut mirror = lab.source.inside(|| Mirror::new(lab.address(), vni, 2 * usize::from(FLOWS)));
    for flow in 0..FLOWS {
        let (one, other) = (Peer::v4(flow, 40_000), Peer::v4(60_000, 443));
        let port = 2 * usize::from(flow);
        for round in 0..3 {
            mirror.send_unwatched(port, &tcp_frame(one, other, round, b"to"));
            mirror.send_unwatched(port + usize::from(ports_by_direction), &tcp_frame(other, one, round, b"fro"));
        }
    }
    let flows = within(SOON, "all frames of the flows", || {
        let flows: Vec<FlowSnapshot> = targets.iter().flat_map(|target| flows_in(target.flows(), vni)).collect();
        (flows.iter().map(FlowSnapshot::frames).sum::<u64>() == 6 * u64::from(FLOWS)).then_some(flows)
    });
    (flows.iter().filter(|flow| one_sided(flow)).count(), flows.len())
}

/// What a load balancer makes of flows whose outer ports say what belongs together, and of others.
fn flows_stay_whole_if_the_sender_lets_them(lab: &Balanced, targets: [&Target<'_>; 2]) {
    let [here, there] = targets.map(|target| {
        let flows = flows_in(target.flows(), 3);
        flows.into_iter().map(|flow| flow.community_id).collect::<BTreeSet<_>>()
    });
    assert!(here.len() > 5 && there.len() > 5, "{} and {} flows", here.len(), there.len());
    assert_eq!(here.intersection(&there).count(), 0, "flows that both targets have");
    assert_eq!(send_both_directions(lab, targets, TOGETHER, false), (0, FLOWS.into()));
    let (one_sided, flows) = send_both_directions(lab, targets, APART, true);
    // Half of the flows on the average, and each of them twice.
    assert!(one_sided > usize::from(FLOWS) / 3 && flows > FLOWS.into(), "{one_sided} of {flows} are one-sided");
    println!(
        "{} and {} flows, none on both; {one_sided} of {flows} one-sided where ports differ",
        here.len(),
        there.len()
    );
}

/// A collector whose disk is full, or of which a worker stands still, is out within [`PROBES`] probes, and comes back.
fn a_collector_that_cannot_do_its_work_is_out_while_it_cannot(prober: &Prober, target: &Target<'_>) {
    let ballast = target.disk().join("ballast");
    let mut file = File::create(&ballast).unwrap();
    let chunk = vec![1; 1 << 16];
    while file.write_all(&chunk).is_ok() {}
    drop(file);
    within(SOON, "a full disk", || target.snapshot().capture.and_then(|capture| capture.error));
    let probes = prober.probes_until_out(1, Instant::now());
    std::fs::remove_file(&ballast).unwrap();
    prober.wait_until_in(1);
    wait_for_traffic(target);
    println!("a full disk: out after {probes} probes");
    assert!(probes <= PROBES, "out after {probes} probes");

    let stopped = StoppedThread::of(target.process.id(), "worker-1");
    let probes = prober.probes_until_out(1, Instant::now());
    drop(stopped);
    prober.wait_until_in(1);
    wait_for_traffic(target);
    println!("a stopped worker: out after {probes} probes");
    assert!(probes <= PROBES, "out after {probes} probes");
}

fn story(kind: Balancer) {
    let Some(lab) = Balanced::open(kind) else { return };
    let arguments = format!("{RULES} --drain {}s", DRAIN.as_secs());
    let first = lab.collector(0, &arguments);
    let other = lab.collector(1, &arguments);
    Prober::while_probing(&lab, |prober| {
        let load = steady_load(&lab);
        wait_for_traffic(&first);
        wait_for_traffic(&other);
        // Time for every flow to have been seen.
        wait_until(SOON, "some seconds of traffic", || received(&first) + received(&other) > 4 * PPS);
        flows_stay_whole_if_the_sender_lets_them(&lab, [&first, &other]);
        a_collector_that_cannot_do_its_work_is_out_while_it_cannot(prober, &other);

        // SIGTERM: out, drained, ended, and nothing lost.
        let told = Instant::now();
        first.process.signal(Signal::TERM);
        let probes = prober.probes_until_out(0, told);
        let of_first = first.finish().ledger;
        assert!(told.elapsed() >= DRAIN, "it drained for {:?}", told.elapsed());
        let sent = end_of_load(load).sent + 12 * u64::from(FLOWS);
        assert_eq!((of_first.kernel_dropped, of_first.dropped_total()), (0, 0));
        within(SOON, "all that was sent", || {
            let received = of_first.received + received(&other);
            assert!(received <= sent);
            (received == sent).then_some(())
        });
        println!("SIGTERM: out after {probes} probes; {sent} sent, {} and the rest received", of_first.received);

        // SIGKILL: what is sent to the dead until it is out is lost, and nothing else.
        let first = lab.collector(0, &arguments);
        prober.wait_until_in(0);
        let before = received(&other);
        let load = steady_load(&lab);
        wait_for_traffic(&first);
        let seen = received(&first);
        let killed = Instant::now();
        first.process.signal(Signal::KILL);
        let probes = prober.probes_until_out(0, killed);
        let blind = killed.elapsed() + SLACK;
        wait_for_traffic(&other);
        let sent = end_of_load(load).sent;
        let of_other = other.stop().ledger;
        assert_eq!(of_other.kernel_dropped, 0);
        let lost = sent - seen - (of_other.received - before);
        let most = (blind.as_secs_f64() * PPS as f64) as u64;
        println!("SIGKILL: out after {probes} probes; {lost} of {sent} lost, {most} were sent while it was in");
        assert!(lost <= most, "{lost} were lost, and no more than {most} were on their way to it");
        assert!(probes <= PROBES);
    });
}

#[test]
fn behind_nftables_no_packet_is_lost_and_flows_stay_whole() {
    story(Balancer::Nftables);
}

#[test]
fn behind_nginx_no_packet_is_lost_and_flows_stay_whole() {
    story(Balancer::Nginx);
}
