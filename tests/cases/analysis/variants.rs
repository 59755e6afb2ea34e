//! The same captures as mirrors would send them: what must be told of them all the same.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use vxtap_tests::capture_file::Record;
use vxtap_tests::captures::Capture;
use vxtap_wire::{FrameView, Network};

use super::mirrored::{self, File, SECOND_VNI, VNI};
use super::rows::{Kind, Rows};
use super::table::{Line, Part};
use super::{of_eve, owed as owed_by_packets, read, sent};

/// What mirrors cut packets to: jumbo frames, a tunnel's usual MTU, and two that leave heads only.
const LENGTHS: [usize; 4] = [9000, 1450, 256, 96];
/// Runs with other losses.
const SEEDS: [u64; 3] = [1, 2, 3];
/// Far above what reading needs.
const MEMORY: u64 = 300 << 20;

/// Ends of a flow, in order.
type Ends = [String; 2];

/// Has our sender cut each packet of `captures` to each of [`LENGTHS`].
pub(crate) fn cut(captures: &[Capture]) -> Part {
    let mut part = Part::default();
    let whole = |capture: &Capture| {
        let records = capture.records();
        let whole = read(File::of(&mirrored::whole(&records)).path().as_path(), &[]);
        (records, whole)
    };
    let wholes: Vec<_> = captures.iter().map(whole).collect();
    for length in LENGTHS {
        let mut line = Line { what: format!("cut to {length}"), ..Line::default() };
        for (capture, (records, whole)) in captures.iter().zip(&wholes) {
            let got = read(File::of(&sent::cut(capture, records, length)).path().as_path(), &[]);
            let name = format!("{} cut to {length}", capture.name);
            let is_cut = records.iter().any(|record| record.data.len() > length);
            let owed = if is_cut { owed(capture, records, length) } else { told(&whole.events, true) };
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
            let lacks = |record: &&Record| {
                let view = FrameView::parse(&record.data[..record.data.len().min(length)]);
                view.five_tuple.is_some() && view.network != Network::Arp && view.bytes_missing() > 0
            };
            let (lack, told) = (records.iter().filter(lacks).count(), cut_packets(&got.events));
            if lack != told {
                part.wrong.push(format!("{name}: flows tell of {told} cut packets of {lack}"));
            }
            part.wrong
                .extend(invented(&got.events, &whole.events).iter().map(|event| format!("{name}: invented {event}")));
        }
        part.lines.push(line);
    }
    part
}

/// Sends each packet of `captures` by two mirrors. Everything that is told must be what one mirror tells of them, but for the mirror.
pub(crate) fn doubled(captures: &[Capture]) -> Part {
    let mut part = Part::default();
    let mut events = Line { what: "by two mirrors: events, all members".to_owned(), ..Line::default() };
    let mut copies = Line { what: "by two mirrors: copies recognised".to_owned(), ..Line::default() };
    let mut kept = Line { what: "by two mirrors: retransmissions (tcp)".to_owned(), ..Line::default() };
    let network = format!("blue={VNI},{SECOND_VNI}");
    for capture in captures {
        let records = capture.records();
        let arguments = ["--network", network.as_str()];
        let whole =
            read(File::of(&mirrored::whole_behind_a_frame_of_the_second_mirror(&records)).path().as_path(), &arguments);
        let got = read(File::of(&mirrored::doubled(&records, SEEDS[0])).path().as_path(), &arguments);
        if whole.summary.ledger.duplicates > 0 {
            part.wrong.push(format!("{}: {} copies of one mirror", capture.name, whole.summary.ledger.duplicates));
        }
        let (want, have) = (by_text(&whole.events), by_text(&got.events));
        for (event, times) in without(&want, &have) {
            events.differ += times;
            part.wrong.push(format!("{} doubled: {times} missing: {event}", capture.name));
        }
        for (event, times) in without(&have, &want) {
            events.more += times;
            part.wrong.push(format!("{} doubled: {times} new: {event}", capture.name));
        }
        events.rows += want.values().sum::<usize>();
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
        if capture.class == "tcp" {
            let (once, twice) = (retransmissions(&whole.events), retransmissions(&got.events));
            kept.rows += once;
            kept.differ += once.saturating_sub(twice);
            kept.more += twice.saturating_sub(once);
        }
    }
    if kept.rows == 0 || kept.differ + kept.more > 0 {
        part.wrong.push(format!("retransmissions are not those of one mirror: {kept:?}"));
    }
    part.lines.extend([events, copies, kept]);
    part
}

/// Each event without its time of writing and the mirror that its flow came by, and how often it is there. What counts the run itself
/// (`stats`) is none.
fn by_text(events: &[Value]) -> BTreeMap<String, usize> {
    let mut texts = BTreeMap::new();
    for event in events.iter().filter(|event| event["event_type"] != "stats") {
        let mut event = event.clone();
        let members = event.as_object_mut().expect("an event is an object");
        members.remove("tunnel");
        members.remove("timestamp");
        *texts.entry(event.to_string()).or_default() += 1;
    }
    texts
}

/// What of `these` is not in `those`, or not so often.
fn without<'a>(
    these: &'a BTreeMap<String, usize>,
    those: &'a BTreeMap<String, usize>,
) -> impl Iterator<Item = (&'a str, usize)> {
    these.iter().filter_map(|(text, times)| {
        let left = times.saturating_sub(those.get(text).copied().unwrap_or(0));
        (left > 0).then_some((text.as_str(), left))
    })
}

/// Packets of which flows say that the mirror cut them.
fn cut_packets(events: &[Value]) -> usize {
    let ways =
        events.iter().flat_map(|event| ["cut_pkts_toserver", "cut_pkts_toclient"].map(|way| &event["flow"][way]));
    ways.filter_map(Value::as_u64).sum::<u64>() as usize
}

/// All that flows say of segments that were sent again.
fn retransmissions(events: &[Value]) -> usize {
    let ways = events.iter().flat_map(|event| ["toserver", "toclient"].map(|way| &event["tcp_metrics"][way]));
    ways.filter_map(|way| way["retransmissions"].as_u64()).sum::<u64>() as usize
}

/// Loses and swaps packets of `captures`. What is owed is what the packets that arrived allow; at least 95% of it, of flows that lost
/// packets as well as of all.
pub(crate) fn lossy(captures: &[Capture]) -> Part {
    let mut part = Part::default();
    let line = |what: &str| Line { what: format!("1% lost, 2% swapped: {what}"), ..Line::default() };
    let mut whole_flows = line("flows without loss");
    let mut others = line("owed by the others");
    let mut impossible = line("lost themselves");
    let mut gaps = 0;
    for capture in captures {
        let records = capture.records();
        let whole = read(File::of(&mirrored::whole(&records)).path().as_path(), &[]);
        for seed in SEEDS {
            let lossy = mirrored::lossy(&records, seed);
            let got = read(File::of(&lossy.arrived).path().as_path(), &[]);
            let mut have = told(&got.events, true);
            let owed = owed_by_packets::sort(&records, &lossy.dropped, &whole.events);
            let lines =
                [(&mut whole_flows, owed.of_whole_flows), (&mut others, owed.of_others), (&mut impossible, owed.not)];
            for (line, want) in lines {
                let lacking = want.without(&have);
                let count = |rows: &Rows| Kind::ALL.iter().map(|kind| rows.count(*kind)).sum::<usize>();
                line.rows += count(&want);
                line.differ += count(&lacking);
                if !line.what.ends_with("themselves") {
                    let untold = lacking.iter().map(|(kind, row, times)| format!("{times} {kind} {row}"));
                    untold.for_each(|row| println!("{} with losses of seed {seed}: untold {row}", capture.name));
                }
                have = have.without(&want);
            }
            gaps +=
                got.events.iter().filter(|event| event["tcp_metrics"].to_string().contains("missing_bytes")).count();
            if got.memory > MEMORY {
                part.wrong.push(format!("{} with losses took {} bytes", capture.name, got.memory));
            }
        }
    }
    for line in [&whole_flows, &others] {
        if line.rows == 0 || line.differ * 20 > line.rows {
            part.wrong.push(format!("less than 95%: {line:?}"));
        }
    }
    if gaps == 0 {
        part.wrong.push("no flow tells that bytes are missing".to_owned());
    }
    part.lines.extend([whole_flows, others, impossible]);
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
