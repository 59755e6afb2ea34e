use std::collections::BTreeMap;

use super::super::spread;
use super::*;

const START: u64 = 1_700_000_000_000_000_000;
const OUTER: u32 = 1_000;

/// What passes of `pps` packets a second of `flows` flows in turn, second by second and flow by flow.
fn pass(meter: &mut Meter, pps: u64, flows: u32, seconds: u64) -> Vec<BTreeMap<u32, u64>> {
    (0..seconds)
        .map(|second| {
            let mut passed = BTreeMap::new();
            for n in 0..pps {
                let time_ns = START + second * 1_000_000_000 + n * 1_000_000_000 / pps;
                let flow = (n % u64::from(flows)) as u32;
                let count = passed.entry(flow).or_default();
                if meter.check(spread::mix(flow, spread::SHED), time_ns, OUTER, OUTER - 50).is_ok() {
                    meter.take(OUTER);
                    *count += 1;
                }
            }
            passed
        })
        .collect()
}

fn budget(max_pps: Option<u64>, max_mbps: Option<f64>, shed: Shed) -> Budget {
    Budget { max_pps, max_mbps, shed }
}

#[test]
fn by_packets_a_budget_is_exact() {
    for (budget, rate) in
        [(budget(Some(1_000), None, Shed::Packets), 1_000), (budget(None, Some(8.0), Shed::Packets), 1_000)]
    {
        let seconds = pass(&mut Meter::new(&budget), 10_000, 10, 5);
        let totals: Vec<u64> = seconds.iter().map(|flows| flows.values().sum()).collect();
        assert!(totals[0] <= rate * 11 / 10 + 1, "{totals:?}");
        assert!(totals[1..].iter().all(|total| total.abs_diff(rate) <= 1), "{totals:?}");
    }
}

#[test]
fn by_flows_those_that_pass_are_whole_and_within_the_budget() {
    let mut meter = Meter::new(&budget(Some(10_000), None, Shed::Flows));
    let seconds = pass(&mut meter, 40_000, 400, 6);
    // Once it has adapted, a flow passes or it does not.
    let last = seconds.last().unwrap();
    let whole = last.values().filter(|count| **count == 100).count();
    let none = last.values().filter(|count| **count == 0).count();
    assert_eq!(whole + none, 400, "{last:?}");
    assert!((50..=100).contains(&whole), "{whole} of 400 flows where 100 fit");
}

#[test]
fn a_budget_that_is_enough_takes_nothing_away() {
    for shed in [Shed::Flows, Shed::Length, Shed::Packets] {
        let mut meter = Meter::new(&budget(Some(50_000), Some(400.0), shed));
        let seconds = pass(&mut meter, 40_000, 400, 2);
        assert!(seconds.iter().all(|flows| flows.values().all(|count| *count == 100)));
        assert_eq!(meter.length(), u32::MAX);
    }
}

#[test]
fn by_length_packets_are_cut_to_what_fits_and_all_flows_stay() {
    let mut meter = Meter::new(&budget(None, Some(8.0), Shed::Length));
    let (mut sent, mut refused) = (0, 0);
    for n in 0..50_000_u64 {
        let frame = meter.length().min(950);
        let time_ns = START + n * 200_000; // 5,000 a second of 1,000 bytes: five times the budget
        let passes = meter.check((n as u32).wrapping_mul(0x9E37_79B1), time_ns, frame + 50, frame);
        if n >= 25_000 {
            sent += u64::from(passes.is_ok());
            refused += u64::from(passes.is_err());
        }
        if passes.is_ok() {
            meter.take(frame + 50);
        }
    }
    assert!(meter.length() < 200, "{}", meter.length());
    assert_eq!((sent, refused), (25_000, 0));
}

#[test]
fn without_a_limit_nothing_is_refused() {
    let mut meter = Meter::new(&Budget::default());
    assert!(!meter.is_limited());
    assert_eq!(meter.check(u32::MAX, 0, u32::MAX, 0), Ok(()));
}
