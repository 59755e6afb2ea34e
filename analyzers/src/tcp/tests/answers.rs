//! Both sides in the order in which one end of the connection had them.

use proptest::prelude::*;

use super::*;

/// Payload that was sent when its sender had `had` bytes of the other side.
fn answer(from: Side, at: i64, had: i64, payload: &[u8]) -> Sent<'_> {
    Sent { ack: had, ..data(from, at, payload) }
}

#[test]
fn an_answer_that_the_mirror_shows_first_is_delivered_behind_its_question() {
    let mut bench = Bench::open();
    // The acknowledgement alone comes first as well: it is no reason not to wait.
    bench.see(&ack(SERVER, 0, 5));
    bench.see(&answer(SERVER, 0, 5, b"pong "));
    bench.see(&answer(SERVER, 5, 5, b"more"));
    assert_eq!(bench.told(), "");
    assert!(bench.budget.used() >= 9);
    bench.see(&answer(CLIENT, 0, 0, b"ping?"));
    assert_eq!(bench.told(), "c:ping? s:pong  s:more");
    assert_eq!(bench.budget.used(), 0);
    bench.see(&answer(CLIENT, 5, 9, b"next"));
    assert_eq!(bench.told(), "c:next");
    assert_eq!((bench.of(SERVER).out_of_order, bench.of(SERVER).retransmissions), (0, 0));
}

#[test]
fn what_has_waited_is_told_with_the_time_when_it_came() {
    let mut bench = Bench::open();
    bench.pass(8 * MILLI);
    bench.see(&answer(SERVER, 0, 5, b"pong"));
    bench.pass(3 * MILLI);
    bench.see(&answer(SERVER, 4, 5, b"more"));
    bench.pass(MILLI);
    bench.see(&answer(CLIENT, 0, 0, b"ping?"));
    assert_eq!(bench.told_with_times(), "c:ping? @20 s:pong @23 s:more @");
    bench.see(&answer(CLIENT, 5, 8, b"next"));
    assert_eq!(bench.told_with_times(), "c:next");
}

#[test]
fn what_waited_for_a_hole_is_told_with_the_time_when_it_came_though_what_is_behind_the_hole_came_later() {
    let mut bench = Bench::open();
    bench.see(&answer(CLIENT, 0, 0, b"q1"));
    // The answer is lost; the next question says that the client has it.
    bench.see(&answer(CLIENT, 2, 3, b"q2"));
    bench.pass(5 * MILLI);
    bench.see(&answer(SERVER, 3, 4, b"two"));
    bench.pass(HOLE_ACKED_NS);
    bench.see(&ack(CLIENT, 4, 6));
    assert_eq!(bench.told_with_times(), "c:q1 @12 s:~3 @ @12 c:q2 @ @17 s:two @");
}

#[test]
fn a_lost_answer_to_the_syn_and_a_lost_question_turn_no_order_round() {
    let mut bench = Bench::new();
    bench.see(&flagged(TcpFlags::SYN, CLIENT, -1, 0));
    bench.see(&ack(CLIENT, 0, 0));
    // The SYN-ACK and the first question are missing.
    bench.see(&answer(SERVER, 0, 2, b"one"));
    bench.see(&ack(CLIENT, 2, 3));
    bench.see(&answer(CLIENT, 2, 3, b"q2"));
    bench.see(&answer(SERVER, 3, 4, b"two"));
    assert_eq!(bench.told(), "");
    bench.pass(HOLE_ACKED_NS);
    bench.see(&ack(CLIENT, 4, 6));
    bench.see(&ack(CLIENT, 4, 6));
    assert_eq!(bench.told_with_times(), "@0 c:~2 @ @0 s:one @ @0 c:q2 @ @0 s:two @");
}

#[test]
fn where_the_answer_to_the_syn_is_lost_its_acknowledgement_tells_what_else_is() {
    let mut bench = Bench::new();
    bench.see(&flagged(TcpFlags::SYN, CLIENT, -1, 0));
    bench.see(&ack(CLIENT, 0, 0));
    bench.see(&answer(CLIENT, 0, 0, b"q1"));
    // The first answer is lost as well.
    bench.see(&answer(CLIENT, 2, 3, b"q2"));
    bench.see(&answer(SERVER, 3, 4, b"two"));
    bench.pass(HOLE_ACKED_NS);
    bench.see(&ack(CLIENT, 4, 6));
    assert_eq!(bench.told(), "c:q1 c:q2 s:~3 s:two");
}

#[test]
fn each_answer_waits_for_its_own_question() {
    let mut bench = Bench::open();
    bench.see(&answer(SERVER, 0, 2, b"one "));
    bench.see(&answer(SERVER, 4, 4, b"two "));
    bench.see(&answer(SERVER, 8, 6, b"three"));
    bench.see(&answer(CLIENT, 0, 0, b"q1"));
    assert_eq!(bench.told(), "c:q1 s:one ");
    bench.see(&answer(CLIENT, 4, 8, b"q3"));
    assert_eq!(bench.told(), "");
    bench.see(&answer(CLIENT, 2, 4, b"q2"));
    assert_eq!(bench.told(), "c:q2 s:two  c:q3 s:three");
}

#[test]
fn a_question_that_does_not_come_is_waited_for_as_long_as_an_acknowledged_hole() {
    let mut bench = Bench::open();
    bench.see(&answer(SERVER, 0, 5, b"pong"));
    for _ in 1..HOLE_ACKED_SEGMENTS {
        bench.see(&ack(SERVER, 4, 5));
    }
    assert_eq!(bench.told(), "");
    bench.see(&ack(SERVER, 4, 5));
    assert_eq!(bench.told(), "s:pong");
    bench.see(&answer(SERVER, 4, 5, b"more"));
    bench.pass(HOLE_ACKED_NS - 1);
    bench.see(&ack(SERVER, 8, 5));
    assert_eq!(bench.told(), "");
    bench.pass(1);
    bench.see(&ack(SERVER, 8, 5));
    assert_eq!(bench.told(), "s:more");
    // What comes of the other side next is behind the gap, and the answer to it behind that.
    bench.see(&answer(CLIENT, 5, 8, b"next"));
    bench.see(&answer(SERVER, 8, 9, b"last"));
    assert_eq!(bench.told(), "");
    bench.pass(HOLE_ACKED_NS);
    bench.see(&ack(SERVER, 12, 9));
    assert_eq!(bench.told(), "c:~5 c:next s:last");
    assert_eq!((bench.of(CLIENT).lost_bytes, bench.of(CLIENT).missing_bytes), (5, 0));
}

#[test]
fn an_answer_behind_a_hole_that_its_question_waits_for_is_not_told_before_it() {
    let mut bench = Bench::open();
    bench.see(&answer(CLIENT, 0, 0, b"q1"));
    assert_eq!(bench.told(), "c:q1");
    // The end of the first answer is missing, and the second one overtakes its question, by one segment.
    bench.see(&answer(SERVER, 0, 2, b"on"));
    bench.see(&answer(SERVER, 3, 4, b"two"));
    bench.see(&answer(CLIENT, 2, 3, b"q2"));
    for _ in 0..HOLE_ACKED_SEGMENTS {
        bench.see(&ack(SERVER, 6, 4));
    }
    assert_eq!(bench.told(), "s:on s:~1 c:q2 s:two");
}

#[test]
fn holes_of_both_sides_that_are_left_at_the_end_turn_no_order_round() {
    let mut bench = Bench::open();
    bench.see(&answer(CLIENT, 0, 0, b"q1"));
    bench.see(&answer(SERVER, 0, 2, b"on"));
    bench.see(&answer(SERVER, 3, 4, b"two"));
    bench.see(&answer(CLIENT, 4, 6, b"q3"));
    assert_eq!(bench.told(), "c:q1 s:on");
    bench.finish();
    assert_eq!(bench.told(), "s:~1 c:~2 s:two c:q3 c:. s:.");
}

#[test]
fn an_answer_that_is_sent_again_later_waits_no_longer_and_takes_no_more_memory() {
    let mut bench = Bench::open();
    bench.see(&answer(SERVER, 0, 5, b"pong"));
    let used = bench.budget.used();
    for had in 6..6 + i64::from(HOLE_ACKED_SEGMENTS) - 2 {
        bench.see(&answer(SERVER, 0, had, b"pong"));
    }
    assert_eq!((bench.told().as_str(), bench.budget.used()), ("", used));
    bench.see(&answer(CLIENT, 0, 0, b"ping?"));
    assert_eq!(bench.told(), "c:ping? s:pong");
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_hides_nothing() {
    let mut bench = Bench::open();
    bench.see(&answer(CLIENT, 0, 0, b"ping"));
    bench.see(&answer(SERVER, 0, 1_000_000, b"pong"));
    bench.pass(HOLE_ACKED_NS);
    bench.see(&answer(CLIENT, 4, 4, b"secret"));
    bench.see(&answer(SERVER, 4, 10, b"found"));
    assert_eq!(bench.told(), "c:ping s:pong c:secret s:found");
}

#[test]
fn a_lost_question_or_answer_puts_no_other_out_of_step() {
    let questions = [b"q0?", b"q1?", b"q2?", b"q3?", b"q4?"];
    for (lost, late) in (0..10).flat_map(|lost| [(lost, false), (lost, true)]) {
        let mut bench = Bench::open();
        for (number, question) in (0..).zip(&questions) {
            let (asked, told) = (3 * number, 2 * number);
            let pair = [answer(CLIENT, asked, told, *question), answer(SERVER, told, asked + 3, &question[..2])];
            for (at, sent) in (2 * number..).zip(&pair) {
                if at != lost {
                    bench.see(sent);
                }
            }
        }
        // With time to see what is lost, and without.
        if late {
            bench.pass(HOLE_ACKED_NS);
        }
        bench.see(&ack(SERVER, 10, 15));
        bench.see(&ack(CLIENT, 15, 10));
        bench.finish();
        let told = bench.told().replace(" c:.", "").replace(" s:.", "");
        let mut expected: Vec<String> =
            (0..5).flat_map(|number| [format!("c:q{number}?"), format!("s:q{number}")]).collect();
        let at = usize::try_from(lost).unwrap();
        expected[at] = if lost % 2 == 0 { "c:~3".to_owned() } else { "s:~2".to_owned() };
        if lost == 8 {
            // Nothing came behind it: that it is missing is known at the end.
            expected.swap(8, 9);
        }
        assert_eq!(told, expected.join(" "), "without {lost}");
    }
}

#[test]
fn after_some_vain_waits_nothing_waits_until_something_of_the_other_side_is_seen() {
    let mut bench = Bench::open();
    let vain = |bench: &mut Bench, at: i64, had: i64| {
        bench.see(&answer(SERVER, at, had, b"x"));
        let waits = bench.told().is_empty();
        bench.pass(HOLE_ACKED_NS);
        bench.see(&ack(SERVER, at + 1, had));
        waits
    };
    for number in 0..i64::from(UNANSWERED_MAX) {
        assert!(vain(&mut bench, number, 10 + 10 * number), "{number}");
        assert_eq!(bench.told(), "s:x");
    }
    assert!(!vain(&mut bench, 4, 100));
    bench.told();
    bench.see(&answer(CLIENT, 0, 5, b"here"));
    assert_eq!(bench.told(), "c:here");
    bench.see(&answer(SERVER, 5, 10, b"y"));
    bench.see(&answer(CLIENT, 4, 5, b"and on"));
    assert_eq!(bench.told(), "c:and on s:y");
}

#[test]
fn where_one_side_is_never_seen_nothing_waits() {
    let mut bench = Bench::new();
    bench.see(&flagged(TcpFlags::SYN | TcpFlags::ACK, SERVER, -1, 0));
    bench.see(&answer(SERVER, 0, 5, b"a"));
    bench.see(&answer(SERVER, 1, 500, b"b"));
    assert_eq!(bench.told(), "s:a s:b");
    // Nor of a connection that is picked up.
    let mut bench = Bench::new();
    bench.see(&answer(SERVER, 0, 5, b"ab"));
    bench.see(&answer(SERVER, 2, 500, b"cd"));
    assert_eq!(bench.told(), "s:ab s:cd");
}

#[test]
fn the_number_of_a_fin_is_no_byte() {
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"ping?"));
    bench.see(&fin(CLIENT, 5));
    bench.see(&answer(SERVER, 0, 6, b"pong"));
    assert_eq!(bench.told(), "c:ping? c:. s:pong");
    // Where it was not seen it may come yet, and no byte is missing if it does not.
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"ping?"));
    bench.see(&answer(SERVER, 0, 6, b"pong"));
    bench.see(&fin(CLIENT, 5));
    assert_eq!(bench.told(), "c:ping? c:. s:pong");
    let mut bench = Bench::open();
    bench.see(&data(CLIENT, 0, b"ping?"));
    bench.see(&answer(SERVER, 0, 6, b"pong"));
    bench.pass(HOLE_ACKED_NS);
    bench.see(&ack(SERVER, 4, 6));
    assert_eq!(bench.told(), "c:ping? s:pong");
}

#[test]
fn what_waits_for_the_other_side_is_bounded_and_comes_at_the_end() {
    let mut bench = Bench::open();
    let bytes = vec![b'x'; 60_000];
    let mut at = 0;
    for _ in 0..HOLE_ACKED_SEGMENTS {
        bench.see(&answer(SERVER, at, 5, &bytes));
        assert!(bench.budget.used() <= WAITING_MAX + 100_000, "{}", bench.budget.used());
        at += 60_000;
    }
    assert!(bench.told().len() > 300_000);
    let mut bench = Bench::open();
    bench.see(&answer(SERVER, 0, 5, b"pong"));
    bench.finish();
    assert_eq!((bench.told().as_str(), bench.budget.used()), ("s:pong c:~5 c:. s:.", 0));
    let mut bench = Bench::open();
    bench.see(&answer(SERVER, 0, 5, b"pong"));
    bench.connection.stop_buffering(&mut bench.budget);
    bench.see(&answer(SERVER, 4, 5, b"more"));
    bench.see(&fin(SERVER, 8));
    assert_eq!(bench.told(), "s:.");
}

/// What each says in turn, in bytes, cut into segments of this size; and how far out of its place each segment comes.
fn dialogue() -> impl Strategy<Value = (Vec<(usize, usize)>, Vec<usize>)> {
    (prop::collection::vec((1..60usize, 5..30usize), 1..20), prop::collection::vec(0..7usize, 60))
}

proptest! {
    #[test]
    fn however_near_segments_overtake_each_other_nobody_answers_what_was_not_said(
        (turns, late) in dialogue(),
        begins in any::<bool>(),
    ) {
        let text = [b'a'; 64];
        let mut said = [0_i64; 2];
        let mut sent = Vec::new();
        let mut from = if begins { CLIENT } else { SERVER };
        for (length, size) in turns {
            for part in text[..length].chunks(size) {
                sent.push((from, said[from.index()], said[from.other().index()], part));
                said[from.index()] += i64::try_from(part.len()).unwrap();
            }
            from = from.other();
        }
        let place = |number: usize| number + late[number % late.len()];
        let mut order: Vec<usize> = (0..sent.len()).collect();
        order.sort_by_key(|number| place(*number));

        let mut bench = Bench::open();
        let mut heard = [0_i64; 2];
        for number in order {
            let (from, at, had, payload) = sent[number];
            bench.see(&answer(from, at, had, payload));
            for told in std::mem::take(&mut bench.told) {
                let (who, bytes) = told.split_once(':').unwrap();
                prop_assert!(!bytes.starts_with('~'), "{told}");
                let side = if who == "c" { CLIENT } else { SERVER };
                let begins = heard[side.index()];
                let had = sent.iter().find(|(from, at, _, _)| *from == side && *at == begins).map(|(_, _, had, _)| *had);
                prop_assert!(had.is_some_and(|had| had <= heard[side.other().index()]), "{told} at {begins}: {heard:?}");
                heard[side.index()] += i64::try_from(bytes.len()).unwrap();
            }
        }
        prop_assert_eq!(heard, said);
        prop_assert_eq!(bench.budget.used(), 0);
    }
}
