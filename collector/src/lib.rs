//! A mirror target: receives mirrored traffic, keeps both directions of every inner flow on one worker, analyses,
//! captures and publishes.
//!
//! This crate owns sockets, threads, files and the HTTP API of the collector. Headers are `vxtap-wire`'s, flow state and
//! the ledger are `vxtap-analyzers`', screens are `vxtap-tui`'s.

pub mod api;
pub mod settings;
