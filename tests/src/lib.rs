//! What the cross-crate tests are made of: starting the programs, building and sending frames, reading what came out
//! with readers that are not ours, and judges that compare it with what it must be.
//!
//! Everything here panics with a readable message when something is not as it must be: it is for tests only. A judge
//! that can be wrong both ways has tests of its own, with good and with bad data.
//!
//! A test that lacks what it needs (captures, tools, root) says `skipped: …` and passes; `VXTAP_NO_SKIP` makes that a
//! failure, see [`needs`].

pub mod capture_file;
pub mod captures;
pub mod collector;
pub mod command_lines;
pub mod compare;
pub mod conversations;
pub mod datagram;
pub mod deadline;
pub mod exceptions;
pub mod flood;
pub mod lab;
pub mod manager;
pub mod needs;
pub mod process;
pub mod programs;
pub mod readers;
pub mod readme;
pub mod sender;
pub mod summary;
pub mod tshark;
