//! What is told where datagrams are missing, cut, or come in another order.

use serde_json::json;

use super::super::super::testing::{CLIENT, Recorder, SERVER, datagrams};
use super::super::super::tls::building::{client_hello, protocols, server_hello, words};
use super::super::super::{DatagramProtocol, Next, Side};
use super::super::{Quic, Version};
use super::{CLIENT_CRYPTO, CLIENTS, Made, SERVER_PACKET, SERVERS, client_packet, crypto, long_hello, only, unhex};

#[test]
fn what_is_in_front_of_a_cut_is_told() {
    let packet = client_packet(Version::One);
    let (mut seen, mut listed) = (0, 0);
    for length in 0..packet.len() {
        let mut recorder = Recorder::new(vxtap_wire::protocol::UDP, 443);
        let mut quic = Quic::default();
        recorder.step(|cx| quic.datagram(CLIENT, &packet[..length], (packet.len() - length) as u32, cx));
        recorder.step(|cx| quic.end(cx));
        let events = recorder.take();
        assert!(events.len() <= 1);
        for event in &events {
            // The hello ends 245 bytes behind the header of 22: whole, though nothing vouches for it.
            let is_whole = length >= 22 + 245;
            let quic = &event["quic"];
            assert_eq!(quic["truncated"], true);
            assert_eq!(quic["ja3"].is_object(), is_whole, "{length}");
            assert!(quic.get("sni").is_none_or(|name| name == "example.com"));
            // No list is told as empty that was not shown.
            assert!(quic.get("extensions").is_none_or(|list| list[0]["name"] == "server_name"), "{length}");
            listed += usize::from(quic["extensions"].is_array());
            seen += usize::from(quic["sni"].is_string());
        }
    }
    // From the byte where the name is there on.
    assert!(seen > 1050, "{seen}");
    assert_eq!(listed, seen, "the name is in the first of them");
}

/// A Handshake packet of which nothing can be opened.
fn handshake(version: Version) -> Vec<u8> {
    let first = if version == Version::One { 0xe3 } else { 0xf3 };
    [&[first][..], &version.number().to_be_bytes(), &[0, 0, 0x40, 30], &[0; 30]].concat()
}

const SHORT: [u8; 50] = [0x40; 50];

#[test]
fn a_servers_hello_that_was_not_shown_is_marked_where_either_side_went_on() {
    let client = client_packet(Version::One);
    for later in [&handshake(Version::One)[..], &SHORT] {
        for from in [CLIENT, SERVER] {
            let (events, _) = datagrams::<Quic>(&[(CLIENT, &client), (from, later)]);
            let quic = only(&events);
            assert_eq!((&quic["sni"], &quic["truncated"]), (&json!("example.com"), &json!(true)));
        }
    }
    // A server that is silent or refuses has said no hello.
    let refused = SERVERS.packet(&[0x1c, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for steps in [&[(CLIENT, &client[..]), (CLIENT, &client)][..], &[(CLIENT, &client[..]), (SERVER, &refused)]] {
        assert!(only(&datagrams::<Quic>(steps).0).get("truncated").is_none());
    }
}

#[test]
fn the_version_that_was_agreed_on_is_told_though_the_hello_that_chose_it_was_not_shown() {
    // RFC 9369 section 4: the server answers the client's version 1 in version 2.
    let steps = [(CLIENT, &client_packet(Version::One)[..]), (SERVER, &handshake(Version::Two))];
    let (events, _) = datagrams::<Quic>(&steps);
    assert_eq!((&only(&events)["version"], &only(&events)["truncated"]), (&json!("2"), &json!(true)));
}

#[test]
fn a_clients_hello_of_which_a_datagram_is_missing_is_marked() {
    let hello = long_hello();
    let pieces: Vec<_> = hello.chunks(1000).enumerate().map(|(at, piece)| crypto(at * 1000, piece)).collect();
    let packets: Vec<_> = pieces.iter().map(|piece| CLIENTS.packet(piece)).collect();
    let server = SERVERS.packet(&crypto(0, &server_hello(0x0303, 0x1301, &[(43, words(&[0x0304]))])));
    assert!(packets.len() > 3);
    for lost in 0..packets.len() {
        let mut steps: Vec<_> = packets.iter().map(|packet| (CLIENT, &packet[..])).collect();
        steps.remove(lost);
        for answer in [None, Some((SERVER, &server[..]))] {
            let events = datagrams::<Quic>(&[&steps[..], answer.as_slice()].concat()).0;
            let quic = only(&events);
            assert_eq!((&quic["truncated"], quic["ja3s"].is_object()), (&json!(true), answer.is_some()), "{lost}");
            assert!(quic.get("ja4").is_none());
        }
    }
}

#[test]
fn a_hello_over_three_datagrams_is_whole_in_any_order_and_with_each_twice() {
    let hello = long_hello();
    let pieces: Vec<_> = hello.chunks(hello.len().div_ceil(3)).collect();
    let mut offset = 0;
    let mut packets = Vec::new();
    for piece in &pieces {
        packets.push(CLIENTS.packet(&crypto(offset, piece)));
        offset += piece.len();
    }
    let server = SERVERS.packet(&crypto(0, &server_hello(0x0303, 0x1301, &[(43, words(&[0x0304]))])));
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut steps: Vec<(Side, &[u8])> = Vec::new();
        for index in order {
            steps.extend([(CLIENT, &packets[index][..]); 2]);
        }
        for place in 0..=steps.len() {
            let mut steps = steps.clone();
            steps.insert(place, (SERVER, &server));
            let (events, next) = datagrams::<Quic>(&steps);
            let quic = only(&events);
            assert_eq!((&quic["sni"], next), (&json!("long.example"), Next::Done), "{order:?} {place}");
            assert!(quic["ja3s"].is_object() && quic.get("truncated").is_none(), "{order:?} {place}");
        }
    }
}

#[test]
fn a_servers_hello_that_comes_behind_what_followed_it_is_read_all_the_same() {
    let client = client_packet(Version::One);
    let server = unhex(SERVER_PACKET);
    let steps = [(CLIENT, &client[..]), (CLIENT, &handshake(Version::One)), (CLIENT, &SHORT), (SERVER, &server)];
    let (events, next) = datagrams::<Quic>(&steps);
    assert_eq!(next, Next::Done);
    assert_eq!(only(&events)["ja3s"]["string"], "771,4865,51-43");
    assert!(only(&events).get("truncated").is_none());
}

#[test]
fn a_client_that_began_anew_after_a_retry_that_was_not_shown_is_followed() {
    let again = Made { keys: b"anew", destination: b"anew", ..CLIENTS }.packet(&unhex(CLIENT_CRYPTO));
    let server = Made { keys: b"anew", ..SERVERS }.packet(&crypto(0, &server_hello(0x0303, 0x1301, &[])));
    let whole = client_packet(Version::One);
    let part = CLIENTS.packet(&crypto(0, &long_hello()[..500]));
    for first in [&whole, &part] {
        let (events, next) = datagrams::<Quic>(&[(CLIENT, first), (CLIENT, &again), (SERVER, &server)]);
        assert_eq!(next, Next::Done);
        let quic = only(&events);
        assert_eq!((&quic["sni"], quic["ja3s"].is_object()), (&json!("example.com"), true));
        assert!(quic.get("truncated").is_none());
    }
    // The retry may come late, and so may a copy of the first packet.
    let retry = [&[0xf0, 0, 0, 0, 1, 0, 4][..], b"anew", b"token", &[0; 16]].concat();
    for late in [&retry, &whole] {
        let steps = [
            (CLIENT, &whole[..]),
            (CLIENT, &again),
            (if late == &retry { SERVER } else { CLIENT }, late),
            (SERVER, &server),
        ];
        let (events, _) = datagrams::<Quic>(&steps);
        assert!(only(&events)["ja3s"].is_object() && only(&events).get("truncated").is_none());
        assert_eq!(events[0]["src_ip"], "10.0.0.1");
    }
    // A packet that no key opens changes none.
    let mut wrong = again;
    *wrong.last_mut().unwrap() ^= 1;
    let steps = [(CLIENT, &whole[..]), (CLIENT, &wrong), (SERVER, &unhex(SERVER_PACKET))];
    assert!(only(&datagrams::<Quic>(&steps).0)["ja3s"].is_object());
}

#[test]
fn that_an_extension_lists_more_protocols_than_are_told_is_told() {
    let list = |count: usize| {
        let hello = client_hello(0x0303, &[0x1301], &[(16, protocols(&vec!["proto"; count]))]);
        let (events, _) = datagrams::<Quic>(&[(CLIENT, &CLIENTS.packet(&crypto(0, &hello)))]);
        let listed = only(&events)["extensions"][0].clone();
        (listed["values"].as_array().unwrap().len(), listed.get("values_cut").cloned())
    };
    assert_eq!((list(61), list(129)), ((61, None), (128, Some(json!(true)))));
}
