//! A lab with a load balancer in front of two collectors.
//!
//! ```text
//!   source              balancer               target 0, 1
//!   src0 ------------- bal0    tgt0 --------- col0  10.79.1.2
//!   10.79.0.2    10.79.0.1     10.79.1.1
//!                              tgt1 --------- col0  10.79.2.2
//!                              10.79.2.1
//! ```
//!
//! The source sends to the balancer's own address. What becomes of that is the [`Balancer`]'s: the kernel rewrites the address, or
//! nginx takes the datagram and sends another. Both choose by a hash of the outer source address and port.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tempfile::TempDir;
use vxtap_analyzers::snapshot::{FlowPage, Snapshot};

use super::Namespace;
use crate::collector::get;
use crate::deadline::{SOON, wait_until};
use crate::needs::{have_root, have_tools};
use crate::process::{Running, Signal};
use crate::programs::Program;
use crate::summary::{self, CollectorSummary};

/// Where datagrams are sent.
const PORT: u16 = 4789;
/// Where the collectors' health ports are.
const HEALTH: u16 = 8080;
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
/// Where the collector's small file system is, in its mount namespace.
const SMALL_DISK: &str = "/mnt";

/// What spreads datagrams over the targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancer {
    /// nftables: a rule that rewrites the destination by a hash.
    Nftables,
    /// nginx: a proxy for datagrams.
    Nginx,
}

/// The namespaces of the lab, and the balancer at work.
#[derive(Debug)]
pub struct Balanced {
    nginx: Option<Running>,
    /// Where the mirror source is.
    pub source: Namespace,
    /// Where the balancer is.
    pub balancer: Namespace,
    targets: [Namespace; 2],
    directory: TempDir,
}

/// A collector behind the balancer.
#[derive(Debug)]
pub struct Target<'a> {
    /// Its process.
    pub process: Running,
    namespace: &'a Namespace,
    summary: PathBuf,
}

impl Balanced {
    /// Builds the lab with both targets in; skips without root or tools.
    pub fn open(kind: Balancer) -> Option<Self> {
        let tools: &[&str] = match kind {
            Balancer::Nftables => &["nft"],
            Balancer::Nginx => &["nginx"],
        };
        if !have_root() || !have_tools(&["ip", "ethtool", "python3"]) || !have_tools(tools) {
            return None;
        }
        if kind == Balancer::Nginx && !fs::exists(MODULE).unwrap_or(false) {
            crate::needs::skip(crate::needs::Need::Tools, "nginx has no module for streams (libnginx-mod-stream)");
            return None;
        }
        let [source, balancer] = ["source", "balancer"].map(Namespace::create);
        let targets = ["target0", "target1"].map(Namespace::create);
        balancer.link(("bal0", 1600), &source, "src0");
        balancer.address("bal0", &["10.79.0.1/24"]);
        source.address("src0", &["10.79.0.2/24"]);
        for (number, target) in targets.iter().enumerate() {
            let net = number + 1;
            balancer.link((&format!("tgt{number}"), 1600), target, "col0");
            balancer.address(&format!("tgt{number}"), &[&format!("10.79.{net}.1/24")]);
            target.address("col0", &[&format!("10.79.{net}.2/24")]);
            target.ip(&format!("route add default via 10.79.{net}.1"));
        }
        balancer.inside(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("root may forward"));
        let directory = TempDir::new().expect("a temporary directory");
        let mut lab = Self { nginx: None, source, balancer, targets, directory };
        match kind {
            Balancer::Nftables => {
                lab.balancer.run("nft add table ip vxtap");
                let hook = "{ type filter hook prerouting priority raw; }";
                lab.balancer.run(&format!("nft add chain ip vxtap mirrored {hook}"));
                lab.send_to([true; 2]);
            }
            Balancer::Nginx => {
                lab.write_configuration([true; 2]);
                let mut nginx = lab.balancer.command("nginx");
                lab.nginx = Some(Running::start(nginx.args(["-e", "stderr", "-c"]).arg(lab.configuration())));
                wait_until(SOON, "nginx to listen", || {
                    let udp = lab.balancer.inside(|| fs::read_to_string("/proc/thread-self/net/udp"));
                    udp.is_ok_and(|table| table.contains(&format!(":{PORT:04X} ")))
                });
            }
        }
        Some(lab)
    }

    /// Where mirror sources send to.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([10, 79, 0, 1], PORT))
    }

    /// The health port of a target, as seen from the balancer.
    pub fn health(&self, target: usize) -> SocketAddr {
        SocketAddr::from(([10, 79, target as u8 + 1, 2], HEALTH))
    }

    /// From now on, sends to those targets that are `live`; one at least is.
    pub fn send_to(&self, live: [bool; 2]) {
        if let Some(nginx) = &self.nginx {
            self.write_configuration(live);
            nginx.signal(Signal::HUP);
            return;
        }
        let map = (0..2).map(|slot| format!("{slot} : 10.79.{}.2", if live[slot] { slot + 1 } else { 2 - slot }));
        let map = map.collect::<Vec<_>>().join(", ");
        let rule = format!(
            "ip daddr 10.79.0.1 udp dport {PORT} notrack ip daddr set jhash ip saddr . udp sport mod 2 seed 0x76 map {{ {map} }}"
        );
        // A seed, or each rule would have its own and send every flow elsewhere. One transaction: there is no moment without a rule.
        let file = self.directory.path().join("rules.nft");
        let text = format!("flush chain ip vxtap mirrored\nadd rule ip vxtap mirrored {rule}\n");
        fs::write(&file, text).expect("a writable directory");
        self.balancer.run(&format!("nft -f {}", file.display()));
    }

    fn configuration(&self) -> PathBuf {
        self.directory.path().join("nginx.conf")
    }

    fn write_configuration(&self, live: [bool; 2]) {
        let server = |target: usize| {
            let down = if live[target] { "" } else { " down" };
            format!("server 10.79.{}.2:{PORT} max_fails=0{down};", target + 1)
        };
        let pid = self.directory.path().join("nginx.pid");
        let text = format!(
            "load_module {MODULE}; daemon off; user root; worker_processes 1; pid {};
             worker_rlimit_nofile 20000; events {{ worker_connections 8192; }}
             stream {{
                 upstream collectors {{ hash $remote_addr:$remote_port; {} {} }}
                 server {{ listen 10.79.0.1:{PORT} udp rcvbuf=4m; proxy_pass collectors; proxy_responses 0; }}
             }}",
            pid.display(),
            server(0),
            server(1),
        );
        fs::write(self.configuration(), text).expect("a writable directory");
    }

    /// Starts a collector on `target` whose captures go to a file system of 64 MiB of its own, with `arguments` besides.
    pub fn collector(&self, target: usize, arguments: &str) -> Target<'_> {
        let namespace = &self.targets[target];
        let summary = self.directory.path().join(format!("summary{target}.json"));
        let script = format!("mount -t tmpfs -o size=64m vxtap-test {SMALL_DISK} && exec \"$@\"");
        let mut command = namespace.command("sh");
        command.args(["-c", &script, "sh"]).arg(Program::Collector.path());
        command.args(["run", "--workers", "2", "--api", "127.0.0.1:9789", "--rotate-bytes", "8MiB"]);
        command.args(["--listen", &format!("0.0.0.0:{PORT}"), "--health", &self.health(target).to_string()]);
        command.args(["--write", &format!("{SMALL_DISK}/captures"), "--summary"]).arg(&summary);
        command.args(arguments.split_whitespace());
        let mut process = Running::start(&mut command);
        process.wait_for_line(SOON, "where its API is", |line| line.contains("api on").then_some(()));
        Target { process, namespace, summary }
    }

    /// A sender in the source's namespace that generates what the words of `arguments` say; its summary goes to standard output.
    pub fn generator(&self, arguments: &str) -> Running {
        let mut command = self.source.command(Program::Sender.path());
        command.args(["generate", "--to", &self.address().to_string(), "--summary", "-"]);
        Running::start(command.args(arguments.split_whitespace()))
    }
}

impl Target<'_> {
    /// The collector as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.get_json("/v1/snapshot")
    }

    /// All flows being followed, up to 10,000.
    pub fn flows(&self) -> FlowPage {
        self.get_json("/v1/flows?limit=10000")
    }

    fn get_json<T: DeserializeOwned + Send>(&self, path: &str) -> T {
        let (status, body) = self.namespace.inside(|| get(&format!("http://127.0.0.1:9789{path}")));
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {path}: {body}"))
    }

    /// Its small file system, seen from here.
    pub fn disk(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{SMALL_DISK}", self.process.id()))
    }

    /// Asks it to end and waits for it: its summary, which balances.
    pub fn stop(self) -> CollectorSummary {
        self.process.signal(Signal::TERM);
        self.finish()
    }

    /// Waits for its end: its summary, which balances.
    pub fn finish(self) -> CollectorSummary {
        let finished = self.process.finish_within(SOON).success();
        assert!(!finished.panicked(), "{}", finished.stderr);
        let text = fs::read_to_string(&self.summary).expect("a summary");
        let summary: CollectorSummary = summary::parse(&text);
        summary.check().unwrap_or_else(|error| panic!("{error}; it said:\n{}", finished.stderr));
        summary
    }
}

impl Drop for Balanced {
    fn drop(&mut self) {
        let Some(nginx) = self.nginx.take() else { return };
        // Its workers go with it only when it is asked to.
        nginx.signal(Signal::TERM);
        let _ = nginx.finish_within(Duration::from_secs(10));
    }
}
