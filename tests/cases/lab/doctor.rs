//! `doctor` in a namespace with each fault set on purpose: it finds it, and what it tells mends it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;
use vxtap_tests::datagram::{Mirror, Peer, tcp_frame};
use vxtap_tests::deadline::{SOON, pause, wait_until, within};
use vxtap_tests::lab::Namespace;
use vxtap_tests::needs::{Need, have_root, have_tools, skip};
use vxtap_tests::process::{Running, Signal, run_within};
use vxtap_tests::programs::{Program, forget_settings};

/// Where a collector is to be, and a mirror source that reaches it.
struct Place {
    target: Namespace,
    source: Namespace,
}

/// What `doctor` reported.
struct Report {
    json: Value,
    code: i32,
}

impl Place {
    /// Two namespaces with a link of jumbo frames; skips without root or the programs.
    fn open(tools: &[&str]) -> Option<Self> {
        if !have_root() || !have_tools(&["ip", "ethtool"]) || !have_tools(tools) {
            return None;
        }
        let [source, target] = ["source", "target"].map(Namespace::create);
        source.link(("src0", 9000), &target, "dst0");
        source.address("src0", &["10.78.0.1/24", "fd78::1/64"]);
        target.address("dst0", &["10.78.0.2/24", "fd78::2/64"]);
        Some(Self { target, source })
    }

    /// What `doctor` says with these arguments, as root who may do all but what `without` says.
    fn doctor_without(&self, without: Option<&str>, arguments: &str) -> Report {
        let mut command = match without {
            Some(capability) => {
                let mut command = self.target.command("setpriv");
                command.arg(format!("--bounding-set=-{capability}")).arg(Program::Collector.path());
                command
            }
            None => self.target.command(Program::Collector.path()),
        };
        command.args(["doctor", "--json"]).args(arguments.split_whitespace());
        for default in [["--watch", "0"], ["--workers", "1"]] {
            if !arguments.contains(default[0]) {
                command.args(default);
            }
        }
        let finished = run_within(SOON, &mut command);
        assert!(!finished.panicked(), "{}", finished.stderr);
        let json = serde_json::from_str(&finished.stdout);
        let json = json.unwrap_or_else(|error| panic!("{error}: {}\n{}", finished.stdout, finished.stderr));
        Report { json, code: finished.code() }
    }

    fn doctor(&self, arguments: &str) -> Report {
        self.doctor_without(None, arguments)
    }

    /// Runs a command that `doctor` told, as a shell would.
    fn shell(&self, line: &str) {
        let mut command = self.target.command("sh");
        let _ = run_within(SOON, command.args(["-c", line])).success();
    }

    /// Finds `fault` of `check`, does what is told until it is gone, in the order told, and sees that it is.
    #[track_caller]
    fn finds_and_mends(&self, check: &str, severity: &str, arguments: &str) {
        let report = self.doctor(arguments);
        let finding = report.worst(check);
        assert_eq!(finding["severity"], severity, "{finding:#}");
        let commands = commands(&finding);
        assert!(!commands.is_empty(), "{finding:#}");
        let mut left = finding;
        for line in &commands {
            self.shell(line);
            left = self.doctor(arguments).worst(check);
            if left["severity"] == "good" {
                return;
            }
        }
        // What the kernel forgets by itself.
        wait_until(SOON, &format!("{check} to be good after {commands:?}; it was {left:#}"), || {
            self.doctor(arguments).worst(check)["severity"] == "good"
        });
    }
}

impl Report {
    /// What is worst of what `check` found.
    #[track_caller]
    fn worst(&self, check: &str) -> Value {
        let rank =
            |finding: &Value| ["good", "unknown", "hint", "problem"].iter().position(|of| finding["severity"] == *of);
        let findings = self.json["findings"].as_array().expect("a list");
        let worst = findings.iter().filter(|finding| finding["check"] == check).max_by_key(|finding| rank(finding));
        worst.unwrap_or_else(|| panic!("nothing of {check} in {:#}", self.json)).clone()
    }
}

/// The commands of a finding that a shell can run.
fn commands(finding: &Value) -> Vec<String> {
    let mends = finding["mend"].as_array().expect("a list").iter();
    let commands = mends.map(|mend| mend["command"].as_str().expect("a text").to_owned());
    commands.filter(|command| !command.is_empty() && !command.starts_with('-')).collect()
}

#[test]
fn a_strict_reverse_path_filter_is_found_and_mended_by_what_is_told_and_by_fix() {
    let Some(place) = Place::open(&[]) else { return };
    let strict = || place.target.run("sysctl -q -w net.ipv4.conf.dst0.rp_filter=1");
    strict();
    place.finds_and_mends("reverse_path", "problem", "");
    strict();
    let fixed = place.doctor("--fix");
    assert_eq!(fixed.worst("reverse_path")["severity"], "good", "{:#}", fixed.json);
    let setting = "net.ipv4.conf.dst0.rp_filter";
    let fixes = fixed.json["fixes"].as_array().expect("a list");
    assert!(fixes.iter().any(|fix| fix["setting"] == setting && fix["value"] == "2" && fix["was"] == 1), "{fixes:#?}");
}

#[test]
fn datagrams_that_the_reverse_path_filter_drops_are_counted_while_it_is_watched() {
    let Some(place) = Place::open(&["ping"]) else { return };
    place.target.ip("route add default via 10.78.0.1");
    place.target.run("sysctl -q -w net.ipv4.conf.dst0.rp_filter=1");
    assert_eq!(place.doctor("").worst("reverse_path")["severity"], "good");
    // From where the target would not answer by this interface: it has a route of its own there.
    place.target.ip("link add name else0 type veth peer name else1");
    place.target.ip("link set else0 up");
    place.target.ip("route add 10.99.0.0/16 dev else0");
    place.source.ip("address add 10.99.0.1/32 dev src0");
    // So that no question for its hardware address is in the way.
    place.source.run("ping -q -c 1 10.78.0.2");
    let mut ping = place.source.command("ping");
    run_within(SOON, ping.args(["-q", "-c", "1", "-W", "1", "-I", "10.99.0.1", "10.78.0.2"]));
    let found = place.doctor("--interface dst0").worst("reverse_path");
    assert_eq!(found["severity"], "problem", "{found:#}");
    assert!(found["found"].as_str().unwrap().contains("dropped"), "{found:#}");
    place.finds_and_mends("reverse_path", "problem", "--interface dst0");
}

#[test]
fn tracking_of_mirrored_datagrams_is_found_and_a_rule_ends_it() {
    let Some(place) = Place::open(&["nft", "bash"]) else { return };
    place.shell("nft add table inet firewall");
    place.shell("nft add chain inet firewall input '{ type filter hook input priority 0; }'");
    place.shell("nft add rule inet firewall input ct state new counter");
    // Entries that nobody renews go soon.
    place.target.run("sysctl -q -w net.netfilter.nf_conntrack_udp_timeout=1");
    place.datagrams(10);
    wait_until(SOON, "tracked datagrams", || {
        place.datagrams(10);
        place.doctor("").worst("conntrack")["severity"] == "problem"
    });
    let finding = place.doctor("").worst("conntrack");
    let rules = commands(&finding);
    assert!(rules.last().unwrap().ends_with("udp dport 4789 notrack"), "{finding:#}");
    for rule in &rules {
        place.shell(rule);
    }
    place.datagrams(10);
    wait_until(SOON, "no tracked datagrams though more come", || {
        place.datagrams(10);
        place.doctor("").worst("conntrack")["severity"] == "good"
    });
}

impl Place {
    /// Sends so many datagrams to the data port, each from another port.
    fn datagrams(&self, count: u32) {
        let line = format!("for n in $(seq {count}); do echo x > /dev/udp/10.78.0.2/4789; done");
        let mut command = self.source.command("bash");
        // Nobody may be listening: then some of them are refused.
        run_within(SOON, command.args(["-c", &line]));
    }
}

#[test]
fn an_mtu_without_room_for_the_tunnel_is_found_and_mended() {
    let Some(place) = Place::open(&[]) else { return };
    place.target.ip("link set dev dst0 mtu 1500");
    let report = place.doctor("--api none");
    assert_eq!(report.code, 1, "{:#}", report.json);
    place.target.ip("link set dev dst0 mtu 1500");
    place.finds_and_mends("mtu", "problem", "");
}

#[test]
fn offloads_that_are_off_are_found_and_turned_on() {
    let Some(place) = Place::open(&[]) else { return };
    // The lab's links are without them.
    place.finds_and_mends("offloads", "hint", "");
    place.target.run("ethtool -K dst0 gro on rx off");
    place.finds_and_mends("offloads", "hint", "");
}

#[test]
fn one_queue_for_several_cpus_is_found_and_spread_later() {
    let Some(place) = Place::open(&[]) else { return };
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 1) {
        assert_eq!(place.doctor("").worst("queues")["severity"], "good");
        return;
    }
    place.finds_and_mends("queues", "hint", "");
}

#[test]
fn a_port_that_a_kernel_vxlan_device_has_is_found_and_freed() {
    let Some(place) = Place::open(&[]) else { return };
    assert_eq!(place.doctor("").worst("port")["severity"], "good");
    place.target.ip("link add vx0 type vxlan id 7 dstport 4789 dev dst0");
    place.target.ip("link set vx0 up");
    let found = place.doctor("").worst("port");
    assert!(found["found"].as_str().unwrap().contains("vx0"), "{found:#}");
    // What it says is true: a collector does not start.
    let mut run = place.target.command(Program::Collector.path());
    let refused = run_within(SOON, run.args(["run", "--api", "none", "--workers", "1"]));
    assert!(refused.code() == 1 && refused.stderr.contains("in use"), "{}", refused.stderr);
    place.finds_and_mends("port", "problem", "--api none");
}

#[test]
fn a_port_that_another_process_has_is_found_with_the_process_and_a_collector_is_no_fault() {
    let Some(place) = Place::open(&["python3"]) else { return };
    let hold = "import socket,sys,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('0.0.0.0',4789))\n\
                print('bound',file=sys.stderr,flush=True)\ntime.sleep(600)";
    let mut holder = Running::start(place.target.command("python3").args(["-c", hold]));
    holder.wait_for_line(SOON, "that it is bound", |line| line.contains("bound").then_some(()));
    let found = place.doctor("--api none").worst("port");
    let text = found["found"].as_str().unwrap();
    assert!(text.contains(&holder.id().to_string()) && text.contains("python3"), "{found:#}");
    place.finds_and_mends("port", "problem", "--api none");
    drop(holder);

    let mut run = place.target.command(Program::Collector.path());
    let mut collector = Running::start(run.args(["run", "--drain", "0s", "--workers", "2", "--api", "127.0.0.1:9789"]));
    collector.wait_for_line(SOON, "where its API is", |line| line.contains("api on").then_some(()));
    let report = place.doctor("--connect http://127.0.0.1:9789");
    for finding in report.json["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == "port") {
        assert!(
            finding["severity"] == "good" && finding["found"].as_str().unwrap().contains("a collector"),
            "{finding:#}"
        );
    }
    assert_eq!(report.worst("live")["severity"], "good", "{:#}", report.json);
    collector.signal(Signal::TERM);
    let _ = collector.finish_within(SOON).success();
}

#[test]
fn a_buffer_that_is_not_granted_is_found_and_the_capability_or_a_smaller_one_mends_it() {
    let Some(place) = Place::open(&["setpriv"]) else { return };
    let ask = "--api none --receive-buffer 1GiB";
    let report = place.doctor_without(Some("net_admin"), ask);
    let found = report.worst("receive_buffer");
    // Newer kernels show the limit in a namespace, older ones do not.
    if found["severity"] == "unknown" {
        return;
    }
    assert_eq!((&found["severity"], report.code), (&"problem".into(), 1), "{found:#}");
    let told = commands(&found);
    assert!(told.iter().any(|command| command == "sysctl -w net.core.rmem_max=1073741824"), "{found:#}");
    assert!(told.iter().any(|command| command.starts_with("setcap cap_net_admin")), "{found:#}");
    assert_eq!(place.doctor(ask).worst("receive_buffer")["severity"], "good");
    let small = place.doctor_without(Some("net_admin"), "--receive-buffer 64KiB");
    assert_eq!(small.worst("receive_buffer")["severity"], "good");
}

#[test]
fn a_low_port_without_the_capability_is_found() {
    let Some(place) = Place::open(&["setpriv"]) else { return };
    let ask = "--listen vxlan://[::]:789";
    let found = place.doctor_without(Some("net_bind_service"), ask).worst("capabilities");
    assert_eq!(found["severity"], "problem", "{found:#}");
    assert_eq!(place.doctor(ask).worst("capabilities")["severity"], "good");
    // The other way that the kernel has.
    place.target.run("sysctl -q -w net.ipv4.ip_unprivileged_port_start=0");
    assert_eq!(place.doctor_without(Some("net_bind_service"), ask).worst("capabilities")["severity"], "good");
}

#[test]
fn outer_fragments_are_found_while_they_come() {
    let Some(place) = Place::open(&["ping"]) else { return };
    let mut ping = place.source.command("ping");
    let mut pinging = Running::start(ping.args(["-q", "-i", "0.02", "-s", "20000", "10.78.0.2"]));
    wait_until(SOON, "fragments to be seen", || place.doctor("--watch 200ms").worst("fragments")["severity"] == "hint");
    assert!(!pinging.has_ended());
    drop(pinging);
    assert_eq!(place.doctor("--watch 200ms").worst("fragments")["severity"], "good");
}

/// A file system in memory, mounted for a test.
struct Small(TempDir);

impl Small {
    fn mount() -> Self {
        let directory = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        let _ =
            run_within(SOON, mount.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(directory.path())).success();
        Self(directory)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_disk_that_is_full_or_too_slow_or_memory_is_found() {
    let Some(place) = Place::open(&["mount", "umount"]) else { return };
    let small = Small::mount();
    let report = place.doctor(&format!("--write {}", small.0.path().display()));
    let findings = report.json["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == "disk");
    let severities: Vec<&str> = findings.map(|finding| finding["severity"].as_str().unwrap()).collect();
    assert_eq!(severities, ["problem", "hint"], "{:#}", report.json);

    let roomy = TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let write = format!("--write {} --keep-free 1MiB --disk-rate", roomy.path().display());
    let too_much = place.doctor(&format!("{write} 1TiB")).worst("disk");
    if too_much["severity"] == "unknown" {
        // Less than 768 MiB are free.
        return;
    }
    assert_eq!(too_much["severity"], "problem", "{too_much:#}");
    assert_eq!(std::fs::read_dir(roomy.path()).unwrap().count(), 0);
    let little = place.doctor(&format!("{write} 100kB")).worst("disk");
    assert_eq!(little["severity"], "good", "{little:#}");
}

#[test]
fn more_workers_than_cpus_are_found_and_as_many_as_are_told_are_not_too_many() {
    let Some(place) = Place::open(&[]) else { return };
    let found = place.doctor("--workers 256").worst("cpu");
    assert_eq!(found["severity"], "hint", "{found:#}");
    let told = found["mend"][0]["command"].as_str().unwrap();
    assert!(told.starts_with("--workers "), "{found:#}");
    assert_eq!(place.doctor(told).worst("cpu")["severity"], "good");
}

/// A control group with a limit of CPU time, gone with its value.
struct LimitedGroup(PathBuf);

impl LimitedGroup {
    /// One that lets its processes have half a CPU; `None` where this machine has no controller for that.
    fn make() -> Option<Self> {
        let name = format!("vxtap-{}", std::process::id());
        // Version 1, with the controller by itself or with another; version 2.
        let roots = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"];
        roots.map(|root| Path::new(root).join(&name)).into_iter().find_map(|directory| {
            std::fs::create_dir(&directory).ok()?;
            let group = Self(directory);
            let limited = |file: &str, limit: &str| {
                let file = group.0.join(file);
                file.exists() && std::fs::write(file, limit).is_ok()
            };
            (limited("cpu.cfs_quota_us", "50000") || limited("cpu.max", "50000 100000")).then_some(group)
        })
    }
}

impl Drop for LimitedGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_limit_of_cpu_time_is_found_and_lifted() {
    if !have_root() {
        return;
    }
    let Some(group) = LimitedGroup::make() else {
        return skip(Need::Tools, "control groups without a controller of CPU time");
    };
    // Not in a namespace of its own, where the groups' files are not mounted.
    let look = || {
        let mut shell = Command::new("sh");
        let script = "echo $$ > \"$0/cgroup.procs\" && exec \"$1\" doctor --json --watch 0 --workers 1 --api none";
        shell.args(["-c", script]).arg(&group.0).arg(Program::Collector.path());
        forget_settings(&mut shell);
        let finished = run_within(SOON, &mut shell);
        let json = serde_json::from_str(&finished.stdout);
        let json = json.unwrap_or_else(|error| panic!("{error}: {}\n{}", finished.stdout, finished.stderr));
        Report { json, code: finished.code() }.worst("cpu")
    };
    let found = look();
    assert_eq!(found["severity"], "problem", "{found:#}");
    assert!(found["found"].as_str().unwrap().contains("0.50 CPUs"), "{found:#}");
    for line in commands(&found) {
        let _ = run_within(SOON, Command::new("sh").args(["-c", &line])).success();
    }
    assert_eq!(look()["severity"], "good", "{found:#}");
}

#[test]
fn fragments_that_find_no_room_are_found_and_get_room_by_what_is_told_and_by_fix() {
    let Some(place) = Place::open(&["ping"]) else { return };
    let little = || place.target.run("sysctl -q -w net.ipv4.ipfrag_low_thresh=4096 net.ipv4.ipfrag_high_thresh=8192");
    little();
    let mut ping = place.source.command("ping");
    let pinging = Running::start(ping.args(["-q", "-i", "0.02", "-s", "40000", "10.78.0.2"]));
    let look = |arguments: &str| place.doctor(&format!("--watch 300ms {arguments}")).worst("fragments");
    let worst = |what: &str, severity: &str| wait_until(SOON, what, || look("")["severity"] == severity);
    worst("packets to be given up", "problem");
    let told = commands(&look(""));
    assert_eq!(told, ["sysctl -w net.ipv4.ipfrag_high_thresh=67108864"]);
    place.shell(&told[0]);
    // Fragments still come, which is a matter of the path; none of them is lost any more.
    worst("nothing to be given up", "hint");
    little();
    worst("packets to be given up again", "problem");
    let _ = look("--fix");
    worst("nothing to be given up by then", "hint");
    drop(pinging);
    worst("no fragments", "good");
}

/// Does `act` while `frame` is sent again and again.
fn while_sending<T>(mirror: &mut Mirror, frame: &[u8], act: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                (0..10).for_each(|port| mirror.send_unwatched(port, frame));
                pause();
            }
        });
        // Also when it panics, or nobody would see that.
        let _over = Over(&over);
        act()
    })
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn frames_that_the_path_cuts_are_found_in_a_running_collector_with_the_mtu_that_cures_it() {
    let Some(place) = Place::open(&[]) else { return };
    let mut run = place.target.command(Program::Collector.path());
    let mut collector = Running::start(run.args(["run", "--drain", "0s", "--workers", "2", "--api", "127.0.0.1:9789"]));
    collector.wait_for_line(SOON, "where its API is", |line| line.contains("api on").then_some(()));
    // Frames of 1,500 bytes of IP over a path with an MTU of 1500, cut as a mirror cuts them: 50 bytes are the tunnel's.
    let frame = tcp_frame(Peer::v4(1, 1000), Peer::v4(2, 80), 1, &[7; 1460]);
    assert_eq!(frame.len(), 1514);
    for device in [(&place.source, "src0"), (&place.target, "dst0")] {
        device.0.ip(&format!("link set dev {} mtu 1500", device.1));
    }
    let target = "10.78.0.2:4789".parse().unwrap();
    let mut mirror = place.source.inside(|| Mirror::new(target, 7, 2));
    let findings = || {
        let Value::Array(all) = place.doctor("--connect http://127.0.0.1:9789 --watch 300ms").json["findings"].take()
        else {
            panic!("a list")
        };
        all.into_iter().filter(|finding| finding["check"] == "truncation").collect::<Vec<_>>()
    };
    let told = while_sending(&mut mirror, &frame[..1500 - 36], || {
        within(SOON, "frames that are cut", || findings().into_iter().next())
    });
    assert_eq!((&told["severity"], &told["about"]), (&"problem".into(), &"vni 7 from 10.78.0.1".into()), "{told:#}");
    // IP, UDP, VXLAN and the frame's Ethernet header are 50 bytes besides its 1,500.
    assert_eq!(commands(&told), ["ip link set dev IF mtu 1550"], "{told:#}");
    for (namespace, device) in [(&place.source, "src0"), (&place.target, "dst0")] {
        namespace.ip(&format!("link set dev {device} mtu 1550"));
    }
    while_sending(&mut mirror, &frame, || wait_until(SOON, "no cut frames any more", || findings().is_empty()));
    collector.signal(Signal::TERM);
    let _ = collector.finish_within(SOON).success();
}
