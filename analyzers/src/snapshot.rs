//! What a running collector looks like at one moment: the types that the API serves and the terminal UI draws.
//!
//! Everything here is a plain value with public fields. Counters only grow within one run ([`Snapshot::started_ns`]
//! tells runs apart), so rates are differences between two snapshots. Strings never come from the wire unescaped.

use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;
use crate::losses::StreamLoss;
use crate::sides::{OneSidedCause, SideCounts};
use crate::stream::{Encapsulation, StreamCounters};

mod admission;
mod analysis;
mod health;

pub use admission::{Act, AdmissionSnapshot, Choice, Decision, Ruling, TurnedAwayStream};
pub use analysis::{AnalysisSnapshot, ResponseTimes};
pub use health::{HealthSnapshot, NotReady};

/// A running collector at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Program version.
    pub version: String,
    /// When the run began, nanoseconds since 1970.
    pub started_ns: u64,
    /// When this snapshot was taken, nanoseconds since 1970.
    pub taken_ns: u64,
    /// What the collector is doing.
    pub state: RunState,
    /// What it listens on, as in `--listen`, with the address really bound.
    pub listeners: Vec<String>,
    /// All workers together.
    pub ledger: Ledger,
    /// Flows being followed now, all workers together.
    pub flows_active: u64,
    /// Each worker, by number.
    pub workers: Vec<WorkerSnapshot>,
    /// Mirror streams, most frames first; at most [`Snapshot::MAX_STREAMS`].
    pub streams: Vec<StreamSnapshot>,
    /// Mirror streams in all, those not listed included.
    pub streams_total: u64,
    /// What was lost on the way here, all streams together; `None` where no sender numbers its datagrams.
    #[serde(default)]
    pub loss: Option<StreamLoss>,
    /// Fragments of outer datagrams since the run began; the kernel puts them together.
    #[serde(default)]
    pub outer_fragments: OuterFragments,
    /// Where captures go; `None` without `--write`.
    pub capture: Option<CaptureSnapshot>,
    /// Where logs go; `None` without `--log`.
    pub log: Option<LogSnapshot>,
    /// Who follows the live capture.
    #[serde(default)]
    pub followers: FollowersSnapshot,
    /// What analysis has counted, all workers together.
    #[serde(default)]
    pub analysis: AnalysisSnapshot,
    /// Which mirror streams are let in, and which wait.
    #[serde(default)]
    pub admission: AdmissionSnapshot,
    /// How evenly the load is spread.
    #[serde(default)]
    pub skew: SkewSnapshot,
    /// Copies of packets by the streams that they came by, most first.
    #[serde(default)]
    pub duplicate_pairs: Vec<DuplicatePair>,
    /// Whether it should get traffic.
    #[serde(default)]
    pub health: HealthSnapshot,
}

impl Snapshot {
    /// At most so many mirror streams are listed.
    pub const MAX_STREAMS: usize = 1000;
}

/// What a collector is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Opening sockets and files.
    #[default]
    Starting,
    /// Receiving.
    Running,
    /// Told to stop: finishing what is under way.
    Draining,
    /// Done; the ledger is final.
    Stopped,
}

impl RunState {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerSnapshot {
    /// Number, from 0.
    pub worker: u32,
    /// Its part of the ledger.
    pub ledger: Ledger,
    /// Flows in its table now.
    pub flows_active: u64,
    /// Flows that its table can hold.
    pub flows_max: u64,
    /// Flows ended before their time because the table was full.
    pub flows_evicted: u64,
    /// Frames that are neither IPv4 nor IPv6, so in no flow.
    pub not_ip: u64,
    /// Inner frames whose end a mirror cut off.
    pub truncated: u64,
    /// Inner frames with a header that contradicts itself.
    pub malformed: u64,
    /// Inner frames with more tunnels in each other than are looked through.
    #[serde(default)]
    pub too_deep: u64,
    /// Receive buffer that the kernel granted, in bytes, all sockets of the worker together; 0 when reading files.
    pub receive_buffer: u64,
    /// System calls that returned at least one datagram.
    pub batches: u64,
    /// Datagrams in a batch.
    pub batch_size: Distribution,
    /// Time from the return of a receive call to the end of its batch's processing, in nanoseconds.
    pub batch_time_ns: Distribution,
    /// What its analysis has counted.
    #[serde(default)]
    pub analysis: AnalysisSnapshot,
}

/// Quantiles of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// Values recorded.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 90 of 100 are not above.
    pub p90: u64,
    /// 99 of 100 are not above.
    pub p99: u64,
    /// Largest.
    pub max: u64,
}

impl Distribution {
    /// The quantiles of `histogram`.
    pub fn of(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        }
    }
}

/// One mirror stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamSnapshot {
    /// `vni 4242 from 10.0.0.7`.
    pub name: String,
    /// How its frames come.
    pub encapsulation: Encapsulation,
    /// Outer source address.
    pub source: Option<std::net::IpAddr>,
    /// VNI; of several layers the innermost.
    pub vni: Option<u32>,
    /// What stands for it in a decision: `vxlan vni 4242 from 10.0.0.7`. Empty for frames of files and what several streams share.
    #[serde(default)]
    pub selector: String,
    /// Whether it is not let in any more: what is counted came before that was decided.
    #[serde(default)]
    pub turned_away: bool,
    /// Name of the network that its flows are in, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// VNIs of all layers, outermost first, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vnis: Vec<u32>,
    /// `ingress` or `egress`, where the mirror tells which way its frames went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// What was lost on the way here; `None` where the sender does not number its datagrams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<StreamLoss>,
    /// All workers together.
    pub counters: StreamCounters,
    /// Its flows by the directions that were seen.
    #[serde(default)]
    pub sides: SidesSnapshot,
}

/// Fragments of datagrams that came to this machine, of mirrored ones and of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OuterFragments {
    /// Fragments.
    pub received: u64,
    /// Times that the kernel gave up to put some together: one was missing, or there was no room.
    pub given_up: u64,
}

/// Flows of one mirror stream by the directions that were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SidesSnapshot {
    /// Since the run began.
    #[serde(flatten)]
    pub counts: SideCounts,
    /// The share of one-sided ones among those of late, 0 to 1; `None` while there are too few to tell.
    pub share: Option<f64>,
    /// What they are most likely the sign of; `None` where they are few.
    pub cause: Option<OneSidedCause>,
}

impl From<&SideCounts> for SidesSnapshot {
    fn from(counts: &SideCounts) -> Self {
        Self { counts: *counts, share: counts.share(), cause: counts.cause() }
    }
}

/// Copies of packets that came by two mirror streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicatePair {
    /// Where the packets came that count.
    pub first: String,
    /// Where their copies came.
    pub second: String,
    /// The copies.
    pub duplicates: u64,
}

impl DuplicatePair {
    /// At most so many pairs are listed, those with most copies.
    pub const MAX_PAIRS: usize = 100;
}

/// How evenly the load is spread, over the last seconds; `None` while there is too little to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SkewSnapshot {
    /// Frames of the busiest worker, in even parts: 1 is even, and as many as there are workers is all on one.
    pub workers: Option<f64>,
    /// Frames of the busiest mirror stream, in even parts of the streams that had any.
    pub streams: Option<f64>,
}

/// Where captures go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureSnapshot {
    /// The directory, from the root on.
    pub directory: String,
    /// Bytes written to capture files in this run.
    pub bytes: u64,
    /// Frames waiting to be written.
    pub pending: u64,
    /// What went wrong last (`disk full`), until a write succeeds again.
    pub error: Option<String>,
    /// Files of this run, oldest first, the open one last; at most [`CaptureSnapshot::MAX_FILES`], the newest.
    pub files: Vec<CaptureFile>,
    /// Files of this run in all.
    pub files_total: u64,
    /// Frames that came so late that frames with a later time were in the file already.
    #[serde(default)]
    pub late: u64,
    /// What the directory has, of this run and of earlier ones, and what was done with closed files.
    #[serde(default)]
    pub kept: KeptSnapshot,
}

impl CaptureSnapshot {
    /// At most so many files are listed.
    pub const MAX_FILES: usize = 1000;
}

/// What a capture directory has, and what was done with files that were closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptSnapshot {
    /// Files kept, the open one included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files deleted by retention.
    pub deleted_files: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Files compressed.
    pub compressed: u64,
    /// Hooks run.
    pub hook_runs: u64,
    /// Hooks that failed or took too long.
    pub hook_failures: u64,
    /// Hooks that were not run since too many waited.
    pub hook_skipped: u64,
    /// Files whose hook waits.
    pub hook_waiting: u64,
    /// Whether a hook is running.
    pub hook_under_way: bool,
    /// Whether nothing is written since too little space is free.
    pub paused: bool,
    /// What is wrong now, what began last if several things are; gone when that is over.
    pub error: Option<String>,
}

/// One capture file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureFile {
    /// Name without directory.
    pub name: String,
    /// Bytes so far.
    pub bytes: u64,
    /// Frames so far.
    pub frames: u64,
    /// When it was opened, nanoseconds since 1970.
    pub opened_ns: u64,
    /// When it was closed, nanoseconds since 1970; `None` while it is being written.
    pub closed_ns: Option<u64>,
}

/// Where logs go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSnapshot {
    /// The directory, from the root on.
    pub directory: String,
    /// Events written.
    pub events: u64,
    /// Events dropped because the disk was too slow, full or gone.
    pub events_dropped: u64,
    /// What went wrong last, until a write succeeds again.
    pub error: Option<String>,
}

/// Who follows the live capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowersSnapshot {
    /// Those that are there now, in the order in which they came.
    pub now: Vec<FollowerSnapshot>,
    /// Followers in all, those that have left included.
    pub total: u64,
    /// Records given to all of them.
    pub sent: u64,
    /// Records that went past them because they were too slow, all of them together. A record that went past two
    /// followers counts twice, and counts whether their filters wanted it or not: it was not looked at.
    pub dropped: u64,
}

/// One follower of the live capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowerSnapshot {
    /// How it came and from where: `http 127.0.0.1:40312`.
    pub name: String,
    /// Its filter, escaped and shortened; empty for none.
    pub filter: String,
    /// When it came, nanoseconds since 1970.
    pub since_ns: u64,
    /// Records given to it.
    pub sent: u64,
    /// Records that went past it because it was too slow, wanted or not.
    pub dropped: u64,
}

/// One flow being followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowSnapshot {
    /// The worker whose table it is in.
    pub worker: u32,
    /// Its Community ID.
    pub community_id: String,
    /// VNI or number of the network; `None` for frames in no tunnel.
    pub network: Option<u32>,
    /// Its name; `None` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_name: Option<String>,
    /// The mirror stream that its first frame came by.
    pub stream: String,
    /// Protocol as EVE names it: `TCP`, `UDP`, `ICMP`, …
    pub protocol: String,
    /// Address of the side that opened the flow, as far as seen.
    pub originator: std::net::IpAddr,
    /// Its port; `None` for protocols without.
    pub originator_port: Option<u16>,
    /// Address of the other side.
    pub responder: std::net::IpAddr,
    /// Its port; `None` for protocols without.
    pub responder_port: Option<u16>,
    /// `new`, `established` or `closed`.
    pub state: String,
    /// Application protocol as EVE names it; `None` where none was found or looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Frames from originator to responder.
    pub frames_to_responder: u64,
    /// Frames from responder to originator.
    pub frames_to_originator: u64,
    /// Bytes of whole frames on the wire, originator to responder.
    pub bytes_to_responder: u64,
    /// Bytes of whole frames on the wire, responder to originator.
    pub bytes_to_originator: u64,
    /// TCP flags seen from the originator, all or-ed; 0 for other protocols.
    pub tcp_flags_to_responder: u8,
    /// TCP flags seen from the responder, all or-ed; 0 for other protocols.
    pub tcp_flags_to_originator: u8,
    /// When the first frame came, nanoseconds since 1970.
    pub first_ns: u64,
    /// When the last frame came, nanoseconds since 1970.
    pub last_ns: u64,
}

impl FlowSnapshot {
    /// Bytes in both directions.
    pub const fn bytes(&self) -> u64 {
        self.bytes_to_responder + self.bytes_to_originator
    }

    /// Frames in both directions.
    pub const fn frames(&self) -> u64 {
        self.frames_to_responder + self.frames_to_originator
    }
}

/// What flows to list, and in which order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowQuery {
    /// Which come first.
    pub sort: FlowSort,
    /// Smallest first instead of largest first.
    pub ascending: bool,
    /// See [`crate::FlowFilter`]; empty for all.
    pub filter: String,
    /// At most so many flows, and never more than [`FlowQuery::MAX_LIMIT`].
    pub limit: usize,
}

impl FlowQuery {
    /// The most flows that one query gives.
    pub const MAX_LIMIT: usize = 10_000;
}

impl Default for FlowQuery {
    fn default() -> Self {
        Self { sort: FlowSort::Bytes, ascending: false, filter: String::new(), limit: 100 }
    }
}

/// A column to sort flows by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowSort {
    /// Bytes in both directions.
    #[default]
    Bytes,
    /// Frames in both directions.
    Frames,
    /// Time of the last frame.
    Last,
    /// Time of the first frame.
    First,
    /// Time between first and last frame.
    Duration,
    /// Network, then addresses.
    Network,
    /// Protocol, then addresses.
    Protocol,
    /// Address and port of the originator.
    Originator,
    /// Address and port of the responder.
    Responder,
    /// State, then addresses.
    State,
    /// Worker, then addresses.
    Worker,
}

/// The answer to a [`FlowQuery`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowPage {
    /// The flows, in the order asked for.
    pub flows: Vec<FlowSnapshot>,
    /// Flows that match, listed or not.
    pub matching: u64,
    /// Flows being followed.
    pub total: u64,
}
