//! What senders of anything can do to a shard that looks into its flows: nothing.

mod growth;
mod mutations;
mod watched;
