//! What a shard knows and what it tells.
//!
//! This crate owns per-shard flow state ([`Shard`]), the [`Ledger`] that accounts for every packet, the records
//! that analysis makes ([`FlowRecord`]) the events that they become in EVE JSON ([`protocols`]), and the [`snapshot`] types that the API
//! and the terminal UI show. It opens no socket and no file, starts no thread and reads no clock: time is an argument.

mod analysis;
pub mod anomaly;
mod app;
pub mod dedup;
pub mod eve;
mod flow;
mod flow_filter;
mod flow_list;
mod flow_notes;
mod flow_table;
pub mod fragments;
mod interface_name;
pub mod json;
mod ledger;
pub mod losses;
pub mod protocols;
mod shard;
mod sides;
pub mod snapshot;
mod sparse;
mod stream;
pub mod tcp;
mod wheel;
mod whole;

pub use analysis::Analysis;
pub use flow::{DirectionCounters, Flow, FlowEnd, FlowRecord, FlowState, TcpState};
pub use flow_filter::{FlowFilter, FlowFilterError};
pub use flow_list::FlowList;
pub use flow_notes::FlowNotes;
pub use flow_table::{FlowTable, FlowTableLimits, Probe, Slot};
pub use interface_name::InterfaceName;
pub use ledger::{DropReason, Drops, Imbalance, Ledger};
pub use shard::{BATCH_MAX, PacketMeta, Shard, ShardCounters, ShardSettings};
pub use sides::{OneSidedCause, SideCounts};
pub use stream::{Encapsulation, StreamCounters, StreamId, StreamKey, StreamNames};
pub use whole::{Shown, Siblings, WholePacket, Wholes};

/// The page's example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/analysers.md")]
struct AddingAnAnalyser;
