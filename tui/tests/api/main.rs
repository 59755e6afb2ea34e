//! What the crate does over real connections and in a real terminal.

mod fake_collector;
mod http_source;
mod terminal;
