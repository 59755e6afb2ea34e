use std::num::NonZeroU64;
use std::time::Duration;

use super::super::fixture::{Collector, PolicyText, frame, port_base, session, target, write_pcap};
use super::*;
use crate::pace::Rate;
use crate::policy::Direction::{Inbound, Outbound};

fn settings(policy: &PolicyText, file: PathBuf) -> FileMirrorSettings {
    let mut settings = FileMirrorSettings::new(policy.path.clone(), vec![file]);
    settings.timing = Timing::Rate(Rate::TopSpeed);
    settings.mirror.source_port_base = port_base();
    settings.mirror.source_ports = 4;
    settings
}

#[test]
fn the_host_s_addresses_in_the_policy_tell_which_way_a_file_s_packets_went() {
    let collector = Collector::new();
    let policy = PolicyText::new(&(target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "")));
    let file = policy.beside("a.pcap");
    let mut stranger = frame(1, Outbound, 10);
    stranger[26..30].copy_from_slice(&[172, 16, 0, 1]);
    let frames = [frame(1, Inbound, 10), frame(1, Outbound, 10), frame(2, Outbound, 10), stranger];
    write_pcap(&file, frames.iter().map(|frame| (0, &frame[..])));
    let control = Arc::<Control>::default();
    let summary = run(&settings(&policy, file), &control).unwrap();
    assert_eq!((summary.read, summary.sent, summary.skipped.get("direction_unknown")), (4, 3, 1));
    let mirror = summary.mirror.clone().unwrap();
    assert_eq!((mirror.sessions[0].inbound.mirrored.packets, mirror.sessions[0].outbound.mirrored.packets), (1, 2));
    summary.check().unwrap();
    assert_eq!(collector.datagrams().len(), 3);
}

#[test]
fn mac_addresses_tell_it_where_they_are_given() {
    let collector = Collector::new();
    let policy = PolicyText::new(&(target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "")));
    let file = policy.beside("a.pcap");
    let frames = [frame(1, Inbound, 10), frame(1, Outbound, 10)];
    write_pcap(&file, frames.iter().map(|frame| (0, &frame[..])));
    let own = vec!["02:00:00:00:00:01".parse().unwrap()];
    let summary = run(&FileMirrorSettings { own, ..settings(&policy, file) }, &Arc::default()).unwrap();
    // Both frames have the same addresses of Ethernet.
    assert_eq!(summary.mirror.unwrap().sessions[0].outbound.mirrored.packets, 2);
}

#[test]
fn a_budget_is_exact_over_a_replay_however_fast_it_goes() {
    let collector = Collector::new();
    let lines = "max_pps = 500\nshed = \"packets\"";
    let policy = PolicyText::new(&(target("c", &[(collector.address, 1)]) + &session("s", 1, "c", lines)));
    let file = policy.beside("a.pcap");
    let frames: Vec<_> = (0..100).map(|flow| frame(flow, Inbound, 10)).collect();
    // Two seconds of 5,000 frames each.
    write_pcap(&file, (0..10_000).map(|n| (n * 200_000, &frames[n as usize % 100][..])));
    let summary = run(&settings(&policy, file), &Arc::default()).unwrap();
    let expected = 50 + 500 * (9_999 * 200_000) / 1_000_000_000;
    assert_eq!((summary.sent, summary.skipped.get("packet_budget")), (expected, 10_000 - expected));
}

#[test]
fn a_run_that_is_stopped_accounts_for_what_was_waiting() {
    let collector = Collector::new();
    let policy = PolicyText::new(&(target("c", &[(collector.address, 1)]) + &session("s", 1, "c", "")));
    let file = policy.beside("a.pcap");
    let frames: Vec<_> = (0..100).map(|flow| frame(flow, Inbound, 10)).collect();
    write_pcap(&file, frames.iter().map(|frame| (0, &frame[..])));
    let timing = Timing::Rate(Rate::PacketsPerSecond(NonZeroU64::new(8).unwrap()));
    let control = Arc::<Control>::default();
    let summary = std::thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + Duration::from_secs(30);
            while control.progress().sent == 0 && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
            control.stop();
        });
        run(&FileMirrorSettings { timing, ..settings(&policy, file) }, &control).unwrap()
    });
    summary.check().unwrap();
    // A batch is two frames at this rate: one is sent, and the other waits.
    assert_eq!(summary.read, summary.sent + summary.skipped.get("stopped"));
    assert!(summary.skipped.get("stopped") > 0);
}

#[test]
fn a_file_of_which_nothing_says_whose_it_is_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (policy, file) = (folder.path().join("p.toml"), folder.path().join("a.pcap"));
    let text = "[[source]]\nname = \"host\"\ninterfaces = [\"eth0\", \"eth1\"]\n".to_owned()
        + &target("c", &[("127.0.0.1:9".parse().unwrap(), 1)])
        + &session("s", 1, "c", "");
    std::fs::write(&policy, text).unwrap();
    write_pcap(&file, [(0, &frame(1, Inbound, 10)[..])]);
    let mut base = FileMirrorSettings::new(policy, vec![file]);
    base.mirror.source_port_base = port_base();
    let error = run(&base, &Arc::default()).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("--interface eth0, --interface eth1"), "{error}");
    let error = run(&FileMirrorSettings { interface: Some("eth1".to_owned()), ..base }, &Arc::default()).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("--direction-by"), "{error}");
}

#[test]
fn own_ends_are_addresses_networks_and_mac_addresses() {
    for text in ["10.0.0.7/32", "2001:db8::/32", "02:00:00:00:00:0a"] {
        assert_eq!(text.parse::<OwnEnd>().unwrap().to_string(), text);
    }
    assert_eq!("10.0.0.7".parse::<OwnEnd>().unwrap().to_string(), "10.0.0.7/32");
    for text in ["", "host", "10.0.0.0/33", "02:00:00:00:00", "2:0:0:0:0:1", "02:00:00:00:00:0g"] {
        assert!(text.parse::<OwnEnd>().unwrap_err().contains("expected"), "{text}");
    }
}
