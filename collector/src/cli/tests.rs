//! Whole command lines.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::CommandFactory;
use vxtap_analyzers::protocols::EventKind;

use super::*;
use crate::capture::CaptureSplit;
use crate::extract::{ExtractOutput, Moment};
use crate::settings::{Listener, ReadEncapsulation, SummaryTarget};
use vxtap_wire::envelope::Kind;

const MACHINE: Machine = Machine { cpus: 4, terminal: false };

fn line(arguments: &str) -> Result<Task, Answer> {
    let words = std::iter::once("vxtap-collector").chain(arguments.split_whitespace());
    prepare(words.map(OsString::from), |_| None, MACHINE)
}

fn run_settings(arguments: &str) -> RunSettings {
    match line(arguments) {
        Ok(Task::Run(settings)) => settings,
        other => panic!("{arguments}: {other:?}"),
    }
}

/// The settings of `doctor` with these arguments, on a machine with four CPUs.
pub(crate) fn doctor_settings(arguments: &str) -> DoctorSettings {
    match line(&format!("doctor {arguments}")) {
        Ok(Task::Doctor(settings)) => *settings,
        other => panic!("{arguments}: {other:?}"),
    }
}

fn demo_settings(arguments: &str) -> DemoSettings {
    match line(arguments) {
        Ok(Task::Demo { settings, .. }) => settings,
        other => panic!("{arguments}: {other:?}"),
    }
}

#[test]
fn every_flag_has_its_key_and_every_key_its_flag() {
    let not_settings = ["config", "help", "version"];
    // What it looks at and how it tells it: no matter of a run either.
    let of_doctor = ["connect", "interface", "disk-rate", "watch", "fix", "json"];
    let of_commands: BTreeSet<String> = Arguments::command()
        .get_subcommands()
        // Which captures are searched for what is no setting of a run.
        .filter(|command| command.get_name() != "extract")
        .flat_map(|command| command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned)))
        .filter(|flag| !not_settings.contains(&flag.as_str()) && !of_doctor.contains(&flag.as_str()))
        .collect();
    let of_keys: BTreeSet<String> = config::names().map(|(_, _, flag)| flag.to_owned()).collect();
    assert_eq!(of_commands, of_keys);
    assert_eq!(config::names().count(), of_keys.len(), "a flag stands for two keys");
}

#[test]
fn the_commands_are_well_formed() {
    Arguments::command().debug_assert();
}

#[test]
fn the_defaults_that_help_tells_are_the_defaults() {
    let default = run_settings("run --write /x");
    let mut checked = 0;
    let mut command = Arguments::command();
    let run = command.find_subcommand_mut("run").unwrap();
    for argument in run.get_arguments() {
        let (Some(flag), Some(help)) = (argument.get_long(), argument.get_help()) else { continue };
        let help = help.to_string();
        let Some((_, told)) = help.split_once("[default: ") else { continue };
        let value = told.strip_suffix(']').unwrap().split("; ").next().unwrap();
        assert_eq!(run_settings(&format!("run --write /x --{flag} {value}")), default, "--{flag} {value}");
        checked += 1;
    }
    assert_eq!(checked, 44);
    let plain = demo_settings("demo --api none");
    assert_eq!(demo_settings("demo --api none --pps 20000"), plain);
}

#[test]
fn a_split_of_captures_is_by_vni_unless_something_else_is_said() {
    let split = |flag: &str| run_settings(&format!("run --write /x {flag} --pin")).pipeline.capture.unwrap().split;
    assert_eq!(split("--capture-split"), Some(CaptureSplit::Vni));
    assert_eq!(split("--capture-split=network"), Some(CaptureSplit::Network));
    assert_eq!((split("--capture-split=none"), split("")), (None, None));
}

#[test]
fn help_fits_a_terminal_and_tells_every_flag() {
    for command in ["run", "read", "demo", "check"] {
        let answer = line(&format!("{command} --help")).unwrap_err();
        assert_eq!(answer.code, 0);
        let long = answer.text.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{command}");
        assert!(answer.text.contains("--workers <N>") && answer.text.contains("VXTAP_FLOW_MAX"), "{}", answer.text);
    }
    let answer = line("--version").unwrap_err();
    assert_eq!(answer, Answer { text: format!("vxtap-collector {}\n", env!("CARGO_PKG_VERSION")), code: 0 });
}

#[test]
fn a_plain_run_has_the_documented_defaults() {
    let settings = run_settings("run");
    assert_eq!(settings.listen, [Listener::DEFAULT]);
    assert_eq!(settings.listen[0].to_string(), "vxlan://[::]:4789");
    assert_eq!(settings.pipeline.workers, 4);
    assert_eq!((settings.pipeline.capture, settings.pipeline.log, settings.summary), (None, None, None));
    let api = settings.api.unwrap();
    assert_eq!((api.address.to_string(), api.token), ("127.0.0.1:9789".to_owned(), None));
    assert_eq!(settings.follow, None);
    assert!(!settings.tui);
}

#[test]
fn flags_arrive_in_the_settings() {
    let settings = run_settings(
        "run --listen vxlan://127.0.0.1:0 --listen 10.0.0.1,[::1] --workers 2 --write /c --log /l --summary - \
         --log-events flow,dns --log-events stats --log-keep 7 --log-rotate-interval 1h \
         --api [::1]:0 --rotate-bytes 512MiB --no-gro --pin=true --no-kernel-steering=false --capture-direct \
         --steer-seed 7",
    );
    let listen: Vec<String> = settings.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["vxlan://127.0.0.1:0", "vxlan://10.0.0.1:4789", "vxlan://[::1]:4789"]);
    assert_eq!((settings.receive.gro, settings.receive.kernel_steering, settings.receive.pin), (false, true, true));
    let capture = settings.pipeline.capture.unwrap();
    assert_eq!((capture.directory.as_path(), capture.rotation.bytes), (Path::new("/c"), Some(512 << 20)));
    assert!(capture.direct);
    let log = settings.pipeline.log.unwrap();
    assert_eq!((log.directory.as_path(), log.keep), (Path::new("/l"), Some(7)));
    assert_eq!(log.events.iter().collect::<Vec<_>>(), [EventKind::Flow, EventKind::Dns, EventKind::Stats]);
    assert_eq!((settings.pipeline.workers, settings.pipeline.steer_seed), (2, Some(7)));
    assert_eq!(settings.summary, Some(SummaryTarget::Stdout));
    assert_eq!(settings.api.unwrap().address.to_string(), "[::1]:0");
    assert_eq!(run_settings("run --api none").api, None);
    let follow = run_settings("run --follow 0.0.0.0:57012 --follow-insecure --follow-filter arp").follow.unwrap();
    assert_eq!((follow.address.to_string().as_str(), follow.filter.as_str()), ("0.0.0.0:57012", "arp"));
    assert!(follow.insecure);
    let health = run_settings("run --health [::]:8080 --drain 5s --unready-drops none --ready-without-capture");
    assert_eq!(
        (health.health.address.unwrap().to_string().as_str(), health.drain),
        ("[::]:8080", Duration::from_secs(5))
    );
    assert_eq!((health.health.rules.drop_share, health.health.rules.without_capture), (None, true));
    assert_eq!(run_settings("run --api localhost:80").api.unwrap().address.to_string(), "127.0.0.1:80");
}

#[test]
fn settings_do_not_show_the_token() {
    let settings = run_settings("run --api-token 0123456789abcdef");
    assert_eq!(settings.api.as_ref().and_then(|api| api.token.as_deref()), Some("0123456789abcdef"));
    assert!(!format!("{settings:?}").contains("0123456789abcdef"));
}

#[test]
fn read_takes_files_and_one_worker() {
    let Ok(Task::Read(settings)) = line(
        "read a.pcap b.pcapng --encapsulation vxlan --vxlan-port 8472 --vxlan-port 1,2 --vxlan-gpe-port 4790 --summary s.json",
    ) else {
        panic!("not a read");
    };
    assert_eq!(settings.files, [Path::new("a.pcap"), Path::new("b.pcapng")]);
    assert_eq!(settings.encapsulation, ReadEncapsulation::Vxlan);
    assert_eq!(
        settings.ports,
        [(8472, Kind::Vxlan), (1, Kind::Vxlan), (2, Kind::Vxlan), (6081, Kind::Geneve), (4790, Kind::VxlanGpe)]
    );
    assert_eq!(settings.pipeline.workers, 1);
    assert_eq!(settings.summary, Some(SummaryTarget::File("s.json".into())));
}

#[test]
fn a_demo_shows_the_dashboard_on_a_terminal_only() {
    let settings = demo_settings("demo --seconds 2.5 --pps 100");
    assert_eq!((settings.seconds, settings.pps, settings.tui), (Some(2.5), 100, false));
    assert!(settings.api_optional);
    assert!(!demo_settings("demo --api 127.0.0.1:9789").api_optional);
    let on_terminal = |arguments: &[&str]| {
        let words = ["vxtap-collector", "demo"].iter().chain(arguments).map(OsString::from);
        match prepare(words, |_| None, Machine { terminal: true, ..MACHINE }) {
            Ok(task) => task.takes_terminal(),
            Err(answer) => panic!("{answer:?}"),
        }
    };
    assert!(on_terminal(&[]));
    assert!(!on_terminal(&["--no-tui"]));
}

#[test]
fn wrong_command_lines_end_with_2_and_say_what_was_expected() {
    let try_help = "\n\nFor more information, try '--help'.\n";
    for (arguments, expected) in [
        (
            "run --workerz 4",
            format!(
                "error: unexpected argument '--workerz' found\n\n  tip: a similar argument exists: '--workers'\n\n\
                 Usage: vxtap-collector run --workers <N>{try_help}"
            ),
        ),
        (
            "runn",
            format!(
                "error: unrecognized subcommand 'runn'\n\n  tip: a similar subcommand exists: 'run'\n\n\
                 Usage: vxtap-collector <COMMAND>{try_help}"
            ),
        ),
        (
            "run --workers 0",
            format!(
                "error: invalid value '0' for '--workers <N>': expected a number from 1 to 256, or 'auto'{try_help}"
            ),
        ),
        (
            "run --listen gre://[::]:6081",
            format!(
                "error: invalid value 'gre://[::]:6081' for '--listen <ADDR>': unknown scheme 'gre' (expected \
                 vxlan://, geneve:// or vxlan-gpe://, and ADDRESS[:PORT], or packet://INTERFACE){try_help}"
            ),
        ),
        (
            "run --listen 127.0.0.1:99999",
            format!(
                "error: invalid value '127.0.0.1:99999' for '--listen <ADDR>': '127.0.0.1:99999' is not an address \
                 (expected for example 0.0.0.0:4789 or [::]:4789){try_help}"
            ),
        ),
        (
            "run --flush 1",
            format!(
                "error: invalid value '1' for '--flush <TIME>': expected a time from 1ms to 10s, such as \
                 100ms{try_help}"
            ),
        ),
        (
            "run --no-gro=maybe",
            format!("error: invalid value 'maybe' for '--no-gro[=<BOOL>]': expected 'true' or 'false'{try_help}"),
        ),
        (
            "run --api 9789",
            format!(
                "error: invalid value '9789' for '--api <ADDR>': expected ADDRESS:PORT such as 127.0.0.1:9789, or \
                 'none'{try_help}"
            ),
        ),
        (
            "run --api 0.0.0.0:9789",
            "error: the API shows mirrored traffic, and other machines can reach it on 0.0.0.0:9789: set a token \
             (--api-token, VXTAP_API_TOKEN, or token in [api]), or serve it on 127.0.0.1"
                .into(),
        ),
        (
            "run --follow [::]:57012",
            "error: pcap-over-IP shows mirrored traffic to whoever connects, and other machines can reach it on \
             [::]:57012: follow on 127.0.0.1, or over the API with a token, or allow it with --follow-insecure (insecure \
             in [follow])"
                .into(),
        ),
        (
            "run --follow-filter nonsense",
            format!(
                "error: invalid value 'nonsense' for '--follow-filter <EXPR>': {}{try_help}",
                vxtap_filter::Filter::parse("nonsense").unwrap_err()
            ),
        ),
        (
            "run --tui",
            "error: the dashboard needs a terminal, and standard output is none, or a dumb one: leave --tui out, or use vxtap-tui"
                .into(),
        ),
        (
            "run --listen 127.0.0.1 --listen 127.0.0.1:4789",
            "error: vxlan://127.0.0.1:4789 is listened on twice: name it once".into(),
        ),
        (
            "run --config gone.toml",
            "error: cannot read the configuration file gone.toml: No such file or directory (os error 2)".into(),
        ),
        (
            "read",
            format!(
                "error: the following required arguments were not provided:\n  <FILE>...\n\n\
                 Usage: vxtap-collector read <FILE>...{try_help}"
            ),
        ),
        (
            "check",
            format!(
                "error: the following required arguments were not provided:\n  --config <FILE>\n\n\
                 Usage: vxtap-collector check --config <FILE>{try_help}"
            ),
        ),
        (
            "demo --seconds 0",
            format!(
                "error: invalid value '0' for '--seconds <N>': expected a number of seconds from 0.1 to \
                 1000000{try_help}"
            ),
        ),
    ] {
        assert_eq!(line(arguments), Err(Answer { text: expected, code: 2 }), "{arguments}");
    }
    assert_eq!(line("").unwrap_err().code, 2);
}

#[test]
fn a_file_named_by_the_environment_is_read_unless_a_flag_names_another() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, workers: u32| {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("[pipeline]\nworkers = {workers}\n")).unwrap();
        path.into_os_string()
    };
    let (one, two) = (file("one.toml", 11), file("two.toml", 22));
    let variable = |name: &str| (name == "VXTAP_CONFIG").then(|| one.clone());
    let workers = |arguments: Vec<OsString>| {
        let words = ["vxtap-collector", "run"].iter().map(OsString::from).chain(arguments);
        match prepare(words, variable, MACHINE) {
            Ok(Task::Run(settings)) => settings.pipeline.workers,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(workers(vec![]), 11);
    assert_eq!(workers(vec!["--config".into(), two]), 22);
}

#[test]
fn check_explains_what_run_would_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vxtap.toml");
    std::fs::write(&path, "[capture]\ndirectory = \"/captures\"\n[run]\ntui = true\n").unwrap();
    let Ok(Task::Check(text)) = line(&format!("check --config {} --workers 3", path.display())) else {
        panic!("not a check");
    };
    assert!(text.starts_with(&format!("{} is right. `vxtap-collector run` with it:\nlisten ", path.display())));
    assert!(text.contains("captures   pcapng in /captures, a new file every 1GiB\n"), "{text}");
    assert!(text.contains("workers    3 threads"), "{text}");
    assert_eq!(perform(Task::Check(text.clone()), &Recorder::default()).unwrap(), text);
}

/// Remembers what it was asked to do, and fails as told.
#[derive(Default)]
struct Recorder {
    asked: RefCell<Vec<Task>>,
    failure: RefCell<Option<Failure>>,
}

impl Recorder {
    fn end(&self, task: Task) -> Result<(), Failure> {
        self.asked.borrow_mut().push(task);
        self.failure.borrow_mut().take().map_or(Ok(()), Err)
    }
}

impl Commands for Recorder {
    fn run(&self, settings: &RunSettings) -> Result<(), Failure> {
        self.end(Task::Run(settings.clone()))
    }

    fn read(&self, settings: &ReadSettings) -> Result<(), Failure> {
        self.end(Task::Read(settings.clone()))
    }

    fn demo(&self, settings: &DemoSettings) -> Result<(), Failure> {
        self.end(Task::Demo { settings: settings.clone(), capture: CaptureOptions::default() })
    }

    fn extract(&self, settings: &ExtractSettings) -> Result<(), Failure> {
        self.end(Task::Extract(settings.clone()))
    }

    fn doctor(&self, settings: &DoctorSettings) -> Result<(), Failure> {
        self.end(Task::Doctor(Box::new(settings.clone())))
    }
}

#[test]
fn each_command_is_done_with_its_settings() {
    for arguments in [
        "run --workers 3",
        "read x.pcap",
        "extract x --flow 1:LQU9qZlK+B5F3KDmev6m5PMibrg= -o y",
        "demo --write /c --flush 7ms",
        "doctor --connect http://127.0.0.1:9789 --interface eth0,eth1 --fix --json --workers 3",
    ] {
        let recorder = Recorder::default();
        assert_eq!(perform(line(arguments).unwrap(), &recorder).unwrap(), "");
        let mut expected = line(arguments).unwrap();
        if let Task::Demo { capture, .. } = &mut expected {
            *capture = CaptureOptions::default();
        }
        assert_eq!(*recorder.asked.borrow(), [expected]);
    }
}

#[test]
fn a_demo_without_directory_captures_into_a_new_one() {
    let recorder = Recorder::default();
    perform(line("demo --flush 7ms --rotate-bytes none").unwrap(), &recorder).unwrap();
    let asked = recorder.asked.borrow();
    let [Task::Demo { settings, .. }] = &asked[..] else { panic!("{asked:?}") };
    let capture = settings.pipeline.capture.as_ref().unwrap();
    assert_eq!((capture.flush.as_millis(), capture.rotation.bytes), (7, None));
    assert!(capture.directory.starts_with(std::env::temp_dir()));
    std::fs::remove_dir(&capture.directory).unwrap();
}

#[test]
fn a_failure_is_one_line_and_its_exit_code() {
    let deep = || Err::<(), _>(anyhow!("No space\nleft \u{1b}[2J")).context("cannot write x").unwrap_err();
    for (failure, code) in [(Failure::Run(deep()), 1), (Failure::Arguments(deep()), 2)] {
        let recorder = Recorder::default();
        *recorder.failure.borrow_mut() = Some(failure);
        let failure = perform(line("run").unwrap(), &recorder).unwrap_err();
        let text = "error: cannot write x: No space left \\u{1b}[2J".to_owned();
        assert_eq!(Answer::failed(&failure), Answer { text, code });
    }
}

#[test]
fn an_extract_is_told_what_to_look_for_and_where_it_goes() {
    let id = "1:LQU9qZlK+B5F3KDmev6m5PMibrg=";
    let words = ["vxtap-collector", "extract", "captures", "b.pcap", "--filter", "tcp port 443", "--flow", id];
    let words = words.into_iter().chain(["--since", "-5m", "--until", "1795255200.5", "-o", "-", "--force"]);
    let Ok(Task::Extract(settings)) = prepare(words.map(OsString::from), |_| None, MACHINE) else { panic!() };
    assert_eq!(settings.captures, [Path::new("captures"), Path::new("b.pcap")]);
    let criteria = &settings.criteria;
    assert_eq!(criteria.filter.as_ref().unwrap().0.text(), "tcp port 443");
    assert_eq!(criteria.flow, Some(id.parse().unwrap()));
    assert_eq!(criteria.since, Some(Moment::Ago(std::time::Duration::from_mins(5))));
    assert_eq!(criteria.until, Some(Moment::At(1_795_255_200_500_000_000)));
    assert_eq!((settings.output, settings.force), (ExtractOutput::Stdout, true));
    let Ok(Task::Extract(settings)) = line("extract a --filter tcp -o out") else { panic!() };
    assert_eq!((settings.output, settings.force), (ExtractOutput::File("out".into()), false));
}

#[test]
fn an_extract_that_cannot_be_is_refused_with_the_place() {
    for (arguments, told) in [
        (
            "extract a -o x --filter nonsense",
            "invalid value 'nonsense' for '--filter <EXPR>': capture filter, character 1:",
        ),
        (
            "extract a -o x --flow 1:abc",
            "for '--flow <COMMUNITY_ID>': '1:abc' is not a Community ID: expected '1:' and",
        ),
        ("extract a -o x --since yesterday", "'yesterday' for '--since <TIME>': expected a time such as 2026-"),
        ("extract a -o x --until 5m", "'5m' for '--until <TIME>': expected a time such as 2026-"),
        ("extract a --filter tcp", "--output <FILE>"),
        ("extract --filter tcp -o x", "<DIR|FILE>"),
    ] {
        let answer = line(arguments).unwrap_err();
        assert_eq!(answer.code, 2, "{arguments}");
        assert!(answer.text.contains(told), "{arguments}: {}", answer.text);
    }
    let help = line("extract --help").unwrap_err();
    assert_eq!(help.code, 0);
    assert_eq!(help.text.lines().find(|line| line.chars().count() > 100), None);
    assert!(help.text.contains("At least one of --filter, --flow, --since and --until"), "{}", help.text);
}
