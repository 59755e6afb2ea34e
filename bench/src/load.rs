//! One trial: the sender offers, a receiver takes, the ledger is reconciled.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context as _, ensure};

use crate::bench::{Bench, RECEIVER_CPU, SENDER_CPU};
use crate::ledger::SenderSummary;
use crate::namespaces::{Link, RECEIVER};
use crate::programs::Place;
use crate::receiver::{Received, Receiver};

/// The VXLAN port, inside a namespace of our own.
const PORT: u16 = 4789;

/// What is offered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Bytes of each inner frame.
    pub(crate) size: u32,
    /// Packets a second; `None` is as many as the kernel takes.
    pub(crate) pps: Option<u64>,
    pub(crate) seconds: u32,
    /// Whether datagrams travel in trains (UDP segmentation offload) or by themselves.
    pub(crate) trains: bool,
}

/// Where a trial happens.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) sender: Place,
    pub(crate) receiver: Place,
    pub(crate) address: SocketAddr,
}

/// What a trial gave.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) sent: SenderSummary,
    pub(crate) received: Received,
}

impl Path {
    /// Over loopback, sender and receiver each on a CPU of its own, on a port that was free.
    pub(crate) fn loopback() -> anyhow::Result<Self> {
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
        let address = free.local_addr().context("find a free port")?;
        Ok(Self { sender: Place::on_cpu(SENDER_CPU), receiver: Place::on_cpu(RECEIVER_CPU), address })
    }

    /// Across the veth pair of `link`.
    pub(crate) fn across(link: &Link) -> anyhow::Result<Self> {
        let place = |cpu, name| Place { namespace: Some(name), ..Place::on_cpu(cpu) };
        Ok(Self {
            sender: place(SENDER_CPU, link.sender.name()),
            receiver: place(RECEIVER_CPU, link.receiver.name()),
            address: SocketAddr::new(RECEIVER.parse().context("the receiver's address")?, PORT),
        })
    }
}

impl Load {
    /// Offers this to `receiver`.
    pub(crate) fn offer(self, bench: &Bench, path: &Path, receiver: &Receiver) -> anyhow::Result<Trial> {
        let receiving = receiver.start(bench, &path.receiver, path.address)?;
        let sent = self.send(bench, path)?;
        let received = receiving.finish(sent.sent, self.trains)?;
        Ok(Trial { sent, received })
    }

    fn send(self, bench: &Bench, path: &Path) -> anyhow::Result<SenderSummary> {
        self.send_until(bench, path, &["--seconds", &self.seconds.to_string()])
    }

    /// Sends so many packets, however long it takes.
    pub(crate) fn send_packets(self, bench: &Bench, path: &Path, packets: u32) -> anyhow::Result<SenderSummary> {
        self.send_until(bench, path, &["--packets", &packets.to_string()])
    }

    fn send_until(self, bench: &Bench, path: &Path, end: &[&str]) -> anyhow::Result<SenderSummary> {
        let (to, size) = (path.address.to_string(), self.size.to_string());
        let method = if self.trains { "trains" } else { "batches" };
        let mut words = vec!["generate", "--to", &to, "--vni", "7", "--size", &size, "--transmit", method];
        words.extend(end);
        let pps = self.pps.map(|pps| pps.to_string());
        match &pps {
            Some(pps) => words.extend(["--pps", pps]),
            None => words.push("--top-speed"),
        }
        let sent = bench.send(&path.sender, &words)?;
        ensure!(sent.transmit == method, "the kernel has no {method} here; the sender used {}", sent.transmit);
        Ok(sent)
    }
}

impl Trial {
    pub(crate) fn lost(&self) -> u64 {
        self.sent.sent - self.received.received
    }

    /// CPU nanoseconds of the receiver for each packet that it received.
    pub(crate) fn nanos(&self) -> f64 {
        self.received.cpu.total().as_nanos() as f64 / self.received.received as f64
    }
}
