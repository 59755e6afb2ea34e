//! Metrics: every number of the snapshot has a name, and names of others stay inside their label.

use super::*;

#[test]
fn metrics_are_openmetrics_and_name_every_number_of_the_snapshot() {
    let server = serve(Arc::new(FakeMonitor::new(busy_snapshot())));
    let answer = get(&server, "/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let metrics = openmetrics::parse(&answer.body).unwrap();
    let check = |name: &str, labels: &[(&str, &str)], expected: f64| {
        let given = metrics.value(&format!("vxtap_collector_{name}"), labels);
        let close = given.is_some_and(|given| (given - expected).abs() < 1e-9);
        assert!(close, "{name} {labels:?} is {given:?}, not {expected}, in\n{}", answer.body);
    };
    for (name, expected) in [
        ("received_total", 1001.0),
        ("received_bytes_total", 1002.0),
        ("analysed_total", 1003.0),
        ("kernel_dropped_total", 1005.0),
        ("captured_total", 1006.0),
        ("capture_dropped_total", 1007.0),
        ("not_captured_total", 1008.0),
        ("flows_total", 1009.0),
        ("duplicates_total", 1010.0),
        ("misdelivered_total", 1011.0),
        ("flows_active", 21.0),
        ("flows_max", 22.0),
        ("flows_evicted_total", 23.0),
        ("not_ip_total", 24.0),
        ("truncated_total", 25.0),
        ("malformed_total", 26.0),
        ("receive_buffer_bytes", 27.0),
        ("batches_total", 28.0),
    ] {
        for worker in ["0", "1"] {
            check(name, &[("worker", worker)], expected);
        }
    }
    for reason in DropReason::ALL {
        let expected = if *reason == DropReason::VxlanFlagClear { 1.0 } else { 0.0 };
        let labels = [("worker", "1"), ("reason", reason.as_str())];
        check("dropped_total", &labels, expected);
    }
    let stream = [("stream", "vni 4242 from 10.0.0.7"), ("network", "blue")];
    for (name, labels, expected) in [
        ("stream_frames_total", &stream[..], 31.0),
        ("stream_bytes_total", &stream, 32.0),
        ("stream_truncated_total", &stream, 33.0),
        ("stream_reserved_bits_total", &stream, 34.0),
        ("streams", &[], 41.0),
        ("outer_fragments_total", &[], 45.0),
        ("outer_fragments_given_up_total", &[], 46.0),
        ("stream_flows_total", &[stream[0], stream[1], ("seen", "responder")], 38.0),
        ("stream_one_sided_share", &stream, 0.75),
        ("streams_turned_away", &[("state", "waiting")], 94.0),
        ("streams_turned_away", &[("state", "rejected")], 1.0),
        ("admission_decisions", &[], 96.0),
        ("worker_skew", &[], 1.25),
        ("stream_skew", &[], 1.75),
        ("stream_duplicates_total", &[("first", "a"), ("second", "b")], 97.0),
        ("capture_bytes_total", &[], 51.0),
        ("capture_cut_total", &[], 54.0),
        ("capture_cut_bytes_total", &[], 55.0),
        ("capture_displaced_files_total", &[], 60.0),
        ("capture_torn_files_total", &[], 56.0),
        ("capture_torn_bytes_total", &[], 57.0),
        ("capture_torn_waiting", &[], 58.0),
        ("capture_hooks_skipped_total", &[], 59.0),
        ("capture_pending", &[], 52.0),
        ("capture_files_total", &[], 53.0),
        ("capture_failing", &[], 0.0),
        ("log_events_total", &[], 61.0),
        ("log_events_dropped_total", &[], 62.0),
        ("log_failing", &[], 1.0),
        ("followers", &[], 1.0),
        ("follower_sent_total", &[], 72.0),
        ("follower_dropped_total", &[], 73.0),
        ("uptime_seconds", &[], 12.5),
        ("start_time_seconds", &[], 1.7e9),
        ("events_total", &[("worker", "1"), ("kind", "dns")], 81.0),
        ("anomalies_total", &[("worker", "1"), ("event", "decoder.udp.hlen_invalid")], 82.0),
        ("anomalies_suppressed_total", &[("worker", "0")], 83.0),
        ("fragments_total", &[("worker", "0"), ("outcome", "reassembled")], 84.0),
        ("tcp_holes_given_up_total", &[("worker", "0"), ("reason", "shard_full")], 85.0),
        ("tcp_waiting_bytes", &[("worker", "0")], 86.0),
        ("duplicates_forgotten_total", &[("worker", "0")], 87.0),
        ("protocol_bytes", &[("worker", "0")], 88.0),
        ("protocols_given_up_total", &[("worker", "0")], 89.0),
        ("response_time_seconds_count", &[("worker", "1"), ("protocol", "dns")], 7.0),
        ("response_time_seconds_sum", &[("worker", "1"), ("protocol", "dns")], 2.0),
        ("response_time_seconds_bucket", &[("worker", "1"), ("protocol", "dns"), ("le", "0.001")], 5.0),
        ("response_time_seconds_bucket", &[("worker", "1"), ("protocol", "dns"), ("le", "+Inf")], 7.0),
        ("batch_time_seconds", &[("worker", "1"), ("quantile", "1")], 0.0015),
        ("state", &[("state", "running")], 1.0),
        ("state", &[("state", "draining")], 0.0),
        ("build_info", &[("version", "1.2.3")], 1.0),
    ] {
        check(name, labels, expected);
    }
}

#[test]
fn hostile_names_stay_inside_their_label() {
    let hostile = "a\"b\\c\nvxtap_collector_received_total 1\n# EOF\n\u{1b}[31m\r{x=\"y\"}, é";
    let mut snapshot = busy_snapshot();
    snapshot.streams[0].name = hostile.into();
    snapshot.version = hostile.into();
    let server = serve(Arc::new(FakeMonitor::new(snapshot)));
    let body = get(&server, "/metrics").body;
    let metrics = openmetrics::parse(&body).unwrap();
    assert_eq!(
        metrics.value("vxtap_collector_stream_frames_total", &[("stream", hostile), ("network", "blue")]),
        Some(31.0),
        "{body}"
    );
    assert_eq!(metrics.value("vxtap_collector_received_total", &[]), None);
}

#[test]
fn streams_with_metrics_of_their_own_are_bounded() {
    let mut snapshot = busy_snapshot();
    let stream = snapshot.streams[0].clone();
    snapshot.streams =
        (0..500).map(|number| StreamSnapshot { name: format!("vni {number}"), ..stream.clone() }).collect();
    let server = serve(Arc::new(FakeMonitor::new(snapshot)));
    let metrics = openmetrics::parse(&get(&server, "/metrics").body).unwrap();
    assert_eq!(metrics.count("vxtap_collector_stream_frames_total"), 100);
    assert!(
        metrics.value("vxtap_collector_stream_frames_total", &[("stream", "vni 99"), ("network", "blue")]).is_some()
    );
}

#[test]
fn a_collector_that_is_only_starting_has_metrics_too() {
    let server = serve(Arc::new(FakeMonitor::new(Snapshot::default())));
    let metrics = openmetrics::parse(&get(&server, "/metrics").body).unwrap();
    assert_eq!(metrics.value("vxtap_collector_state", &[("state", "starting")]), Some(1.0));
}
