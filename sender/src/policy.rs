//! What is mirrored, and why: the policy of a mirror source.
//!
//! A policy has the objects that the clouds' own mirroring services have. A *source* is interfaces of this host, a
//! *filter* is ordered rules for inbound and for outbound packets (as the source sees them), a *target* is one or several
//! addresses that copies go to, and a *session* binds them. A *provider profile* says what the clouds differ in
//! ([`Semantics`]). But for
//! [`PolicyFile::load`] this module does no I/O, and it reads no clock: whoever captures gives it frames and the time.
//!
//! # From text to decisions
//!
//! ```text
//! TOML text ── read ──▶ Document ── resolve ──▶ Policy ── Engine::new(&Policy, &Interface) ──▶ Engine ── Decider ──▶ Decision
//!                          ▲                                                                     └── prefilter() ──▶ classic BPF
//! import ──────────────────┘ Document::to_toml ──▶ TOML text
//! ```
//!
//! - [`Document`] is the file as values, with nothing filled in: what an import makes and an export reads.
//! - [`PolicyFile`] reads the text and gives a [`Policy`] in which every name is looked up and every default is filled in, or
//!   a [`PolicyError`] with all problems and their places. It keeps the places, for problems that show only on a host.
//! - [`Engine`] is the policy as one interface needs it, and [`Decider`] is an engine with what one capturing thread keeps:
//!   the table of flows (where decisions are for whole flows) and our own traffic, which is never mirrored.
//!
//! ```text
//! let file = PolicyFile::load(path)?;                              // PolicyError: all problems, with line and column
//! let policy = Arc::new(file.policy.clone());
//! let interface = Interface { name: "eth0".into(), addresses: vec![…], loopback: false, tags: vec!["web".into()] };
//! let engine = Arc::new(Engine::new(&policy, &interface)?);        // Err(SourceClash): two sessions of one number meet here
//! if engine.is_idle() { /* no enabled session has this interface as a source */ }
//! let kernel = engine.prefilter(&own, PrefilterSettings { whole_above: Some(mtu + 14) }); // .program: Vec<BpfInstruction>
//! let mut decider = Decider::new(engine, Arc::new(own));           // own: OwnTraffic, exchanged by set_own_traffic
//! let view = FrameView::parse_outermost(frame);                    // not `parse`: filters match the outermost packet
//! match decider.decide(Direction::Inbound, &view, now_seconds) {
//!     Decision::Mirror(mirror) => { /* policy.sessions[mirror.session], first mirror.length bytes, mirror.flow_hash */ }
//!     Decision::Pass(reason) => { /* counted by reason */ }
//! }
//! let trace = decider.explain(Direction::Inbound, &view, now);     // the same decision with every session and rule on its way
//! ```

mod document;
mod engine;
pub mod export;
mod file;
pub mod import;
mod lint;
mod model;
mod never;
mod prefilter;
mod problem;
mod protocol;
mod provider;
mod read;
mod resolve;
#[cfg(test)]
mod testing;
mod words;

pub use document::{
    BudgetDocument, Document, FilterDocument, MemberDocument, NeverDocument, Ports, RuleDocument, SemanticsDocument,
    SessionDocument, SourceDocument, Switch, TargetDocument, VniDocument,
};
pub(crate) use engine::LOOKED_THROUGH;
pub use engine::{
    Decider, Decision, Engine, FlowCounts, Mirror, Mismatch, Outcome, OwnTraffic, Pass, PassedOver, SourceClash, Step,
    Trace,
};
pub use file::PolicyFile;
pub use lint::{Finding, Severity};
pub use model::{
    Action, Budget, Direction, Encapsulation, Filter, Interface, Member, MirrorTarget, NetworkService, Policy,
    PortRange, Rule, Sample, Session, Shed, Source,
};
pub use never::{Excluded, NeverMirrored};
pub use prefilter::{LEAST, MAX_INSTRUCTIONS, Prefilter, PrefilterSettings, WHOLE};
pub(crate) use problem::printable;
pub use problem::{Place, PolicyError, Problem};
pub use protocol::Protocol;
pub use provider::{
    BareRule, EqualNumbers, LengthCounts, Limits, NoMatch, Order, Profile, Provider, RejectEnds, Scope, Semantics,
    Sides,
};
