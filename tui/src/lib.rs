//! The terminal UI: draws snapshots of a collector and turns keys into commands.
//!
//! The same screens show a collector in the same process and, through [`HttpSource`], one over its API: [`run`] takes
//! either as a [`Source`]. This crate knows nothing of sockets that carry packets, nor of flow tables.
//!
//! A session has four parts: a thread that asks the source (and one while a flow is saved), the state of the screens (which keys and answers change), the
//! drawing (a pure function of that state), and the loop that joins them to a terminal.

mod app;
mod clock;
mod flows;
mod history;
mod http;
mod jobs;
mod keyboard;
mod keys;
mod line_edit;
mod list;
mod number;
mod poller;
#[cfg(test)]
mod sample;
mod save;
mod screens;
mod session;
mod source;
mod streams;
mod terminal;
mod text;
mod theme;

pub use http::{Endpoint, HttpSource, InvalidToken};
pub use session::{Exit, TuiError, TuiOptions, run};
pub use source::{Captured, CapturedFlow, Source, SourceError};
pub use terminal::can_draw;
