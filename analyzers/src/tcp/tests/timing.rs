//! The figures.

use super::*;

fn rtts(bench: &Bench) -> (Option<u64>, Option<u64>) {
    let metrics = bench.connection.metrics();
    (metrics.responder_rtt_ns.map(Into::into), metrics.originator_rtt_ns.map(Into::into))
}

#[test]
fn the_handshake_gives_the_round_trip_time_of_either_side() {
    assert_eq!(rtts(&Bench::open()), (Some(10 * MILLI), Some(2 * MILLI)));
}

#[test]
fn a_syn_that_was_sent_again_gives_no_time_but_its_answer_does() {
    let mut bench = Bench::new();
    bench.see(&flagged(TcpFlags::SYN, CLIENT, -1, 0));
    bench.pass(1000 * MILLI);
    bench.see(&flagged(TcpFlags::SYN, CLIENT, -1, 0));
    bench.see(&flagged(TcpFlags::SYN | TcpFlags::ACK, SERVER, -1, 0));
    bench.pass(3 * MILLI);
    bench.see(&ack(CLIENT, 0, 0));
    assert_eq!(rtts(&bench), (None, Some(3 * MILLI)));
    assert_eq!(bench.of(CLIENT).retransmissions, 1);
}

#[test]
fn a_syn_ack_that_was_sent_again_gives_no_time_of_the_client() {
    let mut bench = Bench::new();
    bench.see(&flagged(TcpFlags::SYN, CLIENT, -1, 0));
    bench.pass(MILLI);
    for _ in 0..2 {
        bench.see(&flagged(TcpFlags::SYN | TcpFlags::ACK, SERVER, -1, 0));
    }
    bench.see(&ack(CLIENT, 0, 0));
    assert_eq!(rtts(&bench), (Some(MILLI), None));
    assert_eq!(bench.of(SERVER).retransmissions, 1);
}

#[test]
fn an_ack_of_more_than_the_syn_ack_gives_no_time() {
    let mut bench = Bench::new();
    bench.see(&flagged(TcpFlags::SYN, CLIENT, -1, 0));
    bench.see(&flagged(TcpFlags::SYN | TcpFlags::ACK, SERVER, -1, 0));
    bench.see(&data(SERVER, 0, b"hello"));
    bench.see(&ack(CLIENT, 0, 5));
    bench.see(&ack(CLIENT, 0, 0));
    assert_eq!(rtts(&bench).1, None);
}

#[test]
fn a_syn_that_its_answer_overtook_gives_no_time_of_the_server() {
    let mut bench = Bench::new();
    bench.see(&flagged(TcpFlags::SYN | TcpFlags::ACK, SERVER, -1, 0));
    bench.see(&flagged(TcpFlags::SYN, CLIENT, -1, 0));
    bench.pass(MILLI);
    bench.see(&ack(CLIENT, 0, 0));
    assert_eq!(rtts(&bench), (None, Some(MILLI)));
    assert_eq!(bench.of(CLIENT).retransmissions, 0);
}

#[test]
fn the_first_byte_of_the_answer_is_counted_from_the_first_of_the_request() {
    let mut bench = Bench::open();
    bench.see(&data(SERVER, 0, b"220 ready"));
    bench.pass(5 * MILLI);
    bench.see(&data(CLIENT, 0, b"EHLO"));
    bench.pass(MILLI);
    bench.see(&data(CLIENT, 4, b" me"));
    bench.pass(MILLI);
    bench.see(&ack(SERVER, 9, 7));
    assert_eq!(bench.connection.metrics().first_byte_ns, None);
    bench.pass(MILLI);
    bench.see(&data(SERVER, 9, b"250 ok"));
    bench.pass(MILLI);
    bench.see(&data(SERVER, 15, b"more"));
    assert_eq!(bench.connection.metrics().first_byte_ns.map(u64::from), Some(3 * MILLI));
}

#[test]
fn a_connection_picked_up_in_the_middle_has_no_first_byte() {
    let mut bench = Bench::new();
    bench.see(&data(CLIENT, 0, b"est"));
    bench.pass(MILLI);
    bench.see(&data(SERVER, 0, b"answer"));
    assert_eq!(bench.connection.metrics().first_byte_ns, None);
}

#[test]
fn what_was_seen_is_sent_again_and_what_was_not_is_late() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"abcd"));
    bench.see(&data(CLIENT, 2, b"cdef"));
    bench.see(&data(CLIENT, 8, b"ij"));
    bench.see(&data(CLIENT, 8, b"ij"));
    let figures = bench.of(CLIENT);
    assert_eq!((figures.retransmissions, figures.retransmitted_bytes, figures.out_of_order), (2, 4, 0));
    // The whole round trip takes 12 ms.
    bench.pass(12 * MILLI);
    bench.see(&data(CLIENT, 6, b"gh"));
    let figures = bench.of(CLIENT);
    assert_eq!((figures.retransmissions, figures.out_of_order), (2, 1));
}

#[test]
fn a_hole_that_is_filled_late_was_lost_before_the_mirror() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 4, b"ef"));
    bench.pass(12 * MILLI + 1);
    bench.see(&data(CLIENT, 0, b"abcd"));
    let figures = bench.of(CLIENT);
    assert_eq!((figures.retransmissions, figures.retransmitted_bytes, figures.out_of_order), (1, 4, 0));
}

#[test]
fn three_duplicate_acknowledgements_make_the_repair_a_retransmission_however_soon() {
    let mut bench = Bench::open();
    bench.see(&Sent { ack: 0, ..data(SERVER, 2, b"cd") });
    bench.see(&data(CLIENT, 0, b"x"));
    for _ in 0..3 {
        bench.see(&ack(CLIENT, 1, 0));
    }
    assert_eq!(bench.of(CLIENT).duplicate_acks, 3);
    bench.see(&data(SERVER, 0, b"ab"));
    assert_eq!((bench.of(SERVER).retransmissions, bench.of(SERVER).out_of_order), (1, 0));
}

#[test]
fn an_acknowledgement_is_no_duplicate_without_data_under_way_or_with_another_window() {
    let mut bench = Bench::open();
    bench.see(&ack(SERVER, 0, 0));
    bench.see(&ack(SERVER, 0, 0));
    assert_eq!(bench.of(SERVER).duplicate_acks, 0, "nothing is under way");
    bench.see(&data(CLIENT, 0, b"ab"));
    bench.see(&Sent { window: 900, ..ack(SERVER, 0, 0) });
    assert_eq!(bench.of(SERVER).duplicate_acks, 0, "the window is news");
    bench.see(&Sent { window: 900, ..data(SERVER, 0, b"x") });
    bench.see(&Sent { window: 900, ..fin(SERVER, 1) });
    assert_eq!(bench.of(SERVER).duplicate_acks, 0, "payload and FIN are news");
    bench.see(&Sent { window: 900, ..ack(SERVER, 2, 0) });
    assert_eq!(bench.of(SERVER).duplicate_acks, 1);
    bench.see(&Sent { window: 900, ..ack(SERVER, 2, 2) });
    bench.see(&Sent { window: 900, ..ack(SERVER, 2, 2) });
    assert_eq!(bench.of(SERVER).duplicate_acks, 1, "everything is acknowledged");
}

#[test]
fn keep_alive_probes_are_nothing_of_note() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"ab"));
    bench.see(&ack(SERVER, 0, 2));
    for probe in [&b"\0"[..], b""] {
        bench.see(&Sent { flags: TcpFlags::ACK, ..data(CLIENT, 1, probe) });
        bench.see(&ack(SERVER, 0, 2));
    }
    bench.see(&data(CLIENT, 2, b"cd"));
    assert_eq!(bench.told(), "c:ab c:cd");
    assert_eq!((bench.of(CLIENT), bench.of(SERVER)), Default::default());
}

#[test]
fn the_byte_of_a_zero_window_probe_is_of_the_stream_and_not_sent_again() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"ab"));
    bench.see(&Sent { window: 0, ..ack(SERVER, 0, 2) });
    bench.see(&data(CLIENT, 2, b"c"));
    bench.see(&Sent { window: 0, ..ack(SERVER, 0, 2) });
    bench.see(&data(CLIENT, 2, b"c"));
    bench.see(&Sent { window: 500, ..ack(SERVER, 0, 2) });
    bench.see(&data(CLIENT, 2, b"cdef"));
    assert_eq!(bench.told(), "c:ab c:c c:def");
    assert_eq!((bench.of(CLIENT).retransmissions, bench.of(SERVER).zero_windows), (0, 2));
}

#[test]
fn a_window_of_nothing_in_a_reset_or_fin_is_not_counted() {
    let mut bench = Bench::open();
    bench.see(&Sent { window: 0, ..fin(SERVER, 0) });
    bench.see(&Sent { window: 0, ..flagged(TcpFlags::RST, SERVER, 1, 0) });
    assert_eq!(bench.of(SERVER).zero_windows, 0);
}

#[test]
fn a_bare_fin_that_is_sent_again_is_counted() {
    let mut bench = Bench::open();
    bench.see(&fin(CLIENT, 0));
    bench.see(&fin(CLIENT, 0));
    assert_eq!((bench.told().as_str(), bench.of(CLIENT).retransmissions), ("c:.", 1));
}
