//! `vxtap-tui` in a real terminal.

use std::process::Command;

use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::datagram::{Mirror, Peer, tcp_frame};
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::run_within;
use vxtap_tests::programs::Program;

use super::shared_machine;

/// A tmux server of its own with one window that runs one program.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn open(name: &str, size: (u16, u16), program: &Command) -> Self {
        let terminal = Self { socket: format!("vxtap-test-{}-{name}", std::process::id()) };
        let (columns, rows) = (size.0.to_string(), size.1.to_string());
        let mut words = vec![quoted(&program.get_program().to_string_lossy())];
        words.extend(program.get_args().map(|argument| quoted(&argument.to_string_lossy())));
        // The window stays when the program ends, so that its last words can be read.
        let line = format!("{}; echo \"exit code $?\"; exec sleep 600", words.join(" "));
        terminal.tmux(&["new-session", "-d", "-x", &columns, "-y", &rows, &line]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        // No configuration file. A shell by name: the user's own may be one that lets nobody in.
        command.args(["-L", &self.socket, "-f", "/dev/null"]).args(arguments);
        command.envs([("TERM", "xterm-256color"), ("SHELL", "/bin/sh")]);
        run_within(SOON, &mut command).success().stdout
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn keys(&self, keys: &str) {
        self.tmux(&["send-keys", keys]);
    }

    fn wait_for(&self, text: &str) {
        let mut screen = String::new();
        wait_until(SOON, &format!("{text:?} on the screen"), || {
            screen = self.screen();
            screen.contains(text)
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let screen = Command::new("tmux").args(["-L", &self.socket, "capture-pane", "-p"]).output();
            eprintln!(
                "--- the screen was:\n{}",
                screen.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
            );
        }
        // The server may be gone already.
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output();
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn feed(collector: &Collector) {
    let mut mirror = Mirror::new(collector.address(), 4242, 2);
    for round in 0..20 {
        mirror.send(0, &tcp_frame(Peer::v4(1, 5555), Peer::v4(2, 443), round, b"to and fro"));
    }
    collector.wait_received(20);
}

fn shows_a_collector(size: (u16, u16)) {
    let _machine = shared_machine();
    if !have_tools(&["tmux"]) {
        return;
    }
    let collector = Settings::new(2).start();
    feed(&collector);
    let mut program = Program::Tui.command();
    program.args(["--connect", collector.api()]);
    let terminal = Terminal::open(&format!("{}", size.0), size, &program);
    terminal.wait_for("vni 4242 from 127.0.0.1");
    terminal.keys("2");
    terminal.wait_for("10.1.0.1");
    terminal.keys("q");
    terminal.wait_for("exit code 0");
    collector.stop();
}

#[test]
fn the_terminal_ui_shows_a_collector_at_80_by_24() {
    shows_a_collector((80, 24));
}

#[test]
fn the_terminal_ui_shows_a_collector_at_200_by_50() {
    shows_a_collector((200, 50));
}
