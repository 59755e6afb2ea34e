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
fn a_wrong_variable_is_named() {
    let lookup = |name: &str| match name {
        "VXTAP_WORKERS" => Some("many".into()),
        "VXTAP_LOG_DIR" => Some(std::os::unix::ffi::OsStringExt::from_vec(vec![b'/', 0xff])),
        "VXTAP_LISTEN" => Some("10.0.0.1,nowhere".into()),
        "VXTAP_PIN" => Some("maybe".into()),
        _ => None,
    };
    let error = gather(Options::default(), None, lookup).unwrap_err();
    assert_eq!(
        error.to_string().lines().collect::<Vec<_>>(),
        [
            "error: VXTAP_LISTEN: 'nowhere' is not an address (expected for example 0.0.0.0:4789 or [::]:4789)",
            "error: VXTAP_PIN: expected 'true' or 'false'",
            "error: VXTAP_WORKERS: expected a number from 1 to 256, or 'auto'",
            "error: VXTAP_LOG_DIR: expected text in UTF-8",
        ]
    );
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_nearest_one() {
    assert_eq!(
        errors("[pipeline]\n\n  workerz = 4 # four\n"),
        "vxtap.toml:3:3: unknown key 'workerz' (did you mean 'workers'?)\n  3 |   workerz = 4 # four\n    |   ^^^^^^^"
    );
    for (text, expected) in [
        ("[pipeline]\nWorkers = 4", "2:1: unknown key 'Workers' (did you mean 'workers'?)"),
        ("[flows]\nidle-tcp-new = \"1s\"", "2:1: unknown key 'idle-tcp-new' (did you mean 'idle_tcp_new'?)"),
        ("[flows]\nflow_max = 1000", "2:1: unknown key 'flow_max' (did you mean 'max'?)"),
        ("[capture]\nwrite = \"x\"", "2:1: unknown key 'write' (did you mean 'directory'?)"),
        ("workers = 4", "1:1: unknown key 'workers' here (did you mean 'workers' in [pipeline]?)"),
        ("[capture]\nworkers = 4", "2:1: unknown key 'workers' here (did you mean 'workers' in [pipeline]?)"),
        ("[capture]\nlistn = 4", "2:1: unknown key 'listn' here (did you mean 'listen' in [receive]?)"),
        ("[log]\nreceive-buffer = 4", "2:1: unknown key 'receive-buffer' here (did you mean 'buffer' in [receive]?)"),
        ("[run]\nzzzzzz = 4", "2:1: unknown key 'zzzzzz' (expected tui)"),
        (
            "[read]\nzzzzzz = 4",
            "2:1: unknown key 'zzzzzz' (expected encapsulation, vxlan_ports, geneve_ports or vxlan_gpe_ports)",
        ),
        ("zzzzzz = 4", "1:1: unknown key 'zzzzzz': keys stand below a [section]"),
        ("[captures]\nflush = 1", "1:2: unknown section 'captures' (did you mean 'capture'?)"),
        ("capture.flush.x = 1", "1:9: 'flush': expected one value, not a section"),
        ("capture = 1", "1:1: 'capture' is a section: expected [capture]"),
        (
            "[zzzzzz]\nflush = 1",
            "1:2: unknown section 'zzzzzz' (expected receive, pipeline, admission, flows, capture, log, api, follow, health, run, read \
             or demo)",
        ),
        ("[[receive]]\nlisten = 1", "1:3: 'receive' is a section: expected [receive]"),
    ] {
        assert_eq!(first_lines(text), [format!("vxtap.toml:{expected}")], "{text}");
    }
}

#[test]
fn a_value_out_of_range_or_of_another_kind_is_told_with_what_was_expected() {
    let time = |least, most| format!("expected a time from {least} to {most}");
    for (section, text, expected) in [
        ("pipeline", "workers = 0", "expected a number from 1 to 256, or 'auto'".to_owned()),
        ("pipeline", "workers = 257", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = -1", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = 1.5", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = 99999999999999999999999", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = true", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = 2026-11-21", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = [1]", "expected one value, not a list".into()),
        ("pipeline", "workers = {}", "expected one value, not a section".into()),
        ("pipeline", "steer_seed = 4294967296", "expected a number from 0 to 4294967295, or 'random'".into()),
        ("pipeline", "summary = \"\"", "expected a file, or - for standard output".into()),
        ("pipeline", "summary = 1", "expected a text in quotes, not a number".into()),
        ("receive", "listen = []", "expected at least one value".into()),
        (
            "receive",
            "listen = \"gre://[::]\"",
            "unknown scheme 'gre' (expected vxlan://, geneve:// or vxlan-gpe://, and ADDRESS[:PORT], or packet://INTERFACE)".into(),
        ),
        (
            "receive",
            "listen = \"geneve://here\"",
            "'here' is not an address (expected for example 0.0.0.0:6081 or [::]:6081)".into(),
        ),
        ("pipeline", "envelope_layers = 5", "expected a number from 1 to 4, or 'known'".into()),
        ("pipeline", "accept_unknown_critical = 1", "expected true or false, not a number".into()),
        ("receive", "buffer = \"2GiB\"", "expected a size from 4KiB to 1GiB, such as 64MiB".into()),
        ("receive", "buffer = \"64M\"", "expected a size from 4KiB to 1GiB, such as 64MiB".into()),
        ("receive", "coalesce = 500", time("0", "100ms, such as 500us")),
        ("receive", "coalesce = \"1s\"", time("0", "100ms, such as 500us")),
        ("receive", "timestamps = \"hardware\"", "expected 'batch', 'kernel' or 'sender'".into()),
        ("receive", "gro = 1", "expected true or false, not a number".into()),
        ("receive", "pin = \"true\"", "expected true or false, not a text".into()),
        ("flows", "max = 255", "expected a number from 256 to 268435456".into()),
        ("flows", "idle_tcp_new = \"1ms\"", time("100ms", "7d, such as 30s")),
        ("flows", "idle_tcp_new = \"8d\"", time("100ms", "7d, such as 30s")),
        ("flows", "active_timeout = \"1ms\"", "expected a time from 1s to 7d, such as 30m, or 0 for never".into()),
        ("capture", "directory = \"\"", "expected a directory".into()),
        ("capture", "rotate_bytes = 0", "expected a size from 64KiB to 16TiB, such as 512MiB, or 'none'".into()),
        ("capture", "flush = \"0s\"", time("1ms", "10s, such as 100ms")),
        ("capture", "split = \"both\"", "expected 'vni', 'network' or 'none'".into()),
        ("capture", "blocks = 1", "expected a number from 2 to 4096".into()),
        (
            "log",
            "events = \"flows\"",
            "expected 'all', 'none', or names of flow, http, dns, tls, quic, ssh, mysql, pgsql, redis, anomaly, stats"
                .into(),
        ),
        ("log", "rotate_bytes = 1", "expected a size from 64KiB to 16TiB, such as 512MiB, or 'none'".into()),
        ("log", "rotate_interval = \"1ms\"", time("1s", "7d, such as 1h") + ", or 'none'"),
        ("log", "keep = 0", "expected a number from 1 to 1000000, or 'none'".into()),
        ("log", "stats_interval = 0", time("1s", "7d, such as 10s") + ", or 'none'"),
        ("api", "address = \"9789\"", "expected ADDRESS:PORT such as 127.0.0.1:9789, or 'none'".into()),
        ("api", "address = \"localhost:x\"", "expected ADDRESS:PORT such as 127.0.0.1:9789, or 'none'".into()),
        (
            "api",
            "token = \"short\"",
            "expected 16 to 256 ASCII characters without spaces (openssl rand -hex 16 makes some)".into(),
        ),
        ("read", "encapsulation = \"gre\"", "expected 'auto', 'vxlan', 'geneve' or 'none'".into()),
        ("read", "vxlan_ports = 0", "expected a number from 1 to 65535".into()),
        ("demo", "seconds = 0", "expected a number of seconds from 0.1 to 1000000".into()),
        ("demo", "seconds = nan", "expected a number of seconds from 0.1 to 1000000".into()),
        ("demo", "pps = 0", "expected a number from 1 to 100000000".into()),
    ] {
        let (name, value) = text.split_once(" = ").unwrap();
        let column = name.len() + 4;
        let place = format!("vxtap.toml:2:{column}: '{name}': {expected}");
        let marks = "^".repeat(value.len());
        let shown = format!("{place}\n  2 | {text}\n    | {}{marks}", " ".repeat(column - 1));
        assert_eq!(errors(&format!("[{section}]\n{text}")), shown);
    }
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
fn everything_wrong_with_a_file_is_told_at_once_in_its_order() {
    let text = "\
workers = 4
[pipeline]
workerz = 4
[receive]
listen = [\"10.0.0.1\", \"x\", 5]
[capture
[flows]
max = 1
max = 5000
idle_tcp_new =
";
    assert_eq!(
        first_lines(text),
        [
            "vxtap.toml:1:1: unknown key 'workers' here (did you mean 'workers' in [pipeline]?)",
            "vxtap.toml:3:1: unknown key 'workerz' (did you mean 'workers'?)",
            "vxtap.toml:5:23: 'listen': 'x' is not an address (expected for example 0.0.0.0:4789 or [::]:4789)",
            "vxtap.toml:5:28: 'listen': '5' is not an address (expected for example 0.0.0.0:4789 or [::]:4789)",
            "vxtap.toml:6:9: unclosed table, expected `]`",
            "vxtap.toml:8:7: 'max': expected a number from 256 to 268435456",
            "vxtap.toml:9:1: duplicate key",
            "vxtap.toml:10:15: string values must be quoted, expected literal string",
        ]
    );
}

#[test]
fn a_wrong_value_is_told_even_where_a_flag_overrides_it() {
    let written = Written::new("[flows]\nmax = 1");
    let mut flags = Options::default();
    flags.flows.flow_max = Some(5000);
    let error = gather(flags, Some(&written.path()), |_| None).unwrap_err();
    assert!(written.relative(&error).starts_with("vxtap.toml:2:7: 'max': expected"), "{error}");
}

#[test]
fn what_contradicts_itself_is_told_at_the_place_that_it_comes_from() {
    let written =
        Written::new("[api]\naddress = \"0.0.0.0:80\"\n[receive]\nlisten = [\"10.0.0.1\", \"10.0.0.1:4789\"]");
    let gathered = gather(Options::default(), Some(&written.path()), |_| None).unwrap();
    let error = run(&gathered, MACHINE).unwrap_err();
    let text = written.relative(&error);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "vxtap.toml:4:10: vxlan://10.0.0.1:4789 is listened on twice: name it once");
    let needs_token = "the API shows mirrored traffic, and other machines can reach it on 0.0.0.0:80: set a token \
                       (--api-token, VXTAP_API_TOKEN, or token in [api]), or serve it on 127.0.0.1";
    assert_eq!(lines[3], format!("vxtap.toml:2:11: {needs_token}"));
    assert_eq!(lines.len(), 6);

    let lookup = |name: &str| (name == "VXTAP_API").then(|| "0.0.0.0:80".into());
    let error = demo(&gather(Options::default(), None, lookup).unwrap(), MACHINE).unwrap_err();
    assert_eq!(error.to_string(), format!("error: VXTAP_API: {needs_token}"));
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

#[test]
fn a_file_that_is_no_text_is_refused_with_a_reason() {
    let read = |written: &Written, path: PathBuf| {
        written.relative(&gather(Options::default(), Some(&path), |_| None).unwrap_err())
    };
    let written = Written::new(b"[flows]\nmax = \xff1\n");
    assert_eq!(
        read(&written, written.path()),
        "vxtap.toml:2:7: expected text in UTF-8\n  2 | max = \u{fffd}1\n    |       ^"
    );
    assert_eq!(
        read(&written, written.directory.path().join("gone.toml")),
        "error: cannot read the configuration file gone.toml: No such file or directory (os error 2)"
    );
    let large = Written::new(vec![b'#'; (1 << 20) + 1]);
    assert_eq!(
        read(&large, large.path()),
        "error: cannot read the configuration file vxtap.toml: it has more than 1MiB, so it is no configuration"
    );
    let directory = read(&written, written.directory.path().to_owned());
    assert!(directory.ends_with(": Is a directory (os error 21)"), "{directory}");
}

#[test]
fn networks_and_names_may_stand_in_tables_and_come_behind_those_of_keys() {
    let gathered = from_file(
        r#"
        [pipeline]
        networks = ["red=vni 7 from 10.0.0.0/8", "green=vni 8 from 10.0.0.0/8"]
        names = "db=vni 70"
        [[network]]
        name = "blue"
        vnis = [1, "2-3"]
        [[network]]
        name = "blue"
        encapsulation = "vxlan"
        sources = "fd00::/8"
        [[network]]
        name = "tenant"
        endpoints = ["0x1a2b", 5]
        [[name]]
        name = "web"
        vni = 1
        [[name]]
        name = "gateway"
        source = "10.0.0.7"
        "#,
    )
    .unwrap();
    let pipeline = run(&gathered, MACHINE).unwrap().pipeline;
    let networks: Vec<_> =
        pipeline.networks.iter().map(|network| format!("{}: {}", network.name, network.streams)).collect();
    let expected = [
        "red: vni 7 from 10.0.0.0/8",
        "green: vni 8 from 10.0.0.0/8",
        "blue: vni 1,2-3",
        "blue: vxlan from fd00::/8",
        "tenant: endpoint 0x1a2b,0x5",
    ];
    assert_eq!(networks, expected);
    let names: Vec<_> = pipeline.names.iter().map(|name| (name.name.as_str(), name.of)).collect();
    let source = Named::Source("10.0.0.7".parse().unwrap());
    assert_eq!(names, [("db", Named::Vni(70)), ("web", Named::Vni(1)), ("gateway", source)]);
}

#[test]
fn tables_are_left_out_where_a_variable_says_something_else() {
    let written = Written::new("[[network]]\nname = \"blue\"\nvnis = 1\n");
    let variable = |name: &str| (name == "VXTAP_NETWORK").then(|| "red=5,6;green=vni 7".into());
    let gathered = gather(Options::default(), Some(&written.path()), variable).unwrap();
    let names: Vec<_> = gathered.options.pipeline.network.iter().map(|network| network.name.clone()).collect();
    assert_eq!(names, ["red", "green"]);
}

#[test]
fn what_is_wrong_with_a_table_is_told_at_its_place() {
    for (text, expected) in [
        ("[network]\nname = \"blue\"", "vxtap.toml:1:1: 'network' is a list of tables: expected [[network]]"),
        ("[[network]]\nvnis = 5", "vxtap.toml:1:1: 'name' is missing"),
        ("[[network]]\nname = \"a b\"\nvnis = 5", "vxtap.toml:2:8: 'name': expected a name of up to 64 letters"),
        ("[[network]]\nname = \"a\"", "vxtap.toml:1:1: a network is of VNIs, sources or endpoints"),
        ("[[network]]\nname = \"a\"\nvnis = [1, 99999999]", "vxtap.toml:3:12: 'vnis': '99999999' is no VNI"),
        ("[[network]]\nname = \"a\"\nsources = \"x\"", "vxtap.toml:3:11: 'sources': 'x' is no address"),
        ("[[network]]\nname = \"a\"\nendpoints = 0", "vxtap.toml:3:13: 'endpoints': '0' is no endpoint"),
        ("[[network]]\nname = \"a\"\nencapsulation = \"gre\"", "vxtap.toml:3:17: 'encapsulation': expected"),
        ("[[network]]\nname = \"a\"\nvni = 5", "vxtap.toml:3:1: unknown key 'vni' (did you mean 'vnis'?)"),
        ("[[name]]\nname = \"a\"", "vxtap.toml:1:1: a name is of one thing: expected 'vni' or 'source'"),
        ("[[name]]\nname = \"a\"\nvni = \"1-2\"", "vxtap.toml:3:7: 'vni': expected one VNI"),
        ("[[name]]\nname = \"a\"\nsource = \"10.0.0.0/8\"", "vxtap.toml:3:10: 'source': expected one address"),
        ("name = 5", "vxtap.toml:1:8: 'name' is a list of tables: expected [[name]]"),
        ("network = [5]", "vxtap.toml:1:12: expected a table below [[network]]"),
    ] {
        let lines = first_lines(text);
        assert!(lines[0].starts_with(expected), "{text}: {lines:?}");
    }
}

#[test]
fn who_is_let_in_is_all_or_those_that_are_named_or_nobody() {
    let accept = |text: &str| run(&from_file(text).unwrap(), MACHINE).unwrap().pipeline.admission.policy.accept;
    let selectors = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Selector>>();
    assert_eq!(accept(""), selectors(&["all"]));
    assert_eq!(accept("[admission]\naccept = \"none\""), []);
    assert_eq!(accept("[admission]\naccept = [\"vni 1,2\", \"from ::1\"]"), selectors(&["vni 1,2", "from ::1"]));
    for text in ["accept = [\"all\", \"vni 5\"]", "accept = [\"vni 5\", \"none\"]"] {
        let error = run(&from_file(&format!("[admission]\n{text}")).unwrap(), MACHINE).unwrap_err().to_string();
        assert!(error.contains("'all' and 'none' stand alone"), "{error}");
    }
    let lines = first_lines("[admission]\nreject = [\"vni 5\", \"nobody\"]");
    assert!(lines[0].starts_with("vxtap.toml:2:20: 'reject': 'nobody': expected 'all', or any of"), "{lines:?}");
}

#[test]
fn a_plain_run_is_explained() {
    let settings = run(&nothing(), MACHINE).unwrap();
    let expected = "\
listen     vxlan://[::]:4789 (all addresses, IPv4 and IPv6)
workers    4 threads, on any CPU; 4 sockets in all, with a receive buffer of 64MiB each
steering   both directions of a flow to one worker, by the kernel and checked; seed random
envelope   the outermost tunnel is taken off, and a gateway load balancer's with it
datagrams  taken after 1ms at most, several at a time (GRO); times by the kernel
copies     those of other mirror streams of a network within 100ms are left out
admission  every mirror stream is let in
flows      up to 1048576 at a time; beyond, old ones end early and are counted
           TCP ends after silence of 1m (new), 10m (established), 10s (closed)
           others end after silence of 30s (one-way), 5m (both ways)
           long ones are reported every 30m
captures   none: inner frames are not kept (--write DIR keeps them)
log        none: events are not kept (--log DIR keeps them)
api        http://127.0.0.1:9789, for this machine, without a token
followers  over the API (--follow ADDR serves pcap-over-IP)
health     no port of its own (--health ADDR has one for load balancers)
           not ready when, for 2s, a worker stands still, the kernel drops over 5 % in 10s; ready again after 10s \
without that
           at SIGTERM not ready, and receiving on for 30s
summary    in the log on standard error at the end, no file
dashboard  none (--tui shows it)
";
    assert_eq!(explain(&settings), expected);
}

#[test]
fn a_run_with_everything_set_is_explained_without_its_token() {
    let text = "[receive]\nlisten = [\"0.0.0.0\", \"10.0.0.1:1\"]\nbuffer = \"1MiB\"\ncoalesce = 0\ngro = false\n\
                kernel_steering = false\npin = true\ntimestamps = \"kernel\"\n[pipeline]\nworkers = 1\nsteer_seed = 7\n\
                summary = \"-\"\ndedup = \"window\"\ndedup_window = \"1s\"\nnetworks = [\"blue=1-2\"]\n[admission]\naccept = [\"vni 5\", \"from 10.0.0.0/8\"]\nreject = \"vni 9\"\n\
                state = \"/s\"\n[flows]\nactive_timeout = 0\n[capture]\ndirectory = \"/c\\u001b\"\ndirect = true\n\
                rotate_bytes = \"none\"\n[log]\ndirectory = \"/l\"\nevents = [\"dns\", \"stats\", \"flow\"]\n\
                rotate_bytes = \"64MiB\"\nrotate_interval = \"1h\"\nkeep = 1\nstats_interval = \"none\"\n[api]\naddress = \"0.0.0.0:80\"\n\
                token = \"0123456789abcdef\"\n[follow]\naddress = \"localhost:57012\"\nfilter = \"arp\"\n[health]\n\
                address = \"[::]:8080\"\ndrain = 0\nunready_drops = \"none\"\nready_after = \"1m\"\n[run]\ntui = true";
    let expected = "\
listen     vxlan://0.0.0.0:4789 (all addresses, IPv4)
           vxlan://10.0.0.1:1
workers    1 thread, each on a CPU of its own; 2 sockets in all, with a receive buffer of 1MiB each
steering   both directions of a flow to one worker, in user space; seed 7
envelope   the outermost tunnel is taken off, and a gateway load balancer's with it
datagrams  taken at once, one by one (no GRO); times by the kernel
copies     those of other mirror streams of a network within 1s, and of one stream within 100us, are left out
admission  let in are vni 5; from 10.0.0.0/8; others wait to be accepted
           kept out are vni 9
           decisions are kept in /s
network    blue: vni 1-2
flows      up to 1048576 at a time; beyond, old ones end early and are counted
           TCP ends after silence of 1m (new), 10m (established), 10s (closed)
           others end after silence of 30s (one-way), 5m (both ways)
           reported at their end only
captures   pcapng in /c\\u{1b}, one file
           frames are in the file within 100ms, around the page cache; up to 16MiB wait for the disk, beyond that \
they are dropped and counted
log        appends events (flow, dns, stats) to /l/eve.json
           closed under a name of its own every 64MiB or 1h
           1 closed file at the most, the oldest are deleted
           counters at the end
api        http://0.0.0.0:80, with a token
followers  TCP@127.0.0.1:57012: whoever connects from this machine gets 'arp'
health     http://[::]:8080/readyz tells load balancers whether to send traffic
           not ready when, for 2s, a worker stands still, captures fail; ready again after 1m without that
           SIGTERM ends the run at once
summary    on standard output at the end
dashboard  in this terminal
";
    assert_eq!(explain(&run(&from_file(text).unwrap(), MACHINE).unwrap()), expected);
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
fn deep_nesting_is_refused() {
    let text = format!("[flows]\nmax = {}", "[".repeat(100_000));
    assert!(errors(&text).starts_with("vxtap.toml:2:"));
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
