//! A mirror source: takes frames from interfaces or capture files or makes them, encapsulates them in VXLAN or GENEVE and sends them.
//!
//! [`replay::run`], [`generate::run`] and [`capture::Capture::run`] send in the calling thread and give a [`Summary`] in which every frame is
//! accounted for; a [`Control`] shared with other threads stops them and tells how far they are. A frame's way:
//! source (interface, capture file or generator) → cut to the packet length and the path → wait until it is due → train → kernel.

mod batch;
pub mod capture;
pub mod cli;
mod control;
mod error;
pub mod generate;
pub mod mirror;
mod pace;
pub mod policy;
pub mod replay;
mod send_loop;
mod source;
mod summary;
mod target;
mod transmit;
mod ways;

pub use control::{Control, Progress};
pub use error::SendError;
pub use pace::{Rate, Timing};
pub use summary::{Imbalance, Reasons, SendFault, SkipReason, Summary, Truncated};
pub use target::{ScopedAddress, Target, TargetAddress};
pub use transmit::{Method, TransmitSettings};
pub use ways::{HiddenWay, Tunnel};
