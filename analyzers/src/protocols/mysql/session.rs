//! One connection: who logs in, which commands wait, and what they are answered.

use std::collections::VecDeque;

use super::command::{Command, Expected, code};
use super::greeting::{self, Login};
use super::packet::{Fields, Packet};
use super::reply::{Progress, Reply, kind};
use crate::protocols::statement::STATEMENT_MAX;
use crate::protocols::{Context, EventKind, Guess, Next, Protocol, Side};

/// The most commands that wait for answers; clients that do not wait for each are rare, and send few. Of a longer pipeline the rest
/// is told without.
const WAITING_MAX: usize = 32;

/// The most commands behind those whose answers are still counted.
const BEYOND_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Before the server's greeting.
    #[default]
    Greeting,
    /// The client has to log in.
    Login,
    /// The client has, and the server has not agreed.
    Authentication,
    Commands,
}

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    phase: Phase,
    version: Option<Box<[u8]>>,
    capabilities: Option<u32>,
    /// A command that goes on in the client's next packet.
    asking: Option<Command>,
    /// What the client sends is a file, up to an empty packet.
    sends_file: bool,
    /// The client's last packet was not empty and had the last number: what it sends goes on with 0.
    numbers_wrap: bool,
    waiting: VecDeque<Command>,
    /// Commands behind those that wait, told already: their answers are skipped.
    beyond: VecDeque<Expected>,
    /// There were more than could be counted: whose answer is whose is not known any more.
    adrift: bool,
    /// Bytes of the server are missing, and no packet of it was seen since.
    lost: bool,
    /// The server has sent something since the last command was asked, be it not readable.
    server_spoke: bool,
    reply: Reply,
    /// The payload of a side goes on in its next packet.
    continues: [bool; 2],
    told: u64,
}

impl Session {
    /// Memory that what waits takes, in bytes.
    pub(super) fn size(&self) -> usize {
        let waiting = self.waiting.iter().map(Command::size).sum::<usize>();
        waiting + self.waiting.capacity() * size_of::<Command>() + self.beyond.capacity() * size_of::<Expected>()
    }

    /// How many bytes of a payload that begins with `first` are wanted.
    pub(super) const fn wanted(&self, from: Side, first: u8) -> usize {
        match (from, self.phase) {
            (Side::Originator, _) => 1 + STATEMENT_MAX,
            (Side::Responder, Phase::Greeting | Phase::Authentication) => 256,
            (Side::Responder, _) => Reply::wanted(first),
        }
    }

    pub(super) fn packet(&mut self, from: Side, packet: &Packet<'_>, cx: &mut Context<'_>) -> Next {
        let went_on = std::mem::replace(&mut self.continues[from.index()], packet.continues());
        match from {
            Side::Originator if went_on => {
                if let Some(mut command) = self.asking.take() {
                    command.goes_on(packet);
                    self.command(command, packet.continues(), cx);
                }
                Next::More
            }
            Side::Responder if went_on => {
                self.reply.goes_on(packet.length);
                Next::More
            }
            Side::Originator => self.client_sent(packet, cx),
            Side::Responder => self.server_sent(packet, cx),
        }
    }

    fn client_sent(&mut self, packet: &Packet<'_>, cx: &mut Context<'_>) -> Next {
        // Also where the server's request for the file was not seen, its packets are numbered on.
        let wraps = std::mem::replace(&mut self.numbers_wrap, packet.sequence == u8::MAX && packet.length > 0);
        if self.sends_file || wraps && packet.sequence == 0 {
            self.sends_file &= packet.length > 0;
            return Next::More;
        }
        match (self.phase, packet.sequence) {
            (Phase::Greeting | Phase::Login, 1) => {
                if Login::asks_for_tls(packet.payload, packet.length) {
                    self.tell_tls(cx);
                    return Next::Becomes(Protocol::Tls);
                }
                let login = Login::read(packet);
                self.capabilities = login.as_ref().map(|login| login.capabilities);
                self.wait(Command::login(login.unwrap_or_default(), packet.cut, cx.time_ns), cx);
                self.phase = Phase::Authentication;
            }
            // Only commands begin with 0: what came before them is over, though its end was not seen.
            (_, 0) => {
                if self.phase != Phase::Commands {
                    self.flush(true, cx);
                    self.phase = Phase::Commands;
                }
                if let Some(command) = Command::read(packet, self.capabilities, cx.time_ns) {
                    self.command(command, packet.continues(), cx);
                }
            }
            _ => {}
        }
        Next::More
    }

    fn command(&mut self, command: Command, continues: bool, cx: &mut Context<'_>) {
        if continues {
            self.asking = Some(command);
            return;
        }
        if command.is_silent() {
            self.tell(&command, None, false, cx);
            return;
        }
        if command.expected.code == code::CHANGE_USER {
            self.phase = Phase::Authentication;
        }
        self.wait(command, cx);
    }

    fn wait(&mut self, command: Command, cx: &mut Context<'_>) {
        let spoke = std::mem::take(&mut self.server_spoke);
        if self.lost {
            // Clients wait for an answer before they ask on: what waits was answered, unseen. Of one that does not, what it asks now is
            // given no answer, as that could be the one to what it asked before.
            self.flush(true, cx);
            if !spoke {
                self.tell(&command, None, true, cx);
                return;
            }
        }
        if !self.adrift && self.beyond.is_empty() && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(command);
            return;
        }
        if self.beyond.len() >= BEYOND_MAX {
            self.adrift = true;
            self.flush(true, cx);
        }
        self.tell(&command, None, true, cx);
        if !self.adrift {
            self.beyond.push_back(command.expected);
        }
    }

    /// What the server answers next.
    fn expected(&self) -> Option<Expected> {
        self.waiting.front().map(|command| command.expected).or_else(|| self.beyond.front().copied())
    }

    /// The server sends something: bytes, or ones that are missing.
    pub(super) fn server_speaks(&mut self) {
        self.server_spoke = true;
    }

    fn server_sent(&mut self, packet: &Packet<'_>, cx: &mut Context<'_>) -> Next {
        self.lost = false;
        match self.phase {
            Phase::Greeting => {
                if packet.sequence == 0
                    && let Some(version) = greeting::version(packet)
                {
                    self.version = Some(version).filter(|version| !version.is_empty());
                    self.phase = Phase::Login;
                } else if packet.sequence == 0 && packet.kind() == Some(kind::ERROR) {
                    // Too many connections, or a host that may not connect.
                    self.waiting.push_back(Command::login(Login::default(), false, cx.time_ns));
                    return self.answer(packet, cx);
                } else {
                    self.phase = Phase::Commands;
                }
            }
            Phase::Authentication => match packet.kind() {
                Some(kind::OK | kind::ERROR) => {
                    self.phase = Phase::Commands;
                    return self.answer(packet, cx);
                }
                Some(kind::EOF) if packet.length > 1 => {
                    let plugin = Fields(packet.payload.get(1..).unwrap_or_default()).name(packet.cut);
                    if let Some(command) = self.waiting.back_mut() {
                        command.cut |= packet.cut;
                        command.switch_plugin(plugin);
                    }
                }
                _ => {}
            },
            Phase::Commands => {
                if let Some(expected) = self.expected()
                    && self.reply.takes(expected.start, packet)
                {
                    return self.answer(packet, cx);
                }
            }
            Phase::Login => {}
        }
        Next::More
    }

    fn answer(&mut self, packet: &Packet<'_>, cx: &mut Context<'_>) -> Next {
        let Some(expected) = self.expected() else { return Next::More };
        if self.reply.skips(packet) {
            return Next::More;
        }
        self.reply.began_ns.get_or_insert(cx.time_ns);
        let progress = self.reply.packet(expected.code, packet);
        self.sends_file |= progress == Progress::File;
        if matches!(progress, Progress::More | Progress::File) {
            return Next::More;
        }
        let reply = std::mem::take(&mut self.reply);
        let Some(command) = self.waiting.pop_front() else {
            self.beyond.pop_front();
            if self.beyond.is_empty() {
                self.beyond = VecDeque::new();
            }
            return if progress == Progress::Endless { Next::Done } else { Next::More };
        };
        self.tell(&command, Some(&reply), false, cx);
        let compressed = command.as_login().is_some_and(Login::compresses);
        if progress == Progress::Endless || compressed { Next::Done } else { Next::More }
    }

    /// Tells the commands that wait, with what there is of an answer to the first. `cut` where it is not their end that they have no
    /// more, but that bytes are missing.
    pub(super) fn flush(&mut self, cut: bool, cx: &mut Context<'_>) {
        let mut reply = Some(std::mem::take(&mut self.reply)).filter(|reply| reply.began_ns.is_some());
        while let Some(command) = self.waiting.pop_front() {
            let reply = reply.take();
            self.tell(&command, reply.as_ref(), cut || reply.is_some(), cx);
        }
        self.beyond = VecDeque::new();
        if let Some(command) = self.asking.take() {
            self.tell(&command, None, true, cx);
        }
    }

    /// Where packets of `from` begin is not known any more.
    pub(super) fn lose(&mut self, from: Side, cx: &mut Context<'_>) {
        let asking = self.asking.take_if(|_| from == Side::Responder);
        self.flush(true, cx);
        self.asking = asking;
        if from == Side::Originator {
            self.sends_file = false;
            self.numbers_wrap = false;
        } else {
            self.lost = true;
        }
        self.continues[from.index()] = false;
        if self.phase != Phase::Login {
            self.phase = Phase::Commands;
        }
    }

    /// After bytes were missing: whether an answer begins here.
    pub(super) fn reply_begins(&self, bytes: &[u8]) -> Guess {
        match (bytes.get(3), self.expected()) {
            (None, _) => Guess::Perhaps,
            (Some(sequence), Some(expected)) if *sequence == expected.start => Guess::Yes,
            (Some(_), _) => Guess::No,
        }
    }

    fn tell_tls(&mut self, cx: &mut Context<'_>) {
        let (tx, version) = (self.told, &self.version);
        self.told += 1;
        cx.event(EventKind::MySql, Side::Originator, None, |json| {
            json.object("mysql", |json| {
                json.number("tx_id", tx);
                if let Some(version) = version {
                    json.text("version", version);
                }
                json.object("request", |json| json.text("command", "ssl_request"));
            });
        });
    }

    fn tell(&mut self, command: &Command, reply: Option<&Reply>, cut: bool, cx: &mut Context<'_>) {
        let (tx, version) = (self.told, &self.version);
        self.told += 1;
        let cut = cut || command.cut || reply.is_some_and(|reply| reply.cut);
        let began_ns = reply.and_then(|reply| reply.began_ns);
        let time_ns = began_ns.map(|began| began.saturating_sub(command.asked_ns));
        if let Some(nanos) = time_ns {
            cx.response_time(Protocol::MySql, nanos);
        }
        cx.event(EventKind::MySql, Side::Originator, None, |json| {
            json.object("mysql", |json| {
                json.number("tx_id", tx);
                if let Some(version) = version.as_ref().filter(|_| command.as_login().is_some()) {
                    json.text("version", version);
                }
                json.object("request", |json| command.members(json));
                if let Some(reply) = reply {
                    json.object("response", |json| reply.members(json));
                }
                if let Some(nanos) = time_ns {
                    json.number("response_time_us", nanos / 1000);
                }
                if cut {
                    json.flag("truncated", true);
                }
            });
        });
    }
}
