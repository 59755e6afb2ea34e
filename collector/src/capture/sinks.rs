//! Which sequence of files a record goes into.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vxtap_analyzers::StreamId;
use vxtap_capfile::pcapng::PacketView;

use super::CaptureSplit;
use super::closing::Closing;
use super::files::{CaptureFiles, FilesSettings, Outcome, Progress};
use super::merge::{Held, Run};
use crate::streams::StreamRegistry;

/// Sequences of files that are open at the same time when files are split; what comes from more networks goes together into one more.
const SPLIT_MAX: usize = 64;

/// Sequences of files.
pub(super) struct Sinks {
    settings: FilesSettings,
    streams: Arc<StreamRegistry>,
    progress: Arc<Mutex<Progress>>,
    closing: Arc<Closing>,
    files: Vec<CaptureFiles>,
    split: Option<Split>,
}

/// One sequence for each part of the traffic.
struct Split {
    by: CaptureSplit,
    /// By the stream's number.
    of_stream: HashMap<u32, usize>,
    of_part: HashMap<Part, usize>,
    /// Runs of each sequence, for one write.
    runs: Vec<Vec<Run>>,
}

/// A part of the traffic that has files of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Network(&'static str),
    Vni(u32),
    /// What came in no tunnel.
    Plain,
}

impl Part {
    fn of(stream: StreamId, streams: &StreamRegistry, by: CaptureSplit) -> Self {
        let Some(key) = streams.key(stream) else { return Self::Plain };
        let network = streams.networks().name(&key).filter(|_| by == CaptureSplit::Network);
        let vni = || key.vni.map_or(Self::Plain, |vni| Self::Vni(vni.get()));
        network.map_or_else(vni, Self::Network)
    }

    /// What its files have in their names: a network's name is letters, digits, '-', '_' and '.'.
    fn label(self) -> String {
        match self {
            Self::Network(name) => format!("-net-{name}"),
            Self::Vni(vni) => format!("-vni{vni}"),
            Self::Plain => "-plain".to_owned(),
        }
    }
}

impl Sinks {
    /// One sequence for each of `shards` shards, or for each part where files are `split`.
    pub(super) fn new(
        settings: FilesSettings,
        streams: Arc<StreamRegistry>,
        progress: Arc<Mutex<Progress>>,
        closing: Arc<Closing>,
        shards: usize,
        split: Option<CaptureSplit>,
    ) -> Self {
        let mut sinks = Self { settings, streams, progress, closing, files: Vec::new(), split: None };
        if let Some(by) = split {
            sinks.split = Some(Split { by, of_stream: HashMap::new(), of_part: HashMap::new(), runs: Vec::new() });
        } else if shards == 1 {
            sinks.add("");
        } else {
            (0..shards).for_each(|shard| sinks.add(&format!("-w{shard}")));
        }
        sinks
    }

    fn add(&mut self, label: &str) {
        let settings = FilesSettings { prefix: format!("{}{label}", self.settings.prefix), ..self.settings.clone() };
        let (streams, progress) = (Arc::clone(&self.streams), Arc::clone(&self.progress));
        self.files.push(CaptureFiles::new(settings, streams, progress, Arc::clone(&self.closing)));
    }

    /// Writes the records of `runs`, which are of one shard.
    pub(super) fn write(
        &mut self,
        shard: usize,
        held: &mut [Held],
        runs: &mut [Run],
        mut outcome: impl FnMut(usize, Outcome),
    ) {
        if self.split.is_none() {
            self.files[shard].write(held, runs, outcome);
            return;
        }
        for run in runs.iter() {
            self.divide(held, run);
        }
        let Some(split) = &mut self.split else { return };
        for (files, runs) in self.files.iter_mut().zip(&mut split.runs) {
            files.write(held, runs, &mut outcome);
            runs.clear();
        }
    }

    /// Divides one run among the sequences of its streams.
    fn divide(&mut self, held: &[Held], run: &Run) {
        let mut start = run.bytes.start;
        while let Some(record) = PacketView::first(&held[run.held].block.bytes[start..run.bytes.end]) {
            let length = record.block().len();
            let sequence = self.sequence_of(record.interface());
            let Some(split) = &mut self.split else { return };
            let runs = &mut split.runs[sequence];
            match runs.last_mut() {
                Some(last) if last.held == run.held && last.bytes.end == start => {
                    last.bytes.end += length;
                    last.records += 1;
                }
                _ => runs.push(Run { held: run.held, bytes: start..start + length, records: 1 }),
            }
            start += length;
        }
    }

    fn sequence_of(&mut self, stream: u32) -> usize {
        let Some(split) = &self.split else { return 0 };
        if let Some(known) = split.of_stream.get(&stream) {
            return *known;
        }
        let part = Part::of(StreamId(stream), &self.streams, split.by);
        let known = split.of_part.get(&part).copied();
        let sequence = known.unwrap_or_else(|| {
            if self.files.len() < SPLIT_MAX {
                self.add(&part.label());
            } else if self.files.len() == SPLIT_MAX {
                self.add("-others");
            }
            self.files.len() - 1
        });
        if let Some(split) = &mut self.split {
            split.runs.resize_with(self.files.len(), Vec::new);
            split.of_stream.insert(stream, sequence);
            split.of_part.insert(part, sequence);
        }
        sequence
    }

    /// Ends files whose interval is over: no worker has frames before `past_ns` any more.
    pub(super) fn close_what_is_over(&mut self, past_ns: u64) {
        self.files.iter_mut().for_each(|files| files.close_if_over(past_ns));
    }

    /// When [`Sinks::close_what_is_over`] will have something to do.
    pub(super) fn over_at_ns(&self) -> Option<u64> {
        self.files.iter().filter_map(CaptureFiles::over_at_ns).min()
    }

    /// Tries whether a disk that refused takes something again, where no record came to try it.
    pub(super) fn look_again(&mut self) {
        self.files.iter_mut().for_each(CaptureFiles::look_again);
    }

    /// When [`Sinks::look_again`] will have something to do.
    pub(super) fn look_again_in(&self) -> Option<Duration> {
        self.files.iter().filter_map(CaptureFiles::look_again_in).min()
    }

    /// Ends all files.
    pub(super) fn close(&mut self) {
        self.files.iter_mut().for_each(CaptureFiles::close);
    }
}
