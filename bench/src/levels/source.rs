//! What mirroring costs the mirrored host: our sender beside the kernel's own mirror (`tc` copies into a VXLAN device).

use std::fs;
use std::path::Path as FilePath;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::bench::{Bench, LIMIT};
use crate::ledger::SenderSummary;
use crate::namespaces::{DEVICE, Link, Namespace, RECEIVER};
use crate::process::{Running, SOON, wait_for};
use crate::programs::{Place, installed};
use crate::report::{Row, Target, Unit};
use crate::statistics::Samples;

/// Packets that the mirrored host sends in a second.
const PPS: u64 = 60_000;
const CPU_TARGET: Target = Target::AtMost(1.5);
/// The service may lose no more requests by our mirror than by the kernel's; less than this is not told from noise.
const REQUESTS_TARGET: Target = Target::AtLeast(0.98);
/// The interface that is mirrored: what is sent there is dropped where it arrives, so that its own cost is always the same.
const NOWHERE: &str = "mir0";
/// The interface of the web server.
const WEB: &str = "web0";
/// A tick of `/proc/stat` (USER_HZ is 100 on every Linux that this runs on).
const TICK: Duration = Duration::from_millis(10);
/// Neighbours and routers talk a little on a network that has just been made.
const NOISE: u64 = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mirror {
    None,
    Kernel,
    Ours,
}

impl Mirror {
    const ALL: [Self; 3] = [Self::None, Self::Kernel, Self::Ours];
}

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = cpu(bench)?;
    if installed("wrk") && installed("nginx") {
        rows.extend(requests(bench)?);
    } else {
        rows.push(Row::note("wrk against nginx", "not measured: needs wrk and nginx"));
    }
    Ok(rows)
}

/// CPU of the host for each packet that is mirrored.
fn cpu(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for size in [150, 1350] {
        let host = Host::open()?;
        host.add_nowhere()?;
        let mut machine: [Samples; 3] = Default::default();
        let mut processes: [Samples; 3] = Default::default();
        for _ in 0..bench.scale.rounds {
            for (mirror, (machine, processes)) in Mirror::ALL.into_iter().zip(machine.iter_mut().zip(&mut processes)) {
                let trial = host.offer(bench, mirror, size)?;
                machine.push(trial.machine);
                processes.push(trial.processes);
            }
        }
        let frame = size + 50;
        for (whose, [none, kernel, ours], target) in
            [("whole machine", machine, Some(CPU_TARGET)), ("processes", processes, None)]
        {
            let what = format!("capture, {frame} bytes at {PPS}/s: CPU of the {whose} for a mirrored packet");
            let (ours, kernel) = (ours.above(&none), kernel.above(&none));
            rows.push(Row::ratio(what, Unit::Nanos, &ours, ("tc mirred into vxlan", &kernel), target));
        }
    }
    Ok(rows)
}

/// How many requests a web server answers.
fn requests(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let host = Host::open()?;
    let client = host.add_client()?;
    let directory = bench.directory()?;
    let _nginx = web_server(bench, &host, directory.path())?;
    let mut rates: [Samples; 3] = Default::default();
    for _ in 0..bench.scale.rounds {
        for (mirror, rates) in Mirror::ALL.into_iter().zip(&mut rates) {
            let mirroring = host.mirror(bench, mirror, WEB)?;
            let seconds = format!("-d{}s", bench.scale.seconds);
            let place = Place { namespace: Some(client.name()), ..Place::default() };
            let mut wrk = place.command("wrk".as_ref());
            let finished = bench.run(wrk.args(["-t1", "-c32", &seconds, "http://10.98.0.1/page"]))?.success()?;
            mirroring.stop()?;
            rates.push(requests_of(&finished.stdout).with_context(|| format!("understand wrk: {}", finished.stdout))?);
        }
    }
    let [none, kernel, ours] = rates;
    let row = |name, other: &Samples, target| {
        Row::ratio("capture of a web server: requests a second", Unit::PacketsPerSecond, &ours, (name, other), target)
    };
    Ok(vec![row("tc mirred into vxlan", &kernel, Some(REQUESTS_TARGET)), row("no mirror", &none, None)])
}

/// The number behind `Requests/sec:`.
fn requests_of(said: &str) -> Option<f64> {
    said.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")?.trim().parse().ok())
}

fn web_server(bench: &Bench, host: &Host, directory: &FilePath) -> anyhow::Result<Running> {
    let root = directory.display();
    let configuration = format!(
        "daemon off; master_process off; pid {root}/pid; error_log stderr; events {{ worker_connections 256; }}
         http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
         fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
         server {{ listen 80; root {root}; }} }}"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration).context("write nginx's configuration")?;
    fs::write(directory.join("page"), vec![b'x'; 4096]).context("write a page")?;
    let place = Place { namespace: Some(host.link.sender.name()), ..Place::default() };
    let mut nginx = place.command("nginx".as_ref());
    let nginx = bench.start(nginx.args(["-e", "stderr", "-c"]).arg(&file))?;
    wait_for(SOON, "nginx to listen", || {
        let listening = host.link.sender.run("ss -Hltn sport = :80")?;
        Ok((!listening.trim().is_empty()).then_some(()))
    })?;
    Ok(nginx)
}

/// The mirrored host, and a far end that throws away what is mirrored to it.
struct Host {
    link: Link,
}

/// What one trial took.
struct Trial {
    /// CPU nanoseconds of all that ran, for each packet.
    machine: f64,
    /// Those of the processes alone: the one that sends, and our sender where it mirrors.
    processes: f64,
}

/// A mirror under way.
struct Mirroring<'a> {
    host: &'a Host,
    interface: &'static str,
    mirror: Mirror,
    ours: Option<(Running, std::path::PathBuf)>,
}

/// What our mirror did, if it was ours.
struct Mirrored {
    ours: Option<(SenderSummary, Duration)>,
}

impl Host {
    fn open() -> anyhow::Result<Self> {
        let link = Link::open()?;
        let sender = &link.sender;
        // Each outer packet is one on the wire, as with a card that neither cuts UDP trains nor tunnelled TCP, and is counted as such.
        sender.run(&format!(
            "ethtool -K {DEVICE} tx-udp-segmentation off tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off"
        ))?;
        sender.run(&unanswered(RECEIVER, DEVICE))?;
        sender.run(&format!(
            "ip link add vx0 type vxlan id 7 remote {RECEIVER} dstport 4789 dev {DEVICE} nolearning noudpcsum"
        ))?;
        sender.run("ip link set vx0 addrgenmode none up")?;
        Ok(Self { link })
    }

    fn add_nowhere(&self) -> anyhow::Result<()> {
        let host = &self.link.sender;
        let there = self.link.receiver.name();
        host.run(&format!("ip link add {NOWHERE} type veth peer name mir1 netns {there}"))?;
        host.run(&format!("ip address add 10.99.0.1/24 dev {NOWHERE}"))?;
        host.run(&format!("ip link set {NOWHERE} up"))?;
        self.link.receiver.run("ip link set mir1 up")?;
        host.run(&unanswered("10.99.0.2", NOWHERE))?;
        Ok(())
    }

    fn add_client(&self) -> anyhow::Result<Namespace> {
        let (host, client) = (&self.link.sender, self.link.another("cl")?);
        host.run(&format!("ip link add {WEB} type veth peer name web1 netns {}", client.name()))?;
        for (namespace, device, address) in [(host, WEB, "10.98.0.1/24"), (&client, "web1", "10.98.0.2/24")] {
            namespace.run(&format!("ip address add {address} dev {device}"))?;
            namespace.run(&format!("ip link set {device} up"))?;
        }
        Ok(client)
    }

    /// Mirrors what crosses `interface`.
    fn mirror(&self, bench: &Bench, mirror: Mirror, interface: &'static str) -> anyhow::Result<Mirroring<'_>> {
        let host = &self.link.sender;
        let mut ours = None;
        match mirror {
            Mirror::None => {}
            Mirror::Kernel => {
                host.run(&format!("tc qdisc add dev {interface} clsact"))?;
                for way in ["ingress", "egress"] {
                    let copy = "protocol all prio 1 u32 match u32 0 0 action mirred egress mirror dev vx0";
                    host.run(&format!("tc filter add dev {interface} {way} {copy}"))?;
                }
            }
            Mirror::Ours => {
                let place = Place { namespace: Some(host.name()), ..Place::default() };
                let summary = bench.path("capture.json");
                let mut command = bench.command(&place, "vxtap-sender");
                command.args(["capture", interface, "--to", RECEIVER, "--vni", "7", "--summary"]).arg(&summary);
                let mut running = bench.start(&mut command)?;
                running.wait_until("capturing", |running| Ok(running.stderr().contains("capturing").then_some(())))?;
                ours = Some((running, summary));
            }
        }
        Ok(Mirroring { host: self, interface, mirror, ours })
    }

    /// Sends at the fixed rate into nowhere, mirrored so.
    fn offer(&self, bench: &Bench, mirror: Mirror, size: u32) -> anyhow::Result<Trial> {
        let arrived_before = self.arrived()?;
        let mirroring = self.mirror(bench, mirror, NOWHERE)?;
        let before = busy()?;
        let place = Place { namespace: Some(self.link.sender.name()), ..Place::default() };
        let (pps, size, seconds) = (PPS.to_string(), size.to_string(), bench.scale.seconds.to_string());
        let summary = bench.path("generate.json");
        let mut command = bench.command(&place, "vxtap-sender");
        command.args(["generate", "--to", "10.99.0.2:9", "--vni", "1", "--pps", &pps, "--size", &size]);
        command.args(["--seconds", &seconds, "--transmit", "batches", "--summary"]).arg(&summary);
        let generator = bench.run(&mut command)?.success()?;
        let mirrored = mirroring.stop()?;
        let machine = busy()?.saturating_sub(before);
        let packets = SenderSummary::read(&summary)?.sent;
        let mut processes = generator.cpu.total();
        if let Some((ours, cpu)) = mirrored.ours {
            let sent = ours.sent;
            ensure!((packets..=packets + NOISE).contains(&sent), "{packets} packets were there, and {sent} mirrored");
            processes += cpu;
        }
        let arrived = self.arrived()? - arrived_before;
        let expected = if mirror == Mirror::None { 0 } else { packets };
        ensure!(
            (expected..=expected + NOISE).contains(&arrived),
            "{mirror:?}: {arrived} packets arrived at the far end, expected {expected}"
        );
        let each = |time: Duration| time.as_nanos() as f64 / packets as f64;
        Ok(Trial { machine: each(machine), processes: each(processes) })
    }

    /// Packets that have come to the far end.
    fn arrived(&self) -> anyhow::Result<u64> {
        let said = self.link.receiver.run(&format!("cat /sys/class/net/{DEVICE}/statistics/rx_packets"))?;
        said.trim().parse().with_context(|| format!("understand {said:?}"))
    }
}

/// What goes to `address` arrives with a hardware address that nobody has: it is dropped at once, and nobody answers.
fn unanswered(address: &str, device: &str) -> String {
    format!("ip neighbour replace {address} lladdr 02:00:00:00:00:ff dev {device} nud permanent")
}

impl Mirroring<'_> {
    fn stop(self) -> anyhow::Result<Mirrored> {
        if self.mirror == Mirror::Kernel {
            self.host.link.sender.run(&format!("tc qdisc delete dev {} clsact", self.interface))?;
        }
        let Some((running, summary)) = self.ours else { return Ok(Mirrored { ours: None }) };
        let finished = running.stop(LIMIT)?.success()?;
        let summary = SenderSummary::read(&summary)?;
        ensure!(summary.ring_dropped == 0, "{} frames found no room in the ring", summary.ring_dropped);
        Ok(Mirrored { ours: Some((summary, finished.cpu.total())) })
    }
}

/// CPU time that this machine has used for anything, interrupts included.
fn busy() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    ticks(&stat).map(|ticks| TICK * ticks).context("understand /proc/stat")
}

/// User, nice, system, interrupts and soft interrupts of all CPUs.
fn ticks(stat: &str) -> Option<u32> {
    let fields: Vec<u32> =
        stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|field| field.parse().ok()).collect();
    [0, 1, 2, 5, 6].into_iter().map(|place| fields.get(place)).sum::<Option<u32>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_idle_or_waits_or_was_stolen_is_not_busy() {
        let stat = "cpu  100 20 3 999999 888 4 50 77777 6 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(ticks(stat), Some(177));
        assert_eq!(ticks("intr 5"), None);
    }

    #[test]
    fn the_rate_of_wrk_is_found() {
        let said = "Running 5s test\n  2 threads\nRequests/sec:  20123.45\nTransfer/sec:     82.10MB\n";
        assert_eq!(requests_of(said), Some(20_123.45));
        assert_eq!(requests_of(""), None);
    }
}
