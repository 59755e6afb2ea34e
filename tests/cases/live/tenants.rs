//! Two tenants with the same addresses: apart under two VNIs, together where the two are one network.

use std::collections::BTreeMap;

use serde_json::Value;
use vxtap_tests::capture_file;
use vxtap_tests::collector::{Settings, Stopped};
use vxtap_tests::datagram::{Mirror, Peer, tcp_frame};
use vxtap_tests::deadline::{SOON, wait_until};

use super::shared_machine;

/// Exchanges of a request and its response.
const EXCHANGES: u32 = 20;

/// Number and name of a flow's network, and its frames in either direction.
type Flow = (Option<u32>, Option<String>, u64, u64);

/// A connection of the same two addresses: the requests come under VNI 100, the responses under VNI 200.
fn mirrored(settings: Settings) -> (Stopped, Vec<Flow>) {
    let collector = settings.start();
    let (client, server) = (Peer::v4(1, 40_000), Peer::v4(2, 80));
    let mut there = Mirror::new(collector.address(), 100, 1);
    let mut back = Mirror::new(collector.address(), 200, 1);
    for number in 0..EXCHANGES {
        there.send(0, &tcp_frame(client, server, 1 + 10 * number, b"0123456789"));
        back.send(0, &tcp_frame(server, client, 1 + 10 * number, b"abcdefghij"));
    }
    collector.wait_received(2 * u64::from(EXCHANGES));
    wait_until(SOON, "every frame in a flow", || {
        let flows = collector.flows().flows;
        flows.iter().map(|flow| flow.frames_to_responder + flow.frames_to_originator).sum::<u64>()
            == 2 * u64::from(EXCHANGES)
    });
    let mut flows: Vec<_> = collector
        .flows()
        .flows
        .into_iter()
        .map(|flow| (flow.network, flow.network_name, flow.frames_to_responder, flow.frames_to_originator))
        .collect();
    flows.sort();
    (collector.stop(), flows)
}

/// The `flow` events.
fn events(stopped: &Stopped) -> Vec<Value> {
    let events = stopped.eve();
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event_type"] == "flow").collect()
}

/// Frames of each interface of the captures.
fn captured(stopped: &Stopped) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for record in capture_file::read_all(&stopped.captures()) {
        *counts.entry(record.interface).or_default() += 1;
    }
    counts
}

#[test]
fn tenants_with_the_same_addresses_stay_apart_in_flows_captures_and_events() {
    let _machine = shared_machine();
    let (stopped, flows) = mirrored(Settings::new(2).write().log());
    // In each network one direction of the connection.
    let one = u64::from(EXCHANGES);
    assert_eq!(flows, [(Some(100), None, one, 0), (Some(200), None, 0, one)]);
    let events = events(&stopped);
    let mut tunnels: Vec<_> = events.iter().map(|event| event["tunnel"]["vni"].as_u64().unwrap()).collect();
    tunnels.sort_unstable();
    assert_eq!(tunnels, [100, 200]);
    assert_ne!(events[0]["flow_id"], events[1]["flow_id"]);
    assert_eq!(events[0]["community_id"], events[1]["community_id"], "the same five-tuple");
    let expected = [("vni 100 from 127.0.0.1", EXCHANGES), ("vni 200 from 127.0.0.1", EXCHANGES)];
    assert_eq!(captured(&stopped), expected.map(|(name, count)| (name.to_owned(), count)).into());
}

#[test]
fn the_same_two_vnis_in_one_network_come_together() {
    let _machine = shared_machine();
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = "[[network]]\nname = \"blue\"\nvnis = [100, 200]\n[[name]]\nname = \"requests\"\nvni = 100\n";
    std::fs::write(config.path(), text).unwrap();
    let settings = Settings::new(2).write().log().arg("--config").arg(config.path());
    let (stopped, flows) = mirrored(settings.arg("--capture-filter").arg("network blue"));
    let one = u64::from(EXCHANGES);
    assert_eq!(flows.len(), 1, "{flows:?}");
    assert_eq!((flows[0].1.as_deref(), flows[0].2, flows[0].3), (Some("blue"), one, one));
    let events = events(&stopped);
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0];
    let expected = (20, 20, &Value::from("blue"));
    let packets = |name: &str| event["flow"][name].as_u64().unwrap();
    assert_eq!((packets("pkts_toserver"), packets("pkts_toclient"), &event["tunnel"]["network"]), expected);
    // The frames still tell which VNI they came by.
    let expected = [("vni 100 (requests) from 127.0.0.1", EXCHANGES), ("vni 200 from 127.0.0.1", EXCHANGES)];
    assert_eq!(captured(&stopped), expected.map(|(name, count)| (name.to_owned(), count)).into());
}
