//! Receiving: sockets that share a port, batches of datagrams out of them, and waiting for more.
//!
//! This module and its children are the only place of the collector with `unsafe`: the batch call, its control
//! messages and some socket options have no safe form.

mod batch;
mod cpu;
mod socket;
mod trains;
mod wait;

pub(crate) use batch::{Batch, Datagram};
pub(crate) use cpu::pin_to_cpu;
pub(crate) use socket::{ReceiveSocket, open_group};
pub(crate) use wait::{Waiter, Waker};
