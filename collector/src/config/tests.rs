//! Files and environments as users write them, right and wrong.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use vxtap_analyzers::protocols::{EventKind, EventKinds};

use super::*;
use vxtap_wire::envelope::{Kind, Layers, Rules};

use crate::capture::CaptureSplit;
use crate::networks::Named;
use crate::selector::Selector;
use crate::settings::{HealthSettings, Listener, ReadEncapsulation, SummaryTarget, Timestamps, UdpListener};

mod explained;
mod tables;
mod wrong;

const SAMPLE: &str = include_str!("../../examples/vxtap.toml");
pub(super) const MACHINE: Machine = Machine { cpus: 4, terminal: true };

/// A file `vxtap.toml` of `text`, in a directory of its own.
struct Written {
    directory: tempfile::TempDir,
}

impl Written {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("vxtap.toml"), text).unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("vxtap.toml")
    }

    /// `error` without the directory, which is another each time.
    fn relative(&self, error: &impl ToString) -> String {
        error.to_string().replace(&format!("{}/", self.directory.path().display()), "")
    }
}

pub(super) fn from_file(text: &str) -> Result<Gathered, String> {
    let written = Written::new(text);
    gather(Options::default(), Some(&written.path()), |_| None).map_err(|error| written.relative(&error))
}

fn errors(text: &str) -> String {
    from_file(text).unwrap_err()
}

/// The first line of each error, without the lines of the file below it.
fn first_lines(text: &str) -> Vec<String> {
    errors(text).lines().filter(|line| line.starts_with("vxtap.toml:")).map(str::to_owned).collect()
}

fn nothing() -> Gathered {
    gather(Options::default(), None, |_| None).unwrap()
}

#[test]
fn the_sample_file_says_the_defaults() {
    let sample = from_file(SAMPLE).unwrap();
    assert_eq!(run(&sample, MACHINE).unwrap(), run(&nothing(), MACHINE).unwrap());
    assert_eq!(read(&sample, MACHINE, Vec::new()).unwrap(), read(&nothing(), MACHINE, Vec::new()).unwrap());
    let (mut sample, default) = (demo(&sample, MACHINE).unwrap(), demo(&nothing(), MACHINE).unwrap());
    // An address that somebody wrote down is one that somebody wants.
    assert!(!std::mem::replace(&mut sample.api_optional, true));
    assert_eq!(sample, default);
}

#[test]
fn the_sample_file_has_every_key_with_its_flag() {
    let lines: Vec<&str> =
        SAMPLE.lines().map(|line| line.strip_prefix("# ").filter(|rest| is_key(rest)).unwrap_or(line)).collect();
    let text = lines.join("\n");
    from_file(&text).unwrap();
    let (mut section, mut flag, mut seen) = ("", "", Vec::new());
    for line in lines {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if line.starts_with('#') {
            flag = line.rsplit_once(" --").map_or("", |(_, flag)| flag);
        } else if let Some((name, _)) = line.split_once(" = ") {
            seen.push((section, name, flag));
        }
    }
    assert_eq!(seen, names().collect::<Vec<_>>());
}

fn is_key(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

#[test]
fn every_key_of_a_file_arrives_where_it_belongs() {
    let gathered = from_file(
        r#"
        [receive]
        listen = ["vxlan://0.0.0.0:0", "10.0.0.1", "geneve://[::]", "vxlan-gpe://10.0.0.2"]
        buffer = 8388608
        coalesce = 0
        timestamps = "kernel"
        gro = false
        kernel_steering = false
        pin = true
        [pipeline]
        workers = 3
        steer_seed = 0x10
        envelope_layers = 3
        accept_unknown_critical = true
        summary = "-"
        [flows]
        max = 5000
        idle_tcp_new = "1s"
        idle_tcp_established = "2s"
        idle_tcp_closed = "3s"
        idle_other_new = "4s"
        idle_other_established = "5s"
        active_timeout = "1m30s"
        [capture]
        directory = "/captures"
        rotate_bytes = "none"
        flush = "20ms"
        blocks = 4
        direct = true
        [log]
        directory = "/logs"
        events = ["flow", "tls"]
        rotate_bytes = "1MiB"
        rotate_interval = "1h"
        keep = 24
        stats_interval = "1m"
        [api]
        address = "0.0.0.0:80"
        token = "0123456789abcdef"
        [follow]
        address = "[::]:57012"
        filter = "arp"
        insecure = true
        [health]
        address = "0.0.0.0:8080"
        drain = 0
        unready_after = "300ms"
        ready_after = "1m"
        unready_drops = "0.5%"
        drop_window = "30s"
        ready_without_capture = true
        [run]
        tui = true
        [read]
        encapsulation = "vxlan"
        vxlan_ports = [8472, 4789]
        geneve_ports = 6081
        vxlan_gpe_ports = 4790
        [demo]
        seconds = 2.5
        pps = 7
        tui = false
        "#,
    )
    .unwrap();
    let settings = run(&gathered, MACHINE).unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(
        settings.listen,
        [
            Listener::vxlan("0.0.0.0:0".parse().unwrap()),
            Listener::vxlan("10.0.0.1:4789".parse().unwrap()),
            Listener::Udp(UdpListener { kind: Kind::Geneve, address: "[::]:6081".parse().unwrap() }),
            Listener::Udp(UdpListener { kind: Kind::VxlanGpe, address: "10.0.0.2:4790".parse().unwrap() }),
        ]
    );
    let receive = &settings.receive;
    assert_eq!((receive.buffer_bytes, receive.coalesce), (8 << 20, Duration::ZERO));
    assert_eq!(receive.timestamps, Timestamps::Kernel);
    assert_eq!((receive.gro, receive.kernel_steering, receive.pin), (false, false, true));
    let pipeline = &settings.pipeline;
    assert_eq!((pipeline.workers, pipeline.steer_seed), (3, Some(16)));
    assert_eq!(pipeline.envelope, Rules { layers: Layers::UpTo(3), accept_unknown_critical: true });
    assert_eq!(settings.summary, Some(SummaryTarget::Stdout));
    let (flows, idle) = (&pipeline.flows, &pipeline.flows.idle);
    assert_eq!((flows.max, flows.active), (5000, seconds(90)));
    assert_eq!((idle.tcp_new, idle.tcp_established, idle.tcp_closed), (seconds(1), seconds(2), seconds(3)));
    assert_eq!((idle.other_new, idle.other_established), (seconds(4), seconds(5)));
    let capture = pipeline.capture.as_ref().unwrap();
    assert_eq!((capture.directory.to_str(), capture.rotation.bytes), (Some("/captures"), None));
    assert_eq!((capture.flush, capture.blocks, capture.direct), (Duration::from_millis(20), 4, true));
    let log = pipeline.log.as_ref().unwrap();
    assert_eq!((log.directory.to_str(), log.keep), (Some("/logs"), Some(24)));
    assert_eq!(log.events, EventKinds::NONE.with(EventKind::Flow).with(EventKind::Tls));
    assert_eq!((log.rotation.bytes, log.rotation.interval), (Some(1 << 20), Some(seconds(3600))));
    assert_eq!(log.stats_interval, Some(seconds(60)));
    let api = settings.api.unwrap();
    assert_eq!((api.address.to_string(), api.token.as_deref()), ("0.0.0.0:80".into(), Some("0123456789abcdef")));
    let follow = settings.follow.unwrap();
    assert_eq!((follow.address.to_string().as_str(), follow.filter.as_str()), ("[::]:57012", "arp"));
    assert!(follow.insecure);
    let HealthSettings { address, rules } = settings.health;
    assert_eq!((address.unwrap().to_string().as_str(), settings.drain), ("0.0.0.0:8080", Duration::ZERO));
    assert_eq!((rules.unready_after, rules.ready_after), (Duration::from_millis(300), seconds(60)));
    assert_eq!((rules.drop_share, rules.drop_window, rules.without_capture), (Some(0.005), seconds(30), true));
    assert!(settings.tui);
    let reading = read(&gathered, MACHINE, vec!["a.pcap".into()]).unwrap();
    let ports = vec![(8472, Kind::Vxlan), (4789, Kind::Vxlan), (6081, Kind::Geneve), (4790, Kind::VxlanGpe)];
    assert_eq!((reading.encapsulation, reading.ports), (ReadEncapsulation::Vxlan, ports));
    assert_eq!((reading.files, reading.pipeline), (vec![PathBuf::from("a.pcap")], pipeline.clone()));
    let showing = demo(&gathered, MACHINE).unwrap();
    assert_eq!((showing.seconds, showing.pps, showing.tui, showing.api_optional), (Some(2.5), 7, false, false));
}

#[test]
fn workers_are_the_cpus_of_the_machine_but_one_for_files() {
    let workers = |text: &str, cpus| {
        let (gathered, machine) = (from_file(text).unwrap(), Machine { cpus, terminal: false });
        let of_run = run(&gathered, machine).unwrap().pipeline.workers;
        (of_run, read(&gathered, machine, Vec::new()).unwrap().pipeline.workers)
    };
    assert_eq!(workers("", 6), (6, 1));
    assert_eq!(workers("", 5000), (256, 1));
    assert_eq!(workers("", 0), (1, 1));
    assert_eq!(workers("[pipeline]\nworkers = \"auto\"", 6), (6, 6));
    assert_eq!(workers("pipeline.workers = 2", 6), (2, 2));
}

#[test]
fn flags_go_before_the_environment_and_the_environment_before_the_file() {
    let written =
        Written::new("[capture]\ndirectory = \"/y\"\nflush = \"1s\"\n[receive]\ngro = false\nlisten = [\"10.0.0.1\"]");
    let flush = |flag: Option<Duration>, variable: Option<&str>, file: bool| {
        let mut flags = Options::default();
        flags.capture.flush = flag;
        flags.capture.write = Some("/x".into());
        let lookup = |name: &str| variable.filter(|_| name == "VXTAP_FLUSH").map(Into::into);
        let gathered = gather(flags, file.then(|| written.path()).as_deref(), lookup).unwrap();
        run(&gathered, MACHINE).unwrap().pipeline.capture.unwrap().flush.as_millis()
    };
    assert_eq!(flush(Some(Duration::from_secs(3)), Some("2s"), true), 3000);
    assert_eq!(flush(None, Some("2s"), true), 2000);
    assert_eq!(flush(None, None, true), 1000);
    assert_eq!(flush(None, None, false), 100);
    assert_eq!(flush(None, Some(""), true), 1000, "an empty variable is not set");

    let received = |flag: Option<bool>, variable: &'static str| {
        let mut flags = Options::default();
        flags.receive.no_gro = flag;
        let lookup = |name: &str| match name {
            "VXTAP_NO_GRO" => Some(variable.into()),
            "VXTAP_LISTEN" => Some("10.0.0.2,vxlan://10.0.0.3:1".into()),
            _ => None,
        };
        run(&gather(flags, Some(&written.path()), lookup).unwrap(), MACHINE).unwrap()
    };
    assert!(!received(None, "").receive.gro);
    assert!(received(None, "false").receive.gro);
    assert!(!received(Some(true), "false").receive.gro);
    let listen: Vec<String> = received(None, "").listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["vxlan://10.0.0.2:4789", "vxlan://10.0.0.3:1"]);
}

#[test]
fn a_split_of_captures_is_a_switch_or_says_by_what() {
    for (text, expected) in [
        ("true", Some(CaptureSplit::Vni)),
        ("\"vni\"", Some(CaptureSplit::Vni)),
        ("\"network\"", Some(CaptureSplit::Network)),
        ("false", None),
        ("\"none\"", None),
    ] {
        let gathered = from_file(&format!("[capture]\ndirectory = \"/x\"\nsplit = {text}")).unwrap();
        assert_eq!(run(&gathered, MACHINE).unwrap().pipeline.capture.unwrap().split, expected, "{text}");
    }
}

#[test]
fn copies_on_one_stream_are_looked_for_only_where_each_packet_has_a_time_of_its_own() {
    let settings = |text: &str| run(&from_file(text).unwrap(), MACHINE).map_err(|error| error.to_string());
    let receive = |text: &str| settings(text).map(|run| (run.receive.timestamps, run.receive.gro));
    let window = "[pipeline]\ndedup = \"window\"\n[receive]\n";
    assert_eq!(receive(""), Ok((Timestamps::Kernel, true)));
    assert_eq!(receive(window), Ok((Timestamps::Kernel, false)));
    assert_eq!(receive(&format!("{window}timestamps = \"sender\"")), Ok((Timestamps::Sender, false)));
    assert_eq!(receive(&format!("{window}timestamps = \"kernel\"\ngro = false")), Ok((Timestamps::Kernel, false)));
    for (text, expected) in [
        ("timestamps = \"batch\"", "'batch' gives one to many: expected 'kernel'"),
        ("gro = true", "GRO gives one to many: expected it switched off"),
    ] {
        let error = receive(&format!("{window}{text}")).unwrap_err();
        assert!(error.contains("vxtap.toml:4:") && error.contains(expected), "{error}");
    }
    let lookup = |name: &str| match name {
        "VXTAP_DEDUP" => Some("window".into()),
        "VXTAP_TIMESTAMPS" => Some("batch".into()),
        _ => None,
    };
    let error = run(&gather(Options::default(), None, lookup).unwrap(), MACHINE).unwrap_err().to_string();
    assert!(error.starts_with("error: VXTAP_TIMESTAMPS: the dedup mode 'window' needs a time"), "{error}");
}

#[test]
fn a_dashboard_needs_a_terminal() {
    let gathered = from_file("run.tui = true").unwrap();
    assert!(run(&gathered, MACHINE).unwrap().tui);
    let error = run(&gathered, Machine { terminal: false, ..MACHINE }).unwrap_err().to_string();
    assert!(error.contains("the dashboard needs a terminal, and standard output is none"), "{error}");
    assert!(!demo(&nothing(), Machine { terminal: false, ..MACHINE }).unwrap().tui);
    assert!(demo(&nothing(), MACHINE).unwrap().tui);
}

#[test]
fn listeners_are_bounded_and_port_0_may_be_named_again() {
    let mut flags = Options::default();
    flags.receive.listen = vec![Listener::vxlan("127.0.0.1:0".parse().unwrap()); 64];
    let gathered = gather(flags.clone(), None, |_| None).unwrap();
    assert_eq!(run(&gathered, MACHINE).unwrap().listen.len(), 64);
    flags.receive.listen.push(Listener::DEFAULT);
    let gathered = gather(flags, None, |_| None).unwrap();
    let error = run(&gathered, MACHINE).unwrap_err().to_string();
    assert_eq!(error, "error: 65 addresses to listen on: expected at most 64");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_is_taken_or_refused_at_a_place_in_it(text: String) {
        if let Err(error) = from_file(&text) {
            prop_assert!(error.starts_with("vxtap.toml:"), "{}", error);
        }
    }

    #[test]
    fn a_sample_file_with_a_hole_in_it_is_taken_or_refused(at in 0..SAMPLE.len(), len in 0_usize..40, with in "[\\[\\]{}\"'=.,#\n\\x00-\\x7f]{0,3}") {
        let end = (at + len).min(SAMPLE.len());
        let text = format!("{}{with}{}", &SAMPLE[..at], &SAMPLE[end..]);
        if let Err(error) = from_file(&text) {
            prop_assert!(error.starts_with("vxtap.toml:"), "{}", error);
        }
    }
}

#[test]
fn an_interface_to_listen_on_has_a_name_and_options_and_is_told_as_it_is_written() {
    for text in [
        "packet://eth0",
        "packet://eth0?promiscuous=no",
        "packet://e.7?decapsulate",
        "packet://x?promiscuous=no&decapsulate",
    ] {
        assert_eq!(text.parse::<Listener>().unwrap().to_string(), text);
    }
    let told = "packet://eth0?promiscuous&decapsulate=no".parse::<Listener>().unwrap();
    assert_eq!(told.to_string(), "packet://eth0");
    for (text, expected) in [
        ("packet://", "not the name of a network interface"),
        ("packet://eth0?fast", "expected promiscuous=no or decapsulate"),
        ("packet://a/b", "not the name"),
        ("pcap://eth0", "packet://INTERFACE"),
    ] {
        let error = text.parse::<Listener>().unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let mut flags = Options::default();
    flags.receive.listen = vec!["packet://eth0".parse().unwrap(), "packet://eth0?decapsulate".parse().unwrap()];
    let gathered = gather(flags, None, |_| None).unwrap();
    let error = run(&gathered, MACHINE).unwrap_err().to_string();
    assert!(error.contains("packet://eth0?decapsulate is listened on twice"), "{error}");
}
