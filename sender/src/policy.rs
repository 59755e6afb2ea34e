//! What is mirrored, and why: the policy of a mirror source.
//!
//! A policy has the objects that the clouds' own mirroring services have. A *source* is interfaces of this host, a
//! *filter* is ordered rules for inbound and for outbound packets (as the source sees them), a *target* is one or several
//! addresses that copies go to, and a *session* binds them. A *provider profile* says what the clouds differ in
//! ([`Semantics`]). This module does no I/O and reads no clock; whoever captures gives it frames and the time.
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
//! - [`Policy::parse`] takes the text and gives a [`Policy`] in which every name is looked up and every default is filled
//!   in, or all [`Problem`]s with their places.
//! - [`Engine`] is the policy as one interface needs it, and [`Decider`] is an engine with what one capturing thread keeps:
//!   the table of flows (where decisions are for whole flows) and our own traffic, which is never mirrored.
//!
//! ```ignore
//! let policy = Policy::parse("policy.toml", &text)?;               // PolicyError: all problems, with line and column
//! let interface = Interface { name: "eth0".into(), addresses: vec![…], loopback: false, tags: vec!["web".into()] };
//! let engine = Arc::new(Engine::new(&policy, &interface)?);        // Err(SourceClash): two sessions of one number meet here
//! if engine.is_idle() { /* no enabled session has this interface as a source */ }
//! let program: Prefilter = engine.prefilter(&own);                 // .program: Vec<BpfInstruction>; .exact: bool
//! let mut decider = Decider::new(engine, Arc::new(own));           // own: OwnTraffic, exchanged by set_own_traffic
//! let view = FrameView::parse_outermost(frame);                    // not `parse`: filters match the outermost packet
//! match decider.decide(Direction::Inbound, &view, now_seconds) {
//!     Decision::Mirror(mirror) => { /* policy.sessions[mirror.session], first mirror.length bytes, mirror.flow_hash */ }
//!     Decision::Pass(reason) => { /* counted by reason */ }
//! }
//! let trace = decider.explain(Direction::Inbound, &view, now);     // the same decision with every session and rule on its way
//! ```

mod document;
pub mod export;
pub mod import;
mod model;
mod never;
mod protocol;
mod provider;

pub use document::{
    BudgetDocument, Document, FilterDocument, MemberDocument, NeverDocument, Ports, RuleDocument, SemanticsDocument,
    SessionDocument, SourceDocument, Switch, TargetDocument, VniDocument,
};
pub use model::{
    Action, Budget, Direction, Encapsulation, Filter, Interface, Member, MirrorTarget, NetworkService, Policy, PortRange,
    Rule, Sample, Session, Shed, Source,
};
pub use never::{Excluded, NeverMirrored};
pub use protocol::Protocol;
pub use provider::{
    BareRule, EqualNumbers, LengthCounts, Limits, NoMatch, Order, Profile, Provider, RejectEnds, Scope, Semantics, Sides,
};
