//! Frames from network interfaces, as the kernel's AF_PACKET receive ring (TPACKET_V3) gives them.
//!
//! A [`Ring`] is memory that the kernel fills block by block, and the program reads in place: [`Ring::next_block`] gives
//! the next [`Block`], whose [`Frame`]s borrow the ring's memory, and dropping it gives the block back to the kernel. There
//! is no system call and no copy for a frame. [`Wait`] sleeps until one of several rings has a block, somebody calls, or
//! time is up.
//!
//! What the kernel knows of a frame and its bytes do not tell comes with it: when and which way it crossed the
//! interface, its VLAN tag (which the kernel takes out of the bytes), and in [`Offload`] what the network card has
//! still to do or has already undone: super-frames that stand for many packets, and checksums that are not there yet.
//!
//! Opening a ring takes `CAP_NET_RAW`. Nothing else does: a ring that was opened may be [bound](Ring::bind) to an
//! interface, also to another one or to one that went and came back, without any privilege.
//!
//! A frame that the [filter program](Ring::set_filter) refuses is never copied. A ring is open before it is bound, and sees
//! nothing until then, so a program that is set in [`Settings::filter`] has decided on the first frame already.

mod block;
mod counted;
mod error;
mod fanout;
mod frame;
mod interface;
mod map;
mod ring;
mod socket;
mod wait;

pub use block::{Block, Frames, FramesMut};
pub use counted::{RingState, RingWatch};
pub use error::RingError;
pub use fanout::{Fanout, FanoutGroup};
pub use frame::{Checksum, Frame, FrameMut, Offload, PacketType, SuperFrame, SuperFrameKind, VlanTag};
pub use interface::{Interface, LinkKind};
/// One instruction of classic BPF, as the kernel has it.
pub use libc::sock_filter as Instruction;
pub use ring::{Condition, Ring, Settings, Statistics};
pub use wait::{Wait, Waker};
