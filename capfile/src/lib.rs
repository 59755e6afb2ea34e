//! Capture files: bytes to records and back.
//!
//! [`CaptureReader`] reads pcap and pcapng, [`pcapng`] encodes the pcapng blocks that a capture writer needs. This crate
//! opens files for reading and knows nothing of what is in a frame. The framing of classic records and of pcapng blocks is
//! the `pcap-file` crate's; what that crate leaves out or gets wrong (time resolution and offset of an interface, blocks
//! with an option that it cannot read, bounds) is done here, and what is compressed with zstd is unpacked.

mod chunk;
mod classic;
mod error;
mod link_type;
pub mod pcapng;
mod reader;
mod refill;
mod sections;
mod time_scale;

pub use chunk::{Chunk, Window, Windows};
pub use error::{Fault, OpenError, ReadError};
pub use link_type::LinkType;
pub use reader::{CaptureReader, Interpret, Record};

/// The longest frame that a record may have, in bytes; a longer one is taken for damage, as libpcap and Wireshark do.
pub const MAX_FRAME_BYTES: usize = 262_144;

/// The longest pcapng block of any type, in bytes; a longer one is taken for damage.
pub const MAX_BLOCK_BYTES: usize = 16 << 20;

/// The most interfaces that one pcapng section may describe.
pub const MAX_INTERFACES: usize = 1 << 20;
