//! What the order of time costs.

use vxtap_tests::collector::Settings;
use vxtap_tests::deadline::{SOON, wait_until};

use super::{generate, quiet_machine};

const PAIRS: usize = 3;
const PACKETS: u64 = 80_000;
/// For programs that are hardly optimized, of which the merge looks at each record: 1.1 to 1.8, by the machine. Optimized ones (`VXTAP_PROGRAMS`
/// names them) had 0.9 to 1.2.
const RATIO_MAX: f64 = 2.5;

/// Processor seconds of a collector with `layout` for the load.
fn seconds(layout: &str) -> f64 {
    let mut collector = Settings::new(2).write().arg("--capture-layout").arg(layout).start();
    let before = collector.process().cpu_time();
    generate(collector.address(), &format!("--vni 6 --size 700 --flows 200 --pps 40000 --packets {PACKETS}"));
    wait_until(SOON, "all packets in files", || {
        let ledger = collector.snapshot().ledger;
        ledger.captured + ledger.capture_dropped + ledger.kernel_dropped >= PACKETS
    });
    let spent = collector.process().cpu_time().saturating_sub(before);
    let ledger = collector.stop().summary.ledger;
    assert_eq!((ledger.kernel_dropped, ledger.capture_dropped), (0, 0), "the load was too much: {ledger:?}");
    spent.as_secs_f64()
}

#[test]
fn one_sequence_in_the_order_of_time_costs_little_more_than_one_for_each_worker() {
    let _machine = quiet_machine();
    let (mut merged, mut apart) = (0.0, 0.0);
    for _ in 0..PAIRS {
        let pair = (seconds("merged"), seconds("per-shard"));
        println!("merged {:.2} s, per shard {:.2} s: {:.2}", pair.0, pair.1, pair.0 / pair.1);
        merged += pair.0;
        apart += pair.1;
    }
    println!("together {:.3}", merged / apart);
    assert!(merged < RATIO_MAX * apart, "merged {merged:.2} s, per shard {apart:.2} s");
}
