//! The program in a real terminal (tmux), from taking it over to giving it back. Skipped with a message where tmux is not
//! installed.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::fake_collector::{Answer, FakeCollector, Request, answer};
use tempfile::TempDir;
use vxtap_analyzers::Ledger;
use vxtap_analyzers::snapshot::{FlowPage, FlowQuery, RunState, Snapshot};
use vxtap_tui::{Source, SourceError, TuiOptions};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const DEADLINE: Duration = Duration::from_secs(20);
const SECOND: u64 = 1_000_000_000;

/// A collector that receives 5,000 packets between any two questions.
fn collecting(started_ns: u64) -> Answer {
    let asked = AtomicU64::new(1);
    Box::new(move |request: &Request| {
        if request.target.starts_with("/v1/flows") {
            let refused = request.target.contains("filter=nonsense");
            let page = serde_json::to_string(&FlowPage::default()).unwrap();
            return Some(if refused {
                answer("400 Bad Request", "nonsense: no term")
            } else {
                answer("200 OK", &page)
            });
        }
        let times = asked.fetch_add(1, Ordering::SeqCst);
        let ledger = Ledger { received: 5000 * times, analysed: 5000 * times, ..Ledger::default() };
        let snapshot = Snapshot {
            started_ns,
            taken_ns: started_ns + times * SECOND,
            state: RunState::Running,
            ledger,
            ..Snapshot::default()
        };
        Some(answer("200 OK", &serde_json::to_string(&snapshot).unwrap()))
    })
}

/// A terminal in a tmux server of its own.
struct Tmux {
    /// Holds its socket.
    directory: TempDir,
}

impl Tmux {
    /// A terminal with a shell in it; `None` without tmux.
    fn start(width: u16, height: u16) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("skipped: tmux is not installed");
            return None;
        }
        let tmux = Self { directory: tempfile::tempdir().unwrap() };
        let (width, height) = (width.to_string(), height.to_string());
        tmux.run(&["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height, "exec env PS1='$ ' sh"]);
        tmux.wait("the prompt", |screen| screen.contains('$'));
        Some(tmux)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        // By name: the user's own shell may be one that lets nobody in.
        command.env("SHELL", "/bin/sh");
        command.arg("-S").arg(self.directory.path().join("socket")).env_remove("TMUX");
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    /// Types a line that runs the program with `arguments` and then says how it ended.
    fn run_tui(&self, environment: &str, arguments: &str) {
        let program = env!("CARGO_BIN_EXE_vxtap-tui");
        let line = format!("clear; {environment} {program} {arguments} --interval 0.1; echo ended with $?");
        self.run(&["send-keys", "-l", &line]);
        self.keys(&["Enter"]);
    }

    fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as it should be.
    fn wait(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let screen = self.screen();
            if is(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "{what} did not come:\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The program's process.
    fn program(&self) -> String {
        let shell = self.run(&["display-message", "-p", "#{pane_pid}"]);
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.trim())).unwrap();
        children.trim().to_owned()
    }

    /// The shell's terminal is as before: no alternate screen, a cursor, and what is typed is seen.
    fn is_given_back(&self) {
        self.wait("the end", |screen| screen.lines().any(|line| line.starts_with("ended with ")));
        let state = self.run(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(state.trim(), "0 1");
        self.keys(&["stty -a | grep -c ' echo '", "Enter"]);
        self.wait("an answer of stty", |screen| screen.lines().any(|line| line.trim() == "1"));
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
    }
}

#[test]
fn every_screen_is_reached_and_q_gives_the_terminal_back() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    let collector = FakeCollector::start(ANY, collecting(SECOND));
    tmux.run_tui("", &format!("--connect {}", collector.url()));
    tmux.wait("the overview", |screen| screen.contains("received 5.00k") || screen.contains("received 5000 packets/s"));
    tmux.keys(&["2"]);
    tmux.wait("the flows", |screen| screen.contains("No flow is being followed"));
    tmux.keys(&["/", "nonsense", "Enter"]);
    tmux.wait("the reason", |screen| screen.contains("filter not understood: nonsense: no term"));
    tmux.keys(&["Escape"]);
    tmux.wait("the list again", |screen| screen.contains("filter: none"));
    tmux.keys(&["Tab"]);
    tmux.wait("the captures", |screen| screen.contains("runs without --write"));
    tmux.keys(&["?"]);
    tmux.wait("the help", |screen| screen.contains("one page down"));
    tmux.keys(&["?", "p"]);
    tmux.wait("a held screen", |screen| screen.contains("PAUSED"));
    tmux.keys(&["q"]);
    tmux.is_given_back();
    tmux.wait("its status", |screen| screen.contains("ended with 0"));
    let requests = collector.requests.lock().unwrap();
    let first = requests.iter().position(|request| request.target.starts_with("/v1/flows")).unwrap();
    assert!(first > 0, "flows are asked for only when they are shown");
}

#[test]
fn what_is_pasted_is_text_of_the_filter_and_never_a_key() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    let collector = FakeCollector::start(ANY, collecting(SECOND));
    tmux.run_tui("", &format!("--connect {}", collector.url()));
    tmux.wait("the overview", |screen| screen.contains("nothing lost"));
    let paste = |text: &str| tmux.run(&["set-buffer", text, ";", "paste-buffer", "-p", "-r"]);
    paste("2q\n");
    tmux.keys(&["2"]);
    tmux.wait("the flows", |screen| screen.contains("filter: none"));
    tmux.keys(&["/"]);
    paste("tcp\nport 443\nq\n");
    tmux.wait("the filter", |screen| screen.contains("/tcp port 443 q"));
    tmux.keys(&["C-c"]);
    tmux.is_given_back();
}

#[test]
fn a_resized_terminal_shows_the_same_at_its_new_size() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    let collector = FakeCollector::start(ANY, collecting(SECOND));
    tmux.run_tui("NO_COLOR=1", &format!("--connect {}", collector.url()));
    tmux.wait("the overview", |screen| screen.contains("nothing lost"));
    for (width, height, shown) in
        [("200", "50", "nothing lost"), ("40", "10", "The terminal is 40x10"), ("80", "24", "nothing lost")]
    {
        tmux.run(&["resize-window", "-x", width, "-y", height]);
        tmux.wait(shown, |screen| screen.contains(shown));
    }
    tmux.keys(&["C-c"]);
    tmux.is_given_back();
    tmux.wait("its status", |screen| screen.contains("ended with 0"));
}

#[test]
fn a_key_that_comes_together_with_a_new_size_is_taken_and_so_is_the_size() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    let collector = FakeCollector::start(ANY, collecting(SECOND));
    tmux.run_tui("NO_COLOR=1", &format!("--connect {}", collector.url()));
    tmux.wait("the overview", |screen| screen.contains("nothing lost"));
    for turn in 0..10 {
        let width = 90 + turn;
        // One command, so that they come within microseconds of each other.
        let width_given = width.to_string();
        tmux.run(&["resize-window", "-x", &width_given, "-y", "30", ";", "send-keys", "?"]);
        tmux.wait("the help", |screen| screen.contains("one page down"));
        tmux.run(&["send-keys", "?", ";", "resize-window", "-x", &width_given, "-y", "31"]);
        // The state is at the end of the first line, before one space, which tmux does not give.
        let fills = |screen: &str| screen.lines().next().is_some_and(|line| line.chars().count() + 1 == width);
        tmux.wait("the overview at its new size", |screen| screen.contains("nothing lost") && fills(screen));
    }
    tmux.keys(&["q"]);
    tmux.is_given_back();
}

#[test]
fn a_collector_that_goes_and_comes_back_is_followed() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    let collector = FakeCollector::start(ANY, collecting(SECOND));
    let address = collector.address;
    tmux.run_tui("", &format!("--connect {}", collector.url()));
    tmux.wait("rates", |screen| screen.contains("running") && screen.contains("packets/s"));
    drop(collector);
    tmux.wait("the news", |screen| {
        screen.contains("connection lost, trying again") && screen.contains("no connection")
    });
    let collector = FakeCollector::start(address, collecting(1000 * SECOND));
    tmux.wait("the new run", |screen| screen.contains("running") && !screen.contains("connection lost"));
    tmux.keys(&["q"]);
    tmux.is_given_back();
    drop(collector);
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    let collector = FakeCollector::start(ANY, collecting(SECOND));
    tmux.run_tui("", &format!("--connect {}", collector.url()));
    tmux.wait("the overview", |screen| screen.contains("nothing lost"));
    let killed = Command::new("kill").args(["-TERM", &tmux.program()]).status().unwrap();
    assert!(killed.success());
    tmux.is_given_back();
}

#[test]
fn a_job_that_is_stopped_leaves_the_terminal_to_the_shell_and_goes_on_where_it_was() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    let collector = FakeCollector::start(ANY, collecting(SECOND));
    tmux.run(&["send-keys", "-l", "set -m; clear"]);
    tmux.keys(&["Enter"]);
    tmux.run_tui("", &format!("--connect {}", collector.url()));
    for signal in ["-TSTP", "-STOP"] {
        tmux.wait("the overview", |screen| screen.contains("nothing lost"));
        let program = tmux.program();
        assert!(Command::new("kill").args([signal, &program]).status().unwrap().success());
        tmux.wait("the news of the shell", |screen| screen.contains("Stopped"));
        if signal == "-TSTP" {
            let state = tmux.run(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
            assert_eq!(state.trim(), "0 1");
            // Goes on in the background, where the terminal is not its own.
            tmux.run(&["send-keys", "-l", "clear; bg; echo shell has $((6 * 7))"]);
            tmux.keys(&["Enter"]);
            tmux.wait("an answer of the shell", |screen| screen.contains("shell has 42"));
            std::thread::sleep(Duration::from_millis(500));
            assert!(!tmux.screen().contains("nothing lost"), "{}", tmux.screen());
        }
        // A line feed: nobody can catch SIGSTOP, and this shell sets no modes of its own.
        tmux.keys(&["fg", "C-j"]);
        tmux.wait("the overview", |screen| {
            screen.contains("nothing lost") && !screen.contains("shell has") && !screen.contains("Stopped")
        });
        // Keys come one by one, and are not echoed.
        tmux.keys(&["?"]);
        tmux.wait("the help", |screen| screen.contains("one page down"));
        tmux.keys(&["?"]);
    }
    tmux.keys(&["q"]);
    tmux.wait("the prompt", |screen| screen.trim_end().ends_with('$'));
    // What stood behind the program on its line is not run once it was stopped.
    tmux.run(&["send-keys", "-l", "echo ended with $?"]);
    tmux.keys(&["Enter"]);
    tmux.is_given_back();
}

#[test]
fn half_an_escape_sequence_does_not_stop_the_screen() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    let collector = FakeCollector::start(ANY, collecting(SECOND));
    tmux.run_tui("", &format!("--connect {}", collector.url()));
    tmux.wait("the overview", |screen| screen.contains("nothing lost"));
    tmux.run(&["send-keys", "-l", "\x1b["]);
    drop(collector);
    tmux.wait("the news", |screen| screen.contains("connection lost"));
    let killed = Command::new("kill").args(["-TERM", &tmux.program()]).status().unwrap();
    assert!(killed.success());
    tmux.is_given_back();
}

#[test]
fn a_terminal_that_hangs_up_ends_the_program() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    let collector = FakeCollector::start(ANY, collecting(SECOND));
    tmux.run_tui("", &format!("--connect {}", collector.url()));
    tmux.wait("the overview", |screen| screen.contains("nothing lost"));
    let process = format!("/proc/{}/cmdline", tmux.program());
    let runs = || std::fs::read_to_string(&process).is_ok_and(|line| line.contains("vxtap-tui"));
    assert!(runs());
    drop(tmux);
    let deadline = Instant::now() + DEADLINE;
    while runs() {
        assert!(Instant::now() < deadline, "the program goes on without its terminal");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_collector_that_is_not_there_is_waited_for() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    let collector = FakeCollector::start(ANY, collecting(SECOND));
    let address = collector.address;
    drop(collector);
    tmux.run_tui("", &format!("--connect http://{address}"));
    tmux.wait("the reason", |screen| screen.contains("No answer from http://127.0.0.1") && screen.contains("refused"));
    let _collector = FakeCollector::start(address, collecting(SECOND));
    tmux.wait("the overview", |screen| screen.contains("nothing lost"));
    tmux.keys(&["q"]);
    tmux.is_given_back();
}

#[test]
fn a_dumb_terminal_is_told_to_be_one_and_nothing_is_drawn_on_it() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    tmux.run_tui("TERM=dumb", "");
    tmux.wait("the reason", |screen| screen.contains("the terminal cannot be drawn on (TERM=dumb)"));
    tmux.is_given_back();
    tmux.wait("its status", |screen| screen.contains("ended with 1"));
}

/// What [`a_panic_gives_the_terminal_back`] runs inside its terminal; does nothing by itself.
#[test]
fn inside_of_a_terminal_a_source_panics() {
    struct Panics;
    impl Source for Panics {
        fn snapshot(&mut self) -> Result<Snapshot, SourceError> {
            panic!("the source broke on purpose");
        }

        fn flows(&mut self, _: &FlowQuery) -> Result<FlowPage, SourceError> {
            Ok(FlowPage::default())
        }
    }
    if std::env::var_os(INSIDE).is_some() {
        let result = vxtap_tui::run(Box::new(Panics), TuiOptions::default(), Arc::new(AtomicBool::new(false)));
        println!("run said: {}", result.unwrap_err());
    }
}

const INSIDE: &str = "VXTAP_TUI_TEST_INSIDE_OF_A_TERMINAL";

#[test]
fn a_panic_gives_the_terminal_back() {
    let Some(tmux) = Tmux::start(120, 24) else { return };
    let this = std::env::current_exe().unwrap();
    let test = "terminal::inside_of_a_terminal_a_source_panics";
    let line = format!("clear; {INSIDE}=1 {} --exact {test} --nocapture; echo ended with $?", this.display());
    tmux.run(&["send-keys", "-l", &line]);
    tmux.keys(&["Enter"]);
    tmux.is_given_back();
    for told in ["the source broke on purpose", "run said: the screens were closed because a thread"] {
        tmux.wait(told, |screen| screen.contains(told));
    }
}

/// Runs the program without a terminal.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_vxtap-tui")).args(arguments).env_remove("VXTAP_API_TOKEN").output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn without_a_terminal_it_says_so_and_fails() {
    let (status, told) = run(&[]);
    assert_eq!(status, Some(1));
    assert!(told.contains("standard output is not a terminal"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn bad_arguments_are_told_with_what_was_expected() {
    let cases: &[(&[&str], &str)] = &[
        (&["--connect", "https://collector"], "ssh -L"),
        (&["--connect", "localhost:9789"], "expected for example http://127.0.0.1:9789"),
        (&["--interval", "0"], "expected seconds from 0.1 to 60"),
        (&["--token", "two\nlines"], "no HTTP header can carry"),
        (&["--unknown"], "unexpected argument"),
    ];
    for (arguments, expected) in cases {
        let (status, told) = run(arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}
