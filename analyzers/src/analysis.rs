//! What a shard has besides flows where their bytes are analysed: events on their way out, and what the flows share.

use std::fmt;
use std::sync::Arc;

use vxtap_wire::FrameView;

use crate::anomaly::Anomaly;
use crate::app::{FlowApp, Memory};
use crate::eve;
use crate::flow::{Flow, FlowRecord};
use crate::fragments::{Bounds, Reassembler};
use crate::protocols::{EventKinds, Events, FlowFacts};
use crate::shard::PacketMeta;
use crate::snapshot::AnalysisSnapshot;
use crate::stream::{StreamId, StreamKey, StreamNames};
use crate::tcp::Budget;

/// Tells which mirror stream has a number.
type Streams = Box<dyn Fn(StreamId) -> StreamKey + Send>;

/// Tells what configuration calls it.
type Names = Box<dyn Fn(StreamId) -> StreamNames + Send>;

/// Numbers of streams whose `tunnel` object is kept; others are written anew for each flow.
const TUNNELS_MAX: usize = 1 << 12;

/// The analysis of one shard's flows.
///
/// Bounded: by [`Budget`] for bytes out of order, by [`Bounds`] for fragments, by 32 MiB for the beginnings of streams whose protocol
/// is not known yet, by 256 KiB of memory for texts to come, and by what each protocol says of itself for each flow, 512 MiB for all of them.
pub struct Analysis {
    pub(crate) events: Events,
    pub(crate) budget: Budget,
    /// Bytes of streams whose protocol is not known yet.
    pub(crate) kept_bytes: usize,
    /// What analysers of protocols keep.
    pub(crate) memory: Memory,
    pub(crate) fragments: Reassembler,
    streams: Streams,
    names: Names,
    tunnels: Vec<Option<Arc<[u8]>>>,
}

impl Analysis {
    /// Analysis that makes events of the `wanted` kinds; `streams` tells of the mirror streams that flows come by.
    pub fn new(wanted: EventKinds, streams: impl Fn(StreamId) -> StreamKey + Send + 'static) -> Self {
        Self {
            events: Events::new(wanted),
            budget: Budget::default(),
            kept_bytes: 0,
            memory: Memory::default(),
            fragments: Reassembler::new(Bounds::default()),
            streams: Box::new(streams),
            names: Box::new(|_| StreamNames::default()),
            tunnels: Vec::new(),
        }
    }

    /// The same with names of networks, VNIs and sources in events.
    #[must_use]
    pub fn with_names(self, names: impl Fn(StreamId) -> StreamNames + Send + 'static) -> Self {
        Self { names: Box::new(names), ..self }
    }

    /// The events made so far; the caller takes them after each batch.
    pub const fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    /// Bytes kept of streams: out of order, of those whose protocol is not known yet, and by their protocols. 0 once every flow has ended.
    pub const fn bytes_kept(&self) -> usize {
        self.budget.used() + self.kept_bytes + self.memory.used()
    }

    /// The application layer of `flow`, which begins at `time_ns`.
    pub(crate) fn begin(&mut self, flow: &Flow, time_ns: u64) -> FlowApp {
        let (flow_id, tunnel) = (eve::flow_id(&flow.key, time_ns), self.tunnel(flow.stream));
        FlowApp::new(FlowFacts::new(flow.five_tuple(), flow_id, tunnel))
    }

    /// What was counted.
    pub fn snapshot(&self) -> AnalysisSnapshot {
        AnalysisSnapshot::of(self)
    }

    /// Looks at a frame that is in no flow.
    pub(crate) fn frame(&mut self, meta: &PacketMeta, view: &FrameView<'_>) {
        if let Some(anomaly) = Anomaly::of_frame(view) {
            let tunnel = self.tunnel(meta.stream);
            self.events.frame_anomaly(anomaly, meta.time_ns, &tunnel);
        }
    }

    /// Writes the `flow` event of a flow that is over, or of a part of it; `app` is the flow's.
    pub(crate) fn record(&mut self, record: &FlowRecord<'_>, app: &FlowApp) {
        self.events.write_flow(record, app);
    }

    fn tunnel(&mut self, stream: StreamId) -> Arc<[u8]> {
        let number = stream.0 as usize;
        if let Some(Some(known)) = self.tunnels.get(number) {
            return Arc::clone(known);
        }
        let tunnel: Arc<[u8]> = eve::tunnel(&(self.streams)(stream), &(self.names)(stream)).into();
        if number < TUNNELS_MAX {
            self.tunnels.resize(self.tunnels.len().max(number + 1), None);
            self.tunnels[number] = Some(Arc::clone(&tunnel));
        }
        tunnel
    }
}

impl fmt::Debug for Analysis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Analysis")
            .field("budget", &self.budget)
            .field("kept_bytes", &self.kept_bytes)
            .finish_non_exhaustive()
    }
}
