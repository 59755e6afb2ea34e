//! Inner packets in fragments, which meet on another worker than the one of their flow.

use std::collections::BTreeMap;

use serde_json::Value;
use vxtap_tests::collector::{Settings, Stopped};
use vxtap_tests::datagram::{Mirror, Peer, dns_answer, dns_question, fragments, udp_frame};

use super::shared_machine;

/// Conversations between two hosts: with two workers about half of them are not the one's that gets the fragments.
const CONVERSATIONS: u16 = 40;
/// Questions of each, with their answers.
const ROUNDS: u16 = 5;

/// Sends questions, each of which an answer in two fragments follows, and gives what came out.
fn run(settings: Settings) -> (u64, Stopped) {
    let collector = settings.log().write().start();
    let mut mirror = Mirror::new(collector.address(), 9, 4);
    let mut sent = 0;
    for round in 0..ROUNDS {
        for number in 0..CONVERSATIONS {
            let (client, server) = (Peer::v4(1, 40_000 + number), Peer::v4(2, 53));
            let name = format!("name-{number}");
            mirror.send(usize::from(number), &udp_frame(client, server, &dns_question(round, &name)));
            sent += 1;
        }
        // Questions go another way than answers that are put together elsewhere.
        collector.wait_received(sent);
        for number in 0..CONVERSATIONS {
            let (client, server) = (Peer::v4(1, 40_000 + number), Peer::v4(2, 53));
            let answer = udp_frame(server, client, &dns_answer(round, &format!("name-{number}"), 10));
            for fragment in fragments(&answer, 1400, round * CONVERSATIONS + number) {
                mirror.send(usize::from(number), &fragment);
                sent += 1;
            }
        }
        collector.wait_received(sent);
    }
    (sent, collector.stop())
}

fn one_flow_each(settings: Settings) -> Stopped {
    let (sent, stopped) = run(settings);
    let ledger = &stopped.summary.ledger;
    assert_eq!((ledger.received, ledger.analysed, ledger.captured), (sent, sent, sent));
    let events: Vec<Value> = stopped.eve().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut flows: BTreeMap<String, Vec<(Value, Value)>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["event_type"] == "flow" && event["app_proto"] == "dns") {
        let flow = &event["flow"];
        let id = event["community_id"].as_str().unwrap().to_owned();
        flows.entry(id).or_default().push((flow["pkts_toserver"].clone(), flow["pkts_toclient"].clone()));
    }
    assert_eq!(flows.len(), usize::from(CONVERSATIONS));
    for (id, records) in &flows {
        assert_eq!(records, &[(ROUNDS.into(), ROUNDS.into())], "{id}");
    }
    let answers: Vec<&Value> =
        events.iter().map(|event| &event["dns"]).filter(|dns| dns["type"] == "response").collect();
    assert_eq!(answers.len(), usize::from(CONVERSATIONS * ROUNDS));
    for answer in answers {
        assert!(answer["response_time_us"].is_u64(), "{answer}");
        assert_eq!(answer["answers"].as_array().map(Vec::len), Some(10));
    }
    stopped
}

#[test]
fn an_answer_in_fragments_finds_its_question_on_the_worker_of_the_flow() {
    let _machine = shared_machine();
    let stopped = one_flow_each(Settings::new(2));
    assert_eq!(stopped.summary.ledger.misdelivered, 0, "the kernel knows where such frames belong");
}

#[test]
fn an_answer_in_fragments_finds_its_question_also_where_frames_are_handed_over_before() {
    let _machine = shared_machine();
    let stopped = one_flow_each(Settings::new(3).arg("--no-kernel-steering"));
    assert!(stopped.summary.ledger.misdelivered > 0);
}
