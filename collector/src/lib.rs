//! A mirror target: receives mirrored traffic, keeps both directions of every inner flow on one worker, analyses,
//! captures and publishes.
//!
//! This crate owns sockets, threads, files and the HTTP API of the collector. Headers are `vxtap-wire`'s, flow state and
//! the ledger are `vxtap-analyzers`', screens are `vxtap-tui`'s.

pub mod admission;
pub mod api;
mod blocks;
pub mod capture;
pub mod cli;
mod config;
pub mod demo;
mod directory_lock;
pub mod doctor;
mod end;
pub mod extract;
pub mod follow;
mod hand_over;
pub mod health;
mod local_addresses;
pub mod log;
mod manager;
mod monitor;
pub mod networks;
mod outer_fragments;
mod outputs;
mod pipeline;
pub mod read;
mod receive;
pub mod run;
#[cfg(test)]
mod said;
mod section;
pub mod selector;
pub mod settings;
mod shared;
mod signals;
pub mod streams;
pub mod summary;
mod turns;
mod watch;
mod worker;
