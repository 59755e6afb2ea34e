//! Every packet of the captures that others made, under policies that are about their addresses and ports.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use vxtap_capfile::{CaptureReader, LinkType};
use vxtap_wire::{FrameView, IpVersion};

use super::{agrees, random_policy};
use crate::policy::model::Direction;
use crate::policy::provider::Provider;
use crate::policy::testing::{Random, Universe};

/// The Ethernet frames of all captures; `None`, and a line that says so, where there are none on this machine.
fn frames() -> Option<Vec<Vec<u8>>> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let root = env::var_os("VXTAP_CAPTURES").map_or_else(beside, PathBuf::from);
    let Ok(manifest) = fs::read_to_string(root.join("MANIFEST.tsv")) else {
        let no_skip = env::var("VXTAP_NO_SKIP").unwrap_or_default();
        assert!(!no_skip.split(',').any(|need| need == "1" || need == "captures"), "no captures in {}", root.display());
        println!("skipped: no captures in {}", root.display());
        return None;
    };
    let mut frames = Vec::new();
    for line in manifest.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        // Files that are no captures are among them.
        let Ok(mut reader) = CaptureReader::open(root.join(fields[1]).join(fields[2])) else { continue };
        while let Some(Ok(record)) = reader.next_record() {
            if record.link_type == LinkType::ETHERNET {
                frames.push(record.data.to_vec());
            }
        }
    }
    Some(frames)
}

/// `frame` without what no rule asks for and no check of lengths sees, so that the packets of a flow are one.
fn essence(frame: &[u8]) -> Vec<u8> {
    let mut essence = frame[..frame.len().min(58)].to_vec();
    let mut blank = |range: std::ops::Range<usize>| {
        let end = range.end.min(essence.len());
        essence[range.start.min(end)..end].fill(0);
    };
    blank(0..12);
    let behind = match frame.get(12..15) {
        Some([0x08, 0x00, first]) => {
            // Type of service, identification, time to live, checksum; a length that is neither 0 nor short.
            blank(15..16);
            blank(18..20);
            blank(22..23);
            blank(24..26);
            if frame.len() > 18 && frame[16..18] > [0, 100][..] {
                blank(16..18);
            }
            14 + usize::from(first & 15) * 4
        }
        Some([0x86, 0xdd, _]) => {
            blank(15..18);
            blank(21..22);
            if frame.len() > 20 && frame[18..20] > [0, 100][..] {
                blank(18..20);
            }
            54
        }
        _ => 58,
    };
    blank(behind + 4..58);
    essence.push(frame.len().min(120) as u8);
    essence
}

#[test]
fn program_and_engine_agree_on_every_packet_of_the_captures_for_1000_random_policies() {
    let Some(mut frames) = frames() else { return };
    assert!(frames.len() > 10_000, "{}", frames.len());
    let mut seen = HashSet::new();
    frames.retain(|frame| seen.insert(essence(frame)));
    let mut universe = Universe { v4: Vec::new(), v6: Vec::new(), ports: Vec::new() };
    for frame in &frames {
        let Some(tuple) = FrameView::parse_outermost(frame).five_tuple else { continue };
        let addresses = if tuple.version == IpVersion::V4 { &mut universe.v4 } else { &mut universe.v6 };
        addresses.extend([tuple.source_ip(), tuple.destination_ip()]);
        universe.ports.extend([tuple.source_port, tuple.destination_port]);
    }
    let mut random = Random::new(4);
    let (mut dropped, mut all) = (0, 0);
    for round in 0..1_000 {
        let (prefilter, mut decider) =
            random_policy(&mut random, Provider::ALL[round % Provider::ALL.len()], &universe);
        for direction in Direction::BOTH {
            for frame in &frames {
                dropped += usize::from(agrees(&prefilter, &mut decider, direction, frame));
                all += 1;
            }
        }
    }
    println!("{} different frames, {all} decisions, {dropped} dropped by programs", frames.len());
    assert!(dropped > all / 4 && dropped < all, "{dropped} of {all}");
}
