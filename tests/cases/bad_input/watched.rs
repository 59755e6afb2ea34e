//! A shard with analysis, watched.

use std::fs;

use serde::de::IgnoredAny;
use vxtap_analyzers::protocols::EventKinds;
use vxtap_analyzers::{Analysis, BATCH_MAX, FlowTableLimits, PacketMeta, Shard, ShardSettings, StreamKey};
use vxtap_wire::FrameView;

/// No event is longer: the log has no block for it.
pub(crate) const LINE_MAX: usize = 256 << 10;
/// The peak of the process, far below what it would be if the shard kept what it is sent, or made the events that it could.
const MEMORY_MAX: u64 = 250 << 20;
/// What a shard may keep of streams: 64 MiB out of order, 32 MiB whose protocol is not known.
const KEPT_MAX: usize = 96 << 20;
/// Packets are so far apart.
const APART_NS: u64 = 10_000;
/// 2026.
const BEGIN_NS: u64 = 1_780_000_000_000_000_000;

/// A shard whose every event is checked.
pub(crate) struct Watched {
    shard: Shard,
    now_ns: u64,
    what: String,
    lines: Vec<String>,
    keeps_lines: bool,
}

impl Watched {
    /// A fresh shard, whose failures name `what` was given to it.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        let settings = ShardSettings { limits: FlowTableLimits::default(), seed: 7 };
        let shard = Shard::new(&settings).with_analysis(Analysis::new(EventKinds::ALL, |_| StreamKey::PLAIN));
        Self { shard, now_ns: BEGIN_NS, what: what.into(), lines: Vec::new(), keeps_lines: false }
    }

    /// The same, which keeps the events for [`Watched::finish`].
    pub(crate) fn keeping(what: impl Into<String>) -> Self {
        Self { keeps_lines: true, ..Self::new(what) }
    }

    /// Gives the shard `frames`.
    pub(crate) fn observe<'a>(&mut self, frames: impl IntoIterator<Item = &'a [u8]>) {
        let mut frames = frames.into_iter().peekable();
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while frames.peek().is_some() {
            batch.clear();
            for frame in frames.by_ref().take(BATCH_MAX) {
                self.now_ns += APART_NS;
                let meta = PacketMeta { time_ns: self.now_ns, ..PacketMeta::default() };
                batch.push((meta, FrameView::parse(frame)));
            }
            self.shard.observe(&batch, |_| ());
            self.check();
        }
    }

    /// Ends all flows: nothing is kept then. Gives the events, where they are kept.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.shard.finish(|_| ());
        self.check();
        let kept = self.shard.analysis().map(|analysis| analysis.bytes_kept());
        assert_eq!((kept, self.shard.table().len()), (Some(0), 0), "{}", self.what);
        let peak = peak_memory();
        assert!(peak < MEMORY_MAX, "{}: the process took {peak} bytes", self.what);
        self.lines
    }

    fn check(&mut self) {
        let Self { shard, what, lines: kept, keeps_lines, .. } = self;
        let analysis = shard.analysis().expect("a shard with analysis");
        assert!(analysis.bytes_kept() <= KEPT_MAX, "{what}: {} bytes are kept", analysis.bytes_kept());
        analysis.events().take(|lines, count| {
            let text = std::str::from_utf8(lines).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(text.lines().count() as u64, count, "{what}");
            for line in text.lines() {
                assert!(line.len() < LINE_MAX, "{what}: an event of {} bytes: {}", line.len(), &line[..1000]);
                assert!(!line.contains(char::is_control), "{what}: {line:?}");
                let json = serde_json::from_str::<IgnoredAny>(line);
                assert!(json.is_ok() && line.starts_with('{'), "{what}: {json:?} in {line}");
            }
            if *keeps_lines {
                kept.extend(text.lines().map(str::to_owned));
            }
        });
    }
}

/// The most resident memory that this process had.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}
