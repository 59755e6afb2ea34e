//! The terminal UI: draws snapshots of a collector and turns keys into commands.
//!
//! The same screens show a collector in the same process and, over HTTP, one over its API.
//! This crate knows nothing of sockets that carry packets, nor of flow tables: it sees [`Source`] only.

mod source;

pub use source::{Source, SourceError};
