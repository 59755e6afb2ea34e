//! Which bytes are delivered, and when.

use super::*;

/// Acknowledgements that say nothing, so that the connection has had so many segments more.
fn idle_segments(bench: &mut Bench, count: u32) {
    for _ in 0..count {
        bench.see(&ack(SERVER, 0, 0));
    }
}

#[test]
fn what_comes_before_its_turn_waits_until_the_hole_is_filled() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"ab"));
    bench.see(&data(CLIENT, 4, b"ef"));
    bench.see(&data(CLIENT, 6, b"gh"));
    assert_eq!(bench.told(), "c:ab");
    assert!(bench.budget.used() >= 4);
    // Numbers wrap between these bytes.
    bench.see(&data(CLIENT, 2, b"cd"));
    assert_eq!(bench.told(), "c:cd c:ef c:gh");
    assert_eq!(bench.budget.used(), 0);
}

#[test]
fn bytes_of_the_two_sides_come_as_they_became_ready() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 3, b"st"));
    bench.see(&data(CLIENT, 0, b"req"));
    bench.see(&Sent { ack: 5, ..data(SERVER, 0, b"answer") });
    assert_eq!(bench.told(), "c:req c:st s:answer");
}

#[test]
fn the_first_copy_is_kept_and_other_bytes_are_counted() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"GOOD"));
    bench.see(&data(CLIENT, 0, b"GOOD"));
    assert_eq!(bench.of(CLIENT).overlaps, 0);
    bench.see(&data(CLIENT, 0, b"EVIL"));
    assert_eq!((bench.told().as_str(), bench.of(CLIENT).overlaps), ("c:GOOD", 1));
    bench.see(&data(CLIENT, 6, b"better"));
    bench.see(&data(CLIENT, 4, b"a worse one"));
    assert_eq!((bench.told().as_str(), bench.of(CLIENT).overlaps), ("c:a  c:better c:one", 2));
}

#[test]
fn other_bytes_are_found_among_the_last_that_were_delivered() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"0123456789"));
    bench.see(&data(CLIENT, 10, b"abcdefghij"));
    bench.see(&data(CLIENT, 4, b"4567"));
    assert_eq!(bench.of(CLIENT).overlaps, 0);
    bench.see(&data(CLIENT, 4, b"45X"));
    bench.see(&data(CLIENT, 18, b"iXkl"));
    assert_eq!(bench.of(CLIENT).overlaps, 2);
    assert_eq!(bench.told(), "c:0123456789 c:abcdefghij c:kl");
}

#[test]
fn a_hole_that_was_acknowledged_is_skipped_after_some_more_segments() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"ab"));
    bench.see(&data(CLIENT, 5, b"fg"));
    bench.see(&ack(SERVER, 0, 7));
    idle_segments(&mut bench, HOLE_ACKED_SEGMENTS - 1);
    assert_eq!(bench.told(), "c:ab");
    idle_segments(&mut bench, 1);
    assert_eq!(bench.told(), "c:~3 c:fg");
    assert_eq!((bench.of(CLIENT).lost_bytes, bench.of(CLIENT).missing_bytes), (3, 0));
    bench.see(&data(CLIENT, 3, b"defg"));
    assert_eq!((bench.told().as_str(), bench.of(CLIENT).overlaps), ("", 0), "nothing is known of what was skipped");
}

#[test]
fn a_hole_that_was_acknowledged_is_skipped_after_a_short_time() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 5, b"fg"));
    bench.see(&ack(SERVER, 0, 7));
    bench.pass(HOLE_ACKED_NS - 1);
    bench.see(&ack(SERVER, 0, 7));
    assert_eq!(bench.told(), "");
    bench.pass(1);
    bench.see(&Sent { ack: 7, ..data(SERVER, 0, b"answer") });
    assert_eq!(bench.told(), "c:~5 c:fg s:answer", "the answer comes behind what it answers");
}

#[test]
fn an_acknowledgement_that_overtakes_the_data_makes_no_gap() {
    let mut bench = Bench::open();
    bench.see(&ack(SERVER, 0, 6));
    bench.pass(60 * MILLI);
    bench.see(&data(CLIENT, 2, b"cd"));
    bench.see(&ack(SERVER, 0, 6));
    bench.see(&data(CLIENT, 4, b"ef"));
    bench.see(&data(CLIENT, 0, b"ab"));
    assert_eq!(bench.told(), "c:ab c:cd c:ef");
}

#[test]
fn a_direction_that_the_mirror_shows_much_later_is_put_in_order_all_the_same() {
    let mut bench = Bench::open();
    for at in 1..=100 {
        bench.see(&ack(SERVER, 0, at * 2));
    }
    // There is always a hole, and everything is acknowledged: each is filled before it is old.
    bench.see(&data(CLIENT, 2, b"cd"));
    for at in 0..40 {
        bench.see(&data(CLIENT, at * 4 + 6, b"cd"));
        bench.see(&data(CLIENT, at * 4, b"ab"));
        assert_eq!(bench.told(), "c:ab c:cd");
        assert!(bench.budget.used() > 0);
    }
}

#[test]
fn an_acknowledged_hole_with_nothing_behind_it_is_told_at_the_end() {
    let mut bench = Bench::open();
    bench.see(&data(SERVER, 0, b"ab"));
    bench.see(&ack(CLIENT, 0, 9));
    bench.pass(60_000 * MILLI);
    bench.see(&data(CLIENT, 0, b"next"));
    assert_eq!(bench.told(), "s:ab c:next");
    bench.finish();
    assert_eq!(bench.told(), "c:. s:~7 s:.");
    assert_eq!(bench.of(SERVER).lost_bytes, 7);
}

#[test]
fn a_fin_that_only_its_acknowledgement_shows_is_no_lost_byte() {
    let mut bench = Bench::open();
    bench.see(&data(SERVER, 0, b"ab"));
    bench.see(&ack(CLIENT, 0, 3));
    bench.finish();
    assert_eq!(bench.told(), "s:ab c:. s:.");
    assert_eq!(bench.of(SERVER).lost_bytes, 0);
}

#[test]
fn a_hole_of_which_nothing_is_known_is_skipped_when_it_is_old() {
    let mut bench = Bench::open();
    bench.see(&data(SERVER, 3, b"de"));
    bench.pass(HOLE_NS - 1);
    bench.see(&data(SERVER, 8, b"i"));
    assert_eq!(bench.told(), "");
    bench.pass(1);
    bench.see(&data(CLIENT, 0, b"x"));
    assert_eq!(bench.told(), "s:~3 s:de c:x");
    assert_eq!((bench.of(SERVER).lost_bytes, bench.of(SERVER).missing_bytes), (0, 3));
}

#[test]
fn each_hole_has_its_own_age() {
    let mut bench = Bench::open();
    bench.see(&data(SERVER, 1, b"b"));
    bench.pass(HOLE_NS / 2);
    bench.see(&data(SERVER, 3, b"d"));
    bench.pass(HOLE_NS / 2);
    bench.see(&ack(CLIENT, 0, 0));
    assert_eq!(bench.told(), "s:~1 s:b");
    bench.pass(HOLE_NS / 2 - 1);
    bench.see(&ack(CLIENT, 0, 0));
    assert_eq!(bench.told(), "");
    bench.pass(1);
    bench.see(&ack(CLIENT, 0, 0));
    assert_eq!(bench.told(), "s:~1 s:d");
}

#[test]
fn a_direction_has_no_more_waiting_than_it_may() {
    let mut bench = Bench::open();
    let payload = [b'x'; 1400];
    let mut most = 0;
    for at in 1..400 {
        bench.see(&data(SERVER, at * 1400, &payload));
        most = most.max(bench.budget.used());
    }
    assert!((WAITING_MAX - 1500..=WAITING_MAX).contains(&most), "{most}");
    assert_eq!((bench.budget.direction_full, bench.budget.shard_full), (1, 0));
    bench.told.retain(|told| !told.starts_with('@'));
    assert_eq!(bench.told.first().map(String::as_str), Some("s:~1400"));
    assert_eq!((bench.told.len(), bench.budget.used()), (400, 0));
}

#[test]
fn tiny_pieces_are_bounded_as_well() {
    let mut bench = Bench::open();
    for at in 0..4000 {
        bench.see(&data(SERVER, at * 3 + 5, b"x"));
    }
    assert!(bench.budget.used() <= (WAITING_PIECES_MAX + 1) * 65, "{}", bench.budget.used());
    assert_eq!(bench.budget.direction_full, 4000 - WAITING_PIECES_MAX as u64);
}

#[test]
fn a_budget_that_is_spent_makes_holes_be_skipped() {
    let mut bench = Bench::open();
    bench.budget = Budget::new(100);
    bench.see(&data(SERVER, 5, b"few"));
    assert_eq!(bench.told(), "");
    bench.see(&data(SERVER, 20, b"more"));
    assert_eq!(bench.told(), "s:~5 s:few");
    assert_eq!((bench.budget.shard_full, bench.budget.direction_full), (1, 0));
    // What waits is another connection's.
    let mut other = Bench::open();
    std::mem::swap(&mut other.budget, &mut bench.budget);
    other.see(&data(SERVER, 50, b"late"));
    assert_eq!(other.told(), "s:~50 s:late");
}

#[test]
fn the_end_of_the_flow_delivers_what_waits_and_each_end_once() {
    let mut bench = Bench::open();
    bench.see(&data(SERVER, 2, b"cd"));
    bench.see(&Sent { missing: 3, ..data(SERVER, 6, b"gh") });
    bench.finish();
    assert_eq!(bench.told(), "c:. s:~2 s:cd s:~2 s:gh s:~3 s:.");
    assert_eq!(bench.budget.used(), 0);
    bench.finish();
    bench.see(&data(SERVER, 0, b"ab"));
    assert_eq!(bench.told(), "");
    assert!(bench.connection.is_over());
}

#[test]
fn ends_are_told_even_of_a_connection_that_was_never_seen() {
    let mut bench = Bench::new();
    bench.finish();
    assert_eq!(bench.told(), "c:. s:.");
}

#[test]
fn what_the_mirror_cut_off_is_a_gap_in_its_place() {
    let mut bench = Bench::open();
    bench.see(&Sent { missing: 4, ..data(CLIENT, 0, b"ab") });
    bench.see(&Sent { missing: 1, ..data(CLIENT, 6, b"") });
    bench.see(&data(CLIENT, 7, b"h"));
    assert_eq!(bench.told(), "c:ab c:~4 c:~1 c:h");
    assert_eq!((bench.of(CLIENT).cut_bytes, bench.of(CLIENT).lost_bytes), (5, 0));
    // Too late, and nothing to compare with.
    bench.see(&data(CLIENT, 0, b"abcdefgh"));
    assert_eq!((bench.told().as_str(), bench.of(CLIENT).overlaps), ("", 0));
}

#[test]
fn a_copy_that_is_whole_fills_what_was_cut_off_while_it_waits() {
    let mut bench = Bench::open();
    bench.see(&Sent { missing: 4, ..data(CLIENT, 2, b"cd") });
    bench.see(&data(CLIENT, 2, b"CDEF"));
    bench.see(&data(CLIENT, 0, b"ab"));
    assert_eq!(bench.told(), "c:ab c:cd c:EF c:~2");
    assert_eq!(bench.of(CLIENT).cut_bytes, 2);
}

#[test]
fn a_connection_picked_up_in_the_middle_begins_with_its_first_payload() {
    let mut bench = Bench::new();
    bench.see(&ack(SERVER, 100, 50));
    bench.see(&data(CLIENT, 50, b"abc"));
    bench.see(&Sent { ack: 53, ..data(SERVER, 120, b"xyz") });
    assert_eq!(bench.told(), "c:abc s:xyz");
    // What was before comes too late, and is nothing that was sent again.
    bench.see(&data(CLIENT, 46, b"wxyz"));
    bench.see(&data(CLIENT, 48, b"yzabcde"));
    assert_eq!(bench.told(), "c:de");
    assert_eq!((bench.of(CLIENT).out_of_order, bench.of(CLIENT).retransmitted_bytes), (1, 3));
}

#[test]
fn a_keep_alive_probe_does_not_begin_a_stream() {
    let mut bench = Bench::new();
    bench.see(&Sent { flags: TcpFlags::ACK, ..data(CLIENT, 49, b"\0") });
    bench.see(&Sent { flags: TcpFlags::ACK, ..data(CLIENT, 49, b"") });
    bench.see(&data(CLIENT, 50, b"q"));
    assert_eq!(bench.told(), "c:q");
}

#[test]
fn a_syn_that_comes_behind_the_data_changes_nothing_but_that_the_beginning_is_known() {
    let mut bench = Bench::new();
    bench.see(&data(CLIENT, 2, b"cd"));
    bench.see(&flagged(TcpFlags::SYN, CLIENT, -1, 0));
    bench.see(&data(CLIENT, 4, b"ef"));
    bench.see(&data(SERVER, 0, b"answer"));
    assert_eq!(bench.told(), "c:cd c:ef s:answer");
    assert_eq!((bench.of(CLIENT).retransmissions, bench.of(CLIENT).outside), (0, 0));
    assert!(bench.connection.metrics().first_byte_ns.is_some());
}

#[test]
fn a_syn_ack_says_where_the_client_begins_whose_syn_was_not_seen() {
    let mut bench = Bench::new();
    bench.see(&flagged(TcpFlags::SYN | TcpFlags::ACK, SERVER, -1, 0));
    bench.see(&data(CLIENT, 2, b"cd"));
    assert_eq!(bench.told(), "");
    bench.see(&data(CLIENT, 0, b"ab"));
    assert_eq!(bench.told(), "c:ab c:cd");
}

#[test]
fn payload_in_the_syn_is_the_streams_first() {
    let mut bench = Bench::new();
    bench.see(&Sent { flags: TcpFlags::SYN, ..data(CLIENT, -1, b"fast") });
    bench.see(&flagged(TcpFlags::SYN | TcpFlags::ACK, SERVER, -1, 4));
    bench.see(&data(CLIENT, 4, b" open"));
    assert_eq!(bench.told(), "c:fast c: open");
}

#[test]
fn another_syn_is_left_out() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"ab"));
    bench.see(&Sent { flags: TcpFlags::SYN, ..data(CLIENT, 500, b"evil") });
    bench.see(&data(CLIENT, 2, b"cd"));
    assert_eq!((bench.told().as_str(), bench.of(CLIENT).outside), ("c:ab c:cd", 1));
}

#[test]
fn both_sides_may_open_and_close_at_once() {
    let mut bench = Bench::new();
    bench.see(&flagged(TcpFlags::SYN, CLIENT, -1, 0));
    bench.see(&flagged(TcpFlags::SYN, SERVER, -1, 0));
    bench.see(&flagged(TcpFlags::SYN | TcpFlags::ACK, CLIENT, -1, 0));
    bench.see(&flagged(TcpFlags::SYN | TcpFlags::ACK, SERVER, -1, 0));
    bench.see(&data(SERVER, 0, b"s"));
    bench.see(&data(CLIENT, 0, b"c"));
    bench.see(&fin(CLIENT, 1));
    bench.see(&fin(SERVER, 1));
    bench.see(&ack(CLIENT, 2, 2));
    bench.see(&ack(SERVER, 2, 2));
    assert_eq!(bench.told(), "s:s c:c c:. s:.");
    assert_eq!((bench.of(CLIENT).retransmissions, bench.of(SERVER).retransmissions), (0, 0));
    assert_eq!(bench.connection.metrics().responder_rtt_ns, None);
    bench.finish();
    assert_eq!(bench.told(), "");
}

#[test]
fn a_fin_ends_a_side_once_everything_before_it_is_there() {
    let mut bench = Bench::open();
    bench.see(&Sent { flags: TcpFlags::FIN | TcpFlags::ACK, ..data(CLIENT, 2, b"cd") });
    bench.see(&fin(SERVER, 1));
    assert_eq!(bench.told(), "");
    bench.see(&data(CLIENT, 0, b"ab"));
    bench.see(&data(SERVER, 0, b"z"));
    assert_eq!(bench.told(), "c:ab c:cd c:. s:z s:.");
}

#[test]
fn a_hole_before_a_fin_is_skipped_when_it_was_acknowledged() {
    let mut bench = Bench::open();
    bench.see(&fin(SERVER, 6));
    bench.see(&ack(CLIENT, 0, 7));
    bench.pass(HOLE_ACKED_NS);
    bench.see(&ack(CLIENT, 0, 7));
    assert_eq!((bench.told().as_str(), bench.of(SERVER).lost_bytes), ("s:~6 s:.", 6));
}

#[test]
fn what_is_behind_the_fin_is_left_out() {
    let mut bench = Bench::open();
    bench.see(&fin(CLIENT, 2));
    bench.see(&data(CLIENT, 0, b"abcd"));
    bench.see(&data(CLIENT, 4, b"ef"));
    assert_eq!((bench.told().as_str(), bench.of(CLIENT).outside), ("c:ab c:.", 2));
    // A FIN in the middle of what was seen is none.
    bench.see(&data(SERVER, 0, b"abcd"));
    bench.see(&fin(SERVER, 2));
    bench.see(&data(SERVER, 4, b"ef"));
    assert_eq!((bench.told().as_str(), bench.of(SERVER).outside), ("s:abcd s:ef", 1));
}

#[test]
fn a_reset_ends_both_sides_and_only_where_it_fits() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"ab"));
    bench.see(&data(SERVER, 2, b"cd"));
    bench.see(&flagged(TcpFlags::RST, CLIENT, 2 + RESET_WINDOW.cast_signed() + 1, 0));
    bench.see(&flagged(TcpFlags::RST, CLIENT, -2, 0));
    assert_eq!((bench.told().as_str(), bench.of(CLIENT).outside), ("c:ab", 2));
    bench.see(&flagged(TcpFlags::RST, CLIENT, 2, 0));
    assert_eq!(bench.told(), "c:. s:~2 s:cd s:.");
    assert_eq!(bench.budget.used(), 0);
}

#[test]
fn a_reset_that_answers_a_syn_has_to_acknowledge_it() {
    let mut bench = Bench::new();
    bench.see(&flagged(TcpFlags::SYN, CLIENT, -1, 0));
    bench.see(&flagged(TcpFlags::RST | TcpFlags::ACK, SERVER, -7_001, 5_000_000));
    assert_eq!((bench.told().as_str(), bench.of(SERVER).outside), ("", 1));
    bench.see(&flagged(TcpFlags::RST | TcpFlags::ACK, SERVER, -7_001, 0));
    assert_eq!(bench.told(), "c:. s:.");
}

#[test]
fn what_is_far_away_is_left_out_until_everything_is_there() {
    let mut bench = Bench::open();
    let far = i64::from(AHEAD_MAX) + 10;
    bench.see(&data(CLIENT, 0, b"ab"));
    bench.see(&data(CLIENT, far, b"far"));
    bench.see(&data(CLIENT, -i64::from(BEHIND_MAX), b"far"));
    bench.see(&data(CLIENT, 2, b"cd"));
    assert_eq!((bench.told().as_str(), bench.of(CLIENT).outside), ("c:ab c:cd", 2));
    for _ in 1..STRAYS_MAX {
        bench.see(&data(CLIENT, far, b"here"));
    }
    assert_eq!(bench.told(), "");
    bench.see(&data(CLIENT, far, b"here"));
    bench.see(&data(CLIENT, far + 4, b"now"));
    assert_eq!(bench.told(), format!("c:~{} c:here c:now", far - 4));
}

#[test]
fn when_nobody_wants_bytes_none_are_kept_and_ends_are_told() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"ab"));
    bench.see(&data(CLIENT, 4, &[b'x'; 500]));
    let before = bench.budget.used();
    bench.connection.stop_buffering(&mut bench.budget);
    assert!(before > 500 && bench.budget.used() < 100);
    for at in 1..100 {
        bench.see(&data(CLIENT, 4 + at * 500, &[b'x'; 500]));
    }
    assert!(bench.budget.used() < 100, "what was seen is one piece");
    bench.see(&ack(SERVER, 0, 50_000));
    bench.pass(HOLE_ACKED_NS);
    bench.see(&fin(CLIENT, 50_004));
    bench.see(&Sent { missing: 5, ..data(SERVER, 0, b"") });
    bench.finish();
    assert_eq!(bench.told(), "c:ab c:. s:.");
    assert_eq!((bench.of(CLIENT).lost_bytes, bench.of(SERVER).cut_bytes), (2, 5));
}
