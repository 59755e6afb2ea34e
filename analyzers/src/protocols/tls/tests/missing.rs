//! What is told where bytes are missing, one side is, or the beginning.

use serde_json::{Value, json};

use super::super::super::testing::{CLIENT, SERVER, Step, stream, stream_however_cut};
use super::super::super::{Guess, Next, Opening, StreamProtocol};
use super::super::building::{client_hello, record, server_hello, words};
use super::super::{BYTES_MAX, Tls, samples};
use super::{only, pieces, steps, tls_of};

/// Each member of `part` is as in `whole`; lists of names may be cut, and a version may be unknown.
fn assert_no_more_than(part: &Value, whole: &Value, context: &str) {
    for (key, value) in part.as_object().unwrap() {
        match (key.as_str(), value) {
            ("truncated" | "chain_length", _) => {}
            ("version", value) => assert!(value == "UNDETERMINED" || value == &whole[key], "{context}: {value}"),
            ("subjectaltname", value) => {
                let (part, whole) = (value.as_array().unwrap(), whole[key].as_array().unwrap());
                assert!(whole.starts_with(part), "{context}");
            }
            _ => assert_eq!(value, &whole[key], "{context}: {key}"),
        }
    }
}

#[test]
fn wherever_bytes_are_missing_what_is_told_is_true() {
    for sample in
        [samples::RFC_8448, samples::FULL, samples::RESUMED, samples::DISTRUSTED, samples::RETRIED_AND_RESUMED]
    {
        let whole = tls_of(sample);
        let pieces = pieces(sample);
        for (index, (side, bytes)) in pieces.iter().enumerate() {
            for cut in 0..bytes.len() {
                // To the end of the piece, as a mirror cuts; and 20 bytes only, as if something was lost.
                for missing in [bytes.len() - cut, (bytes.len() - cut).min(20)] {
                    let mut steps = steps(&pieces);
                    steps.splice(
                        index..=index,
                        [
                            Step::Data(*side, &bytes[..cut]),
                            Step::Gap(*side, missing as u64),
                            Step::Data(*side, &bytes[cut + missing..]),
                        ],
                    );
                    steps.retain(|step| !matches!(step, Step::Data(_, bytes) if bytes.is_empty()));
                    let events = stream_however_cut::<Tls>(&steps);
                    let context = format!("piece {index}, {missing} bytes at {cut}: {events:?}");
                    assert!(events.len() <= 1, "{context}");
                    for event in &events {
                        assert_eq!(event["event_type"], "tls", "{context}");
                        assert_no_more_than(&event["tls"], &whole, &context);
                    }
                }
            }
        }
    }
}

#[test]
fn a_mirror_that_cuts_packets_short_leaves_what_is_in_front() {
    let pieces = pieces(samples::FULL);
    let (client, server) = (&pieces[0].1, &pieces[1].1);
    // The certificate begins at byte 90 or so of what the server sends; 400 bytes of it have issuer, dates and subject.
    let steps =
        [Step::Data(CLIENT, client), Step::Data(SERVER, &server[..500]), Step::Gap(SERVER, server.len() as u64 - 500)];
    let events = stream_however_cut::<Tls>(&steps);
    let tls = only(&events);
    assert_eq!(tls["truncated"], true);
    assert_eq!(tls["notafter"], "2036-11-18T13:12:50");
    assert_eq!(tls["serial"], "01:02:03:04:05:06:07:08");
    assert!(tls.get("fingerprint").is_none());

    let steps =
        [Step::Data(CLIENT, &client[..90]), Step::Gap(CLIENT, client.len() as u64 - 90), Step::Data(SERVER, server)];
    let events = stream_however_cut::<Tls>(&steps);
    let tls = only(&events);
    assert_eq!(tls["sni"], "www.example.org");
    assert_eq!(tls["truncated"], true);
    assert_eq!(tls["serial"], "01:02:03:04:05:06:07:08");
    assert!(tls.get("ja3").is_none() && tls.get("ja4").is_none());
}

#[test]
fn a_connection_that_was_picked_up_behind_its_handshake_has_no_event() {
    let data = record(23, &[0xaa; 100]);
    let (events, next) = stream::<Tls>(&[Step::Data(SERVER, &data)]);
    assert_eq!((events.len(), next), (0, Next::Done));
    let opening = Opening { originator: &[], responder: &data, originator_port: 40_000, responder_port: 8443 };
    assert_eq!(Tls::recognise(&opening), Guess::Yes);
}

#[test]
fn a_client_that_is_heard_alone_is_given_up() {
    let (_, client) = pieces(samples::RFC_8448).remove(0);
    let data = record(23, &[0xaa; 1 << 14]);
    let mut steps = vec![Step::Data(CLIENT, &client)];
    steps.extend([Step::Data(CLIENT, &data)].repeat(BYTES_MAX as usize >> 14));
    assert_eq!(stream::<Tls>(&steps[..10]).1, Next::More);
    let (events, next) = stream::<Tls>(&steps);
    assert_eq!(next, Next::Done);
    assert_eq!(only(&events)["sni"], "server");
    assert_eq!(only(&events)["truncated"], true);
}

#[test]
fn an_event_without_the_clients_hello_is_marked_whatever_the_server_has_said() {
    for sample in [samples::RFC_8448, samples::FULL, samples::RESUMED] {
        let mut pieces = pieces(sample);
        let first = pieces.iter().position(|(side, _)| *side == CLIENT).unwrap();
        pieces.remove(first);
        let events = stream_however_cut::<Tls>(&steps(&pieces));
        let tls = only(&events);
        assert_eq!((&tls["truncated"], tls["ja3s"].is_object()), (&json!(true), true));
    }
}

#[test]
fn a_client_that_refuses_a_server_of_which_nothing_is_shown_is_marked() {
    let hello = record(22, &client_hello(0x0303, &[0xc02f], &[]));
    let alert = record(21, &[2, 40]);
    for unseen in [false, true] {
        let steps = [Step::Unseen(SERVER, unseen), Step::Data(CLIENT, &hello), Step::Data(CLIENT, &alert)];
        let (events, _) = stream::<Tls>(&steps);
        assert_eq!(only(&events)["truncated"] == true, unseen);
    }
}

#[test]
fn what_is_no_record_is_no_wonder_where_a_flow_was_picked_up_in_the_middle() {
    let middle = [&b"rest of a record"[..], &record(22, &[11, 0xff, 0xff, 0xff, 0])].concat();
    let message = record(22, &[11, 0xff, 0xff, 0xff, 0]);
    let answer = record(22, &server_hello(0x0303, 0x1301, &[(43, words(&[0x0304]))]));
    for there in [&middle, &message] {
        for side in [CLIENT, SERVER] {
            let events = stream_however_cut::<Tls>(&[Step::Data(side, there)]);
            assert!(events.is_empty(), "{events:?}");
        }
        // In front of a server's hello there may be the rest of the client's.
        let events = stream_however_cut::<Tls>(&[Step::Data(CLIENT, there), Step::Data(SERVER, &answer)]);
        assert_eq!((&only(&events)["version"], &only(&events)["truncated"]), (&json!("TLS 1.3"), &json!(true)));
        assert_eq!(stream::<Tls>(&[Step::Data(CLIENT, there), Step::Data(SERVER, there)]).1, Next::Done);
    }
}

#[test]
fn a_server_of_which_the_hello_was_in_front_of_what_is_shown_is_marked() {
    let hello = record(22, &client_hello(0x0303, &[0xc02f], &[]));
    let refused = record(21, &[2, 40]);
    for shown in [&record(20, &[1])[..], &refused, &record(22, &[14, 0, 0, 0])] {
        for joined in [false, true] {
            let mut steps = vec![Step::Data(CLIENT, &hello), Step::Data(SERVER, shown)];
            if joined {
                steps.insert(0, Step::Joined(SERVER));
            }
            let events = stream_however_cut::<Tls>(&steps);
            let tls = only(&events);
            assert_eq!(tls["version"], "UNDETERMINED");
            // A server that refuses has said no hello, where it is known that this is what it has said first.
            assert!(tls["truncated"] == true || !joined, "{shown:?}");
            assert!(tls.get("truncated").is_none() || joined || shown != refused);
        }
    }
}

#[test]
fn a_clients_hello_that_is_shown_in_part_behind_all_that_the_server_says_is_marked() {
    let pieces = pieces(samples::FULL);
    let (client, server) = (&pieces[0].1, &pieces[1].1);
    for there in 6..client.len() {
        let steps = [
            Step::Data(SERVER, server),
            Step::Data(CLIENT, &client[..there]),
            Step::Gap(CLIENT, (client.len() - there) as u64),
        ];
        let (events, _) = stream::<Tls>(&steps);
        let tls = only(&events);
        assert_eq!((&tls["truncated"], tls["ja3s"].is_object(), tls.get("ja3")), (&json!(true), true, None), "{there}");
    }
}

#[test]
fn what_is_no_record_is_no_wonder_where_the_beginning_of_that_side_was_not_shown() {
    let hello = record(22, &client_hello(0x0303, &[0xc02f], &[]));
    for joined in [false, true] {
        let mut steps = vec![Step::Data(CLIENT, &hello), Step::Data(SERVER, b"rest of a record")];
        if joined {
            steps.insert(0, Step::Joined(SERVER));
        }
        let events = stream_however_cut::<Tls>(&steps);
        let told: Vec<_> = events.iter().map(|event| event["event_type"].clone()).collect();
        assert_eq!(told, if joined { vec!["tls"] } else { vec!["anomaly", "tls"] });
        assert_eq!(events[told.len() - 1]["tls"]["truncated"], true);
    }
}
