//! Frames as the records of a block.

use vxtap_analyzers::StreamId;
use vxtap_capfile::pcapng::PacketHeader;

use super::lane::CaptureMarks;

/// A frame to be captured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CapturedFrame<'a> {
    /// Nanoseconds since 1970.
    pub(crate) time_ns: u64,
    /// The mirror stream that it came by.
    pub(crate) stream: StreamId,
    /// What of it is captured.
    pub(crate) bytes: &'a [u8],
    /// Its length before anyone cut it.
    pub(crate) wire_len: u32,
}

/// Writes the records of `frames` to the beginning of `room`, notes them in the `marks` of its block, and gives their bytes and how many
/// they are. The caller has seen that there is room.
#[inline]
pub(super) fn write_all<'a>(
    frames: impl Iterator<Item = CapturedFrame<'a>>,
    mut room: &mut [u8],
    marks: &mut CaptureMarks,
) -> (usize, u64) {
    let (mut bytes, mut records) = (0, 0);
    let CaptureMarks { stretches, first_ns, last_ns, sorted, .. } = marks;
    let (mut oldest_ns, mut newest_ns, mut in_order) = (*first_ns, *last_ns, *sorted);
    let mut stretch = None;
    let mut room_in_stretch = 0;
    for frame in frames {
        let length = PacketHeader::block_len(frame.bytes.len());
        let (record, rest) = room.split_at_mut(length);
        room = rest;
        write(&frame, record);
        if length > room_in_stretch {
            let next = stretches.for_record(length);
            room_in_stretch = next.room();
            stretch = Some(next);
        }
        room_in_stretch = room_in_stretch.saturating_sub(length);
        if let Some(stretch) = &mut stretch {
            stretch.add(length, frame.time_ns, frame.stream);
        }
        in_order &= frame.time_ns >= newest_ns;
        oldest_ns = oldest_ns.min(frame.time_ns);
        newest_ns = newest_ns.max(frame.time_ns);
        bytes += length;
        records += 1;
    }
    (*first_ns, *last_ns, *sorted) = (oldest_ns, newest_ns, in_order);
    (bytes, records)
}

/// Fills `record` with what [`PacketHeader::append_to`] would append. In words straight to their place: a header that is gathered in memory
/// first has to get there before it can be copied on, and to append part by part looks for room each time.
#[inline]
fn write(frame: &CapturedFrame<'_>, record: &mut [u8]) {
    const ENHANCED_PACKET: u32 = 6;
    const HEADER_LEN: usize = 28;
    let pair = |low: u32, high: u32| (u64::from(high) << 32 | u64::from(low)).to_le_bytes();
    let (length, captured) = (record.len() as u32, frame.bytes.len() as u32);
    // Before the frame, which is written over what of the first four bytes is no padding.
    if let Some(end) = record.last_chunk_mut() {
        *end = pair(0, length);
    }
    if let Some((header, rest)) = record.split_first_chunk_mut::<HEADER_LEN>() {
        header[..8].copy_from_slice(&pair(ENHANCED_PACKET, length));
        // The stream's number stands for the interface until the writer knows the interface's number in its file.
        header[8..16].copy_from_slice(&pair(frame.stream.0, (frame.time_ns >> 32) as u32));
        header[16..24].copy_from_slice(&pair(frame.time_ns as u32, captured));
        header[24..].copy_from_slice(&frame.wire_len.max(captured).to_le_bytes());
        rest[..frame.bytes.len()].copy_from_slice(frame.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_bytes_that_the_encoder_of_pcapng_gives_it() {
        let frame: Vec<u8> = (0..200).map(|byte| byte ^ 0x5a).collect();
        // What was in the block before is not seen in its padding.
        let mut block = vec![0xee; 8000];
        for length in (0..200).step_by(8) {
            let frame = |number: usize| CapturedFrame {
                time_ns: 0x0102_0304_f506_0708 + number as u64,
                stream: StreamId(70_000 + number as u32),
                bytes: &frame[..length + number],
                wire_len: 100,
            };
            let mut expected = Vec::new();
            for CapturedFrame { time_ns, stream, bytes, wire_len } in (0..8).map(frame) {
                PacketHeader { interface: stream.0, time_ns, wire_len }.append_to(&mut expected, bytes);
            }
            let written = write_all((0..8).map(frame), &mut block, &mut CaptureMarks::default());
            assert_eq!(written, (expected.len(), 8));
            assert_eq!(block[..expected.len()], expected, "{length}");
            let mut exactly = vec![0xee; expected.len()];
            write_all((0..8).map(frame), &mut exactly, &mut CaptureMarks::default());
            assert_eq!(exactly, expected, "no more is written than the records have");
        }
    }
    #[test]
    fn records_of_a_batch_are_noted_as_if_each_came_alone() {
        // Times that go back, streams in turn, and records that fill stretches or are longer than one.
        let bytes = vec![0; 70_000];
        let frame = |number: u64| CapturedFrame {
            time_ns: 5000 + number * 2 - number % 7 * 3,
            stream: StreamId((number % 11) as u32),
            bytes: &bytes[..if number == 33 { 70_000 } else { (number * 97 % 5000) as usize }],
            wire_len: 0,
        };
        let (mut together, mut alone) = (CaptureMarks::default(), CaptureMarks::default());
        let mut room = vec![0; 500_000];
        for batch in [0..1, 1..1, 1..40, 40..100] {
            let (_, records) = write_all(batch.clone().map(frame), &mut room, &mut together);
            assert_eq!(records, batch.clone().count() as u64);
            for number in batch {
                assert_eq!(write_all([frame(number)].into_iter(), &mut room, &mut alone).1, 1);
            }
            assert_eq!(format!("{together:?}"), format!("{alone:?}"));
        }
        assert_eq!((together.sorted, together.first_ns, together.last_ns), (false, 4994, 5196));
    }
}
