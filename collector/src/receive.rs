//! Receiving: sockets that share a port, batches of datagrams out of them, and waiting for more.
//!
//! This module and its children are the only place of the collector with `unsafe`: the batch call, its control
//! messages, some socket options, and what `doctor` asks the kernel about interfaces and its clock have no safe form.

mod batch;
mod clock;
mod cpu;
mod drops;
mod ethtool;
mod handed;
mod offered;
mod packet;
mod queue;
pub(crate) mod short_buffer;
mod socket;
mod wait;

pub(crate) use batch::{Batch, Datagram};
pub(crate) use clock::{ClockState, clock_state};
pub(crate) use cpu::{pin_to_cpu, pin_to_own_cpu};
pub(crate) use ethtool::{InterfaceFeatures, interface_features};
pub(crate) use handed::{Handed, kept_name};
pub(crate) use packet::{PacketSource, SETTLED, open_packet_group};
pub(crate) use queue::Queue;
#[cfg(test)]
pub(crate) use socket::Group;
pub(crate) use socket::{ReceiveSocket, open_group};
pub(crate) use wait::{Waiter, Waker};
