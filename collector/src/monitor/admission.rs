//! The streams that workers have turned away, all workers together.

use std::cmp::Reverse;
use std::collections::HashMap;

use vxtap_analyzers::snapshot::{AdmissionSnapshot, TurnedAwayStream};
use vxtap_wire::vxlan::Vni;

use crate::admission::{Rules, Verdict};
use crate::networks::Networks;
use crate::pipeline::{AwayCount, AwayRow, TurnedAwayReport};
use crate::selector::{Origin, Selector};

/// Adds to `snapshot` what the `reports` say, with the names that `networks` has.
pub(super) fn add_turned_away(
    snapshot: &mut AdmissionSnapshot,
    reports: impl Iterator<Item = TurnedAwayReport>,
    rules: &Rules,
    networks: &Networks,
) {
    let mut others = AwayCount::default();
    let mut sums: HashMap<(Origin, bool), AwayRow> = HashMap::new();
    for report in reports {
        others.add(report.others.frames, report.others.bytes);
        for row in report.rows {
            // A worker with nothing to do has not heard of the decision yet.
            if !row.rest && rules.verdict(&row.origin) == Verdict::Accepted {
                others.add(row.count.frames, row.count.bytes);
                continue;
            }
            let origin = if row.rest { Origin { vni: None, ..row.origin.everywhere() } } else { row.origin };
            sums.entry((origin, row.rest)).and_modify(|sum| add(sum, &row)).or_insert(AwayRow { origin, ..row });
        }
    }
    let mut rows: Vec<AwayRow> = sums.into_values().collect();
    snapshot.turned_away_total = rows.len() as u64;
    let order =
        |row: &AwayRow| (Reverse(row.frames_per_second.round() as u64), Reverse(row.count.frames), row.first_ns);
    rows.sort_by_key(|row| (order(row), row.origin.source, row.origin.vni.map(Vni::get)));
    for row in rows.drain(rows.len().min(AdmissionSnapshot::MAX_STREAMS)..) {
        others.add(row.count.frames, row.count.bytes);
    }
    (snapshot.other_frames, snapshot.other_bytes) = (others.frames, others.bytes);
    let stream = |row: AwayRow| TurnedAwayStream {
        name: if row.rest { rest_name(&row.origin) } else { name(&row.origin, networks) },
        selector: if row.rest { String::new() } else { Selector::of(&row.origin).to_string() },
        encapsulation: row.origin.encapsulation,
        source: row.origin.source,
        vni: row.origin.vni.map(Vni::get),
        rejected: !row.rest && rules.verdict(&row.origin) == Verdict::Rejected,
        frames: row.count.frames,
        bytes: row.count.bytes,
        frames_per_second: row.frames_per_second,
        bits_per_second: 8.0 * row.bytes_per_second,
        first_seen_ns: row.first_ns,
        last_seen_ns: row.last_ns,
    };
    snapshot.turned_away = rows.into_iter().map(stream).collect();
}

fn rest_name(origin: &Origin) -> String {
    origin.source.map_or_else(|| "further streams".into(), |source| format!("further streams from {source}"))
}

/// What configuration calls it; with the endpoint, of which the rest of the cookie is not known.
fn name(origin: &Origin, networks: &Networks) -> String {
    let called = networks.called(&(*origin).into());
    match origin.endpoint {
        Some(endpoint) => format!("{called} endpoint {endpoint}"),
        None => called,
    }
}

fn add(sum: &mut AwayRow, row: &AwayRow) {
    sum.count.add(row.count.frames, row.count.bytes);
    sum.first_ns = sum.first_ns.min(row.first_ns);
    sum.last_ns = sum.last_ns.max(row.last_ns);
    sum.frames_per_second += row.frames_per_second;
    sum.bytes_per_second += row.bytes_per_second;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(selector: &str, rest: bool, frames: u64) -> AwayRow {
        AwayRow {
            origin: selector.parse::<Selector>().unwrap().origin().unwrap(),
            rest,
            count: AwayCount { frames, bytes: 100 * frames },
            first_ns: 5 + frames,
            last_ns: 10 + frames,
            frames_per_second: frames as f64,
            bytes_per_second: 100.0 * frames as f64,
        }
    }

    #[test]
    fn of_more_streams_than_are_listed_no_frame_is_left_out_of_the_sum() {
        let source = |number: u32| format!("vxlan vni 7 from 10.0.{}.{}", number / 256, number % 256);
        let rows = (0..1500).map(|number| row(&source(number), false, 2)).collect();
        let reports = [TurnedAwayReport { rows, others: AwayCount { frames: 5, bytes: 6 } }];
        let mut rules = Rules::default();
        rules.policy.accept.clear();
        let mut snapshot = AdmissionSnapshot::default();
        add_turned_away(&mut snapshot, reports.into_iter(), &rules, &Networks::default());
        assert_eq!((snapshot.turned_away.len(), snapshot.turned_away_total), (AdmissionSnapshot::MAX_STREAMS, 1500));
        let listed: u64 = snapshot.turned_away.iter().map(|stream| stream.frames).sum();
        assert_eq!((listed + snapshot.other_frames, snapshot.other_bytes), (3005, 500 * 200 + 6));
    }

    #[test]
    fn what_several_workers_have_turned_away_is_summed_by_stream() {
        let (one, two) = ("vxlan vni 7 from 10.0.0.7", "vxlan vni 8 from 10.0.0.7");
        let report = |rows: Vec<AwayRow>| TurnedAwayReport { rows, others: AwayCount { frames: 2, bytes: 3 } };
        let reports = [
            report(vec![row(one, false, 10), row(two, true, 4), row("vxlan vni 9 from 10.0.0.7", false, 100)]),
            report(vec![row(two, false, 30), row(one, false, 7), row(one, true, 1)]),
        ];
        let mut rules = Rules::default();
        rules.policy.accept = vec!["vni 9".parse().unwrap()];
        rules.policy.reject.push(two.parse().unwrap());
        let mut snapshot = AdmissionSnapshot::default();
        add_turned_away(&mut snapshot, reports.into_iter(), &rules, &Networks::default());
        let streams: Vec<_> = snapshot
            .turned_away
            .iter()
            .map(|row| (row.name.as_str(), row.selector.as_str(), row.rejected, row.frames, row.bits_per_second))
            .collect();
        assert_eq!(
            streams,
            [
                ("vni 8 from 10.0.0.7", two, true, 30, 24_000.0),
                ("vni 7 from 10.0.0.7", one, false, 17, 13_600.0),
                ("further streams from 10.0.0.7", "", false, 5, 4_000.0)
            ]
        );
        assert_eq!((snapshot.turned_away[1].first_seen_ns, snapshot.turned_away[1].last_seen_ns), (12, 20));
        assert_eq!((snapshot.other_frames, snapshot.other_bytes, snapshot.turned_away_total), (104, 10_006, 3));
    }
}
