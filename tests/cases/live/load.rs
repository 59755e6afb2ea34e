//! Too much to do, and nothing to do.

use std::ffi::OsStr;
use std::fs;
use std::time::{Duration, Instant};

use vxtap_tests::collector::Settings;
use vxtap_tests::deadline::pause;
use vxtap_tests::needs::is_root;
use vxtap_tests::sender;
use vxtap_tests::summary::Ledger;

use super::{quiet_machine, shared_machine};

/// The kernel's bound.
const DATAGRAMS_IN_A_TRAIN: u64 = 128;

/// Overloads a collector that is told `settings` with what is sent by the method `transmit`.
fn overload(settings: Settings, transmit: &str) -> Ledger {
    let _machine = shared_machine();
    // Buffers of a few datagrams, so that the sender is too fast whatever the machine.
    let collector = settings.arg("--receive-buffer").arg("64KiB").start();
    let to = collector.address().to_string();
    let line = ["--to", &to, "--vni", "1", "--top-speed", "--seconds", "2", "--flows", "200", "--transmit", transmit];
    let sent = sender::run("generate", line.map(OsStr::new));
    let ledger = collector.stop().summary.ledger;
    let accounted = ledger.received + ledger.kernel_dropped;
    // What was dropped in trains may count once for each, and the ledger says how often that may have been.
    let in_doubt = ledger.kernel_dropped_trains * (DATAGRAMS_IN_A_TRAIN - 1);
    assert!((accounted..=accounted + in_doubt).contains(&sent.sent), "{sent:?} {ledger:?}");
    assert!(ledger.kernel_dropped > 0 && ledger.received > 0, "no overload: {ledger:?}");
    ledger
}

#[test]
fn every_datagram_of_an_overload_is_received_or_counted_as_dropped_by_the_kernel() {
    overload(Settings::new(2).write(), "batches");
}

#[test]
fn the_ledger_of_an_overload_by_trains_says_how_many_drops_may_stand_for_several_datagrams() {
    let ledger = overload(Settings::new(2).write(), "trains");
    if is_root() {
        assert_eq!(ledger.kernel_dropped_trains, 0, "what comes can be counted, so nothing is in doubt");
    } else {
        eprintln!("skipped: that nothing is in doubt, which takes CAP_BPF");
    }
}

#[test]
fn every_datagram_of_an_overload_by_trains_is_counted_where_the_kernel_splits_them() {
    overload(Settings::new(2).write().arg("--no-gro"), "trains");
}

/// Processor time that process `id` has used, in ticks of 10 ms.
fn ticks_used(id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
    // The name, in brackets, may contain anything; user and system time are the 12th and 13th field behind it.
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_collector_with_nothing_to_do_takes_under_a_hundredth_of_a_core() {
    const IDLE: Duration = Duration::from_secs(10);
    let _machine = quiet_machine();
    let mut collector = Settings::new(2).write().log().start();
    let id = collector.process().id();
    let (before, begin) = (ticks_used(id), Instant::now());
    while begin.elapsed() < IDLE {
        pause();
    }
    let used = ticks_used(id) - before;
    assert!(used <= 10, "{used} ticks of 10 ms in {IDLE:?}");
    collector.stop();
}
