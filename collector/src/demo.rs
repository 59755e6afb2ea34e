//! `demo`: a collector and a sender on loopback, to see what the program does before there is traffic to mirror.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use vxtap_analyzers::dedup::DedupMode;
use vxtap_analyzers::snapshot::Snapshot;
use vxtap_sender::generate::{self, GenerateSettings};
use vxtap_sender::{Control, Rate, SendError, Target, TransmitSettings};
use vxtap_wire::vxlan::Vni;

use crate::api::{BoundServer, Server};
use crate::end::End;
use crate::run::{Collector, serve, show};
use crate::settings::{DemoSettings, HealthSettings, Listener, ReceiveSettings, RunSettings};
use crate::summary::{self, Summary};

/// The mirrored networks, each sent by a sender of its own.
const VNIS: [u32; 3] = [4242, 4243, 77];

/// The summary of a demo: both ends.
#[derive(Debug, Serialize)]
pub struct DemoSummary {
    /// What the collector received, analysed and captured.
    pub collector: Summary,
    /// What the senders sent, all together.
    pub sender: vxtap_sender::Summary,
}

/// Generates, mirrors and collects until the time is over, a signal comes, or the user leaves the terminal UI.
pub fn demo(settings: &DemoSettings) -> anyhow::Result<DemoSummary> {
    let api = bind_api(settings)?;
    let any_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    // Nobody but its own senders sends to a demo.
    let end = End::on_signal(Duration::ZERO)?;
    let run = RunSettings {
        listen: vec![Listener::vxlan(any_port)],
        receive: match settings.pipeline.dedup.mode {
            DedupMode::Window => ReceiveSettings::with_a_time_for_each_packet(),
            _ => ReceiveSettings::default(),
        },
        pipeline: settings.pipeline.clone(),
        api: settings.api.clone(),
        follow: None,
        health: HealthSettings::default(),
        drain: Duration::ZERO,
        summary: None,
        tui: settings.tui,
    };
    let collector = Collector::start(&run, &end)?;
    let server = api.map(|api| serve(api, collector.monitor())).transpose()?;
    let senders = Senders::start(collector.addresses(), settings.pps)?;
    watch(settings, &collector, &end)?;

    let sender = senders.finish()?;
    let collector = collector.finish()?;
    if let Some(server) = server {
        server.stop();
    }
    let summary = DemoSummary { collector, sender };
    if let Some(target) = &settings.summary {
        summary::write(&summary, target)?;
    }
    tell(&summary);
    check(&summary)?;
    Ok(summary)
}

fn bind_api(settings: &DemoSettings) -> anyhow::Result<Option<BoundServer>> {
    let Some(api) = &settings.api else { return Ok(None) };
    match Server::bind(api) {
        Ok(server) => Ok(Some(server)),
        Err(error) if settings.api_optional => {
            tracing::warn!("{error}; the demo goes on without API");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows the terminal UI or a status line a second until the end.
fn watch(settings: &DemoSettings, collector: &Collector, end: &End) -> anyhow::Result<()> {
    let deadline = settings.seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    if settings.tui {
        let timer = deadline.map(|deadline| {
            let end = end.clone();
            move || {
                end.wait(Some(deadline.saturating_duration_since(Instant::now())));
                end.ask();
            }
        });
        if let Some(timer) = timer {
            std::thread::Builder::new().name("timer".to_owned()).spawn(timer).context("start the timer's thread")?;
        }
        return show(collector, end);
    }
    let second = Duration::from_secs(1);
    let mut last = collector.monitor().snapshot();
    loop {
        let left = deadline.map_or(second, |deadline| deadline.saturating_duration_since(Instant::now()).min(second));
        if left.is_zero() || end.wait(Some(left)) {
            return Ok(());
        }
        let now = collector.monitor().snapshot();
        tracing::info!("{}", status(&last, &now));
        last = now;
    }
}

fn status(last: &Snapshot, now: &Snapshot) -> String {
    let seconds = now.taken_ns.saturating_sub(last.taken_ns) as f64 / 1e9;
    let rate = |now: u64, last: u64| now.saturating_sub(last) as f64 / seconds.max(1e-9);
    let ledger = &now.ledger;
    format!(
        "{:.0} packets/s, {:.1} Mbit/s, {} flows, {} received, {} lost, {} captured in {} files",
        rate(ledger.received, last.ledger.received),
        rate(ledger.received_bytes, last.ledger.received_bytes) * 8.0 / 1e6,
        now.flows_active,
        ledger.received,
        ledger.kernel_dropped + ledger.dropped.total() + ledger.capture_dropped,
        ledger.captured,
        now.capture.as_ref().map_or(0, |capture| capture.files_total),
    )
}

fn tell(summary: &DemoSummary) {
    tracing::info!("sent {}\n{}", summary.sender.sent, summary.collector.lines());
    if let Some(capture) = &summary.collector.capture {
        tracing::info!("captures are in {}: open one in Wireshark, or `tshark -r` it", capture.directory);
    }
}

/// The ledger over both ends: nothing is between the two that could lose a packet unseen.
fn check(summary: &DemoSummary) -> anyhow::Result<()> {
    summary.sender.check()?;
    summary.collector.check()?;
    let DemoSummary { collector: Summary { ledger, .. }, sender } = summary;
    anyhow::ensure!(
        sender.sent == ledger.received + ledger.kernel_dropped,
        "the ledger does not balance: sent {}, received {} + dropped by the kernel {}",
        sender.sent,
        ledger.received,
        ledger.kernel_dropped
    );
    Ok(())
}

type SenderThread = JoinHandle<Result<vxtap_sender::Summary, SendError>>;

/// One generating sender for each mirrored network.
struct Senders {
    running: Vec<(Arc<Control>, SenderThread)>,
}

impl Senders {
    fn start(addresses: &[SocketAddr], pps: u64) -> anyhow::Result<Self> {
        let address = *addresses.first().context("the collector listens on nothing")?;
        let mut running = Vec::new();
        for (number, vni) in VNIS.into_iter().enumerate() {
            let vni = Vni::new(vni).context("a VNI of the demo has more than 24 bits")?;
            let mut generate = GenerateSettings::new(TransmitSettings::new(Target::from(address), vni));
            // Half of the rate for the first network, the rest for the others, and never nothing.
            let share = if number == 0 { pps.div_ceil(2) } else { pps / 4 };
            generate.rate = Rate::PacketsPerSecond(NonZeroU64::new(share).unwrap_or(NonZeroU64::MIN));
            generate.seed += number as u64;
            let control = Arc::new(Control::default());
            let shared = Arc::clone(&control);
            let thread = std::thread::Builder::new()
                .name(format!("sender-{number}"))
                .spawn(move || generate::run(&generate, &shared))
                .context("start a sender's thread")?;
            running.push((control, thread));
        }
        Ok(Self { running })
    }

    fn finish(self) -> anyhow::Result<vxtap_sender::Summary> {
        self.running.iter().for_each(|(control, _)| control.stop());
        let mut total = vxtap_sender::Summary::default();
        for (_, thread) in self.running {
            let summary = thread.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
            total.merge(&summary);
        }
        Ok(total)
    }
}
