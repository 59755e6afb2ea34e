use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use super::super::fixture::{Bench, Collector, PolicyText, bench, captured, frame, session, target};
use super::*;
use crate::policy::Direction::Inbound;

/// What a request to `office` did, while the mirror goes on.
fn ask(bench: &mut Bench, office: &Office, request: impl FnOnce(Answer) -> Request) -> Result<Outcome, Refusal> {
    let (tell, told) = sync_channel(1);
    office.requests.send(request(Box::new(move |outcome| tell.send(outcome).unwrap()))).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        bench.mirror.begin(Instant::now());
        bench.mirror.flush();
        match told.recv_timeout(Duration::from_millis(1)) {
            Ok(outcome) => return outcome,
            Err(_) => assert!(Instant::now() < until, "the steward does not answer"),
        }
    }
}

/// One frame, mirrored and sent.
fn mirror_one(bench: &mut Bench) {
    let bytes = frame(1, Inbound, 10);
    bench.mirror.begin(Instant::now());
    let _ = bench.mirror.offer(&captured(&bytes, Inbound, 0));
    bench.mirror.flush();
}

/// VNIs of what came, with the numbers of GENEVE datagrams.
fn vnis(collector: &Collector) -> Vec<u32> {
    let vni = |datagram: &[u8]| u32::from_be_bytes([0, datagram[4], datagram[5], datagram[6]]);
    collector.datagrams().iter().map(|datagram| vni(datagram)).collect()
}

fn start(bench: &mut Bench) -> Office {
    bench.steward.take().unwrap().start().unwrap()
}

#[test]
fn a_new_policy_comes_into_force_and_counts_and_numbers_of_sessions_that_stay_go_on() {
    let collector = Collector::new();
    let to = target("c", &[(collector.address, 1)]);
    let geneve = "encapsulation = \"geneve\"";
    let policy = PolicyText::new(&(to.clone() + &session("s", 1, "c", geneve)));
    let mut bench = bench(&policy).unwrap();
    let office = start(&mut bench);
    mirror_one(&mut bench);
    policy.write(&(to + &session("s", 1, "c", &format!("{geneve}\nlength = 20")) + &session("t", 2, "c", "")));
    let outcome = ask(&mut bench, &office, Request::Reload).unwrap();
    assert_eq!(outcome, Outcome { generation: 2, in_force: true });
    mirror_one(&mut bench);
    let marks: Vec<_> = collector
        .datagrams()
        .iter()
        .map(|datagram| {
            let (header, inner) = vxtap_wire::geneve::decapsulate(datagram).unwrap();
            let mark = header.metadata.mark.unwrap();
            (mark.series, mark.sequence, inner.len())
        })
        .collect();
    assert_eq!(marks, [(marks[0].0, 0, 52), (marks[0].0, 1, 20)]);
    let counts = bench.ledger.summary();
    assert_eq!(counts.sessions[0].inbound.mirrored.packets, 2);
    bench.ledger.check(bench.control.counters()).unwrap();
}

#[test]
fn a_policy_that_is_not_right_is_refused_with_its_place_and_the_old_one_stays() {
    let collector = Collector::new();
    let good = target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "");
    let policy = PolicyText::new(&good);
    let mut bench = bench(&policy).unwrap();
    let office = start(&mut bench);
    policy.write(&good.replace("vni = 101", "vni = 16777216"));
    let Err(Refusal::Policy(error)) = ask(&mut bench, &office, Request::Reload) else { panic!("it was taken") };
    assert!(error.contains("16777215") && error.contains(':'), "{error}");
    mirror_one(&mut bench);
    assert_eq!(vnis(&collector), [101]);
}

#[test]
fn reloads_are_counted_by_what_became_of_them_and_a_refusal_is_told_until_one_is_accepted() {
    let collector = Collector::new();
    let good = target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "");
    let policy = PolicyText::new(&good);
    let mut bench = bench(&policy).unwrap();
    let status = bench.steward.as_ref().unwrap().status();
    let office = start(&mut bench);
    let begun = status.lock().unwrap().reloads.clone();
    assert_eq!((begun.accepted, begun.refused, &begun.error), (0, 0, &None));
    assert!(begun.accepted_at > 1.7e9, "the policy of the start was accepted then");
    policy.write(&good.replace("vni = 101", "vni = 16777216"));
    assert!(ask(&mut bench, &office, Request::Reload).is_err());
    let refused = status.lock().unwrap().reloads.clone();
    assert_eq!((refused.accepted, refused.refused, refused.accepted_at), (0, 1, begun.accepted_at));
    assert!(refused.error.unwrap().contains("16777215"));
    policy.write(&good);
    ask(&mut bench, &office, Request::Reload).unwrap();
    let accepted = status.lock().unwrap().reloads.clone();
    assert_eq!((accepted.accepted, accepted.refused, &accepted.error), (1, 1, &None));
    assert!(accepted.accepted_at > begun.accepted_at);
    ask(&mut bench, &office, |answer| Request::Enable { session: "s".to_owned(), on: false, answer }).unwrap();
    assert_eq!(status.lock().unwrap().reloads.accepted, 1, "no file was read for that");
}

#[test]
fn a_file_that_has_changed_is_taken_by_itself_and_half_of_one_never() {
    let collector = Collector::new();
    let to = target("c", &[(collector.address, 1)]);
    let policy = PolicyText::new(&(to.clone() + &session("s", 1, "c", "")));
    let mut bench = bench(&policy).unwrap();
    let status = bench.steward.as_ref().unwrap().status();
    let _office = start(&mut bench);
    policy.write(&(to + &session("s", 2, "c", "")));
    let until = Instant::now() + Duration::from_secs(30);
    while status.lock().unwrap().generation < 2 {
        assert!(Instant::now() < until, "the change was not noticed");
        bench.mirror.begin(Instant::now());
        std::thread::sleep(Duration::from_millis(1));
    }
    mirror_one(&mut bench);
    assert_eq!(vnis(&collector), [102]);
}

#[test]
fn a_session_is_turned_off_and_on_by_name_or_number_and_the_next_one_takes_its_packets_meanwhile() {
    let collector = Collector::new();
    let text = target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "") + &session("t", 2, "c", "");
    let policy = PolicyText::new(&text);
    let mut bench = bench(&policy).unwrap();
    let office = start(&mut bench);
    let set = |session: &str, on| {
        let session = session.to_owned();
        move |answer| Request::Enable { session, on, answer }
    };
    mirror_one(&mut bench);
    ask(&mut bench, &office, set("s", false)).unwrap();
    mirror_one(&mut bench);
    // A file that was saved again does not turn it on.
    ask(&mut bench, &office, Request::Reload).unwrap();
    mirror_one(&mut bench);
    ask(&mut bench, &office, set("1", true)).unwrap();
    mirror_one(&mut bench);
    assert_eq!(vnis(&collector), [101, 102, 102, 101]);
    let unknown = ask(&mut bench, &office, set("u", true));
    assert_eq!(unknown, Err(Refusal::UnknownSession("u".to_owned())));
}

#[test]
fn what_was_turned_off_by_hand_follows_the_file_once_that_says_something_else() {
    let collector = Collector::new();
    let to = target("c", &[(collector.address, 1)]);
    let policy = PolicyText::new(&(to.clone() + &session("s", 1, "c", "enabled = false")));
    let mut bench = bench(&policy).unwrap();
    let status = bench.steward.as_ref().unwrap().status();
    let office = start(&mut bench);
    let enabled = || status.lock().unwrap().sessions[0].enabled;
    assert!(!enabled());
    ask(&mut bench, &office, |answer| Request::Enable { session: "s".to_owned(), on: true, answer }).unwrap();
    assert!(enabled());
    policy.write(&(to.clone() + &session("s", 1, "c", "enabled = true")));
    ask(&mut bench, &office, Request::Reload).unwrap();
    policy.write(&(to + &session("s", 1, "c", "enabled = false")));
    ask(&mut bench, &office, Request::Reload).unwrap();
    assert!(!enabled(), "the file has the last word once it has said something else");
}

#[test]
fn under_a_load_of_reloads_each_packet_is_decided_by_one_whole_policy_and_none_is_lost() {
    let collectors = [Collector::new(), Collector::new()];
    // Each policy has a VNI, a length and a target of its own: half of one would show.
    let text = |policy: usize| {
        let lines = format!("length = {}", 60 + policy * 20);
        target(&format!("c{policy}"), &[(collectors[policy].address, 1)])
            + &session("s", 1 + policy as u32, &format!("c{policy}"), &lines)
    };
    let policy = PolicyText::new(&text(0));
    let mut bench = bench(&policy).unwrap();
    let office = start(&mut bench);
    let (rounds, frames) = (20, 2_000_u64);
    let requests = office.requests();
    let mut received: BTreeMap<(usize, u32, usize), u64> = BTreeMap::new();
    let mut offered = 0;
    let bytes: Vec<_> = (0..50).map(|flow| frame(flow, Inbound, 200)).collect();
    for round in 0..rounds {
        policy.write(&text((round + 1) % 2));
        let (tell, told) = sync_channel(1);
        requests.send(Request::Reload(Box::new(move |outcome| tell.send(outcome).unwrap()))).unwrap();
        let mut taken = None;
        let until = Instant::now() + Duration::from_secs(30);
        let mut of_round = 0;
        // Frames go on before, while and after the policy changes.
        while taken.is_none() || of_round < frames {
            bench.mirror.begin(Instant::now());
            for _ in 0..20 {
                let bytes = &bytes[(offered % 50) as usize];
                let _ = bench.mirror.offer(&captured(bytes, Inbound, offered * 1_000));
                offered += 1;
                of_round += 1;
            }
            bench.mirror.flush();
            for (place, collector) in collectors.iter().enumerate() {
                for datagram in collector.datagrams() {
                    let vni = u32::from_be_bytes([0, datagram[4], datagram[5], datagram[6]]);
                    *received.entry((place, vni, datagram.len() - 8)).or_default() += 1;
                }
            }
            if let Ok(outcome) = told.try_recv() {
                taken = Some(outcome.unwrap());
            }
            assert!(Instant::now() < until, "the policy does not come into force");
        }
        assert!(taken.unwrap().in_force);
    }
    assert_eq!(received.keys().copied().collect::<Vec<_>>(), [(0, 101, 60), (1, 102, 80)], "{received:?}");
    assert_eq!(received.values().sum::<u64>(), offered);
    bench.ledger.check(bench.control.counters()).unwrap();
    assert_eq!(bench.ledger.summary().sessions[0].inbound.mirrored.packets, offered);
}

#[test]
fn while_the_way_to_a_target_is_through_a_tunnel_that_hides_copies_none_go_there() {
    let collector = Collector::new();
    let policy = PolicyText::new(&(target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "")));
    let mut bench = bench(&policy).unwrap();
    let vpn = Arc::new(AtomicBool::new(false));
    bench.steward.as_mut().unwrap().ways = Some(Ways::through_vpn_while(&vpn));
    let office = start(&mut bench);
    mirror_one(&mut bench);
    assert_eq!(collector.datagrams().len(), 1);
    let skipped = |bench: &Bench| bench.ledger.summary().sessions[0].inbound.skipped.reasons.get("no_target");
    let until = Instant::now() + Duration::from_secs(30);
    vpn.store(true, Ordering::Relaxed);
    while skipped(&bench) == 0 {
        assert!(Instant::now() < until, "copies still go through the tunnel");
        mirror_one(&mut bench);
    }
    // Looked up again, it has the same way.
    let resolved = || Request::Resolved(vec![(Target::from(collector.address), Ok(vec![collector.address]))]);
    office.requests.send(resolved()).unwrap();
    // What is asked for after that is answered after it.
    assert!(ask(&mut bench, &office, Request::Reload).is_ok());
    collector.datagrams();
    mirror_one(&mut bench);
    assert_eq!(collector.datagrams().len(), 0);
    vpn.store(false, Ordering::Relaxed);
    office.requests.send(resolved()).unwrap();
    while collector.datagrams().is_empty() {
        assert!(Instant::now() < until, "no copies though the tunnel is gone");
        mirror_one(&mut bench);
    }
    bench.ledger.check(bench.control.counters()).unwrap();
}

#[test]
fn a_policy_whose_target_is_behind_a_tunnel_that_hides_copies_is_refused_with_its_place() {
    let (old, new) = (Collector::new(), Collector::new());
    let text = |collector: &Collector| target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "");
    let policy = PolicyText::new(&text(&old));
    let mut bench = bench(&policy).unwrap();
    bench.steward.as_mut().unwrap().ways = Some(Ways::through_vpn_while(&Arc::new(AtomicBool::new(true))));
    policy.write(&text(&new));
    let Err(Refusal::Policy(error)) = bench.steward.as_mut().unwrap().reload("it is tested") else {
        panic!("it was taken")
    };
    let place = format!("policy.toml:8:11: copies to {} go through wg0 (wireguard)", new.address);
    assert!(error.contains(&place) && error.contains("--tunnel wg0=ADDRESS"), "{error}");
}

#[test]
fn a_name_that_is_another_address_now_takes_the_link_along_and_its_datagrams_are_ours() {
    let (old, new) = (Collector::new(), Collector::new());
    let policy = PolicyText::new(&(target("c", &[(old.address, 1)]) + &session("s", 1, "c", "")));
    let mut bench = bench(&policy).unwrap();
    let office = start(&mut bench);
    mirror_one(&mut bench);
    // As if the target's name had been looked up again.
    let resolved = vec![(Target::from(old.address), Ok(vec![new.address]))];
    office.requests.send(Request::Resolved(resolved)).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while new.datagrams().is_empty() {
        assert!(Instant::now() < until, "copies still go to the old address");
        mirror_one(&mut bench);
    }
    let mut own = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [2; 6])
        .ipv4([127, 0, 0, 1], [127, 0, 0, 1], 64)
        .udp(40_000, new.address.port())
        .write(&mut own, &[0; 60])
        .unwrap();
    bench.mirror.begin(Instant::now());
    let _ = bench.mirror.offer(&captured(&own, Inbound, 0));
    assert_eq!(bench.ledger.summary().passed.inbound.reasons.get("own"), 1);
    bench.mirror.flush();
    bench.ledger.check(bench.control.counters()).unwrap();
}

#[test]
fn the_address_that_copies_come_from_after_another_is_gone_is_our_own_as_well() {
    let collector = Collector::new();
    let policy = PolicyText::new(&(target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "")));
    let mut bench = bench(&policy).unwrap();
    let steward = bench.steward.as_mut().unwrap();
    let before = steward.known[0].sockets.clone();
    steward.look_at_sources();
    assert_eq!(steward.known[0].sockets, before, "this host has it");
    // As if the lease of this one had ended.
    steward.known[0].sockets.iter_mut().for_each(|socket| socket.set_ip([192, 0, 2, 77].into()));
    steward.own = Arc::default();
    steward.look_at_sources();
    assert_eq!(steward.known[0].sockets, before);
    assert_eq!(*steward.own, own_traffic(&steward.known));
    assert!(matches!(steward.mailbox.next(false), Some(Change::Own(_))), "the packet path is told");
}
