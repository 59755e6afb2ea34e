//! Whole captures against what trusted tools say of them.

use vxtap_tests::captures::{Capture, Row};
use vxtap_tests::conversations::Tally;
use vxtap_tests::exceptions::differences;

use super::exceptions::{Side, incomparable, unexplained};
use super::rows::{Kind, Rows};
use super::table::{Line, Part};
use super::{of_eve, of_tables, read, streams};

/// Compares all kinds of rows of `captures`.
pub(crate) fn compare(captures: &[Capture]) -> Part {
    let mut part = Part::default();
    let mut lines = Kind::ALL.map(|kind| Line { what: format!("whole: {kind}"), ..Line::default() });
    let mut seen = Vec::new();
    for capture in captures {
        let name = &capture.name;
        let port = capture.decode_as.as_deref().and_then(|port| port.strip_prefix("udp.port==")?.split(',').next());
        let read = read(&capture.path, &port.map_or(vec![], |port| vec!["--vxlan-port", port]));
        let mut got = of_eve::rows(&read.events);
        let mut want = of_tables::rows(capture, |_| true);
        if capture.class != "vxlan" {
            got.extend(streams::rows(&capture.records()));
            want.extend(streams::rows_of_table(capture, "-"));
        }
        for (vni, records) in capture.decapsulated() {
            got.extend(streams::rows(&records));
            want.extend(streams::rows_of_table(capture, &format!("vxlan:{vni}")));
        }
        let (mut missing, mut extra) = (want.without(&got), got.without(&want));
        pair_unnamed(&mut missing, &mut extra);
        // What lacks bytes for tshark has no sum to compare with.
        let mut extra = extra.but(Kind::Stream);
        let expected = Tally::of_conversations(&conversations(capture), "-");
        for (line, kind) in lines.iter_mut().zip(Kind::ALL) {
            let all = if kind == Kind::Flow { expected.len() } else { want.count(kind) };
            line.rows += all - incomparable(name, kind);
            let differ = if kind == Kind::Flow { read.flows.differences(&expected).len() } else { missing.count(kind) };
            line.differ += differ.saturating_sub(incomparable(name, kind));
            line.more += extra.count(kind);
        }
        for line in differences(name, &read.flows, &expected) {
            extra.add(Kind::Flow, line);
        }
        part.wrong.extend(unexplained(name, Side::Missing, &missing));
        part.wrong.extend(unexplained(name, Side::Extra, &extra));
        seen.push(name.as_str());
    }
    part.wrong.extend(super::exceptions::unknown(&seen));
    for line in &lines {
        if line.differ * 100 > line.rows {
            part.wrong.push(format!("more than 1% differ: {line:?}"));
        }
    }
    part.lines.extend(lines);
    part
}

/// The conversations of `capture`, as if there were no tunnels.
fn conversations(capture: &Capture) -> Vec<Row> {
    let mut rows = capture.table("conv.tsv");
    for row in &mut rows {
        row.insert("unit".to_owned(), "-".to_owned());
    }
    rows
}

/// A response of which tshark does not know what it answers is any with its status.
fn pair_unnamed(missing: &mut Rows, extra: &mut Rows) {
    let unnamed: Vec<String> = missing
        .iter()
        .filter(|(kind, row, _)| *kind == Kind::Http && row.ends_with(" of "))
        .flat_map(|(_, row, times)| vec![row.to_owned(); times])
        .collect();
    for row in unnamed {
        let named = extra.iter().find(|(kind, named, _)| *kind == Kind::Http && named.starts_with(&row));
        if let Some(named) = named.map(|(_, named, _)| named.to_owned()) {
            extra.remove(Kind::Http, &named);
            missing.remove(Kind::Http, &row);
        }
    }
}
