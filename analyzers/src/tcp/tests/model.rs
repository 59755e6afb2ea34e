//! Against a model that has a cell for each byte, and with anything at all.

use proptest::prelude::*;

use super::*;

/// What is known of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Unseen,
    Cut,
    Byte(u8),
}

/// A stream as a row of cells: the first copy of a byte stays, and nothing before `next` changes.
struct Model {
    cells: Vec<Cell>,
    next: usize,
}

impl Model {
    fn see(&mut self, start: usize, payload: &[u8], cut: usize) {
        for (at, byte) in payload.iter().enumerate() {
            let cell = &mut self.cells[start + at];
            if start + at >= self.next && !matches!(cell, Cell::Byte(_)) {
                *cell = Cell::Byte(*byte);
            }
        }
        for cell in self.cells.iter_mut().skip(start + payload.len()).take(cut) {
            if *cell == Cell::Unseen {
                *cell = Cell::Cut;
            }
        }
        self.next += self.cells[self.next..].iter().take_while(|cell| **cell != Cell::Unseen).count();
    }

    /// `None` for each byte that is missing, up to the last one known.
    fn row(&self) -> Vec<Option<u8>> {
        let end = self.cells.iter().rposition(|cell| *cell != Cell::Unseen).map_or(0, |last| last + 1);
        self.cells[..end].iter().map(|cell| if let Cell::Byte(byte) = cell { Some(*byte) } else { None }).collect()
    }
}

/// A segment of a stream: where, how long, how much of it is cut off, other bytes than the stream's or none, and when it comes.
#[derive(Clone, Debug)]
struct Cutting {
    start: usize,
    len: usize,
    cut: usize,
    other: bool,
}

const STREAM: usize = 600;

/// The stream cut up in order, some parts twice or away, overlapping, and shuffled within a window.
fn cuttings() -> impl Strategy<Value = Vec<Cutting>> {
    let one = (2..40usize, 0..12usize, 0..10u8, any::<bool>(), 0..24u32, any::<bool>());
    prop::collection::vec(one, 10..60).prop_map(|parts| {
        let (mut at, mut order) = (0, Vec::new());
        for (number, (len, back, fate, other, late, cut)) in parts.into_iter().enumerate() {
            let start = at.min(STREAM - 60) - back.min(at.min(STREAM - 60));
            let cutting = Cutting { start, len, cut: if cut { len / 3 } else { 0 }, other: other && fate > 5 };
            at = start + len;
            let place = number as u32 + late;
            match fate {
                // Never seen.
                0 => {}
                1 | 6 => {
                    order.push((place, cutting.clone()));
                    order.push((place + 7, Cutting { cut: 0, ..cutting }));
                }
                _ => order.push((place, cutting)),
            }
        }
        order.sort_by_key(|(place, _)| *place);
        order.into_iter().map(|(_, cutting)| cutting).collect()
    })
}

/// What was delivered of a side, byte by byte.
fn row_of(side: Side, row: &mut Vec<Option<u8>>, delivery: Delivery<'_>) {
    match delivery {
        Delivery::Data(from, bytes) if from == side => row.extend(bytes.iter().copied().map(Some)),
        Delivery::Gap(from, bytes) if from == side => row.extend(std::iter::repeat_n(None, bytes as usize)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn what_is_delivered_is_what_a_row_of_cells_has(sequence in any::<u32>(), near_wrap in any::<bool>(), cuttings in cuttings()) {
        let sequence = if near_wrap { 0u32.wrapping_sub(sequence % 500) } else { sequence };
        let mut model = Model { cells: vec![Cell::Unseen; STREAM + 100], next: 0 };
        let (mut connection, mut budget, mut row) = (Connection::default(), Budget::default(), Vec::new());
        let mut see = |at: u32, flags, payload: &[u8], missing| {
            let header = TcpHeader {
                sequence: sequence.wrapping_add(at),
                acknowledgement: 0,
                flags: TcpFlags(flags),
                window: 100,
            };
            let segment = Segment { header, payload, missing, time_ns: START };
            connection.segment(CLIENT, &segment, &mut budget, &mut |delivery| row_of(CLIENT, &mut row, delivery));
        };
        see(0, TcpFlags::SYN, b"", 0);
        for Cutting { start, len, cut, other } in cuttings {
            let payload: Vec<u8> =
                (start..start + len - cut).map(|at| (at * 7 % 251) as u8 ^ if other { 0xff } else { 0 }).collect();
            model.see(start, &payload, cut);
            see(start as u32 + 1, TcpFlags::ACK, &payload, cut as u32);
        }
        connection.finish(&mut budget, &mut |delivery| row_of(CLIENT, &mut row, delivery));
        prop_assert_eq!(row, model.row());
        prop_assert_eq!(budget.used(), 0);
    }

    /// Acknowledgements and time make holes be skipped early: what is delivered are first copies in their places all the same.
    #[test]
    fn whatever_is_skipped_the_rest_is_in_its_place(
        sequence in any::<u32>(),
        cuttings in cuttings(),
        acks in prop::collection::vec((0..STREAM as u32, 0..30_000_000u64), 120),
    ) {
        let mut copies = vec![None; STREAM + 100];
        let (mut connection, mut budget, mut row) = (Connection::default(), Budget::default(), Vec::new());
        let mut time_ns = START;
        let mut see = |from, number: u32, acknowledgement, flags, payload: &[u8], missing, time_ns| {
            let header = TcpHeader { sequence: number, acknowledgement, flags: TcpFlags(flags), window: 100 };
            let segment = Segment { header, payload, missing, time_ns };
            connection.segment(from, &segment, &mut budget, &mut |delivery| row_of(CLIENT, &mut row, delivery));
        };
        see(CLIENT, sequence, 0, TcpFlags::SYN, b"", 0, time_ns);
        for (Cutting { start, len, cut, other }, (acked, later)) in cuttings.into_iter().zip(acks) {
            let payload: Vec<u8> =
                (start..start + len - cut).map(|at| (at * 7 % 251) as u8 ^ if other { 0xff } else { 0 }).collect();
            for (copy, byte) in copies[start..].iter_mut().zip(&payload) {
                copy.get_or_insert(*byte);
            }
            time_ns += later;
            see(CLIENT, sequence.wrapping_add(start as u32 + 1), 0, TcpFlags::ACK, &payload, cut as u32, time_ns);
            see(SERVER, 0, sequence.wrapping_add(acked + 1), TcpFlags::ACK, b"", 0, time_ns);
        }
        connection.finish(&mut budget, &mut |delivery| row_of(CLIENT, &mut row, delivery));
        for (at, byte) in row.iter().enumerate().filter(|(_, byte)| byte.is_some()) {
            prop_assert_eq!(*byte, copies[at], "at {}", at);
        }
        let last = copies.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        prop_assert!(row.len() >= last);
    }

    /// Any headers and lengths: what is delivered adds up, ends come once and last, and memory is bounded and given back.
    #[test]
    fn anything_at_all_keeps_memory_bounded_and_every_end_single(
        segments in prop::collection::vec(
            (
                any::<bool>(), any::<u8>(), prop_oneof![0..3000u32, any::<u32>()], prop_oneof![0..3000u32, any::<u32>()],
                prop_oneof![0..300usize, Just(60_000usize)], prop_oneof![Just(0), 0..2000u32, any::<u32>()],
                prop_oneof![Just(0), 0..20_000_000u64, Just(u64::MAX)],
            ),
            0..120,
        ),
        stop in prop::option::of(0..120usize),
    ) {
        const LIMIT: usize = 100_000;
        let (mut connection, mut budget) = (Connection::default(), Budget::new(LIMIT));
        let (mut ends, mut told) = ([0; 2], [0u64; 2]);
        let bytes = vec![7; 60_000];
        let mut deliver = |delivery: Delivery<'_>| {
            let (side, count) = match delivery {
                Delivery::Data(side, bytes) => (side, bytes.len() as u64),
                Delivery::Gap(side, bytes) => (side, bytes),
                Delivery::End(side) => {
                    ends[side.index()] += 1;
                    return;
                }
                Delivery::Came(_) => return,
            };
            assert!(count > 0);
            assert_eq!(ends[side.index()], 0);
            told[side.index()] += count;
        };
        let mut time_ns = START;
        for (at, (client, flags, sequence, acknowledgement, len, missing, later)) in segments.into_iter().enumerate() {
            if stop == Some(at) {
                connection.stop_buffering(&mut budget);
            }
            time_ns = time_ns.saturating_add(later);
            // Not every other segment a RST or SYN.
            let flags = if flags < 200 { flags & !(TcpFlags::RST | TcpFlags::SYN) } else { flags };
            let header = TcpHeader { sequence, acknowledgement, flags: TcpFlags(flags), window: u16::from(flags) };
            let segment = Segment { header, payload: &bytes[..len], missing, time_ns };
            connection.segment(if client { CLIENT } else { SERVER }, &segment, &mut budget, &mut deliver);
            prop_assert!(budget.used() <= LIMIT);
        }
        connection.finish(&mut budget, &mut deliver);
        prop_assert_eq!(budget.used(), 0);
        prop_assert_eq!(ends, [1, 1]);
    }
}
