//! The same captures as mirrors would send them: what must be told of them all the same.

use std::collections::HashSet;

use serde_json::Value;
use vxtap_tests::capture_file::Record;
use vxtap_tests::captures::Capture;
use vxtap_wire::{FrameView, Network};

use super::mirrored::{self, File, SECOND_VNI, VNI};
use super::rows::{Kind, Rows};
use super::table::{Line, Part};
use super::{of_eve, read};

/// What mirrors cut packets to: jumbo frames, a tunnel's usual MTU, and two that leave heads only.
const LENGTHS: [usize; 4] = [9000, 1450, 256, 96];
/// Runs with other losses.
const SEEDS: [u64; 3] = [1, 2, 3];
/// Far above what reading needs.
const MEMORY: u64 = 300 << 20;

/// Ends of a flow, in order.
type Ends = [String; 2];

/// Cuts each packet of `captures` to each of [`LENGTHS`].
pub(crate) fn cut(captures: &[Capture]) -> Part {
    let mut part = Part::default();
    for length in LENGTHS {
        let mut line = Line { what: format!("cut to {length}"), ..Line::default() };
        for capture in captures {
            let records = capture.records();
            let whole = read(File::of(&mirrored::cut(&records, usize::MAX)).path().as_path(), &[]);
            let got = read(File::of(&mirrored::cut(&records, length)).path().as_path(), &[]);
            let name = format!("{} cut to {length}", capture.name);
            let is_cut = records.iter().any(|record| record.data.len() > length);
            let owed = if is_cut { owed(capture, &records, length) } else { told(&whole.events, true) };
            // What the whole capture does not tell is not owed by one that is cut.
            let owed = owed.without(&owed.without(&told(&whole.events, !is_cut)));
            let lacking = owed.without(&told(&got.events, !is_cut));
            line.rows += Kind::ALL.iter().map(|kind| owed.count(*kind)).sum::<usize>();
            line.differ += Kind::ALL.iter().map(|kind| lacking.count(*kind)).sum::<usize>();
            lacking
                .iter()
                .for_each(|(kind, row, times)| part.wrong.push(format!("{name}: {times} {kind} {row} missing")));
            if !is_cut {
                let more = told(&got.events, true).without(&told(&whole.events, true));
                more.iter().for_each(|(kind, row, _)| part.wrong.push(format!("{name}: {kind} {row} is new")));
                part.wrong.extend(got.flows.differences(&whole.flows).iter().map(|flow| format!("{name}: {flow}")));
            }
            let known: HashSet<String> = whole.events.iter().filter_map(anomaly).collect();
            for anomaly in got.events.iter().filter_map(anomaly).filter(|anomaly| !known.contains(anomaly)) {
                line.more += 1;
                part.wrong.push(format!("{name}: anomaly {anomaly}"));
            }
            part.wrong
                .extend(invented(&got.events, &whole.events).iter().map(|event| format!("{name}: invented {event}")));
        }
        part.lines.push(line);
    }
    part
}

/// Sends each packet of `captures` by two mirrors.
pub(crate) fn doubled(captures: &[Capture]) -> Part {
    let mut part = Part::default();
    let mut events = Line { what: "by two mirrors: messages".to_owned(), ..Line::default() };
    let mut copies = Line { what: "by two mirrors: copies recognised".to_owned(), ..Line::default() };
    let network = format!("blue={VNI},{SECOND_VNI}");
    for capture in captures {
        let records = capture.records();
        let arguments = ["--network", network.as_str()];
        let whole =
            read(File::of(&mirrored::whole_behind_a_frame_of_the_second_mirror(&records)).path().as_path(), &arguments);
        let got = read(File::of(&mirrored::doubled(&records)).path().as_path(), &arguments);
        let (want, have) = (told(&whole.events, true), told(&got.events, true));
        for (kind, row, times) in want.without(&have).iter() {
            events.differ += times;
            part.wrong.push(format!("{} doubled: {kind} {row} missing", capture.name));
        }
        for (kind, row, times) in have.without(&want).iter() {
            events.more += times;
            part.wrong.push(format!("{} doubled: {kind} {row} is new", capture.name));
        }
        events.rows += Kind::ALL.iter().map(|kind| want.count(*kind)).sum::<usize>();
        part.wrong
            .extend(got.flows.differences(&whole.flows).iter().map(|flow| format!("{} doubled: {flow}", capture.name)));
        let is_ip = |record: &&Record| {
            let view = FrameView::parse(&record.data);
            view.five_tuple.is_some() && view.network != Network::Arp
        };
        let doubles = records.iter().filter(is_ip).count();
        let found = got.summary.ledger.duplicates as usize;
        copies.rows += doubles;
        copies.differ += doubles.saturating_sub(found);
        copies.more += found.saturating_sub(doubles);
        if found != doubles {
            part.wrong.push(format!("{}: {found} duplicates of {doubles} doubles", capture.name));
        }
    }
    part.lines.extend([events, copies]);
    part
}

/// Loses and swaps packets of `captures`. Messages are owed of flows that lost nothing.
pub(crate) fn lossy(captures: &[Capture]) -> Part {
    let mut part = Part::default();
    let mut line = Line { what: "1% lost, 2% swapped: flows without loss".to_owned(), ..Line::default() };
    let mut others = Line { what: "1% lost, 2% swapped: the others".to_owned(), ..Line::default() };
    let mut gaps = 0;
    for capture in captures {
        let records = capture.records();
        let whole = read(File::of(&mirrored::cut(&records, usize::MAX)).path().as_path(), &[]);
        for seed in SEEDS {
            let lossy = mirrored::lossy(&records, seed);
            let got = read(File::of(&lossy.arrived).path().as_path(), &[]);
            let hit: HashSet<Ends> = lossy.dropped.iter().filter_map(ends_of_frame).collect();
            let (touched, untouched): (Vec<Value>, Vec<Value>) =
                whole.events.iter().cloned().partition(|event| hit.contains(&ends(event)));
            let have = told(&got.events, true);
            for (line, events) in [(&mut others, touched), (&mut line, untouched)] {
                let want = told(&events, true);
                line.rows += Kind::ALL.iter().map(|kind| want.count(*kind)).sum::<usize>();
                line.differ += Kind::ALL.iter().map(|kind| want.without(&have).count(*kind)).sum::<usize>();
            }
            gaps +=
                got.events.iter().filter(|event| event["tcp_metrics"].to_string().contains("missing_bytes")).count();
            if got.memory > MEMORY {
                part.wrong.push(format!("{} with losses took {} bytes", capture.name, got.memory));
            }
        }
    }
    if line.differ * 20 > line.rows {
        part.wrong.push(format!("less than 95%: {line:?}"));
    }
    if gaps == 0 {
        part.wrong.push("no flow tells that bytes are missing".to_owned());
    }
    part.lines.extend([line, others]);
    part
}

/// The messages of `events`: in full, or what identifies them.
fn told(events: &[Value], in_full: bool) -> Rows {
    if in_full {
        return of_eve::rows(events);
    }
    let mut rows = Rows::default();
    for event in events {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["event_type"].as_str() {
            Some("http") if event["http"]["http_method"].is_string() => {
                rows.add(
                    Kind::Http,
                    format!("{} {}", text(&event["http"]["http_method"]), text(&event["http"]["url"])),
                );
            }
            Some("dns") => rows.extend(of_eve::rows_of(event)),
            Some("tls") if event["tls"]["sni"].is_string() => rows.add(Kind::Tls, text(&event["tls"]["sni"])),
            _ => {}
        }
    }
    rows
}

/// What stands before the cut, as far as the tables tell in which frame it is: requests' methods and URIs, whole DNS
/// messages, server names.
fn owed(capture: &Capture, records: &[Record], length: usize) -> Rows {
    let mut rows = Rows::default();
    let frame = |row: &vxtap_tests::captures::Row| {
        let number: usize = row["frame"].parse().expect("a number");
        let data = &records[number - 1].data;
        &data[..data.len().min(length)]
    };
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for row in capture.table("http.tsv").iter().filter(|row| row["kind"] == "request") {
        let request = format!("{} {}", row["method_or_status"], row["uri_or_request_uri"]);
        if has(frame(row), &(request.clone() + " ")) {
            rows.add(Kind::Http, request);
        }
    }
    for row in capture.table("dns.tsv") {
        let data = &records[row["frame"].parse::<usize>().expect("a number") - 1].data;
        // The other fragments of a packet may be cut.
        let is_whole = data.len() <= length && FrameView::parse(data).fragment.is_none();
        if is_whole && row["transport"] == "udp" {
            rows.add(Kind::Dns, super::of_tables::dns(&row));
        }
    }
    for row in capture.table("tls.tsv").iter().filter(|row| row["transport"] == "tcp" && !row["sni"].is_empty()) {
        if has(frame(row), &row["sni"]) {
            rows.add(Kind::Tls, row["sni"].clone());
        }
    }
    rows
}

/// Identifying values in `events` that no event of the same flow has in `whole`; those of events marked as truncated may end early.
fn invented(events: &[Value], whole: &[Value]) -> Vec<String> {
    let members = [("http", "url"), ("http", "hostname"), ("http", "http_method"), ("tls", "sni")];
    let mut invented = Vec::new();
    for event in events {
        for (object, member) in members {
            let Some(value) = event[object][member].as_str() else { continue };
            let cut = event[object]["truncated"] == true;
            let same = |other: &Value| {
                let text = other[object][member].as_str().unwrap_or_default();
                ends(other) == ends(event) && if cut { text.starts_with(value) } else { text == value }
            };
            if !whole.iter().any(same) {
                invented.push(format!("{object}.{member} {value}"));
            }
        }
    }
    invented
}

fn anomaly(event: &Value) -> Option<String> {
    let name = event["anomaly"]["event"].as_str()?;
    Some(format!("{name} {}", ends(event).join(" ")))
}

fn ends(event: &Value) -> Ends {
    let end = |address: &str, port: &str| {
        let ip: Option<std::net::IpAddr> = event[address].as_str().and_then(|text| text.parse().ok());
        format!("{ip:?} {}", event[port].as_u64().unwrap_or_default())
    };
    let mut ends = [end("src_ip", "src_port"), end("dest_ip", "dest_port")];
    ends.sort();
    ends
}

fn ends_of_frame(record: &Record) -> Option<Ends> {
    let tuple = FrameView::parse(&record.data).five_tuple?;
    let end = |ip: std::net::IpAddr, port: u16| format!("{:?} {port}", Some(ip));
    let mut ends = [end(tuple.source_ip(), tuple.source_port), end(tuple.destination_ip(), tuple.destination_port)];
    ends.sort();
    Some(ends)
}
