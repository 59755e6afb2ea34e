//! What is told in words can be read to its end, and is the whole truth.

use vxtap_analyzers::losses::StreamLoss;
use vxtap_analyzers::snapshot::{FlowSort, StreamSnapshot};

use super::*;

fn saved(size: Size, saved: Result<Saved, String>) -> Seen {
    let mut seen = with_flows(size);
    seen.keys("f");
    seen.app.update(Update::Saved(saved), seen.now);
    seen
}

/// The words of the screen, however they are broken into lines.
fn words(seen: &mut Seen) -> String {
    seen.text().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn why_a_flow_was_not_saved_or_not_all_of_it_is_told_to_its_end() {
    let why = "http://127.0.0.1:9789/v1/extract answered 409 Conflict: nothing is captured: start the collector with --write \
               DIR to write captures";
    for size in [MIN_SIZE, SMALL, LARGE] {
        let told = words(&mut saved(size, Err(why.into())));
        assert!(told.contains("--write DIR to write captures"), "{told}");
        let file = "vxtap-flow-LQU9qZlK-20261121T100000Z.pcapng".into();
        let lacks = Some("the answer of http://127.0.0.1:9789/v1/extract broke off: unexpected end of file".into());
        let told = words(&mut saved(size, Ok(Saved { packets: 12, file, lacks })));
        assert!(told.contains("broke off: unexpected end of file"), "{told}");
    }
    // The list keeps its place for the rest, and the keys theirs.
    let mut seen = saved(MIN_SIZE, Err(why.into()));
    seen.has("192.168.0.0:50000");
    seen.has(" Enter detail ");
}

#[test]
fn why_captures_and_logs_are_not_written_is_told_to_its_end() {
    let file = "/var/lib/vxtap/captures/vxtap-20261130T205005Z-00001.pcapng";
    for size in [MIN_SIZE, SMALL, LARGE] {
        let mut seen = Seen::new(size);
        let mut snapshot = sample::losing(9);
        if let Some(capture) = &mut snapshot.capture {
            capture.error = Some(format!("can't write {file}: No space left on device (os error 28)"));
        }
        seen.snapshot(snapshot).keys("3");
        let told = words(&mut seen);
        // On a low terminal there is one line for it.
        let end =
            if size == MIN_SIZE { "left on device (os error 28)" } else { "No space left on device (os error 28)" };
        assert!(told.contains(end), "{told}");
        assert!(size == MIN_SIZE || told.contains(file), "{told}");
    }
}

#[test]
fn why_a_decision_failed_is_told_with_its_cause() {
    let mut seen = Seen::watching(SMALL, sample::waiting);
    seen.keys("4ay");
    let decision = seen.app.take_decision().unwrap();
    let why = "can't get http://collector.example.com:9789/v1/admission/accept: Connection refused (os error 111)";
    seen.app.update(Update::Decided { decision, answer: Err(SourceError::Unreachable(why.into())) }, seen.now);
    seen.has("Connection refused (os error 111)");
}

#[test]
fn a_stream_that_loses_frames_or_has_them_cut_is_not_told_to_be_in_order() {
    let stream = |change: fn(&mut StreamSnapshot)| {
        let mut snapshot = sample::busy(9);
        snapshot.streams.truncate(1);
        snapshot.duplicate_pairs.clear();
        let stream = &mut snapshot.streams[0];
        (stream.counters.frames, stream.counters.truncated, stream.loss) = (1000, 0, None);
        change(stream);
        let mut seen = Seen::new(SMALL);
        seen.snapshot(snapshot).keys("4");
        seen
    };
    stream(|_| ()).has("nothing wrong with it");
    let mut losing = stream(|stream| stream.loss = Some(StreamLoss { received: 750, lost: 250, duplicated: 0 }));
    losing.has("250 frames were lost on the way, 25.0% of those that were sent");
    let mut cut = stream(|stream| stream.counters.truncated = 123);
    cut.has("12.3% of its frames come without their end");
    for seen in [&mut losing, &mut cut] {
        assert!(!seen.text().contains("nothing wrong"), "{}", seen.text());
    }
}

#[test]
fn what_is_not_known_of_skew_is_a_dash() {
    let mut seen = Seen::watching(SMALL, sample::idle);
    seen.keys("4").has("busiest worker -, busiest stream -  decisions 0");
    let mut seen = Seen::watching(SMALL, sample::waiting);
    seen.keys("4").has("busiest worker 1.2x, busiest stream 3.5x the mean");
}

#[test]
fn flows_that_are_sorted_by_protocol_show_it() {
    let mut page = sample::flows(20, 10);
    page.flows.iter_mut().for_each(|flow| flow.app = Some("tls".into()));
    let mut seen = Seen::watching(SMALL, sample::busy);
    seen.keys("2").flows(Ok(page.clone()));
    let first_word = |seen: &mut Seen| seen.text().lines().nth(3).unwrap().trim_matches('"')[..4].to_owned();
    assert_eq!(first_word(&mut seen), "tls ");
    while seen.app.flows.query().sort != FlowSort::Protocol {
        seen.keys("s");
    }
    seen.flows(Ok(page));
    assert_eq!(first_word(&mut seen), "UDP ");
}

#[test]
fn what_stands_behind_the_cursor_of_a_long_filter_is_seen() {
    let mut seen = with_flows(MIN_SIZE);
    let filter: String = (100..130).flat_map(|port| ["port ".to_owned(), port.to_string(), " ".to_owned()]).collect();
    seen.keys("/").keys(&filter);
    seen.has("port 128 port 129");
    for _ in 0..filter.len() / 2 {
        seen.app.key(&KeyEvent::new(KeyCode::Left, KeyModifiers::NONE));
    }
    seen.has("port 113 port 114 port 115 port 116");
    seen.app.key(&KeyEvent::new(KeyCode::Home, KeyModifiers::NONE));
    seen.has("/port 100 port 101");
}

#[test]
fn the_end_of_more_flows_than_are_listed_is_told() {
    let mut seen = Seen::watching(SMALL, sample::busy);
    seen.keys("2").flows(Ok(sample::flows(10_000, 10))).keys("G").flows(Ok(sample::flows(10_000, 10)));
    seen.has("flows 9981-10000 of 12,345");
    seen.has("no more are listed, a filter finds the rest");
    seen.keys("k").keys("g");
    assert!(!seen.text().contains("no more"), "{}", seen.text());
}
