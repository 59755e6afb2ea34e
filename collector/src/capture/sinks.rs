//! Which sequence of files a record goes into.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vxtap_analyzers::StreamId;
use vxtap_capfile::pcapng::PacketView;
use vxtap_wire::vxlan::Vni;

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

/// One sequence for each VNI.
#[derive(Default)]
struct Split {
    /// By the stream's number.
    of_stream: HashMap<u32, usize>,
    of_vni: HashMap<Option<u32>, usize>,
    /// Runs of each sequence, for one write.
    runs: Vec<Vec<Run>>,
}

impl Sinks {
    /// One sequence for each of `shards` shards, or for each VNI where files are `split`.
    pub(super) fn new(
        settings: FilesSettings,
        streams: Arc<StreamRegistry>,
        progress: Arc<Mutex<Progress>>,
        closing: Arc<Closing>,
        shards: usize,
        split: bool,
    ) -> Self {
        let mut sinks = Self { settings, streams, progress, closing, files: Vec::new(), split: None };
        if split {
            sinks.split = Some(Split::default());
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
        if let Some(known) = self.split.as_ref().and_then(|split| split.of_stream.get(&stream)) {
            return *known;
        }
        let vni = self.streams.key(StreamId(stream)).and_then(|key| key.vni).map(Vni::get);
        let known = self.split.as_ref().and_then(|split| split.of_vni.get(&vni).copied());
        let sequence = known.unwrap_or_else(|| {
            if self.files.len() < SPLIT_MAX {
                self.add(&vni.map_or("-plain".to_owned(), |vni| format!("-vni{vni}")));
            } else if self.files.len() == SPLIT_MAX {
                self.add("-others");
            }
            self.files.len() - 1
        });
        if let Some(split) = &mut self.split {
            split.runs.resize_with(self.files.len(), Vec::new);
            split.of_stream.insert(stream, sequence);
            split.of_vni.insert(vni, sequence);
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
