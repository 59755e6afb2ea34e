use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{CLIENT, Recorder, SERVER, datagrams};
use super::super::tls::building::{client_hello, message, protocols, server_hello, server_name, sized, words};
use super::super::{DatagramProtocol, Next, Protocol, Side};
use super::assembly::{Assembly, HANDSHAKE_MAX, RUNS_MAX};
use super::keys::Keys;
use super::packet::Version;
use super::{DATAGRAMS_MAX, FAILURES_MAX, LATE_MAX, Quic};

mod missing;

fn unhex(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The connection id that the samples of RFC 9001 and RFC 9369 begin with.
const DESTINATION: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

/// RFC 9001 appendix A.2: the frame with the client's hello.
const CLIENT_CRYPTO: &str = "\
060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c0000000\
10000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e0005000501000000000033\
00260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e040305\
0306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff08011001048000\
75300901100f088394c8f03e51570806048000ffff";

/// RFC 9001 appendix A.3: the server's packet.
const SERVER_PACKET: &str = "\
cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf7\
3c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f\
58891850abbdca3d20398c276456cbc42158407dd074ee";

/// What a packet is made of.
#[derive(Clone, Copy)]
struct Made<'a> {
    version: Version,
    /// What the keys are derived from.
    keys: &'a [u8],
    from: Side,
    destination: &'a [u8],
    number: u32,
}

const CLIENTS: Made<'_> =
    Made { version: Version::One, keys: &DESTINATION, from: CLIENT, destination: &DESTINATION, number: 2 };
const SERVERS: Made<'_> = Made { version: Version::One, keys: &DESTINATION, from: SERVER, destination: &[], number: 1 };

impl Made<'_> {
    fn packet(self, frames: &[u8]) -> Vec<u8> {
        let (first, version) = match self.version {
            Version::One => (0xc3, 1u32),
            Version::Two => (0xd3, 0x6b33_43cf),
        };
        let length = (4 + frames.len() + 16) as u16 | 0x4000;
        let header = [
            vec![first],
            version.to_be_bytes().to_vec(),
            sized(1, self.destination),
            vec![0, 0],
            words(&[length]),
            self.number.to_be_bytes().to_vec(),
        ];
        let keys = Keys::derive(self.version, self.keys).unwrap();
        let direction = if self.from == CLIENT { keys.client } else { keys.server };
        direction.seal(&header.concat(), frames)
    }
}

/// The client's first datagram of the appendices: 1162 bytes of frames.
fn client_packet(version: Version) -> Vec<u8> {
    let mut frames = unhex(CLIENT_CRYPTO);
    frames.resize(1162, 0);
    Made { version, ..CLIENTS }.packet(&frames)
}

fn crypto(offset: usize, bytes: &[u8]) -> Vec<u8> {
    [vec![6], words(&[offset as u16 | 0x4000, bytes.len() as u16 | 0x4000]), bytes.to_vec()].concat()
}

fn only(events: &[Value]) -> &Value {
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["event_type"], "quic");
    &events[0]["quic"]
}

#[test]
fn the_samples_of_the_standard_are_read() {
    let client = client_packet(Version::One);
    // What RFC 9001 appendix A.2 ends in, and begins with.
    assert!(client.starts_with(&unhex("c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b")));
    assert!(client.ends_with(&unhex("e221af44860018ab0856972e194cd934")));
    assert_eq!(client.len(), 1200);
    assert!(Quic::recognise(&client, (40_000, 4433)));

    let (events, next) = datagrams::<Quic>(&[(CLIENT, &client), (SERVER, &unhex(SERVER_PACKET))]);
    assert_eq!(next, Next::Done);
    let quic = only(&events);
    assert_eq!(quic["version"], "1");
    assert_eq!(quic["sni"], "example.com");
    assert_eq!(quic["ja3"]["string"], "771,4865-4866,0-65281-10-16-5-51-43-13-45-28-57,29-23-24,");
    assert_eq!(quic["ja3s"]["string"], "771,4865,51-43");
    assert!(quic["ja4"].as_str().unwrap().starts_with("q13d0211an_"));
    let extensions = json!([
        {"name": "server_name", "type": 0, "values": ["example.com"]},
        {"name": "renegotiation_info", "type": 65281},
        {"name": "supported_groups", "type": 10},
        {"name": "alpn", "type": 16, "values": ["alpn"]},
        {"name": "status_request", "type": 5},
        {"name": "key_share", "type": 51},
        {"name": "supported_versions", "type": 43, "values": ["Tls13"]},
        {"name": "signature_algorithms", "type": 13,
         "values": ["1027", "1283", "1539", "515", "2052", "2053", "2054"]},
        {"name": "psk_key_exchange_modes", "type": 45},
        {"name": "record_size_limit", "type": 28},
        {"name": "quic_transport_parameters", "type": 57},
    ]);
    assert_eq!(quic["extensions"], extensions);
    assert!(quic.get("truncated").is_none());
}

#[test]
fn version_2_has_other_keys() {
    let client = client_packet(Version::Two);
    // RFC 9369 appendix A.2.
    assert!(client.starts_with(&unhex("d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071")));
    // A server may answer a client of version 1 in version 2 as well.
    let hello = server_hello(0x0303, 0x1301, &[(43, words(&[0x0304]))]);
    let server = Made { version: Version::Two, ..SERVERS }.packet(&crypto(0, &hello));
    for first in [client, client_packet(Version::One)] {
        let (events, next) = datagrams::<Quic>(&[(CLIENT, &first), (SERVER, &server)]);
        assert_eq!(next, Next::Done);
        assert_eq!(only(&events)["version"], "2");
        assert_eq!(only(&events)["sni"], "example.com");
        assert_eq!(only(&events)["ja3s"]["string"], "771,4865,43");
    }
}

#[test]
fn ja4_of_a_client_that_others_have_seen() {
    // From a capture of curl with HTTP/3.
    let algorithms = [1027, 2052, 1025, 1283, 2053, 1281, 2054, 1537, 513];
    let hello = client_hello(
        0x0303,
        &[4865, 4866, 4867],
        &[
            (0, server_name("www.google.de")),
            (10, sized(2, &words(&[29, 23, 24]))),
            (16, protocols(&["h3", "h3-29", "h3-28", "h3-27"])),
            (13, sized(2, &words(&algorithms))),
            (51, vec![]),
            (45, vec![1, 1]),
            (43, sized(1, &words(&[0x0304]))),
            (57, vec![]),
        ],
    );
    let (events, _) = datagrams::<Quic>(&[(CLIENT, &CLIENTS.packet(&crypto(0, &hello)))]);
    assert_eq!(only(&events)["ja3"]["hash"], "f75253b5e2b4dcb3fdae9b78ce8c6e49");
    assert_eq!(only(&events)["ja4"], "q13d0308h3_55b375c5d22e_f0736a66fa6b");
}

/// A hello of several packets.
fn long_hello() -> Vec<u8> {
    let extensions = [(0, server_name("long.example")), (43, sized(1, &words(&[0x0304]))), (51, vec![3; 3000])];
    client_hello(0x0303, &[0x1301], &extensions)
}

#[test]
fn a_hello_may_come_in_any_order_over_several_packets() {
    let hello = long_hello();
    let pieces: Vec<Vec<u8>> = hello.chunks(100).enumerate().map(|(at, piece)| crypto(at * 100, piece)).collect();
    // The odd ones first, backwards, with a ping and an acknowledgement between; then the even ones, each twice.
    let odd =
        pieces.iter().skip(1).step_by(2).rev().flat_map(|piece| [piece.clone(), vec![1, 2, 0, 0, 1, 0, 0, 0]].concat());
    let even = pieces.iter().step_by(2).flat_map(|piece| [piece.clone(), piece.clone()].concat());
    let first = CLIENTS.packet(&odd.collect::<Vec<_>>());
    let second = Made { number: 3, destination: b"servers", ..CLIENTS }.packet(&even.collect::<Vec<_>>());
    // Both in one datagram, behind a packet with data of the application.
    let early = [&[0xd3, 0, 0, 0, 1, 0, 0, 0x40, 5][..], &[0xee; 5]].concat();
    let coalesced = [early, first.clone(), second.clone()].concat();
    for steps in [vec![(CLIENT, &first[..]), (CLIENT, &second)], vec![(CLIENT, &coalesced)]] {
        let (events, next) = datagrams::<Quic>(&steps);
        assert_eq!(next, Next::More);
        assert_eq!(only(&events)["sni"], "long.example");
        assert!(only(&events)["ja4"].is_string());
    }
}

#[test]
fn a_retry_begins_anew() {
    let retry = [&[0xf0, 0, 0, 0, 1, 0, 4][..], b"anew", b"token", &[0; 16]].concat();
    let again = Made { keys: b"anew", destination: b"anew", ..CLIENTS }.packet(&unhex(CLIENT_CRYPTO));
    let hello = server_hello(0x0303, 0x1301, &[]);
    let server = Made { keys: b"anew", ..SERVERS }.packet(&crypto(0, &hello));
    let cut = CLIENTS.packet(&crypto(0, &long_hello()[..500]));
    let steps = [(CLIENT, &cut[..]), (SERVER, &retry), (CLIENT, &again), (SERVER, &server)];
    let (events, next) = datagrams::<Quic>(&steps);
    assert_eq!(next, Next::Done);
    assert_eq!(only(&events)["sni"], "example.com");
    assert!(only(&events)["ja3s"].is_object());
}

#[test]
fn a_server_that_was_heard_first_does_not_hide_the_client() {
    let server = unhex(SERVER_PACKET);
    let steps = [(SERVER, &server[..]), (CLIENT, &client_packet(Version::One)), (SERVER, &server)];
    let (events, next) = datagrams::<Quic>(&steps);
    assert_eq!(next, Next::Done);
    assert_eq!(only(&events)["sni"], "example.com");
    assert_eq!(events[0]["src_ip"], "10.0.0.1");
}

#[test]
fn a_server_whose_hello_overtakes_the_clients_is_read_all_the_same() {
    let steps = [(SERVER, &unhex(SERVER_PACKET)[..]), (CLIENT, &client_packet(Version::One))];
    let (events, next) = datagrams::<Quic>(&steps);
    assert_eq!(next, Next::Done);
    let quic = only(&events);
    assert_eq!((&quic["sni"], &quic["ja3s"]["string"]), (&json!("example.com"), &json!("771,4865,51-43")));
    assert_eq!(events[0]["src_ip"], "10.0.0.1");
}

#[test]
fn a_server_may_ask_for_another_hello() {
    let retry = unhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c");
    let retry = message(2, &[words(&[0x0303]), retry, vec![0], words(&[0x1301]), vec![0]].concat());
    let hello = server_hello(0x0303, 0x1302, &[(43, words(&[0x0304]))]);
    let first = SERVERS.packet(&crypto(0, &retry));
    let second = Made { number: 2, ..SERVERS }.packet(&crypto(retry.len(), &hello));
    let (events, next) =
        datagrams::<Quic>(&[(CLIENT, &client_packet(Version::One)), (SERVER, &first), (SERVER, &second)]);
    assert_eq!(next, Next::Done);
    assert_eq!(only(&events)["ja3s"]["string"], "771,4866,43");
}

#[test]
fn other_versions_are_named_and_given_up() {
    for (version, name) in [(0xff00_001d, "draft-29"), (0x5130_3436, "Q046"), (0xface_b002, "faceb002")] {
        let packet = [&[0xc3], &u32::to_be_bytes(version)[..], &[8], &DESTINATION, &[0; 40]].concat();
        assert!(Quic::recognise(&packet, (40_000, 443)));
        assert!(!Quic::recognise(&packet, (40_000, 5000)));
        let (events, next) = datagrams::<Quic>(&[(CLIENT, &packet)]);
        assert_eq!(next, Next::Done);
        assert_eq!(only(&events), &json!({"version": name}));
    }
}

#[test]
fn a_server_that_speaks_no_version_of_the_client_ends_nothing() {
    let negotiation = [&[0x80, 0, 0, 0, 0, 0, 0][..], &1u32.to_be_bytes()].concat();
    let anew = Made { keys: b"other id", destination: b"other id", ..CLIENTS }.packet(&unhex(CLIENT_CRYPTO));
    let cut = CLIENTS.packet(&crypto(0, &long_hello()[..500]));
    let (events, _) = datagrams::<Quic>(&[(CLIENT, &cut), (SERVER, &negotiation), (CLIENT, &anew)]);
    assert_eq!(only(&events)["sni"], "example.com");
}

#[test]
fn a_client_that_has_gone_on_ends_it() {
    let short = [0x40; 50];
    let handshake = [&[0xe3, 0, 0, 0, 1, 0, 0, 0x40, 30][..], &[0; 30]].concat();
    for later in [&short[..], &handshake] {
        let client = client_packet(Version::One);
        let mut steps = vec![(CLIENT, &client[..])];
        steps.extend([(CLIENT, later)].repeat(LATE_MAX as usize));
        let (events, next) = datagrams::<Quic>(&steps);
        assert_eq!(next, Next::Done);
        assert_eq!(only(&events)["sni"], "example.com");
    }
    let close = CLIENTS.packet(&[unhex(CLIENT_CRYPTO), vec![0x1c, 1, 0, 0]].concat());
    assert_eq!(datagrams::<Quic>(&[(CLIENT, &close)]).1, Next::Done);
}

#[test]
fn what_no_key_opens_is_given_up() {
    let mut packet = client_packet(Version::One);
    *packet.last_mut().unwrap() ^= 1;
    let steps = vec![(CLIENT, &packet[..]); FAILURES_MAX as usize + 10];
    let (events, next) = datagrams::<Quic>(&steps);
    assert_eq!((events.len(), next), (0, Next::Done));

    let short = [0x40; 50];
    let steps = vec![(SERVER, &short[..]); DATAGRAMS_MAX as usize];
    assert_eq!(datagrams::<Quic>(&steps[1..]).1, Next::More);
    assert_eq!(datagrams::<Quic>(&steps).1, Next::Done);
}

#[test]
fn a_malformed_hello_is_told() {
    let malformed = CLIENTS.packet(&crypto(0, &message(1, b"\x03\x03short")));
    let (events, next) = datagrams::<Quic>(&[(CLIENT, &malformed)]);
    assert_eq!(next, Next::Done);
    assert_eq!(events[0]["anomaly"]["event"], "error_on_data");
    assert_eq!(events[1]["quic"]["version"], "1");
}

#[test]
fn the_server_took_so_long_to_say_hello() {
    let mut recorder = Recorder::new(vxtap_wire::protocol::UDP, 443);
    let mut quic = Quic::default();
    recorder.step(|cx| quic.datagram(CLIENT, &client_packet(Version::One), 0, cx));
    recorder.step(|cx| quic.datagram(SERVER, &unhex(SERVER_PACKET), 0, cx));
    let responses = recorder.events.responses(Protocol::Quic).unwrap();
    assert_eq!(responses.len(), 1);
    assert!((990_000..1_010_000).contains(&responses.max()));
}

#[test]
fn other_datagrams_are_not_taken_for_quic() {
    assert!(!Quic::recognise(b"", (40_000, 443)));
    assert!(!Quic::recognise(
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01",
        (40_000, 53)
    ));
    // A connection id longer than any, a token longer than the datagram.
    assert!(!Quic::recognise(&[&[0xc0, 0, 0, 0, 1, 21][..], &[0; 60]].concat(), (40_000, 443)));
    assert!(!Quic::recognise(&[&[0xc0, 0, 0, 0, 1, 0, 0, 0x7f, 0xff][..], &[0; 60]].concat(), (40_000, 443)));
}

/// What [`Assembly`] has to have: a byte for each place that is known.
fn expected(pieces: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut all = vec![None; HANDSHAKE_MAX + 1];
    for (offset, bytes) in pieces {
        for (place, byte) in all[*offset..].iter_mut().zip(bytes) {
            *place = Some(*byte);
        }
    }
    all.into_iter().map_while(|byte| byte).collect()
}

#[test]
fn pieces_beyond_the_bounds_are_left_out() {
    let mut assembly = Assembly::default();
    assembly.insert(u64::MAX, b"x");
    assembly.insert(HANDSHAKE_MAX as u64, b"x");
    assembly.insert(0, b"");
    assert_eq!(assembly.beginning(), b"");
    for run in 0..RUNS_MAX as u64 + 5 {
        assembly.insert(2 + run * 2, b"x");
    }
    // The last five are too many; the one that joins others is welcome.
    assembly.insert(0, b"abc");
    assert_eq!(assembly.beginning(), b"abc");
    let filling = [b'y'; RUNS_MAX * 2];
    assembly.insert(3, &filling);
    assert_eq!(assembly.beginning().len(), 3 + RUNS_MAX * 2);
}

proptest! {
    #[test]
    fn pieces_in_any_order_give_what_is_there_from_the_beginning(
        pieces in prop::collection::vec((0usize..300, prop::collection::vec(any::<u8>(), 1..40)), 0..40),
    ) {
        let mut assembly = Assembly::default();
        for (offset, bytes) in &pieces {
            assembly.insert(*offset as u64, bytes);
        }
        prop_assert_eq!(assembly.beginning(), expected(&pieces));
    }

    #[test]
    fn any_frames_in_packets_with_the_right_keys_never_panic(
        packets in prop::collection::vec((any::<bool>(), prop::collection::vec(0u8..12, 20..200)), 1..8),
    ) {
        let packets: Vec<_> = packets
            .iter()
            .map(|(is_client, frames)| {
                let made = if *is_client { CLIENTS } else { SERVERS };
                (made.from, made.packet(frames))
            })
            .collect();
        let steps: Vec<_> = packets.iter().map(|(side, bytes)| (*side, &bytes[..])).collect();
        let (events, _) = datagrams::<Quic>(&steps);
        prop_assert!(events.iter().filter(|event| event["event_type"] == "quic").count() <= 1);
    }

    #[test]
    fn any_bytes_never_panic_and_stay_in_bounds(
        start in 0usize..4,
        bytes in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300), 0u32..3), 0..8),
    ) {
        // Beginnings that get further than chance does.
        let starts = [
            &[][..],
            &[0xc0, 0, 0, 0, 1],
            &[0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0],
            &[0xd3, 0x6b, 0x33, 0x43, 0xcf, 0, 0, 0],
        ];
        let mut recorder = Recorder::new(vxtap_wire::protocol::UDP, 443);
        let mut quic = Quic::default();
        for (is_client, bytes, missing) in &bytes {
            let side = if *is_client { CLIENT } else { SERVER };
            let datagram = [starts[start], bytes].concat();
            Quic::recognise(&datagram, (40_000, 443));
            recorder.step(|cx| quic.datagram(side, &datagram, *missing, cx));
            for crypto in &quic.crypto {
                prop_assert!(crypto.beginning().len() <= HANDSHAKE_MAX);
            }
        }
        recorder.step(|cx| quic.end(cx));
        let events = recorder.take();
        prop_assert!(events.iter().filter(|event| event["event_type"] == "quic").count() <= 1);
    }
}
