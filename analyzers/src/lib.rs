//! What a shard knows and what it tells.
//!
//! This crate owns per-shard flow state, the [`Ledger`] that accounts for every packet, the events
//! that analyses make with their form in EVE JSON, and the [`snapshot`] types that the API and
//! the terminal UI show. It opens no socket and no file, starts no thread and reads no clock: time is an argument.

mod ledger;
pub mod snapshot;
mod stream;

pub use ledger::{DropReason, Drops, Imbalance, Ledger};
pub use stream::{Encapsulation, StreamCounters, StreamId, StreamKey};
