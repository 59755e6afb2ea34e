//! The API over real loopback connections, with a monitor that says what the test wants.

mod admission;
mod extract;
mod hostile;
mod live;
mod metrics;
mod openmetrics;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use vxtap_analyzers::fragments::FragmentCounters;
use vxtap_analyzers::losses::StreamLoss;
use vxtap_analyzers::snapshot::{
    Act, AdmissionSnapshot, AnalysisSnapshot, CaptureFile, CaptureSnapshot, DuplicatePair, FlowPage, FlowQuery,
    FlowSnapshot, FlowSort, FollowerSnapshot, FollowersSnapshot, HealthSnapshot, KeptSnapshot, LogSnapshot, NotReady,
    OuterFragments, ResponseTimes, RunState, SidesSnapshot, SkewSnapshot, Snapshot, StreamSnapshot, TurnedAwayStream,
    WorkerSnapshot,
};
use vxtap_analyzers::{DropReason, Encapsulation, Ledger, OneSidedCause, StreamCounters};

use super::connection::Limits;
use super::{ApiError, CaptureCounts, FlowsError, Monitor, Readiness, Server};
use crate::admission::{Admission, DecideError};
use crate::capture::{CutFrames, TornFiles};
use crate::follow::Hub;
use crate::settings::ApiSettings;

type FlowsAnswer = Box<dyn Fn(&FlowQuery) -> Result<FlowPage, FlowsError> + Send + Sync>;

struct FakeMonitor {
    snapshot: Mutex<Snapshot>,
    captured: CaptureCounts,
    readiness: Mutex<Readiness>,
    flows: FlowsAnswer,
    hub: Hub,
    admission: Admission,
    captures: Option<PathBuf>,
}

impl FakeMonitor {
    fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot: Mutex::new(snapshot),
            captured: CaptureCounts {
                cut: CutFrames { frames: 54, bytes: 55 },
                torn: TornFiles { files: 56, bytes: 57, waiting: 58 },
                displaced: 60,
            },
            readiness: Mutex::new(readiness(RunState::Running)),
            flows: Box::new(|_| Ok(FlowPage::default())),
            hub: Hub::new(Arc::default()),
            admission: Admission::default(),
            captures: None,
        }
    }

    fn with_flows(flows: impl Fn(&FlowQuery) -> Result<FlowPage, FlowsError> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { flows: Box::new(flows), ..Self::new(Snapshot::default()) })
    }
}

impl Monitor for FakeMonitor {
    fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().unwrap().clone()
    }

    fn captured(&self) -> CaptureCounts {
        self.captured
    }

    fn flows(&self, query: &FlowQuery) -> Result<FlowPage, FlowsError> {
        (self.flows)(query)
    }

    fn admission(&self) -> AdmissionSnapshot {
        self.snapshot.lock().unwrap().admission.clone()
    }

    fn decide(&self, act: Act, selector: &str) -> Result<String, DecideError> {
        self.admission.decide(act, selector)
    }

    fn hub(&self) -> &Hub {
        &self.hub
    }

    fn captures(&self) -> Option<&Path> {
        self.captures.as_deref()
    }

    fn readiness(&self) -> Readiness {
        self.readiness.lock().unwrap().clone()
    }
}

/// What a monitor says of a collector that is well.
fn readiness(state: RunState) -> Readiness {
    let ready = state == RunState::Running;
    let reason = NotReady { cause: "draining".into(), detail: "told to stop".into(), seconds: 0.5 };
    let not_ready = if ready { Vec::new() } else { vec![reason] };
    Readiness::of(state, HealthSnapshot { ready, not_ready, ..HealthSnapshot::default() })
}

fn loopback() -> ApiSettings {
    ApiSettings { address: SocketAddr::from(([127, 0, 0, 1], 0)), token: None }
}

fn serve(monitor: Arc<FakeMonitor>) -> Server {
    Server::bind(&loopback()).unwrap().serve(monitor).unwrap()
}

fn serve_within(limits: Limits, monitor: Arc<FakeMonitor>) -> Server {
    Server::bind(&loopback()).unwrap().serve_within(monitor, limits).unwrap()
}

struct Answer {
    status: u16,
    content_type: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.content_type, "application/json");
        serde_json::from_str(&self.body).unwrap()
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().new_agent()
}

fn get(server: &Server, path: &str) -> Answer {
    get_with(server, path, None)
}

fn get_with(server: &Server, path: &str, token: Option<&str>) -> Answer {
    let mut request = agent().get(format!("http://{}{path}", server.address()));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut response = request.call().unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("cache-control").as_deref(), Some("no-store"), "{path}");
    let content_type = header("content-type").unwrap();
    let status = response.status().as_u16();
    Answer { status, content_type, body: response.body_mut().read_to_string().unwrap() }
}

/// A snapshot in which no two numbers are the same.
fn busy_snapshot() -> Snapshot {
    let mut ledger = Ledger {
        received: 1001,
        received_bytes: 1002,
        analysed: 1003,
        kernel_dropped: 1005,
        captured: 1006,
        capture_dropped: 1007,
        not_captured: 1008,
        flows: 1009,
        duplicates: 1010,
        misdelivered: 1011,
        ..Ledger::default()
    };
    ledger.drop_one(DropReason::VxlanFlagClear);
    let mut dns = ResponseTimes { count: 7, sum_ns: 2_000_000_000, ..ResponseTimes::default() };
    (dns.buckets[0], dns.buckets[3]) = (1, 4);
    let analysis = AnalysisSnapshot {
        events: [("dns".to_owned(), 81)].into(),
        anomalies: [("decoder.udp.hlen_invalid".to_owned(), 82)].into(),
        anomalies_suppressed: 83,
        fragments: FragmentCounters { reassembled: 84, ..FragmentCounters::default() },
        tcp_shard_full: 85,
        tcp_waiting_bytes: 86,
        duplicates_forgotten: 87,
        protocol_bytes: 88,
        protocols_given_up: 89,
        responses: [("dns".to_owned(), dns)].into(),
        ..AnalysisSnapshot::default()
    };
    let worker = WorkerSnapshot {
        worker: 0,
        ledger,
        flows_active: 21,
        flows_max: 22,
        flows_evicted: 23,
        not_ip: 24,
        truncated: 25,
        malformed: 26,
        too_deep: 29,
        receive_buffer: 27,
        batches: 28,
        batch_time_ns: vxtap_analyzers::snapshot::Distribution {
            count: 9,
            p50: 500,
            p90: 900,
            p99: 990,
            max: 1_500_000,
        },
        analysis: analysis.clone(),
        ..WorkerSnapshot::default()
    };
    let counters = StreamCounters {
        frames: 31,
        bytes: 32,
        truncated: 33,
        reserved_bits: 34,
        clock_apart: 36,
        layer_in_fragments: 61,
        last_seen_ns: 35,
        ..StreamCounters::default()
    };
    let stream = StreamSnapshot {
        name: "vni 4242 from 10.0.0.7".into(),
        encapsulation: Encapsulation::Vxlan,
        source: Some("10.0.0.7".parse().unwrap()),
        vni: Some(4242),
        selector: "vxlan vni 4242 from 10.0.0.7".into(),
        turned_away: true,
        network: Some("blue".into()),
        vnis: vec![0, 4242],
        direction: Some("egress".into()),
        loss: Some(StreamLoss { received: 37, lost: 38, duplicated: 39 }),
        counters,
        sides: SidesSnapshot {
            counts: serde_json::from_value(json!({"both": 36, "originator_only": 37, "responder_only": 38})).unwrap(),
            share: Some(0.75),
            cause: Some(OneSidedCause::Filter { port: 80 }),
        },
    };
    Snapshot {
        version: "1.2.3".into(),
        started_ns: 1_700_000_000_000_000_000,
        taken_ns: 1_700_000_012_500_000_000,
        state: RunState::Running,
        listeners: vec!["vxlan://[::]:4789".into()],
        ledger,
        flows_active: 21,
        workers: vec![worker.clone(), WorkerSnapshot { worker: 1, ..worker }],
        streams: vec![stream],
        streams_total: 41,
        loss: Some(StreamLoss { received: 42, lost: 43, duplicated: 44 }),
        outer_fragments: OuterFragments { received: 45, given_up: 46 },
        capture: Some(CaptureSnapshot {
            directory: "/captures".into(),
            bytes: 51,
            pending: 52,
            error: None,
            files: vec![CaptureFile { name: "vxtap-1.pcapng".into(), bytes: 51, frames: 6, ..CaptureFile::default() }],
            files_total: 53,
            late: 0,
            kept: KeptSnapshot { hook_skipped: 59, ..KeptSnapshot::default() },
        }),
        log: Some(LogSnapshot { directory: "/log".into(), events: 61, events_dropped: 62, error: Some("full".into()) }),
        followers: FollowersSnapshot { now: vec![FollowerSnapshot::default()], total: 71, sent: 72, dropped: 73 },
        analysis,
        admission: AdmissionSnapshot {
            turned_away: vec![TurnedAwayStream {
                name: "vni 9 from 10.0.0.9".into(),
                selector: "vxlan vni 9 from 10.0.0.9".into(),
                encapsulation: Encapsulation::Vxlan,
                source: Some("10.0.0.9".parse().unwrap()),
                vni: Some(9),
                rejected: true,
                frames: 91,
                bytes: 92,
                frames_per_second: 1.5,
                bits_per_second: 2.5,
                first_seen_ns: 93,
                last_seen_ns: 94,
            }],
            turned_away_total: 95,
            decisions_total: 96,
            ..AdmissionSnapshot::default()
        },
        skew: SkewSnapshot { workers: Some(1.25), streams: Some(1.75) },
        duplicate_pairs: vec![DuplicatePair { first: "a".into(), second: "b".into(), duplicates: 97 }],
        health: HealthSnapshot {
            ready: false,
            not_ready: vec![NotReady { cause: "kernel_drops".into(), detail: "7 %".into(), seconds: 81.5 }],
            changes: 82,
            connections: 83,
            requests: 84,
            evicted: 85,
        },
    }
}

#[test]
fn the_process_is_alive_while_it_answers_ready_or_not() {
    let monitor = Arc::new(FakeMonitor::new(Snapshot::default()));
    let server = serve(Arc::clone(&monitor));
    let answer = get(&server, "/healthz");
    assert_eq!((answer.status, answer.json()), (200, json!({"alive": true, "state": "running"})));
    *monitor.readiness.lock().unwrap() = readiness(RunState::Draining);
    let answer = get(&server, "/healthz");
    assert_eq!((answer.status, answer.json()), (200, json!({"alive": true, "state": "draining"})));
}

#[test]
fn readiness_is_what_the_monitor_says() {
    let monitor = Arc::new(FakeMonitor::new(Snapshot::default()));
    let server = serve(Arc::clone(&monitor));
    let answer = get(&server, "/readyz");
    let expected = json!({"ready": true, "state": "running", "reason": "receiving", "not_ready": []});
    assert_eq!((answer.status, answer.json()), (200, expected));
    *monitor.readiness.lock().unwrap() = readiness(RunState::Draining);
    let answer = get(&server, "/readyz");
    let reason = json!({"cause": "draining", "detail": "told to stop", "seconds": 0.5});
    let expected = json!({"ready": false, "state": "draining", "reason": "told to stop", "not_ready": [reason]});
    assert_eq!((answer.status, answer.json()), (503, expected));
}

#[test]
fn the_snapshot_reads_back_as_it_was() {
    let server = serve(Arc::new(FakeMonitor::new(busy_snapshot())));
    let answer = get(&server, "/v1/snapshot");
    assert_eq!(answer.status, 200);
    assert_eq!(serde_json::from_value::<Snapshot>(answer.json()).unwrap(), busy_snapshot());
    // Beside it, what only the collector knows of its captures.
    for (name, value) in [
        ("capture_cut", 54),
        ("capture_cut_bytes", 55),
        ("capture_displaced_files", 60),
        ("capture_torn_files", 56),
        ("capture_torn_bytes", 57),
        ("capture_torn_waiting", 58),
    ] {
        assert_eq!(answer.json()[name], value, "{name}");
    }
}

#[test]
fn flows_are_asked_for_as_the_query_says() {
    let flow = FlowSnapshot {
        worker: 1,
        community_id: "1:abc".into(),
        network: Some(7),
        network_name: None,
        stream: "vni 7 from 10.0.0.1".into(),
        protocol: "TCP".into(),
        originator: "10.1.1.1".parse().unwrap(),
        originator_port: Some(1000),
        responder: "10.1.1.2".parse().unwrap(),
        responder_port: Some(80),
        state: "established".into(),
        app: Some("http".into()),
        frames_to_responder: 1,
        frames_to_originator: 2,
        bytes_to_responder: 3,
        bytes_to_originator: 4,
        tcp_flags_to_responder: 5,
        tcp_flags_to_originator: 6,
        first_ns: 7,
        last_ns: 8,
    };
    let page = FlowPage { flows: vec![flow], matching: 1, total: 2 };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, answer) = (Arc::clone(&asked), page.clone());
    let server = serve(FakeMonitor::with_flows(move |query| {
        seen.lock().unwrap().push(query.clone());
        Ok(answer.clone())
    }));
    for path in [
        "/v1/flows",
        "/v1/flows?sort=last&ascending=true&filter=tcp%20port%2080&limit=5",
        "/v1/flows?limit=99999999",
        "/v1/flows?filter=",
    ] {
        let answer = get(&server, path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(serde_json::from_value::<FlowPage>(answer.json()).unwrap(), page);
    }
    let expected = [
        FlowQuery::default(),
        FlowQuery { sort: FlowSort::Last, ascending: true, filter: "tcp port 80".into(), limit: 5 },
        FlowQuery { limit: FlowQuery::MAX_LIMIT, ..FlowQuery::default() },
        FlowQuery::default(),
    ];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[test]
fn a_bad_flow_query_is_answered_with_what_was_expected() {
    let server = serve(FakeMonitor::with_flows(|query| match query.filter.as_str() {
        "" => Ok(FlowPage::default()),
        "busy" => Err(FlowsError::Unavailable("worker 1 does not answer".into())),
        other => Err(FlowsError::BadQuery(format!("bad filter '{other}' (expected for example: tcp port 80)"))),
    }));
    let expected = "(expected any of sort=COLUMN, ascending=true|false, filter=TEXT, limit=0..10000)";
    let columns = "expected one of `bytes`, `frames`, `last`, `first`, `duration`, `network`, `protocol`, `originator`, \
                   `responder`, `state`, `worker`";
    for (path, status, error) in [
        ("/v1/flows?sort=size", 400, format!("bad query: sort: unknown variant `size`, {columns} {expected}")),
        ("/v1/flows?limit=-1", 400, format!("bad query: limit: invalid digit found in string {expected}")),
        ("/v1/flows?limit=ten", 400, format!("bad query: limit: invalid digit found in string {expected}")),
        (
            "/v1/flows?ascending=yes",
            400,
            format!("bad query: ascending: provided string was not `true` or `false` {expected}"),
        ),
        (
            "/v1/flows?limits=1",
            400,
            format!(
                "bad query: limits: unknown field `limits`, expected one of `sort`, `ascending`, `filter`, `limit` \
                 {expected}"
            ),
        ),
        ("/v1/flows?filter=foo", 400, "bad filter 'foo' (expected for example: tcp port 80)".into()),
        ("/v1/flows?filter=busy", 503, "worker 1 does not answer".into()),
    ] {
        let answer = get(&server, path);
        assert_eq!((answer.status, answer.error()), (status, error), "{path}");
    }
}

#[test]
fn captures_are_listed_or_it_is_told_how_to_have_them() {
    let monitor = Arc::new(FakeMonitor::new(busy_snapshot()));
    let server = serve(Arc::clone(&monitor));
    let answer = get(&server, "/v1/captures");
    assert_eq!(answer.status, 200);
    assert_eq!(serde_json::from_value::<CaptureSnapshot>(answer.json()).ok(), busy_snapshot().capture);
    monitor.snapshot.lock().unwrap().capture = None;
    let answer = get(&server, "/v1/captures");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.error(), "nothing is captured: start the collector with --write DIR to write captures");
}

#[test]
fn an_unknown_path_and_an_unknown_method_are_refused_with_a_reason() {
    let server = serve(Arc::new(FakeMonitor::new(Snapshot::default())));
    let answer = get(&server, "/v2/snapshot");
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.error(),
        "there is no /v2/snapshot: expected /healthz, /readyz, /metrics, /v1/snapshot, /v1/flows, \
         /v1/admission, /v1/captures, /v1/extract or /v1/live.pcapng"
    );
    for path in ["/v1/snapshot", "/healthz"] {
        let mut response = agent().post(format!("http://{}{path}", server.address())).send("x").unwrap();
        assert_eq!(response.status(), 405);
        let body: Value = response.body_mut().read_json().unwrap();
        assert_eq!(body, json!({"error": "only GET is answered here"}), "{path}");
    }
}

#[test]
fn with_a_token_only_health_and_readiness_are_open() {
    let token = "0123456789abcdef";
    let monitor = Arc::new(FakeMonitor::new(busy_snapshot()));
    let settings = ApiSettings { token: Some(token.into()), ..loopback() };
    let server = Server::bind(&settings).unwrap().serve(monitor).unwrap();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&server, path).status, 200, "{path}");
    }
    for path in ["/metrics", "/v1/snapshot", "/v1/flows", "/v1/captures"] {
        for wrong in [None, Some(""), Some("0123456789abcde"), Some("0123456789abcdeX")] {
            let answer = get_with(&server, path, wrong);
            assert_eq!(answer.status, 401, "{path} with {wrong:?}");
            assert!(answer.error().contains("--api-token"), "{path}");
            assert!(!answer.body.contains(token), "{path}");
        }
        assert_eq!(get_with(&server, path, Some(token)).status, 200, "{path}");
    }
    assert_eq!(get(&server, "/nothing").status, 401);
    assert_eq!(get_with(&server, "/nothing", Some(token)).status, 404);
}

#[test]
fn without_a_token_it_is_served_on_loopback_only() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9789"] {
        let settings = ApiSettings { address: address.parse().unwrap(), token: None };
        let error = Server::bind(&settings).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot serve the API on {address} without a token, because other machines can reach it: set \
                 --api-token, or serve on 127.0.0.1"
            )
        );
    }
}

#[test]
fn a_port_in_use_is_told_with_the_way_out() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = ApiSettings { address: other.local_addr().unwrap(), token: None };
    let error = Server::bind(&settings).unwrap_err();
    assert!(error.address_in_use());
    // With all that it was caused by, as the program shows it.
    assert_eq!(
        format!("{:#}", anyhow::Error::from(error)),
        format!(
            "cannot serve the API on {}: address in use: choose another with --api, or --api none",
            settings.address
        )
    );
    assert!(!ApiError::TokenNeeded(settings.address).address_in_use());
}

#[test]
fn a_monitor_that_panics_fails_one_request_and_no_more() {
    let server = serve(FakeMonitor::with_flows(|query| {
        assert!(query.filter.is_empty(), "a fault made on purpose");
        Ok(FlowPage::default())
    }));
    let answer = get(&server, "/v1/flows?filter=x");
    assert_eq!((answer.status, answer.error().as_str()), (500, "the collector failed to answer: see its log"));
    assert_eq!(get(&server, "/v1/flows").status, 200);
}
