use vxtap_wire::protocol;

use super::super::testing::{CLIENT, Recorder};
use super::super::{Context, Guess, Next, Side};
use super::{Framed, Framer, Measure, Message};

/// Messages of a length byte, which does not count itself, and letters; a message that begins with `!` resumes.
#[derive(Default)]
struct Letters {
    seen: Vec<(Vec<u8>, u64, bool)>,
    lost: usize,
}

impl Framed for Letters {
    const WANTED_MAX: usize = 16;

    fn measure(&self, _: Side, bytes: &[u8]) -> Measure {
        match bytes[0] {
            0 => Measure::Nonsense,
            length => Measure::Message { length: u64::from(length) + 1, wanted: 4 },
        }
    }

    fn message(&mut self, _: Side, message: Message<'_>, _: &mut Context<'_>) -> Next {
        self.seen.push((message.bytes.to_vec(), message.length, message.cut));
        if message.bytes.get(1) == Some(&b'.') { Next::Done } else { Next::More }
    }

    fn resumes(&self, _: Side, bytes: &[u8]) -> Guess {
        match bytes.get(1) {
            Some(b'!') => Guess::Yes,
            Some(_) => Guess::No,
            None => Guess::Perhaps,
        }
    }

    fn lost(&mut self, _: Side, _: &mut Context<'_>) -> Next {
        self.lost += 1;
        Next::More
    }
}

enum Step<'a> {
    Data(&'a [u8]),
    Gap(u64),
    End,
}

fn run(steps: &[Step<'_>]) -> Letters {
    let mut recorder = Recorder::new(protocol::TCP, 1);
    let (mut framer, mut letters) = (Framer::default(), Letters::default());
    for step in steps {
        recorder.step(|cx| match step {
            Step::Data(bytes) => {
                framer.data(CLIENT, bytes, &mut letters, cx);
            }
            Step::Gap(bytes) => {
                framer.gap(CLIENT, *bytes, &mut letters, cx);
            }
            Step::End => framer.end(CLIENT, &mut letters, cx),
        });
    }
    letters
}

fn whole(bytes: &[u8], length: u64) -> (Vec<u8>, u64, bool) {
    (bytes.to_vec(), length, false)
}

#[test]
fn what_is_wanted_of_a_message_is_given_and_the_rest_is_skipped() {
    for size in [1, 2, 5, 100] {
        let bytes = b"\x01a\x06bcdefg\x02xy";
        let steps: Vec<Step<'_>> = bytes.chunks(size).map(Step::Data).collect();
        let seen = run(&steps).seen;
        assert_eq!(seen, [whole(b"\x01a", 2), whole(b"\x06bcd", 7), whole(b"\x02xy", 3)], "pieces of {size}");
    }
}

#[test]
fn a_gap_within_a_message_is_a_hole_of_known_size() {
    let letters = run(&[Step::Data(b"\x06bcde"), Step::Gap(2), Step::Data(b"\x02xy")]);
    assert_eq!(letters.seen, [whole(b"\x06bcd", 7), whole(b"\x02xy", 3)]);
    let letters = run(&[Step::Data(b"\x06b"), Step::Gap(4), Step::Data(b"g\x02xy")]);
    assert_eq!(letters.seen, [(b"\x06b".to_vec(), 7, true), whole(b"\x02xy", 3)]);
    assert_eq!(letters.lost, 0);
}

#[test]
fn after_a_gap_over_the_end_of_a_message_one_is_waited_for_that_surely_begins() {
    let letters = run(&[
        Step::Data(b"\x06b"),
        Step::Gap(6),
        Step::Data(b"\x02xy"),
        Step::Data(b"\x01"),
        Step::Data(b"!"),
        Step::Gap(3),
        Step::Gap(3),
        Step::Data(b"\x01a"),
    ]);
    assert_eq!(letters.seen, [(b"\x06b".to_vec(), 7, true), whole(b"\x01!", 2)]);
    assert_eq!(letters.lost, 2);
}

#[test]
fn nonsense_loses_the_side_and_the_end_gives_what_is_kept() {
    let letters = run(&[Step::Data(b"\x01a\x00b"), Step::Data(b"\x01c"), Step::Data(b"\x03!c"), Step::End]);
    assert_eq!(letters.seen, [whole(b"\x01a", 2), (b"\x03!c".to_vec(), 4, true)]);
    assert_eq!(letters.lost, 1);
}

#[test]
fn nothing_is_given_behind_the_message_that_was_the_last() {
    assert_eq!(run(&[Step::Data(b"\x01.\x01a")]).seen, [whole(b"\x01.", 2)]);
}
