//! Judges of frames: the same in the same order, the same as multisets, each flow in order.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use vxtap_wire::{FlowKey, FrameView, NetworkId};

use crate::capture_file::Record;

/// How many differences are told.
const TOLD: usize = 5;

/// Checks that `got` has the bytes of `expected`, in its order.
///
/// # Errors
/// Tells the first difference.
pub fn same_in_order(expected: &[Record], got: &[Record]) -> Result<(), String> {
    for (number, (expected, got)) in expected.iter().zip(got).enumerate() {
        if expected.data != got.data {
            return Err(format!(
                "frame {number} differs:\nexpected {}\ngot      {}",
                hex(&expected.data),
                hex(&got.data)
            ));
        }
    }
    if expected.len() == got.len() {
        Ok(())
    } else {
        Err(format!("expected {} frames, got {}", expected.len(), got.len()))
    }
}

/// Checks that `got` has the frames of `expected`, each as often, in any order.
///
/// # Errors
/// Tells how many are missing and how many are too many, and shows some.
pub fn same_frames<'a>(
    expected: impl IntoIterator<Item = &'a [u8]>,
    got: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), String> {
    let mut balance: BTreeMap<&[u8], i64> = BTreeMap::new();
    for frame in expected {
        *balance.entry(frame).or_default() += 1;
    }
    for frame in got {
        *balance.entry(frame).or_default() -= 1;
    }
    let missing: i64 = balance.values().filter(|count| **count > 0).sum();
    let surplus: i64 = -balance.values().filter(|count| **count < 0).sum::<i64>();
    if missing == 0 && surplus == 0 {
        return Ok(());
    }
    let mut report = format!("{missing} frames are missing, {surplus} are too many");
    for (frame, count) in balance.iter().filter(|(_, count)| **count != 0).take(TOLD) {
        // Writing to a string cannot fail.
        let _ = write!(report, "\n{} x{} {}", if *count > 0 { "missing" } else { "surplus" }, count.abs(), hex(frame));
    }
    Err(report)
}

/// Checks that the frames of each flow, both directions together, are in `got` in the order of `expected`.
///
/// # Errors
/// Names the first flow that is not, and the place.
pub fn same_order_per_flow<'a>(
    expected: impl IntoIterator<Item = &'a [u8]>,
    got: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), String> {
    let (expected, got) = (by_flow(expected), by_flow(got));
    for (flow, frames) in &expected {
        let seen = got.get(flow).map_or(&[][..], Vec::as_slice);
        if let Some(place) = frames.iter().zip(seen).position(|(a, b)| a != b) {
            return Err(format!("frame {place} of flow {flow:?} is another one"));
        }
        if frames.len() != seen.len() {
            return Err(format!("flow {flow:?} has {} frames, expected {}", seen.len(), frames.len()));
        }
    }
    if let Some(flow) = got.keys().find(|flow| !expected.contains_key(*flow)) {
        return Err(format!("flow {flow:?} should not be there"));
    }
    Ok(())
}

fn by_flow<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> HashMap<FlowKey, Vec<&'a [u8]>> {
    let mut flows: HashMap<FlowKey, Vec<&[u8]>> = HashMap::new();
    for frame in frames {
        if let Some(tuple) = FrameView::parse(frame).five_tuple {
            flows.entry(FlowKey::new(NetworkId::NONE, &tuple).0).or_default().push(frame);
        }
    }
    flows
}

/// The bytes of records.
pub fn bytes(records: &[Record]) -> impl Iterator<Item = &[u8]> {
    records.iter().map(|record| record.data.as_slice())
}

fn hex(frame: &[u8]) -> String {
    let mut text = format!("({} bytes) ", frame.len());
    for byte in frame.iter().take(64) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datagram::{Peer, tcp_frame};

    fn record(data: &[u8]) -> Record {
        Record { interface: String::new(), link_type: 1, time_ns: 0, original_len: data.len(), data: data.to_vec() }
    }

    #[test]
    fn one_wrong_byte_one_frame_less_or_a_changed_order_is_seen() {
        let good = [record(b"one"), record(b"two"), record(b"two")];
        assert_eq!(same_in_order(&good, &good), Ok(()));
        assert!(same_in_order(&good, &good[..2]).unwrap_err().contains("expected 3 frames, got 2"));
        let swapped = [record(b"two"), record(b"one"), record(b"two")];
        assert!(same_in_order(&good, &swapped).unwrap_err().contains("frame 0 differs"));
        assert_eq!(same_frames(bytes(&good), bytes(&swapped)), Ok(()));
        let other = [record(b"one"), record(b"two"), record(b"twp")];
        let report = same_frames(bytes(&good), bytes(&other)).unwrap_err();
        assert!(report.starts_with("1 frames are missing, 1 are too many"), "{report}");
        assert!(same_frames(bytes(&good), bytes(&good[1..])).unwrap_err().starts_with("1 frames are missing, 0"));
    }

    #[test]
    fn frames_of_one_flow_must_keep_their_order_and_those_of_two_need_not() {
        let (a, b) = (Peer::v4(1, 1000), Peer::v4(2, 80));
        let (ask, answer) = (tcp_frame(a, b, 1, b"ask"), tcp_frame(b, a, 1, b"answer"));
        let other = tcp_frame(Peer::v4(1, 1001), b, 1, b"ask");
        let order = |frames: &[&Vec<u8>]| frames.iter().map(|frame| (*frame).clone()).collect::<Vec<_>>();
        let check = |x: &[Vec<u8>], y: &[Vec<u8>]| {
            same_order_per_flow(x.iter().map(Vec::as_slice), y.iter().map(Vec::as_slice))
        };
        let sent = order(&[&ask, &answer, &other]);
        assert_eq!(check(&sent, &order(&[&other, &ask, &answer])), Ok(()));
        assert!(check(&sent, &order(&[&answer, &ask, &other])).unwrap_err().contains("is another one"));
        assert!(check(&sent, &order(&[&ask, &other])).unwrap_err().contains("has 1 frames, expected 2"));
        assert!(check(&sent[..2], &sent).unwrap_err().contains("should not be there"));
    }
}
