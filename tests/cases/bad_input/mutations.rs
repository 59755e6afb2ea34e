//! Captures that others made, broken in every way that comes to mind.

use std::collections::HashSet;

use vxtap_tests::captures::Captures;
use vxtap_wire::{FrameView, Transport};

use super::watched::Watched;

/// Passes over all captures; each breaks others of their frames.
const PASSES: u64 = 20;
/// Fixed, so that a failure comes again. Any other is as good.
const SEED: u64 = 0x7676_7461_7021;
/// Longer captures are read once in so many passes.
const LONG: usize = 1 << 20;
/// See [`LONG`].
const LONG_PASSES: u64 = 4;
/// One of so many frames is broken.
const BROKEN_ONE_OF: u64 = 6;

const CLASSES: [&str; 11] =
    ["vxlan", "geneve", "http", "dns", "tls", "quic", "appproto", "tcp", "l2l3", "mixed", "malformed"];

/// SplitMix64.
struct Dice(u64);

impl Dice {
    /// A number below `sides`; 0 for no sides.
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31).checked_rem(sides).unwrap_or(0)
    }

    /// A place in `length` bytes, three times of four behind the usual headers.
    fn place(&mut self, length: usize) -> usize {
        let headers = if self.below(4) > 0 { 54.min(length.saturating_sub(1)) } else { 0 };
        headers + self.below((length - headers) as u64) as usize
    }
}

/// A capture's name and its frames.
struct Frames {
    name: String,
    frames: Vec<Vec<u8>>,
}

impl Frames {
    fn all(captures: &Captures) -> Vec<Self> {
        let readable = |name: &str| name != "pcapfile_infinite_loop";
        let ethernet = captures.of(&CLASSES).into_iter().filter(|capture| capture.link_type == "ether");
        ethernet
            .filter(|capture| readable(&capture.name))
            .map(|capture| Self {
                frames: capture.records().into_iter().map(|record| record.data).collect(),
                name: capture.name,
            })
            .collect()
    }

    fn bytes(&self) -> usize {
        self.frames.iter().map(Vec::len).sum()
    }

    /// These frames, some of them broken.
    fn broken(&self, dice: &mut Dice) -> Vec<Vec<u8>> {
        let mut broken: Vec<Vec<u8>> = Vec::with_capacity(self.frames.len() + self.frames.len() / 4);
        for frame in &self.frames {
            broken.push(frame.clone());
            let last = broken.len() - 1;
            if frame.is_empty() || dice.below(BROKEN_ONE_OF) > 0 {
                continue;
            }
            match dice.below(9) {
                // Bits, bytes, and the values at which lengths are told wrong.
                0 => broken[last][dice.place(frame.len())] ^= 1 << dice.below(8),
                1 => broken[last][dice.place(frame.len())] = dice.below(256) as u8,
                2 => broken[last][dice.place(frame.len())] = [0, 0xff, 0x7f, 0x80][dice.below(4) as usize],
                3 => broken[last].truncate(dice.place(frame.len())),
                4 => {
                    let from = dice.place(frame.len());
                    let until = (from + 1 + dice.below(64) as usize).min(frame.len());
                    broken[last].drain(from..until);
                }
                5 => {
                    let from = dice.place(frame.len());
                    let piece = frame[from..(from + 64).min(frame.len())].to_vec();
                    let at = dice.place(frame.len());
                    broken[last].splice(at..at, piece);
                }
                6 => broken.push(frame.clone()),
                7 => broken.truncate(last),
                _ => {
                    let other = last.saturating_sub(dice.below(8) as usize);
                    broken.swap(last, other);
                }
            }
        }
        broken
    }

    /// These frames without the first segment's first byte of each end of each TCP connection: a stream that begins with a hole
    /// of one byte.
    fn without_first_bytes(&self) -> Vec<Vec<u8>> {
        let mut begun = HashSet::new();
        let mut cut = self.frames.clone();
        for frame in &mut cut {
            let view = FrameView::parse(frame);
            let (Some(tuple), Transport::Tcp(tcp)) = (view.five_tuple, view.transport) else { continue };
            let (headers, length) = (view.headers_len(), view.payload().len());
            let ends = (tuple.source, tuple.source_port, tuple.destination, tuple.destination_port);
            if length == 0 || !begun.insert(ends) {
                continue;
            }
            // The sequence number stands where it is found; a frame in which it stands twice is left alone.
            let sequence = tcp.sequence.to_be_bytes();
            let mut places = (14..headers.saturating_sub(3)).filter(|at| frame[*at..at + 4] == sequence);
            if let (Some(at), None) = (places.next(), places.next()) {
                let network = view.network_offset();
                // The total length of IPv4, the payload's of IPv6.
                let field = network + if frame[network] >> 4 == 4 { 2 } else { 4 };
                let shorter = u16::from_be_bytes([frame[field], frame[field + 1]]).saturating_sub(1);
                frame[field..field + 2].copy_from_slice(&shorter.to_be_bytes());
                frame[at..at + 4].copy_from_slice(&tcp.sequence.wrapping_add(1).to_be_bytes());
                frame.remove(headers);
            }
        }
        cut
    }
}

/// The events of `frames`.
fn observe(what: String, frames: &[Vec<u8>]) -> Vec<String> {
    let mut watched = Watched::keeping(what);
    watched.observe(frames.iter().map(Vec::as_slice));
    watched.finish()
}

#[test]
fn broken_captures_make_neither_a_panic_nor_a_broken_event_and_leave_nothing_behind() {
    let Some(captures) = Captures::open() else { return };
    println!("seed {SEED:#x}");
    let all = Frames::all(&captures);
    for pass in 0..PASSES {
        for (number, frames) in all.iter().enumerate() {
            if frames.bytes() > LONG && pass % LONG_PASSES != number as u64 % LONG_PASSES {
                continue;
            }
            let mut dice = Dice(SEED ^ pass << 32 ^ number as u64);
            observe(format!("{} in pass {pass} of seed {SEED:#x}", frames.name), &frames.broken(&mut dice));
        }
    }
}

#[test]
fn streams_without_their_first_byte_are_looked_into_all_the_same() {
    let Some(captures) = Captures::open() else { return };
    let (mut whole, mut found) = (0, 0);
    for frames in Frames::all(&captures) {
        let of_streams = |events: Vec<String>| events.iter().filter(|event| is_of_a_message(event)).count();
        whole += of_streams(observe(frames.name.clone(), &frames.frames));
        found += of_streams(observe(format!("{} without first bytes", frames.name), &frames.without_first_bytes()));
    }
    println!("{found} of {whole} events");
    assert!(found * 2 > whole, "{found} of {whole} events");
}

/// Whether `event` is of a message over TCP.
fn is_of_a_message(event: &str) -> bool {
    let is = |kind: &str| event.contains(&format!("\"event_type\":\"{kind}\""));
    event.contains("\"proto\":\"TCP\"") && !is("flow") && !is("anomaly")
}
