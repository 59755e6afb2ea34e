//! A live run as the API and the terminal UI see it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::bounded;
use vxtap_analyzers::snapshot::{
    Act, AdmissionSnapshot, FlowPage, FlowQuery, Ruling, SidesSnapshot, SkewSnapshot, Snapshot, StreamSnapshot,
    WorkerSnapshot,
};
use vxtap_analyzers::{Encapsulation, FlowList, StreamId, StreamKey};
use vxtap_filter::Filter;
use vxtap_index::{DamagedCapture, Extract, Query};
use vxtap_tui::{Captured, CapturedFlow, Source, SourceError};
use vxtap_wire::vxlan::Vni;

use crate::admission::{DecideError, Verdict};
use crate::api::{CaptureCounts, FlowsError, Monitor, Readiness};
use crate::capture::CutFrames;
use crate::follow::Hub;
use crate::health::HealthState;
use crate::log::Stats;
use crate::outer_fragments::FragmentCounter;
use crate::outputs::OutputMonitor;
use crate::selector::{Origin, Selector};
use crate::shared::{Asker, Question, Shared};
use crate::summary::{self, WorkerSummary};
use crate::worker::unix_ns;

mod admission;

use admission::add_turned_away;

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
    /// How the load is spread, as the watch last saw it.
    pub(crate) skew: Arc<Mutex<SkewSnapshot>>,
    pub(crate) fragments: FragmentCounter,
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
        let streams = self.shared.registry.len() as u64;
        let so_far = |worker: &WorkerSnapshot| WorkerSummary::so_far(worker, self.outputs.cut(worker.worker));
        let workers = workers.iter().map(so_far).collect();
        let log = self.outputs.log();
        Stats::of(workers, uptime).with(flows_active, streams, log.as_ref()).with_followers(self.hub.totals())
    }

    /// Mirror streams with the sums of all workers, most frames first.
    fn streams(&self) -> Vec<StreamSnapshot> {
        let sums = self.shared.streams();
        let mut order: Vec<usize> = (0..sums.len()).filter(|id| sums[*id].frames > 0).collect();
        order.sort_unstable_by_key(|id| (std::cmp::Reverse(sums[*id].frames), *id));
        order.truncate(Snapshot::MAX_STREAMS);
        let losses = self.shared.registry.stream_losses_so_far();
        let (registry, sides) = (&self.shared.registry, self.shared.sides());
        let rules = registry.admission().rules();
        let snapshot = |number: usize| {
            let id = StreamId(number as u32);
            let key = registry.key(id).unwrap_or(StreamKey::PLAIN);
            let vnis = if key.around.is_empty() { Vec::new() } else { key.vnis().map(Vni::get).collect() };
            let (of_tunnel, origin) = (key.encapsulation != Encapsulation::None, Origin::from(&key));
            StreamSnapshot {
                name: registry.name(id),
                encapsulation: key.encapsulation,
                source: key.source,
                vni: key.vni.map(Vni::get),
                selector: if of_tunnel { Selector::of(&origin).to_string() } else { String::new() },
                turned_away: rules.verdict(&origin) != Verdict::Accepted,
                vnis,
                direction: key.direction.map(|direction| direction.as_str().to_owned()),
                network: registry.networks().name(&key).map(str::to_owned),
                loss: losses.get(&id).copied(),
                counters: sums[number],
                sides: sides.get(&id).map(SidesSnapshot::from).unwrap_or_default(),
            }
        };
        order.into_iter().map(snapshot).collect()
    }
}

impl Monitor for LiveMonitor {
    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ns: self.started_ns,
            taken_ns: unix_ns(),
            state: self.health.state(),
            health: self.health.snapshot(),
            listeners: self.listeners.clone(),
            streams: self.streams(),
            streams_total: self.shared.registry.len() as u64,
            loss: self.shared.registry.loss_so_far(),
            outer_fragments: self.fragments.since(),
            capture: self.outputs.capture(),
            log: self.outputs.log(),
            followers: self.hub.snapshot(),
            admission: Monitor::admission(self),
            skew: *self.skew.lock().unwrap_or_else(PoisonError::into_inner),
            duplicate_pairs: summary::duplicate_pairs(&self.shared.pairs(), &self.shared.registry),
            ..Snapshot::default()
        };
        for mut worker in self.shared.workers() {
            self.add_captured(&mut worker);
            snapshot.ledger.merge(&worker.ledger);
            snapshot.analysis.merge(&worker.analysis);
            snapshot.flows_active += worker.flows_active;
            snapshot.workers.push(worker);
        }
        snapshot
    }

    fn captured(&self) -> CaptureCounts {
        let mut cut = CutFrames::default();
        (0..self.askers.len() as u32).for_each(|worker| cut.merge(&self.outputs.cut(worker)));
        CaptureCounts { cut, torn: self.outputs.torn(), displaced: self.outputs.displaced() }
    }

    fn admission(&self) -> AdmissionSnapshot {
        let registry = &self.shared.registry;
        let mut snapshot = registry.admission().snapshot();
        let rules = registry.admission().rules();
        add_turned_away(&mut snapshot, self.shared.turned_away(), &rules, registry.networks());
        snapshot
    }

    fn decide(&self, act: Act, selector: &str) -> Result<String, DecideError> {
        let decided = self.shared.registry.admission().decide(act, selector)?;
        tracing::info!("admission: {} {decided}", act.as_str());
        Ok(decided)
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

    fn decide(&mut self, ruling: &Ruling) -> Result<(), SourceError> {
        let decided = Monitor::decide(&*self.0, ruling.act, &ruling.selector);
        decided.map(drop).map_err(|error| SourceError::Refused(error.to_string()))
    }

    fn captured(&self) -> Option<Arc<dyn Captured>> {
        Some(Arc::new(CapturesInProcess(self.0.captures.clone())))
    }
}

/// The captures of this process's run, if it writes any.
struct CapturesInProcess(Option<PathBuf>);

impl Captured for CapturesInProcess {
    fn copy_flow(&self, flow: &CapturedFlow, output: &mut dyn Write) -> Result<(), SourceError> {
        let refused = |error: &dyn std::fmt::Display| SourceError::Refused(error.to_string());
        let directory = self.0.as_ref().ok_or_else(|| {
            SourceError::Refused("nothing is captured: start the collector with --write DIR to write captures".into())
        })?;
        let community_id = Some(flow.community_id.parse().map_err(|error| refused(&error))?);
        let filter = Some(flow.filter.as_str()).filter(|filter| !filter.is_empty()).map(Filter::parse).transpose();
        let query = Query { community_id, filter: filter.map_err(|error| refused(&error))?, ..Query::default() };
        let found =
            Extract::new(query).run(std::slice::from_ref(directory), output).map_err(|error| refused(&error))?;
        match found.damaged.first() {
            None => Ok(()),
            Some(DamagedCapture { file, what }) => {
                Err(SourceError::Refused(format!("'{}' is damaged: {what}", file.display())))
            }
        }
    }
}
