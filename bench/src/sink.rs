//! Trivial receivers, the measure of what receiving must cost: they take datagrams with recvmmsg, count them, and do
//! nothing else. Each is a process of its own, so that its CPU time can be told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use signal_hook::consts::SIGTERM;

use crate::kernel::{DatagramSocket, Taking};

/// The same that the collector asks for.
const BUFFER_BYTES: usize = 64 << 20;
/// How long a sink sleeps in the kernel before it looks whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(200);
const BATCH: usize = 64;
/// Room for the longest plain datagram of the benchmark.
const PLAIN_BYTES: usize = 2048;
/// Trains fill up to 64 KiB each; more of them in one call than the cache holds would make the sink slower.
const BATCH_OF_TRAINS: usize = 8;
const TRAIN_BYTES: usize = 64 << 10;

/// What a sink does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct SinkOptions {
    /// Where it listens.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Take trains (UDP GRO).
    #[arg(long)]
    pub(crate) gro: bool,
    /// Sleep so many microseconds after a batch that was not full.
    #[arg(long, default_value_t = 0)]
    pub(crate) pause_us: u64,
}

/// What a sink says at its end, as JSON on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinkSummary {
    pub(crate) received: u64,
    pub(crate) kernel_dropped: u64,
}

/// Receives until SIGTERM, then takes what is left.
pub(crate) fn run(options: &SinkOptions) -> anyhow::Result<SinkSummary> {
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&stop)).context("handle SIGTERM")?;
    let (batch, message_bytes) = if options.gro { (BATCH_OF_TRAINS, TRAIN_BYTES) } else { (BATCH, PLAIN_BYTES) };
    let taking = Taking { batch, message_bytes, gro: options.gro };
    let mut socket = DatagramSocket::bind(options.listen, BUFFER_BYTES, PATIENCE, taking)
        .with_context(|| format!("listen on {}", options.listen))?;
    let pause = Duration::from_micros(options.pause_us);
    let mut received = 0;
    while !stop.load(Ordering::Relaxed) {
        let taken = socket.take(true).context("receive")?;
        received += taken.datagrams;
        if taken.messages > 0 && taken.messages < batch && !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    loop {
        let taken = socket.take(false).context("receive")?;
        received += taken.datagrams;
        if taken.messages == 0 {
            return Ok(SinkSummary { received, kernel_dropped: socket.kernel_dropped().context("read the drops")? });
        }
    }
}
