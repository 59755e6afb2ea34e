//! How datagrams are received: on which CPU, and how long a worker waits for more.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use vxtap_tests::capture_file;
use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::datagram::{Mirror, Peer, udp_frame};
use vxtap_tests::deadline::{SOON, pause, within};
use vxtap_tests::needs::have_tools;

use super::quiet_machine;

/// The CPUs that this process may run on.
fn allowed() -> Vec<usize> {
    cpus("/proc/self/status")
}

/// The CPUs in `Cpus_allowed_list` (`0-2,5`) of a file below `/proc`.
fn cpus(status: &str) -> Vec<usize> {
    let text = fs::read_to_string(status).unwrap_or_default();
    let list = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default().trim();
    let ranges = list.split(',').filter(|range| !range.is_empty());
    let numbers = ranges.flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    });
    numbers.collect()
}

/// The CPUs that each worker may run on.
fn cpus_of_workers(collector: &Collector) -> BTreeMap<String, Vec<usize>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", collector.process_ref().id())).unwrap();
    let named = tasks.flatten().map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        (name.trim().to_owned(), cpus(&task.path().join("status").to_string_lossy()))
    });
    named.filter(|(name, _)| name.starts_with("worker-")).collect()
}

#[test]
fn pinned_workers_are_on_the_cpus_that_the_collector_was_left_and_others_on_any() {
    let _machine = super::shared_machine();
    let all = allowed();
    let worker = |number: usize| format!("worker-{number}");
    let collector = Settings::new(2).start();
    let anywhere = BTreeMap::from([(worker(0), all.clone()), (worker(1), all.clone())]);
    assert_eq!(cpus_of_workers(&collector), anywhere);
    collector.stop();

    let pinned = |settings: Settings, left: &[usize]| {
        let collector = settings.arg("--pin").start();
        let expected: BTreeMap<_, _> = (0..3).map(|number| (worker(number), vec![left[number % left.len()]])).collect();
        // A worker pins itself as the first thing that it does.
        within(SOON, &format!("workers that are pinned as in {expected:?}"), || {
            (cpus_of_workers(&collector) == expected).then_some(())
        });
        collector.stop();
    };
    pinned(Settings::new(3), &all);
    if !have_tools(&["taskset"]) {
        return;
    }
    let last = *all.last().unwrap();
    let limited = |command: &Command| {
        let mut limited = Command::new("taskset");
        vxtap_tests::programs::forget_settings(&mut limited);
        limited.args(["-c", &last.to_string()]).arg(command.get_program()).args(command.get_args());
        limited
    };
    pinned(Settings::new(3).wrapped(limited), &[last]);
}

const PACKETS: u16 = 100;
/// What the machine and the test's own looks may add to the times that the collector is told.
const BESIDES: Duration = Duration::from_millis(80);

/// Sends single packets to a collector that is told these times in milliseconds. Gives how many batches they were received in, none having
/// taken longer into the capture file than both times together.
fn receive(coalesce: u64, flush: u64) -> u64 {
    let told = Duration::from_millis(coalesce + flush);
    let settings = Settings::new(1).write().arg("--flush").arg(format!("{flush}ms"));
    let collector = settings.arg("--coalesce").arg(format!("{coalesce}ms")).start();
    let mut mirror = Mirror::new(collector.address(), 5, 1);
    let mut sent = Vec::new();
    let mut seen: Vec<Duration> = Vec::new();
    let mut look = |sent: &[Instant]| {
        let file = capture_file::files_in(&collector.captures()).pop();
        let bytes = file.map(|file| fs::read(file).unwrap()).unwrap_or_default();
        let records = capture_file::parse(&bytes).unwrap().records.len();
        // Packets of one flow come in their order.
        seen.extend(sent.iter().take(records).skip(seen.len()).map(Instant::elapsed).collect::<Vec<_>>());
        seen.len()
    };
    for number in 0..PACKETS {
        mirror.send(0, &udp_frame(Peer::v4(1, 1), Peer::v4(9, 9999), &number.to_be_bytes()));
        sent.push(Instant::now());
        look(&sent);
        pause();
    }
    within(SOON, "all packets in the file", || (look(&sent) == usize::from(PACKETS)).then_some(()));
    let batches = within(SOON, "all batches to be told of", || {
        let workers = collector.snapshot().workers;
        (workers[0].ledger.received == u64::from(PACKETS)).then_some(workers[0].batches)
    });
    collector.stop();
    let worst = seen.into_iter().max().unwrap();
    println!("{coalesce} ms for more and {flush} ms for the file: {batches} batches, at worst {worst:?}");
    assert!(worst <= told + BESIDES, "a packet took {worst:?} into the file");
    batches
}

#[test]
fn coalescing_gathers_packets_and_keeps_none_for_longer_than_it_is_told() {
    let _machine = quiet_machine();
    let single = receive(0, 100);
    let gathered = receive(40, 100);
    assert!(gathered * 3 <= single, "{gathered} batches, and {single} without coalescing");
}

#[test]
fn coalescing_does_not_keep_from_the_file_what_is_due_there() {
    let _machine = quiet_machine();
    receive(100, 1);
}
