//! A pipeline of a live run, and a log whose disk takes its time.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use vxtap_analyzers::snapshot::LogSnapshot;
use vxtap_wire::NetworkId;

use super::*;
use crate::capture::Input;
use crate::follow::Hub;
use crate::outputs::Outputs;
use crate::settings::LogSettings;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;
const DEADLINE: Duration = Duration::from_mins(1);
/// Some four times what a lane of the log has room for.
const FLOWS: u32 = 16_000;

/// A pipeline that sees `FLOWS` flows of a packet each, and a pipe in place of the log's file: it takes nothing before it is read.
struct Bench {
    _directory: tempfile::TempDir,
    pipe: std::path::PathBuf,
    pipeline: Pipeline,
    outputs: Outputs,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("eve.json");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let log = Some(LogSettings::new(directory.path().to_owned()));
        let settings = PipelineSettings { log, ..PipelineSettings::default() };
        let streams = Arc::new(StreamRegistry::new());
        let hub = Hub::new(Arc::clone(&streams));
        let (mut outputs, mut lanes) = Outputs::open(&settings, &streams, &hub, Input::Live).unwrap();
        drop(outputs.take_stats());
        let mut pipeline = Pipeline::new(&settings, streams, lanes.remove(0));
        drop(lanes);
        for number in 0..FLOWS {
            let mut frame = vec![2; 12];
            frame.extend([8, 0, 0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 1]);
            frame.extend((number as u16).to_be_bytes());
            frame.extend([[0x27, 0x0f], [0x1f, 0x40], [0, 16], [0, 0]].concat());
            frame.extend([7; 8]);
            let meta = PacketMeta { time_ns: START, stream: StreamId(0), network: NetworkId(1) };
            let mut batch = FrameBatch::new();
            batch.look(&Entrant { meta, link: Link::Ethernet, bytes: &frame, wire_len: 0 });
            pipeline.analyse(&batch);
        }
        assert_eq!(pipeline.flows().len(), FLOWS as usize);
        Self { _directory: directory, pipe, pipeline, outputs }
    }

    fn finish(self) -> LogSnapshot {
        let Self { pipeline, mut outputs, .. } = self;
        pipeline.finish();
        outputs.finish_captures();
        outputs.finish_log().unwrap()
    }
}

/// Reads `pipe` from in a while on until nobody writes to it; gives the text.
fn read_slowly(pipe: &Path) -> std::thread::JoinHandle<String> {
    let mut file = File::open(pipe).unwrap();
    std::thread::spawn(move || {
        // The disk is slow; what comes of it does not depend on how slow.
        std::thread::sleep(Duration::from_millis(300));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    })
}

fn flows_by_reason(text: &str, reason: &str) -> usize {
    text.lines().filter(|line| line.contains(&format!("\"reason\":\"{reason}\""))).count()
}

#[test]
fn the_end_of_a_live_run_waits_for_the_log_and_tells_of_every_flow() {
    let bench = Bench::new();
    let reader = read_slowly(&bench.pipe);
    let log = bench.finish();
    assert_eq!((log.events, log.events_dropped, log.error), (FLOWS.into(), 0, None));
    assert_eq!(flows_by_reason(&reader.join().unwrap(), "shutdown"), FLOWS as usize);
}

#[test]
fn flows_that_time_out_in_one_second_wait_for_the_log_and_the_worker_does_not() {
    let mut bench = Bench::new();
    let later = START + 100 * SECOND;
    let begun = Instant::now();
    // Nobody reads: the log has no room, and the worker goes on all the same.
    for _ in 0..100 {
        bench.pipeline.advance(later);
    }
    assert!(begun.elapsed() < DEADLINE && bench.pipeline.is_behind());
    assert!(bench.pipeline.flows().len() > FLOWS as usize / 2, "{} are put off", bench.pipeline.flows().len());
    let reader = read_slowly(&bench.pipe);
    while bench.pipeline.is_behind() && bench.pipeline.flows().len() > 2000 {
        bench.pipeline.advance(later);
        assert!(begun.elapsed() < DEADLINE, "the log takes them in the end");
        std::thread::sleep(Duration::from_millis(1));
    }
    // The last of them are put off when the run ends.
    let log = bench.finish();
    assert_eq!((log.events, log.events_dropped, log.error), (FLOWS.into(), 0, None));
    assert_eq!(flows_by_reason(&reader.join().unwrap(), "timeout"), FLOWS as usize);
}
