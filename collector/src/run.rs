//! `run`: receives mirrored traffic until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context as _;
use vxtap_analyzers::Wholes;
use vxtap_analyzers::dedup::DedupMode;
use vxtap_analyzers::snapshot::RunState;
use vxtap_wire::SteerHash;

use crate::admission::{Admission, StateError};
use crate::api::{BoundServer, Monitor, Server};
use crate::capture::Input;
use crate::end::End;
use crate::follow::{Hub, PcapOverIp};
use crate::hand_over::connect;
use crate::health::{Health, HealthPort, HealthState, Observer, Telling};
use crate::local_addresses::AddressWatch;
use crate::log::StatsTicker;
use crate::manager::Manager;
use crate::monitor::{InProcess, LiveMonitor};
use crate::networks::Networks;
use crate::outer_fragments::FragmentCounter;
use crate::outputs::{self, Outputs};
use crate::pipeline::{Pipeline, PipelineTotals, random_seed};
use crate::receive::{
    Handed, PacketSource, ReceiveSocket, Waiter, kept_name, open_group, open_packet_group, short_buffer,
};
use crate::settings::{Listener, RunSettings, SummaryTarget, Timestamps, UdpListener};
use crate::shared::{Asker, Shared};
use crate::streams::StreamRegistry;
use crate::summary::{self, NoPlace, Summary};
use crate::watch::Watch;
use crate::worker::{Opening, PacketIntake, Steering, Worker, WorkerParts, unix_ns};

/// Runs a collector until a signal, or until the user leaves the terminal UI.
pub fn run(settings: &RunSettings) -> anyhow::Result<Summary> {
    summary::see_place(settings.summary.as_ref())?;
    let mut around = Surroundings::of_process(settings)?;
    let api = settings.api.as_ref().map(|api| match around.handed.listener("api") {
        Some(listener) => Server::on(listener, api),
        None => Server::bind(api),
    });
    let api = api.transpose()?;
    let follow = settings.follow.as_ref().map(PcapOverIp::bind).transpose()?;
    let end = End::on_signal(settings.drain)?;
    let collector = Collector::start_in(settings, &end, around)?;
    let server = api.map(|api| serve(api, collector.monitor())).transpose()?;
    let follow = follow.map(|follow| follow.serve(collector.hub())).transpose()?;
    if settings.pipeline.capture.is_none() && settings.pipeline.log.is_none() {
        tracing::info!("nothing is kept on disk: --write DIR keeps captures, --log DIR keeps events");
    }
    if settings.tui {
        show(&collector, &end)?;
    } else {
        end.wait(None);
    }
    let hub = collector.hub();
    let mut summary = collector.finish()?;
    if let Some(follow) = follow {
        follow.stop();
    }
    if let Some(server) = server {
        server.stop();
    }
    // With what they still got until their connections ended.
    summary.followers = hub.totals();
    account(&summary, settings.summary.as_ref())?;
    Ok(summary)
}

/// Tells what the run came to, in the log as well where the file of the summary cannot be written.
fn account(summary: &Summary, target: Option<&SummaryTarget>) -> anyhow::Result<()> {
    tracing::info!("{}", summary.lines());
    if let Some(target) = target {
        summary::write(summary, target)?;
    }
    Ok(summary.check()?)
}

/// Whether `error`, of a run, is one of what it was told, and not of the machine that it ran on.
pub fn is_of_arguments(error: &anyhow::Error) -> bool {
    error.is::<StateError>() || error.is::<NoPlace>() || outputs::is_no_directory(error)
}

/// Starts the API and says where it is.
pub(crate) fn serve(api: BoundServer, monitor: Arc<dyn Monitor>) -> anyhow::Result<Server> {
    let server = api.serve(monitor)?;
    tracing::info!("api on http://{}", server.address());
    Ok(server)
}

/// Shows the terminal UI until the user leaves it or the run is to end.
pub(crate) fn show(collector: &Collector, end: &End) -> anyhow::Result<()> {
    let source = Box::new(InProcess(Arc::clone(&collector.monitor)));
    vxtap_tui::run(source, vxtap_tui::TuiOptions::default(), end.flag())?;
    Ok(())
}

/// What a collector meets outside: what a service manager hands over and wants to know, and the health port.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    handed: Handed,
    manager: Manager,
    port: Option<HealthPort>,
}

impl Surroundings {
    /// Those of this process, for a run with `settings`.
    fn of_process(settings: &RunSettings) -> anyhow::Result<Self> {
        let (mut handed, manager) = (Handed::take()?, Manager::from_environment()?);
        let port = match handed.listener("health") {
            Some(listener) => Some(HealthPort::new(listener).context("take the health port over")?),
            None => settings.health.address.map(HealthPort::bind).transpose()?,
        };
        Ok(Self { handed, manager, port })
    }
}

/// A collector that is running.
pub(crate) struct Collector {
    /// Ends first: when it is dropped, nobody is told anything any more.
    health: Health,
    monitor: Arc<LiveMonitor>,
    outputs: Outputs,
    stats: Option<StatsTicker>,
    watch: Watch,
    addresses: Vec<SocketAddr>,
    /// Keeps the addresses of this machine up to date, where workers need them.
    _own: Option<AddressWatch>,
    workers: Vec<JoinHandle<std::io::Result<PipelineTotals>>>,
    begun: Instant,
}

impl Collector {
    /// As [`Collector::start_in`], where nothing is handed over and nobody asks.
    pub(crate) fn start(settings: &RunSettings, end: &End) -> anyhow::Result<Self> {
        Self::start_in(settings, end, Surroundings::default())
    }

    /// Opens sockets and files and starts the workers, one of which asks for the `end` if it cannot go on.
    pub(crate) fn start_in(settings: &RunSettings, end: &End, around: Surroundings) -> anyhow::Result<Self> {
        let Surroundings { mut handed, manager, port } = around;
        let workers = settings.pipeline.workers;
        let steer = SteerHash::new(settings.pipeline.steer_seed.unwrap_or_else(|| random_seed() as u32));
        let mut sockets: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        let mut rings: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        let mut steered = true;
        for listener in &settings.listen {
            let listener = match listener {
                Listener::Udp(listener) => listener,
                Listener::Packet(listener) => {
                    let group = open_packet_group(listener, workers, &settings.receive, steer)?;
                    listeners.push(listener.to_string());
                    for (worker, source) in rings.iter_mut().zip(group) {
                        worker.push(source);
                    }
                    continue;
                }
            };
            let bound = handed.datagrams(listener.address)?;
            let ours = bound.is_empty();
            let group = open_group(*listener, workers, &settings.receive, steer, bound)?;
            steered &= group.steered;
            addresses.push(group.address);
            listeners.push(UdpListener { address: group.address, ..*listener }.to_string());
            for (number, socket) in group.sockets.into_iter().enumerate() {
                if ours {
                    manager.keep(&kept_name(number, group.address), socket.fd());
                }
                sockets[number % workers as usize].push(socket);
            }
        }
        handed.finish()?.iter().for_each(|name| manager.forget(name));
        let granted = sockets.iter().flatten().map(|socket| socket.buffer_bytes);
        // As an ordinary user that is how it is by default: no trouble to warn of.
        if let Some(short) = short_buffer::told(granted, settings.receive.buffer_bytes as u64) {
            tracing::info!("{short}");
        }
        let of_worker = |(sockets, rings): (&Vec<ReceiveSocket>, &Vec<PacketSource>)| {
            sockets.iter().map(ReceiveSocket::queue).chain(rings.iter().map(PacketSource::queue)).collect()
        };
        let queues = sockets.iter().zip(&rings).map(of_worker).collect();
        let admission = Admission::open(&settings.pipeline.admission)?;
        tracing::info!("{}", admission.told());
        if settings.pipeline.dedup.mode == DedupMode::Window {
            tracing::info!(
                "copies are looked for on each mirror stream by itself too, so each packet has a time of its own"
            );
        }
        let networks = Networks::new(&settings.pipeline.networks).with_names(&settings.pipeline.names);
        let streams = Arc::new(StreamRegistry::new().with_networks(networks).with_admission(admission));
        // Only who listens on an interface needs to know what is for this machine.
        let own = rings.iter().any(|rings| !rings.is_empty()).then(AddressWatch::start).transpose();
        let own = own.context("watch this machine's addresses")?;
        let local = own.as_ref().map(AddressWatch::addresses).unwrap_or_default();
        let hub = Hub::new(Arc::clone(&streams));
        let (mut outputs, lanes) = Outputs::open(&settings.pipeline, &streams, &hub, Input::Live)?;
        if let Some(log) = outputs.log_reopen() {
            end.reopen_on_hang_up(log);
        }
        let shared = Arc::new(Shared::new(workers, Arc::clone(&streams)));

        let waiters: Result<Vec<_>, _> = (0..workers).map(|_| Waiter::new()).collect();
        let (waiters, wakers): (Vec<_>, Vec<_>) = waiters.context("make a wake-up event")?.into_iter().unzip();
        let (inboxes, outboxes) = connect(workers, &wakers);
        let (askers, questions): (Vec<_>, Vec<_>) = wakers.into_iter().map(Asker::new).unzip();
        let steering = Steering {
            hash: steer,
            workers,
            broken: broken_by_test("VXTAP_BREAK_STEERING", "flows will be split over workers"),
        };
        let sender_times = settings.receive.timestamps == Timestamps::Sender;
        let opening = Opening { rules: settings.pipeline.envelope, sender_times };
        let mut threads = Vec::new();
        let sockets = sockets.into_iter().zip(rings);
        let parts = sockets.zip(waiters).zip(inboxes).zip(outboxes).zip(questions).zip(lanes);
        for (number, ((((((sockets, rings), waiter), inbox), outbox), questions), lanes)) in parts.enumerate() {
            let number = number as u32;
            tracing::debug!(
                worker = number,
                receive_buffer = sockets.iter().map(|socket| socket.buffer_bytes).sum::<u64>(),
                "receive buffer granted"
            );
            let siblings = steering.siblings(number, Wholes::HandedOver);
            let packets = PacketIntake::new(rings, Arc::clone(&local), settings.receive.probes.clone());
            let (pipeline, streams, shared) = (settings.pipeline.clone(), Arc::clone(&streams), Arc::clone(&shared));
            let (coalesce, pin) = (settings.receive.coalesce, settings.receive.pin);
            let end = end.clone();
            let work = move || {
                // Made by the worker: made side by side by one thread, tables of two workers would share cache lines that both write to.
                let pipeline = Pipeline::new(&pipeline, streams, lanes).with_siblings(siblings);
                let parts = WorkerParts {
                    number,
                    sockets,
                    packets,
                    waiter,
                    inbox,
                    outbox,
                    questions,
                    pipeline,
                    shared,
                    steering,
                    opening,
                    coalesce,
                    pin,
                };
                let result = Worker::new(parts).run();
                if result.is_err() {
                    end.ask();
                }
                result
            };
            threads.push(
                std::thread::Builder::new()
                    .name(format!("worker-{number}"))
                    .spawn(work)
                    .with_context(|| format!("start worker {number}"))?,
            );
        }
        for listener in &listeners {
            tracing::info!(
                "listening on {listener}: {workers} workers, flows steered by {}",
                if steered { "the kernel" } else { "hand-over" }
            );
        }
        let state = Arc::new(HealthState::new(settings.health.rules.clone(), end.clone()));
        let observer = Observer::new(Arc::clone(&shared), queues, outputs.monitor().capture_watch());
        if let Some(port) = &port {
            tracing::info!("health on http://{}", port.address);
        }
        let health = Health::start(Arc::clone(&state), observer, port, Telling::new(manager, &listeners))?;
        let monitor = Arc::new(LiveMonitor {
            started_ns: unix_ns(),
            listeners,
            shared,
            outputs: outputs.monitor(),
            hub,
            askers,
            health: state,
            skew: Arc::default(),
            fragments: FragmentCounter::start(),
            captures: settings.pipeline.capture.as_ref().map(|capture| capture.directory.clone()),
        });
        let stats = outputs.take_stats().map(|stats| {
            let monitor = Arc::clone(&monitor);
            stats.start(move |uptime| monitor.stats(uptime))
        });
        let stats = stats.transpose().context("start the thread of stats events")?;
        let watch = Watch::start(Arc::clone(&monitor.shared), monitor.outputs.clone(), Arc::clone(&monitor.skew))
            .context("start the thread that looks after the run")?;
        Ok(Self {
            health,
            monitor,
            outputs,
            stats,
            watch,
            addresses,
            _own: own,
            workers: threads,
            begun: Instant::now(),
        })
    }

    /// The run as the API sees it.
    pub(crate) fn monitor(&self) -> Arc<dyn Monitor> {
        Arc::clone(&self.monitor) as Arc<dyn Monitor>
    }

    /// Where the capture is followed.
    pub(crate) fn hub(&self) -> Hub {
        self.monitor.hub.clone()
    }

    /// Addresses that are really listened on.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops receiving, finishes what is under way, writes everything, and adds up.
    pub(crate) fn finish(self) -> anyhow::Result<Summary> {
        let Self { health, monitor, mut outputs, stats, watch, workers, begun, .. } = self;
        monitor.health.set_state(RunState::Draining);
        monitor.shared.stop.store(true, Ordering::SeqCst);
        monitor.askers.iter().for_each(Asker::wake);
        let mut totals = Vec::new();
        for (number, thread) in workers.into_iter().enumerate() {
            let result = thread.join().map_err(|_| anyhow::anyhow!("worker {number} panicked"))?;
            totals.push(result.with_context(|| format!("receive in worker {number}"))?);
        }
        watch.stop();
        if broken_by_test("VXTAP_BREAK_LEDGER", "a packet will be missing in the ledger")
            && let Some(PipelineTotals { ledger, .. }) = totals.first_mut()
        {
            ledger.received += 1;
        }
        let captured = outputs.finish_captures();
        monitor.hub.close();
        let pairs = summary::duplicate_pairs(totals.iter().flat_map(|totals| &totals.pairs), &monitor.shared.registry);
        let mut summary =
            Summary::new(summary::workers(totals, &captured), begun.elapsed().as_secs_f64(), &monitor.shared.registry);
        summary.followers = monitor.hub.totals();
        if let Some(mut stats) = stats.and_then(StatsTicker::stop) {
            stats.write(&summary.stats(monitor.outputs.log().as_ref()));
        }
        summary.log = outputs.finish_log();
        summary.duplicate_pairs = pairs;
        summary.capture = monitor.outputs.capture();
        monitor.health.set_state(RunState::Stopped);
        drop(health);
        Ok(summary)
    }
}

/// Whether a test asked by `variable` for something to be broken, to see that it would notice. Never in a release build.
fn broken_by_test(variable: &str, how: &str) -> bool {
    let broken = cfg!(debug_assertions) && std::env::var_os(variable).is_some();
    if broken {
        tracing::warn!("{variable} is set: {how}");
    }
    broken
}

#[cfg(test)]
mod tests;
