use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{CLIENT, Recorder, SERVER, Step, stream, stream_however_cut};
use super::super::{Guess, Next, Opening, StreamProtocol};
use super::Ssh;

fn kexinit(lists: [&str; 10]) -> Vec<u8> {
    let mut payload = vec![20];
    payload.extend([7; 16]);
    for list in lists {
        payload.extend((list.len() as u32).to_be_bytes());
        payload.extend(list.as_bytes());
    }
    payload.extend([0; 5]);
    let mut packet = (payload.len() as u32 + 1 + 4).to_be_bytes().to_vec();
    packet.push(4);
    packet.extend(payload);
    packet.extend([0; 4]);
    packet
}

const LISTS: [&str; 10] = ["kex", "key", "c1", "c2", "m1", "m2", "z1", "z2", "", ""];

fn session() -> Vec<Value> {
    let offer = kexinit(LISTS);
    let client = [b"SSH-2.0-OpenSSH_9.6\r\n", &offer[..]].concat();
    stream_however_cut::<Ssh>(&[
        Step::Data(SERVER, b"hello\nSSH-2.0-OpenSSH_7.4 Debian-10\r\n"),
        Step::Data(CLIENT, &client),
        Step::Data(SERVER, &offer),
    ])
}

#[test]
fn banners_and_hassh_of_both_sides_are_one_event() {
    let events = session();
    assert_eq!(events.len(), 1);
    let ssh = &events[0]["ssh"];
    assert_eq!(ssh["client"]["software_version"], "OpenSSH_9.6");
    assert_eq!(ssh["server"]["software_version"], "OpenSSH_7.4");
    assert_eq!(ssh["client"]["hassh"], json!({"hash": "b7ea5e4a02d023fc931bfc64be2280ab", "string": "kex;c1;m1;z1"}));
    assert_eq!(ssh["server"]["hassh"]["string"], "kex;c2;m2;z2");
}

#[test]
fn nothing_is_wanted_after_both_offers() {
    let offer = kexinit(LISTS);
    let banner = b"SSH-2.0-x\r\n";
    let (_, next) = stream::<Ssh>(&[
        Step::Data(SERVER, banner),
        Step::Data(CLIENT, banner),
        Step::Data(SERVER, &offer),
        Step::Data(CLIENT, &offer),
    ]);
    assert_eq!(next, Next::Done);
}

#[test]
fn what_is_known_is_told_where_the_offer_is_cut() {
    let offer = kexinit(LISTS);
    let (events, next) = stream::<Ssh>(&[
        Step::Data(SERVER, b"SSH-1.99-old\n"),
        Step::Data(CLIENT, b"SSH-2.0-x\r\n"),
        Step::Data(CLIENT, &offer),
        Step::Data(SERVER, &offer[..30]),
        Step::Gap(SERVER, offer.len() as u64),
    ]);
    assert_eq!(next, Next::Done);
    assert_eq!(events[0]["ssh"]["server"], json!({"proto_version": "1.99", "software_version": "old"}));
    assert_eq!(events[0]["ssh"]["truncated"], true);
    // One side alone, as a mirror of one direction shows it.
    let (events, _) = stream::<Ssh>(&[Step::Data(CLIENT, b"SSH-2.0-x\r\n")]);
    assert_eq!(events[0]["ssh"], json!({"client": {"proto_version": "2.0", "software_version": "x"}}));
}

#[test]
fn a_side_whose_banner_or_offer_was_not_shown_is_marked() {
    let offer = kexinit(LISTS);
    let banner = b"SSH-2.0-x\r\n";
    let whole = [banner, &offer[..]].concat();
    for (client, server) in [(CLIENT, SERVER), (SERVER, CLIENT)] {
        for step in [Step::Joined(server), Step::Unseen(server, true)] {
            for shown in [&offer[..], b"", banner] {
                let mut steps = vec![step, Step::Data(client, &whole), Step::Data(server, shown)];
                steps.retain(|step| !matches!(step, Step::Data(_, bytes) if bytes.is_empty()));
                let events = stream_however_cut::<Ssh>(&steps);
                assert_eq!(events.len(), 1);
                assert_eq!(events[0]["ssh"]["truncated"], true, "{step:?} {shown:?}");
            }
            let steps = [step, Step::Data(client, &whole), Step::Data(server, &whole)];
            assert!(stream_however_cut::<Ssh>(&steps)[0]["ssh"].get("truncated").is_none());
        }
    }
}

#[test]
fn nothing_is_told_where_neither_the_handshake_nor_the_ports_say_who_is_the_client() {
    for (port, joined, told) in
        [(2222, [true, true], 0), (22, [true, true], 1), (2222, [true, false], 1), (2222, [false, true], 1)]
    {
        let mut recorder = Recorder::new(vxtap_wire::protocol::TCP, port);
        recorder.joined = joined;
        let mut ssh = Ssh::default();
        recorder.step(|cx| ssh.data(CLIENT, b"SSH-2.0-OpenSSH_7.4\r\n", cx));
        for side in [CLIENT, SERVER] {
            recorder.step(|cx| ssh.end(side, cx));
        }
        assert_eq!(recorder.take().len(), told, "{port} {joined:?}");
    }
}

#[test]
fn ssh_is_recognised_by_the_banner_of_either_side() {
    let open = |originator, responder| {
        Ssh::recognise(&Opening { originator, responder, originator_port: 40_000, responder_port: 2222 })
    };
    assert_eq!(open(b"SSH-2.0-x", b""), Guess::Yes);
    assert_eq!(open(b"", b"SSH-"), Guess::Yes);
    assert_eq!(open(b"SS", b""), Guess::Perhaps);
    assert_eq!(open(b"GET", b""), Guess::No);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_in_any_pieces_never_panic(noise in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..6), cut in 1usize..90, gap: bool) {
        let mut bytes = [&b"SSH-2.0-x\r\n"[..], &kexinit(LISTS)].concat();
        for (at, byte) in noise {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        let mut steps = Vec::new();
        for piece in bytes.chunks(cut) {
            steps.extend([Step::Data(CLIENT, piece), Step::Data(SERVER, piece)]);
            if gap {
                steps.push(Step::Gap(SERVER, cut as u64 / 2 + 1));
            }
        }
        prop_assert!(stream::<Ssh>(&steps).0.len() <= 1);
    }
}
