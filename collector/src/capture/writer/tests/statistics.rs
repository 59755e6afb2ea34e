//! What a file's statistics say of its interfaces, and which interfaces it has.

use super::*;

/// Name, packets received and packets dropped of each interface of a finished file, by its statistics.
fn statistics(path: &Path) -> Vec<(String, u64, u64)> {
    let bytes = fs::read(path).unwrap();
    let mut interfaces = Vec::new();
    for block in PcapNGSlice::from_slice(&bytes).unwrap() {
        match block.unwrap() {
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                let name = interface.options.iter().find(|option| option.code.0 == 2).unwrap();
                interfaces.push((String::from_utf8(name.value[..name.len as usize].to_vec()).unwrap(), 0, 0));
            }
            PcapBlockOwned::NG(Block::InterfaceStatistics(statistics)) => {
                let count = |code| {
                    let option = statistics.options.iter().find(|option| option.code.0 == code).unwrap();
                    u64::from_le_bytes(*option.value.first_chunk().unwrap())
                };
                let interface = &mut interfaces[statistics.if_id as usize];
                (interface.1, interface.2) = (count(4), count(5));
            }
            _ => {}
        }
    }
    interfaces
}

#[test]
fn frames_that_no_block_took_are_dropped_ones_of_their_interface() {
    let run = Run::new();
    let ids: Vec<_> = [7, 8].map(|vni| run.streams.intern(&stream(vni))).into();
    let (handle, mut lanes) = run.start(1);
    lanes[0].refuse([ids[1], ids[0], ids[1]].into_iter());
    for (time_ns, id) in [(1, ids[0]), (2, ids[1])] {
        lanes[0].begin(CaptureLane::record_len(60)).unwrap();
        lanes[0].record(time_ns, id, &[1; 60], 60);
    }
    drop(lanes);
    assert_eq!(handle.finish().lanes, totals(2, 3));
    let names = ids.iter().map(|id| run.streams.name(*id));
    let expected: Vec<_> =
        names.zip([(2, 1), (3, 2)]).map(|(name, (received, dropped))| (name, received, dropped)).collect();
    assert_eq!(statistics(&run.only_file()), expected);
}

#[test]
fn frames_that_the_disk_refused_are_dropped_ones_of_the_next_file_with_their_stream() {
    let run = Run::new();
    let id = run.streams.intern(&stream(7));
    let (handle, mut lane) = run.start_with(4096, sometimes_full(0..1));
    lane.record(1, id, &[1; 60], 60);
    lane.flush();
    until("the refusal", || handle.dropped(0) == 1);
    until("another try", || {
        // With the writer behind, no block is empty: then it is the lane that refuses, and not the disk.
        if lane.begin(CaptureLane::record_len(60)).is_some() {
            lane.record(2, id, &[1; 60], 60);
        }
        lane.flush();
        handle.written(0) > 0
    });
    drop(lane);
    let LaneTotals { written, dropped } = handle.finish().lanes[0];
    assert_eq!(statistics(&run.only_file()), [(run.streams.name(id), written + dropped, dropped)]);
}

#[test]
fn a_file_describes_the_streams_of_lower_numbers_as_well_unless_files_are_split() {
    for (split, expected) in [(None, 4), (Some(CaptureSplit::Vni), 1)] {
        let mut run = Run::new();
        run.settings.split = split;
        let ids: Vec<_> = (0..4).map(|vni| run.streams.intern(&stream(vni))).collect();
        let (handle, mut lanes) = run.start(1);
        lanes[0].record(1, ids[3], &[1; 60], 60);
        drop(lanes);
        handle.finish();
        let statistics = statistics(&run.only_file());
        assert_eq!(statistics.len(), expected);
        assert_eq!(statistics.last(), Some(&(run.streams.name(ids[3]), 1, 0)));
    }
}

#[test]
fn blocks_that_are_taken_without_a_look_at_their_records_come_out_as_others_do() {
    // Streams in another order than their numbers, more than are counted apart in a stretch, records longer than a stretch.
    let mut run = Run::new();
    run.settings.rotation.bytes = Some(3 << 20);
    let ids: Vec<_> = (0..300).map(|vni| run.streams.intern(&stream(vni))).collect();
    let (handle, mut lanes) = run.start(1);
    let mut sent = Vec::new();
    for number in 0..20_000_u64 {
        let of = match number / 4000 {
            0 | 1 => number % 4,
            2 => 299 - number % 200,
            3 => number % 9,
            _ => 250,
        };
        let long = number % 5000 == 4999;
        let frame = vec![number as u8; if long { 100_000 } else { 60 + (number % 700) as usize }];
        let id = ids[of as usize];
        until("an empty block", || lanes[0].begin(CaptureLane::record_len(frame.len())).is_some());
        lanes[0].record(number, id, &frame, frame.len() as u32);
        sent.push((number, run.streams.name(id), frame.len() as u32, frame));
    }
    drop(lanes);
    assert_eq!(handle.finish().lanes, totals(20_000, 0));
    let files = run.files();
    assert!(files.len() > 1);
    let mut read = Vec::new();
    for file in &files {
        assert!(fs::metadata(file).unwrap().len() <= 3 << 20);
        let packets = contents(file).0;
        for (name, received, dropped) in statistics(file) {
            let here = packets.iter().filter(|packet| packet.1 == name).count() as u64;
            assert_eq!((received, dropped), (here, 0), "{name}");
        }
        read.extend(packets);
    }
    assert!(read == sent, "records differ");
}
