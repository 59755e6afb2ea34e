//! The units of `deploy/` under systemd itself.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use vxtap_tests::deadline::{SOON, wait_until, within};
use vxtap_tests::lab::{Systemd, units};
use vxtap_tests::process::{Finished, Running, run_within};
use vxtap_tests::programs::workspace;

const COLLECTOR: &str = "vxtap-collector";
const SENDER: &str = "vxtap-sender";
/// A drop-in that has the watchdog bark sooner, but not below what docs/deploy.md allows.
const WATCHDOG: &str = "[Service]\nWatchdogSec=5s\n";
/// Longer than the watchdog's time, the abort and the start.
const WATCHED_WITHIN: Duration = Duration::from_secs(40);
/// Five seconds of load.
const PACKETS: u64 = 100_000;
const POLICY: &str = r#"
provider = "vxtap"

[[source]]
name = "front"
interfaces = ["mir0"]

[[filter]]
name = "all"
outbound = [{ action = "accept" }]

[[target]]
name = "collector"
address = "127.0.0.1"

[[session]]
name = "all"
number = 1
source = "front"
filter = "all"
target = "collector"
vni = 77
"#;

/// The example's settings, but for what a disk of one GiB and a test have no room and no time for.
fn settings() -> String {
    let example = fs::read_to_string(workspace().join("deploy/collector.toml")).unwrap();
    let settings = example.replace("\"20GiB\"", "\"100MiB\"").replace("\"1GiB\"", "\"64MiB\"");
    let settings = settings.replace("drain = \"30s\"", "drain = \"1s\"");
    assert!(settings.contains("100MiB") && settings.contains("64MiB") && settings.contains("\"1s\""), "{settings}");
    settings
}

fn boot() -> Option<Systemd> {
    let watchdog = format!("/etc/systemd/system/{COLLECTOR}.service.d/watchdog.conf");
    Systemd::boot(&[
        ("/etc/vxtap/collector.toml", &settings()),
        (&watchdog, WATCHDOG),
        ("/etc/vxtap/policy.toml", POLICY),
    ])
}

fn is_active(systemd: &Systemd, unit: &str) -> bool {
    systemd.attempt(&format!("systemctl is-active {unit}")).status.success()
}

fn snapshot(systemd: &Systemd) -> Value {
    let text =
        systemd.run("curl -sS --fail --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:9789/v1/snapshot");
    serde_json::from_str(&text).unwrap()
}

fn received(systemd: &Systemd) -> u64 {
    snapshot(systemd)["ledger"]["received"].as_u64().unwrap()
}

/// Starts a load of `packets` at 20,000 a second.
fn load(systemd: &Systemd, packets: u64) -> Running {
    let mut sender = systemd.command("/usr/local/bin/vxtap-sender");
    sender.args(["generate", "--to", "127.0.0.1:4789", "--vni", "3", "--size", "300", "--flows", "100"]);
    Running::start(sender.args(["--pps", "20000", "--packets", &packets.to_string()]))
}

/// What the collectors that have ended say that they received, together.
fn received_by_the_ended(systemd: &Systemd) -> u64 {
    let journal = systemd.run(&format!("journalctl --no-pager --output=cat --unit={COLLECTOR}"));
    let received = journal.lines().filter_map(|line| line.strip_prefix("received ")?.split_once(" = "));
    received.map(|(number, _)| number.parse::<u64>().unwrap()).sum()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let Some(systemd) = boot() else { return };
    for unit in units() {
        let name = unit.file_name().unwrap().to_str().unwrap();
        let Finished { status, stdout, stderr, .. } = systemd.attempt(&format!("systemd-analyze verify {name}"));
        assert!(status.success() && stdout.is_empty() && stderr.is_empty(), "{name}: {stdout}{stderr}");
    }
}

#[test]
fn the_collector_as_a_service_loses_nothing_over_a_restart_and_is_started_again_when_it_hangs_or_dies() {
    let Some(systemd) = boot() else { return };
    systemd.run(&format!("systemctl start {COLLECTOR}"));
    assert!(systemd.property(COLLECTOR, "StatusText").starts_with("receiving on"), "ready means receiving");

    // What it says has a priority, and the journal's time alone.
    let entry =
        systemd.run(&format!("journalctl --no-pager --output=json --lines=1 --grep='listening on' --unit={COLLECTOR}"));
    let entry: Value = serde_json::from_str(&entry).unwrap();
    assert_eq!(entry["PRIORITY"], "6");
    assert!(entry["MESSAGE"].as_str().unwrap().starts_with("listening on vxlan://[::]:4789"), "{entry}");

    let sender = load(&systemd, PACKETS);
    wait_until(SOON, "half of the load", || received(&systemd) > PACKETS / 4);
    systemd.run(&format!("systemctl restart {COLLECTOR}"));
    let _ = sender.finish_within(SOON).success();
    wait_until(SOON, "all that was sent", || received_by_the_ended(&systemd) + received(&systemd) == PACKETS);
    let before = received_by_the_ended(&systemd);
    assert!(before > PACKETS / 4 && before < PACKETS, "the restart was within the load: {before}");

    // The log goes on in a new file, as after logrotate.
    systemd.run("mv /var/log/vxtap/eve.json /var/log/vxtap/eve.json.1");
    let process = systemd.property(COLLECTOR, "MainPID");
    systemd.run(&format!("systemctl reload {COLLECTOR}"));
    wait_until(SOON, "a new log", || systemd.attempt("test -e /var/log/vxtap/eve.json").status.success());
    assert_eq!(systemd.property(COLLECTOR, "MainPID"), process);

    for (signal, limit) in [("KILL", SOON), ("STOP", WATCHED_WITHIN)] {
        let restarts: u32 = systemd.property(COLLECTOR, "NRestarts").parse().unwrap();
        systemd.run(&format!("kill -{signal} {}", systemd.property(COLLECTOR, "MainPID")));
        within(limit, &format!("a new start after SIG{signal}"), || {
            let again: u32 = systemd.property(COLLECTOR, "NRestarts").parse().unwrap();
            (again > restarts && is_active(&systemd, COLLECTOR)).then_some(())
        });
    }
    systemd.run(&format!("systemctl stop {COLLECTOR}"));
    assert_eq!(systemd.property(COLLECTOR, "Result"), "success");
}

#[test]
fn sockets_that_systemd_opened_start_the_collector_which_receives_what_started_it() {
    let Some(systemd) = boot() else { return };
    systemd.run(&format!("systemctl start {COLLECTOR}.socket"));
    assert!(!is_active(&systemd, COLLECTOR));
    let sender = load(&systemd, 300);
    let _ = sender.finish_within(SOON).success();
    wait_until(SOON, "the service", || is_active(&systemd, COLLECTOR));
    wait_until(SOON, "all 300", || received(&systemd) == 300);
}

#[test]
fn the_sender_as_a_service_mirrors_by_its_policy_without_any_privilege_left() {
    let Some(systemd) = boot() else { return };
    systemd.run("ip link add mir0 type veth peer name cli0 && ip address add 10.9.0.1/24 dev mir0");
    systemd.run("ip link set mir0 up && ip link set cli0 up");
    systemd.run("ip neighbour add 10.9.0.2 lladdr 02:00:00:00:00:02 dev mir0");
    systemd.run(&format!("systemctl start {COLLECTOR} {SENDER}"));
    let process = systemd.property(SENDER, "MainPID");
    within(SOON, "that it captures", || {
        let said = systemd.run(&format!("journalctl --no-pager --output=cat --unit={SENDER}"));
        said.contains("capturing from mir0").then_some(())
    });
    assert_eq!(systemd.run(&format!("grep CapEff /proc/{process}/status")), "CapEff:\t0000000000000000");
    let talk = "for number in $(seq 200); do echo hello >/dev/udp/10.9.0.2/5555; done";
    let _ = run_within(SOON, systemd.command("bash").args(["-c", talk])).success();
    wait_until(SOON, "the mirrored packets", || received(&systemd) >= 200);
    systemd.run(&format!("systemctl reload {SENDER}"));
    assert_eq!(systemd.property(SENDER, "MainPID"), process);
    systemd.run(&format!("systemctl stop {SENDER}"));
    assert_eq!(systemd.property(SENDER, "Result"), "success");
}
