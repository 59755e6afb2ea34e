//! The HTTP API of a running collector, as curl and Prometheus use it.

use serde_json::Value;
use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::datagram::{Mirror, Peer, tcp_frame, udp_frame};
use vxtap_tests::deadline::{SOON, wait_until};

use super::shared_machine;

const VNI: u32 = 21;

/// A collector that has had 30 frames of 3 flows and 2 bad datagrams.
fn fed(settings: Settings) -> Collector {
    let collector = settings.start();
    let mut mirror = Mirror::new(collector.address(), VNI, 2);
    for round in 0..5 {
        for flow in 0..3 {
            let (a, b) = (Peer::v4(flow, 5000), Peer::v4(100, 80));
            mirror.send(0, &tcp_frame(a, b, round, b"ask"));
            mirror.send(1, &tcp_frame(b, a, round, b"a longer answer"));
        }
    }
    mirror.send_payload(0, &[0; 20]);
    mirror.send_payload(1, b"short");
    collector.wait_received(32);
    collector
}

#[test]
fn health_readiness_and_unknown_paths_answer_with_their_status() {
    let _machine = shared_machine();
    let collector = Settings::new(1).start();
    assert_eq!(collector.get("/healthz").0, 200);
    let (status, body) = collector.get("/readyz");
    assert_eq!(status, 200);
    assert!(serde_json::from_str::<Value>(&body).unwrap().is_object(), "{body}");
    for path in ["/", "/v1", "/v1/nothing", "/v1/flows/../snapshot"] {
        assert_eq!(collector.get(path).0, 404, "{path}");
    }
    assert_eq!(collector.get("/v1/captures").0, 404, "nothing is captured");
    assert_eq!(collector.get("/v1/flows?limit=many").0, 400);
    assert_eq!(collector.get("/v1/flows?colour=red").0, 400);
    collector.stop();
}

#[test]
fn the_snapshot_shows_listeners_ledger_streams_and_workers() {
    let _machine = shared_machine();
    let collector = fed(Settings::new(2).write());
    let snapshot = collector.snapshot();
    assert_eq!(snapshot.listeners, [format!("vxlan://{}", collector.address())]);
    assert_eq!(snapshot.workers.len(), 2);
    assert_eq!((snapshot.ledger.received, snapshot.ledger.dropped.total(), snapshot.flows_active), (32, 2, 3));
    let names: Vec<&str> = snapshot.streams.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(names, [format!("vni {VNI} from 127.0.0.1")]);
    assert_eq!(snapshot.streams[0].counters.frames, 30);
    wait_until(SOON, "the capture in the snapshot", || {
        let capture: Value = collector.get_json("/v1/captures");
        capture["files"][0]["frames"] == 30
    });
    collector.stop();
}

#[test]
fn flows_are_listed_filtered_and_sorted() {
    let _machine = shared_machine();
    let collector = fed(Settings::new(2));
    // One flow that is larger than the others.
    let mut mirror = Mirror::new(collector.address(), VNI, 1);
    mirror.send(0, &udp_frame(Peer::v4(50, 53), Peer::v4(51, 53), &[0; 1400]));
    collector.wait_received(33);
    let flows = collector.flows().flows;
    assert_eq!(flows.len(), 4);
    assert_eq!(flows[0].protocol, "UDP", "most bytes first");
    let tcp = &flows[1];
    assert_eq!((tcp.frames_to_responder, tcp.frames_to_originator, tcp.network), (5, 5, Some(VNI)));
    assert!(tcp.community_id.starts_with("1:"), "{}", tcp.community_id);
    let one: vxtap_analyzers::snapshot::FlowPage = collector.get_json("/v1/flows?limit=1&ascending=true");
    assert_eq!((one.flows.len(), one.matching), (1, 4));
    assert_eq!(one.flows[0].protocol, "TCP");
    collector.stop();
}

#[test]
fn metrics_say_what_the_ledger_says() {
    let _machine = shared_machine();
    let collector = fed(Settings::new(2));
    let (status, text) = collector.get("/metrics");
    assert_eq!(status, 200);
    let sum = |name: &str| -> f64 {
        let samples =
            text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    for (name, expected) in [("received", 32.0), ("analysed", 30.0), ("dropped", 2.0), ("kernel_dropped", 0.0)] {
        assert!((sum(&format!("vxtap_collector_{name}_total")) - expected).abs() < 0.5, "{name} in:\n{text}");
    }
    collector.stop();
}
