//! A live run as the API and the terminal UI see it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use vxtap_analyzers::FlowList;
use vxtap_analyzers::snapshot::{FlowPage, FlowQuery, Snapshot, StreamSnapshot, WorkerSnapshot};
use vxtap_index::{Extract, Query};
use vxtap_tui::{Captured, Source, SourceError};

use crate::api::{FlowsError, Monitor, Readiness};
use crate::follow::Hub;
use crate::health::HealthState;
use crate::log::Stats;
use crate::outputs::OutputMonitor;
use crate::shared::{Asker, Question, Shared};
use crate::worker::unix_ns;

/// How long all workers together may take to answer a question.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct LiveMonitor {
    pub(crate) started_ns: u64,
    pub(crate) listeners: Vec<String>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) outputs: OutputMonitor,
    pub(crate) hub: Hub,
    pub(crate) askers: Vec<Asker>,
    pub(crate) health: Arc<HealthState>,
    /// Where captures are written; `None` when nothing is captured.
    pub(crate) captures: Option<PathBuf>,
}

impl LiveMonitor {
    /// Puts into a worker's ledger what the writers know of its frames.
    fn add_captured(&self, worker: &mut WorkerSnapshot) {
        let (captured, capture_dropped) = self.outputs.captured(worker.worker);
        let ledger = &mut worker.ledger;
        // The writers count at once, a worker tells ten times a second: what it has not told of yet is left out, so
        // that no snapshot has more frames captured than analysed.
        ledger.captured = captured.min(ledger.analysed.saturating_sub(capture_dropped));
        ledger.capture_dropped = capture_dropped.min(ledger.analysed);
    }

    /// The counters as the log has them, `uptime` after the run began.
    pub(crate) fn stats(&self, uptime: Duration) -> Stats {
        let mut workers = self.shared.workers();
        for worker in &mut workers {
            self.add_captured(worker);
        }
        let flows_active = workers.iter().map(|worker| worker.flows_active).sum();
        let streams = self.shared.streams.len() as u64;
        let workers = workers.into_iter().map(Into::into).collect();
        Stats::of(workers, uptime).with(flows_active, streams, self.outputs.log().as_ref())
    }

    /// Mirror streams with the sums of all workers, most frames first.
    fn streams(&self, reports: &[crate::shared::WorkerReport]) -> Vec<StreamSnapshot> {
        let mut sums = Vec::new();
        for report in reports {
            if sums.len() < report.streams.len() {
                sums.resize(report.streams.len(), vxtap_analyzers::StreamCounters::default());
            }
            for (sum, counters) in sums.iter_mut().zip(&report.streams) {
                sum.merge(counters);
            }
        }
        let mut order: Vec<usize> = (0..sums.len()).filter(|id| sums[*id].frames > 0).collect();
        order.sort_by_key(|id| (std::cmp::Reverse(sums[*id].frames), *id));
        order.truncate(Snapshot::MAX_STREAMS);
        let snapshot = |id: usize| {
            let id_of = vxtap_analyzers::StreamId(id as u32);
            let key = self.shared.streams.key(id_of).unwrap_or(vxtap_analyzers::StreamKey::PLAIN);
            StreamSnapshot {
                name: self.shared.streams.name(id_of),
                encapsulation: key.encapsulation,
                source: key.source,
                vni: key.vni.map(vxtap_wire::vxlan::Vni::get),
                counters: sums[id],
            }
        };
        order.into_iter().map(snapshot).collect()
    }
}

impl Monitor for LiveMonitor {
    fn snapshot(&self) -> Snapshot {
        let reports = self.shared.reports();
        let mut snapshot = Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ns: self.started_ns,
            taken_ns: unix_ns(),
            state: self.health.state(),
            health: self.health.snapshot(),
            listeners: self.listeners.clone(),
            streams: self.streams(&reports),
            streams_total: self.shared.streams.len() as u64,
            capture: self.outputs.capture(),
            log: self.outputs.log(),
            followers: self.hub.snapshot(),
            ..Snapshot::default()
        };
        for mut report in reports {
            self.add_captured(&mut report.worker);
            snapshot.ledger.merge(&report.worker.ledger);
            snapshot.analysis.merge(&report.worker.analysis);
            snapshot.flows_active += report.worker.flows_active;
            snapshot.workers.push(report.worker);
        }
        snapshot
    }

    fn flows(&self, query: &FlowQuery) -> Result<FlowPage, FlowsError> {
        let list = || FlowList::new(query).map_err(|error| FlowsError::BadQuery(error.to_string()));
        let mut answer = list()?;
        let (reply, replies) = bounded(self.askers.len());
        let mut asked = 0;
        for asker in &self.askers {
            asked += usize::from(asker.ask(Question { list: list()?, reply: reply.clone() }));
        }
        // Without this the last worker's silence could not be told from its end.
        drop(reply);
        let deadline = std::time::Instant::now() + ANSWER_TIME;
        let mut answered = 0;
        while let Ok(page) = replies.recv_deadline(deadline) {
            answer.merge(page);
            answered += 1;
        }
        if answered < self.askers.len() {
            return Err(FlowsError::Unavailable(format!(
                "{answered} of {} workers answered ({asked} could be asked): try again",
                self.askers.len()
            )));
        }
        Ok(answer.finish())
    }

    fn hub(&self) -> &Hub {
        &self.hub
    }

    fn captures(&self) -> Option<&Path> {
        self.captures.as_deref()
    }

    fn readiness(&self) -> Readiness {
        Readiness::of(self.health.state(), self.health.snapshot())
    }
}

/// The terminal UI in the collector's own process.
pub(crate) struct InProcess(pub(crate) Arc<LiveMonitor>);

impl Source for InProcess {
    fn snapshot(&mut self) -> Result<Snapshot, SourceError> {
        Ok(Monitor::snapshot(&*self.0))
    }

    fn flows(&mut self, query: &FlowQuery) -> Result<FlowPage, SourceError> {
        Monitor::flows(&*self.0, query).map_err(|error| match error {
            FlowsError::BadQuery(text) => SourceError::Filter(text),
            FlowsError::Unavailable(text) => SourceError::Refused(text),
        })
    }

    fn captured(&self) -> Option<Arc<dyn Captured>> {
        Some(Arc::new(CapturesInProcess(self.0.captures.clone())))
    }
}

/// The captures of this process's run, if it writes any.
struct CapturesInProcess(Option<PathBuf>);

impl Captured for CapturesInProcess {
    fn copy_flow(&self, community_id: &str, output: &mut dyn Write) -> Result<(), SourceError> {
        let refused = |error: &dyn std::fmt::Display| SourceError::Refused(error.to_string());
        let directory = self.0.as_ref().ok_or_else(|| {
            SourceError::Refused("nothing is captured: start the collector with --write DIR to write captures".into())
        })?;
        let community_id = Some(community_id.parse().map_err(|error| refused(&error))?);
        let query = Query { community_id, ..Query::default() };
        let found = Extract::new(query).run(std::slice::from_ref(directory), output);
        found.map(drop).map_err(|error| refused(&error))
    }
}
