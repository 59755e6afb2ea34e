//! What the mirror lost: what is marked, and that nothing is told of the sender.

use serde_json::{Value, json};

use super::{DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, anomalies, field, frame, get, http, preface};
use crate::protocols::http2::Http2;
use crate::protocols::testing::{CLIENT, Recorder, SERVER, Step, stream, stream_however_cut};
use crate::protocols::{Protocol, StreamProtocol};

const ACK: u8 = 1;
const RESET: u8 = 3;
const PING: u8 = 6;

fn request(id: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, id, &get(path))
}

/// Which streams are told, and whether they are marked, by their number.
fn marks(events: &[Value]) -> Vec<(u64, bool)> {
    let mut marks: Vec<_> = http(events)
        .iter()
        .map(|http| (http["http2"]["stream_id"].as_u64().unwrap(), http.get("truncated").is_some()))
        .collect();
    marks.sort_unstable();
    marks
}

#[test]
fn frames_that_were_lost_mark_the_streams_that_were_open_and_no_others() {
    let client = [1, 3, 5].map(|id| request(id, "/a")).concat();
    let answered = frame(HEADERS, END_STREAM | END_HEADERS, 5, &[0x88]);
    let begun = frame(HEADERS, END_HEADERS, 1, &[0x88]);
    let lost = frame(DATA, 0, 1, &[b'x'; 100]);
    let rest = [frame(DATA, END_STREAM, 1, b"end"), frame(HEADERS, END_STREAM | END_HEADERS, 3, &[0x88])].concat();
    let (events, _) = stream::<Http2>(&[
        Step::Data(CLIENT, &[preface(), client].concat()),
        Step::Data(SERVER, &[frame(SETTINGS, 0, 0, &[]), answered, begun].concat()),
        Step::Gap(SERVER, lost.len() as u64),
        Step::Data(CLIENT, &request(7, "/later")),
        Step::Data(SERVER, &rest),
        Step::Data(SERVER, &frame(HEADERS, END_STREAM | END_HEADERS, 7, &[0x88])),
    ]);
    assert_eq!(marks(&events), [(1, true), (3, true), (5, false), (7, false)]);
}

#[test]
fn a_request_that_was_lost_marks_its_stream_and_not_those_that_the_client_had_ended() {
    let lost = request(3, "/lost");
    let (events, _) = stream::<Http2>(&[
        Step::Data(CLIENT, &[preface(), request(1, "/a")].concat()),
        Step::Data(SERVER, &frame(SETTINGS, 0, 0, &[])),
        Step::Gap(CLIENT, lost.len() as u64),
        Step::Data(CLIENT, &request(5, "/c")),
        Step::Data(SERVER, &[1, 3, 5].map(|id| frame(HEADERS, END_STREAM | END_HEADERS, id, &[0x88])).concat()),
    ]);
    assert_eq!(marks(&events), [(1, false), (3, true), (5, false)]);
}

#[test]
fn a_body_or_a_trailer_without_the_fields_before_it_is_marked() {
    let (events, _) = stream::<Http2>(&[
        Step::Data(CLIENT, &preface()),
        Step::Gap(CLIENT, 50),
        // Of request 1 the fields are missing, of request 3 these and the body.
        Step::Data(CLIENT, &[frame(DATA, 0, 1, b"body"), frame(DATA, END_STREAM, 1, b"body")].concat()),
        Step::Data(CLIENT, &frame(HEADERS, END_STREAM | END_HEADERS, 3, &field("checksum", "1"))),
        Step::Data(SERVER, &frame(SETTINGS, 0, 0, &[])),
        Step::Data(SERVER, &[1, 3].map(|id| frame(HEADERS, END_STREAM | END_HEADERS, id, &[0x88])).concat()),
    ]);
    assert_eq!(marks(&events), [(1, true), (3, true)]);
}

#[test]
fn bytes_that_cannot_be_read_mark_the_streams_that_were_opened_since_others_are_missing() {
    let (events, _) = stream::<Http2>(&[
        Step::Data(CLIENT, &preface()),
        Step::Data(SERVER, &frame(SETTINGS, 0, 0, &[])),
        Step::Gap(SERVER, 9),
        Step::Data(CLIENT, &request(1, "/a")),
        // Within a frame, and the frames of stream 1 behind it.
        Step::Data(SERVER, &[b"xxxxxxxxxxxx".as_slice(), &frame(HEADERS, END_HEADERS, 1, &[0x88])].concat()),
        Step::Data(SERVER, &frame(DATA, END_STREAM, 1, b"end")),
    ]);
    assert_eq!(marks(&events), [(1, true)]);
}

#[test]
fn the_beginning_of_a_block_is_told_whose_next_frames_are_lost_as_well() {
    let block = get("/a");
    let begun = frame(HEADERS, END_STREAM, 1, &block);
    let (events, _) = stream::<Http2>(&[
        Step::Data(CLIENT, &[preface(), begun[..begun.len() - 3].to_vec()].concat()),
        Step::Gap(CLIENT, 100),
        Step::Data(
            SERVER,
            &[frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x88])].concat(),
        ),
    ]);
    assert_eq!((&http(&events)[0]["url"], &http(&events)[0]["truncated"]), (&json!("/a"), &json!(true)));
}

#[test]
fn messages_of_grpc_are_not_counted_where_their_beginning_may_be_lost() {
    let call = [get("/pkg.Greeter/SayHello"), field("content-type", "application/grpc")].concat();
    let lost = frame(DATA, 0, 1, b"xxxx");
    let (events, _) = stream::<Http2>(&[
        Step::Data(CLIENT, &[preface(), frame(HEADERS, END_HEADERS, 1, &call)].concat()),
        // Of a message of 8 bytes the second half is lost, and then comes one of a byte.
        Step::Data(CLIENT, &frame(DATA, 0, 1, b"\0\0\0\0\x08xxxx")),
        Step::Gap(CLIENT, lost.len() as u64),
        Step::Data(CLIENT, &frame(DATA, END_STREAM, 1, b"\0\0\0\0\x01x\0\0\0\0\0\0\0\0\0\0")),
    ]);
    assert_eq!(http(&events)[0]["grpc"]["request_messages"], 1);
}

#[test]
fn settings_are_no_beginning_where_the_beginning_was_not_shown() {
    // The client acknowledges the server's, and then uses its table, which is from before; so does the server.
    let client =
        [frame(SETTINGS, ACK, 0, &[]), frame(HEADERS, END_STREAM | END_HEADERS, 7, &[0x82, 0x84, 0xbe])].concat();
    let server = [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_STREAM | END_HEADERS, 7, &[0x88, 0xbe])].concat();
    let events = stream_however_cut::<Http2>(&[
        Step::Joined(CLIENT),
        Step::Joined(SERVER),
        Step::Data(SERVER, &server[..9]),
        Step::Data(CLIENT, &client),
        Step::Data(SERVER, &server[9..]),
    ]);
    assert_eq!((marks(&events), anomalies(&events)), (vec![(7, true)], vec![]));
}

#[test]
fn the_servers_settings_are_its_beginning_where_the_preface_comes_behind_them() {
    let server = [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x88, 0xbe])].concat();
    let events = stream_however_cut::<Http2>(&[
        Step::Joined(SERVER),
        Step::Data(SERVER, &server[..9]),
        Step::Data(CLIENT, &[preface(), request(1, "/a")].concat()),
        Step::Data(SERVER, &server[9..]),
    ]);
    assert_eq!(anomalies(&events), ["failed_decompression"], "nothing was put into its table");
}

#[test]
fn what_only_looks_like_a_frame_is_no_fault_of_the_sender() {
    let first = [preface(), request(1, "/a")].concat();
    // Within a body: a header of no length that it may have, a header block that is none, and a block that does not go on.
    let invalid = [frame(DATA, 0, 9, b"x"), vec![0, 0, 5, 6, 0, 0, 0, 0, 0]].concat();
    let no_block = frame(HEADERS, END_STREAM | END_HEADERS, 9, &[0xff, 0xff, 0xff, 0xff, 0xff]);
    let broken_off = [frame(HEADERS, 0, 9, &[0x82]), frame(DATA, 0, 9, b"x")].concat();
    for body in [invalid, no_block, broken_off] {
        let (events, _) = stream::<Http2>(&[
            Step::Data(CLIENT, &first),
            Step::Data(SERVER, &frame(SETTINGS, 0, 0, &[])),
            Step::Gap(CLIENT, 100),
            Step::Data(CLIENT, &body),
            Step::Data(CLIENT, &request(3, "/b")),
            Step::Data(CLIENT, &request(5, "/c")),
        ]);
        assert!(anomalies(&events).is_empty(), "{body:?}: {events:?}");
        assert!(marks(&events).iter().any(|(id, _)| *id == 5), "{events:?}");
    }
}

#[test]
fn pieces_shorter_than_a_header_do_not_tell_where_a_frame_begins() {
    let call = frame(HEADERS, END_HEADERS, 1, &get("/a"));
    let body = frame(DATA, END_STREAM, 1, b"hi");
    let mut steps = vec![Step::Data(CLIENT, &[]), Step::Gap(CLIENT, 1)];
    let first = preface();
    steps[0] = Step::Data(CLIENT, &first);
    let rest = [&call[1..], &body].concat();
    steps.extend(rest.chunks(1).map(|byte| Step::Data(CLIENT, byte)));
    let (events, _) = stream::<Http2>(&steps);
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn the_text_of_a_body_is_no_preface() {
    let (events, _) = stream::<Http2>(&[Step::Joined(CLIENT), Step::Data(CLIENT, b"Paris, and more of it")]);
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn a_stream_that_nobody_has_answered_is_marked_only_where_the_answer_may_be_lost() {
    let client = [preface(), request(1, "/a"), frame(HEADERS, END_HEADERS, 3, &get("/b"))].concat();
    let server = [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_HEADERS, 3, &[0x88])].concat();
    let steps = [Step::Data(CLIENT, &client), Step::Data(SERVER, &server)];
    let (events, _) = stream::<Http2>(&steps);
    // The answer to 3 has begun and does not end.
    assert_eq!(marks(&events), [(1, false), (3, true)]);
    let (events, _) = stream::<Http2>(&[steps[0], steps[1], Step::Unseen(SERVER, true)]);
    assert_eq!(marks(&events), [(1, true), (3, true)]);
    let (events, _) = stream::<Http2>(&[steps[0], Step::Data(SERVER, &server[..server.len() - 3])]);
    assert_eq!(marks(&events), [(1, true), (3, true)]);
}

#[test]
fn a_reset_that_was_cut_marks_its_stream() {
    let reset = frame(RESET, 0, 1, &[0, 0, 0, 8]);
    let (events, _) = stream::<Http2>(&[
        Step::Data(CLIENT, &[preface(), request(1, "/a"), reset[..11].to_vec()].concat()),
        Step::Data(SERVER, &frame(SETTINGS, 0, 0, &[])),
        Step::Gap(CLIENT, 2),
    ]);
    assert_eq!(marks(&events), [(1, true)]);
}

#[test]
fn a_request_that_is_shown_when_it_was_answered_has_no_response_time() {
    let client = [preface(), request(1, "/a")].concat();
    let response = frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x88]);
    for unseen in [false, true] {
        let mut recorder = Recorder::new(6, 80);
        recorder.unseen[CLIENT.index()] = unseen;
        let mut http2 = Http2::default();
        recorder.step(|cx| http2.data(CLIENT, &client, cx));
        recorder.step(|cx| http2.data(SERVER, &response, cx));
        assert_eq!(recorder.events.responses(Protocol::Http2).is_some_and(|times| !times.is_empty()), !unseen);
    }
}

#[test]
fn behind_a_lost_segment_frames_are_found_that_begin_in_the_middle_of_the_next_one() {
    let body = frame(DATA, END_STREAM, 1, &[b'x'; 3000]);
    let client = [preface(), request(1, "/a"), request(3, "/b")].concat();
    let later =
        [frame(HEADERS, END_HEADERS, 3, &[0x88]), frame(DATA, END_STREAM, 3, b"end"), frame(PING, 0, 0, &[7; 8])]
            .concat();
    let server = [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_HEADERS, 1, &[0x88]), body].concat();
    let begin = server.len() - 3009;
    // The header of the body is lost, and a part of the body.
    for missing in [9, 10, 500, 2990] {
        let rest = [&server[begin + missing..], &later].concat();
        let (events, _) = stream::<Http2>(&[
            Step::Data(CLIENT, &client),
            Step::Data(SERVER, &server[..begin]),
            Step::Gap(SERVER, missing as u64),
            Step::Data(SERVER, &rest),
            Step::Data(CLIENT, &request(5, "/c")),
            Step::Data(SERVER, &frame(HEADERS, END_STREAM | END_HEADERS, 5, &[0x88])),
        ]);
        assert_eq!(anomalies(&events), Vec::<&str>::new());
        assert_eq!(marks(&events), [(1, true), (3, true), (5, false)]);
        let told = http(&events);
        let third = told.iter().find(|http| http["http2"]["stream_id"] == 3).unwrap();
        assert_eq!((&third["url"], &third["status"], &third["length"]), (&json!("/b"), &json!(200), &json!(3)));
    }
}

#[test]
fn bytes_are_told_of_no_side_where_nothing_tells_which_one_the_client_is() {
    let body = frame(DATA, 0, 9, &[b'x'; 100]);
    let trailer = frame(HEADERS, END_STREAM | END_HEADERS, 9, &field("grpc-status", "0"));
    let unknown = frame(HEADERS, END_STREAM | END_HEADERS, 9, &[0xbe]);
    for (joined, end, is_told) in [(true, &unknown, false), (true, &trailer, true), (false, &unknown, true)] {
        // Who was seen first is taken for the originator: here it is the server.
        let mut steps = vec![Step::Data(CLIENT, &body), Step::Data(CLIENT, end)];
        if joined {
            steps.splice(0..0, [Step::Joined(CLIENT), Step::Joined(SERVER)]);
        }
        let (events, _) = stream::<Http2>(&steps);
        assert_eq!(http(&events).len(), usize::from(is_told), "{events:?}");
        if joined && is_told {
            let told = &http(&events)[0];
            let lengths = (&told["length"], &told["request_length"]);
            assert_eq!((lengths, &events[0]["src_ip"]), ((&json!(100), &json!(0)), &json!("10.0.0.2")));
        }
    }
}
