//! One connection: which commands wait, and what they are answered.

use std::collections::VecDeque;

use super::command::Command;
use super::reply::Reply;
use super::resp::Step;
use crate::protocols::{Context, EventKind, Next, Protocol, Side};

/// The most commands that wait for answers. Of a longer pipeline the rest is told without.
const WAITING_MAX: usize = 1024;

/// Where a client does not wait, and bytes are missing: it is in order again after nobody has said anything for so many times the longest
/// that an answer took, and for so many nanoseconds at the least.
const QUIET_TIMES: u64 = 10;
const QUIET_MIN_NS: u64 = 100_000_000;

/// Room for so many is kept when none waits.
const KEPT_CAPACITY: usize = 16;

/// Whether it is known which command the next answer is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    /// It is the one that has waited longest.
    #[default]
    Known,
    /// Bytes are missing, and how many commands or answers were in them is not known; nor which side is ahead of the other, since what
    /// is missing may be told of one long after it is seen at the other.
    Lost,
    /// The server has answered something of what was asked up to now: what is asked from here on is answered in its order.
    Turned,
}

/// How much a server sent that belongs to no command.
#[derive(Clone, Copy, Debug, Default)]
struct Unasked {
    messages: u64,
    bytes: u64,
}

impl Unasked {
    fn count(&mut self, reply: &Reply) {
        self.messages += 1;
        self.bytes += reply.bytes;
    }
}

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The command that is on its way.
    command: Command,
    waiting: VecDeque<Command>,
    /// Commands behind those that wait, told already.
    beyond: u64,
    reply: Reply,
    order: Order,
    /// The client asks more while answers come to what it asked before: what order alone tells of others tells nothing of it.
    overlaps: bool,
    /// An answer has come, and commands still waited.
    answered_in_part: bool,
    /// A command that waits as long as it wants was told without its answer, since the order is not known.
    blocks: bool,
    /// When a command or an answer last was complete, and the longest that an answer took.
    heard_ns: u64,
    slowest_ns: u64,
    subscribed: bool,
    monitors: bool,
    /// What no command asked for: messages of channels, monitoring, invalidations.
    pushes: Unasked,
    /// Answers to commands that were not seen, and others of which it is not known whose they are.
    unmatched: Unasked,
    /// Bytes of the server are missing: what it pushed may be among them.
    misses_answers: bool,
    told: u64,
}

impl Session {
    /// Memory that what waits takes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.waiting.capacity() * size_of::<Command>()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What comes next from one side.
    pub(super) fn step(&mut self, from: Side, step: Step<'_>, cx: &mut Context<'_>) -> Next {
        match from {
            Side::Originator => self.client_sent(step, cx),
            Side::Responder => self.server_sent(step, cx),
        }
    }

    fn client_sent(&mut self, step: Step<'_>, cx: &mut Context<'_>) -> Next {
        self.command.take(step);
        if step != Step::Complete {
            return Next::More;
        }
        let mut command = std::mem::take(&mut self.command);
        if !command.has_begun() {
            return Next::More;
        }
        command.asked_ns = cx.time_ns;
        self.monitors |= command.is(&[b"MONITOR"]);
        if command.changes_replies() {
            // From here on answers cannot be assigned.
            self.flush(false, cx);
            self.tell(&command, None, command.cut, cx);
            return Next::Done;
        }
        if !self.keeps_order(&command, cx) {
            self.tell(&command, None, true, cx);
            return Next::More;
        }
        if self.waiting.len() >= WAITING_MAX || self.beyond > 0 {
            self.beyond += 1;
            self.tell(&command, None, true, cx);
        } else {
            self.waiting.push_back(command);
        }
        Next::More
    }

    /// Whether an answer can be found for the command: of a client that does not wait for its answers only where the order is known, or
    /// everybody was quiet for long enough.
    fn keeps_order(&mut self, command: &Command, cx: &Context<'_>) -> bool {
        let quiet_ns = cx.time_ns.saturating_sub(std::mem::replace(&mut self.heard_ns, cx.time_ns));
        let is_seen = !cx.is_unseen(Side::Responder);
        if self.order == Order::Known {
            self.overlaps |= is_seen && self.answered_in_part;
            return true;
        }
        if !self.overlaps {
            return true;
        }
        let is_quiet = quiet_ns >= self.slowest_ns.saturating_mul(QUIET_TIMES).max(QUIET_MIN_NS);
        if is_quiet && is_seen && !self.blocks {
            self.order = Order::Known;
            return true;
        }
        self.blocks |= command.blocks();
        false
    }

    fn server_sent(&mut self, step: Step<'_>, cx: &mut Context<'_>) -> Next {
        if self.reply.began_ns.is_none() {
            self.reply.began_ns = Some(cx.time_ns);
            self.reply.unasked = self.waiting.is_empty();
        }
        self.reply.take(step);
        if step != Step::Complete {
            return Next::More;
        }
        let reply = std::mem::take(&mut self.reply);
        self.heard_ns = cx.time_ns;
        let confirms = reply.confirms() && (self.subscribed || reply.is_push() || self.front_subscribes());
        let is_answer = if confirms {
            // One comes for each channel; the first is the answer.
            self.subscribed = true;
            self.front_subscribes()
        } else {
            !(reply.is_push() || self.subscribed && reply.is_message() || self.monitors && reply.is_monitoring())
        };
        if !is_answer {
            self.pushes.count(&reply);
            return Next::More;
        }
        if !self.finds_order(&reply, cx) {
            self.unmatched.count(&reply);
            return Next::More;
        }
        let Some(command) = self.waiting.pop_front() else {
            if self.beyond > 0 {
                self.beyond -= 1;
            } else {
                self.unmatched.count(&reply);
                if self.command.has_begun() {
                    // The client is seen later than the server: bytes of it are missing.
                    self.doubt();
                }
            }
            return Next::More;
        };
        self.answered_in_part = !self.waiting.is_empty();
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_CAPACITY {
            self.waiting = VecDeque::new();
        }
        let replicates = command.is(&[b"PSYNC", b"SYNC"]) && !reply.is_error();
        self.tell(&command, Some(&reply), command.cut || reply.cut, cx);
        if replicates { Next::Done } else { Next::More }
    }

    /// From here on it is not known which answer is whose.
    fn doubt(&mut self) {
        self.order = Order::Lost;
        self.command.doubted = self.command.has_begun();
    }

    /// Whether this answer is for the command that has waited longest. Where that is in doubt, nobody gets it, and what waits is told
    /// without: clients that take turns with the server are then heard in order again.
    fn finds_order(&mut self, reply: &Reply, cx: &mut Context<'_>) -> bool {
        let is_single = self.waiting.len() == 1 && self.waiting.front().is_some_and(|command| !command.doubted);
        let is_found = match self.order {
            Order::Known => return true,
            _ if reply.unasked || self.overlaps => return false,
            Order::Turned => true,
            Order::Lost => is_single && self.beyond == 0,
        };
        if is_found {
            self.order = Order::Known;
            return true;
        }
        // A command that bytes were missing in shows no more than that the client is seen later than the server, and not where it is now.
        let is_behind = self.command.has_begun() || self.waiting.iter().any(|command| command.doubted);
        self.flush(true, cx);
        self.beyond = 0;
        if is_behind {
            self.doubt();
        } else {
            self.order = Order::Turned;
        }
        false
    }

    fn front_subscribes(&self) -> bool {
        self.waiting.front().is_some_and(Command::subscribes)
    }

    /// The beginning of the side is not shown: commands and answers of before may be on their way.
    pub(super) fn join(&mut self, from: Side) {
        self.misses_answers |= from == Side::Responder;
        self.doubt();
        // The first command that is seen may be behind others.
        self.command.doubted |= from == Side::Originator;
    }

    /// Bytes of a value are missing; where it ends is known.
    pub(super) fn hole(&mut self, from: Side) {
        match from {
            Side::Originator => self.command.cut = true,
            Side::Responder => self.reply.cut = true,
        }
    }

    /// Where `from` is in what it sends is not known any more.
    pub(super) fn lose(&mut self, from: Side, cx: &mut Context<'_>) {
        self.misses_answers |= from == Side::Responder;
        self.flush(true, cx);
        if from == Side::Originator {
            let command = std::mem::take(&mut self.command);
            if command.has_begun() {
                self.tell(&command, None, true, cx);
            }
        }
        self.beyond = 0;
        self.doubt();
    }

    /// Tells the commands that wait, with what there is of an answer to the first. `cut` where it is not their end that they have no
    /// more, but that bytes are missing.
    fn flush(&mut self, cut: bool, cx: &mut Context<'_>) {
        let mut reply = Some(std::mem::take(&mut self.reply)).filter(|reply| reply.began_ns.is_some());
        self.answered_in_part = false;
        while let Some(command) = self.waiting.pop_front() {
            self.blocks |= command.blocks();
            let reply = reply.take();
            self.tell(&command, reply.as_ref(), cut || command.cut || reply.is_some(), cx);
        }
    }

    /// Nothing more is answered.
    pub(super) fn end(&mut self, cx: &mut Context<'_>) {
        self.flush(cx.is_unseen(Side::Responder), cx);
        let (pushes, unmatched) = (std::mem::take(&mut self.pushes), std::mem::take(&mut self.unmatched));
        self.tell_unasked("push", pushes, self.misses_answers || cx.is_unseen(Side::Responder), cx);
        self.tell_unasked("unmatched", unmatched, true, cx);
    }

    fn tell_unasked(&mut self, kind: &str, unasked: Unasked, cut: bool, cx: &mut Context<'_>) {
        if unasked.messages == 0 {
            return;
        }
        let tx = self.told;
        self.told += 1;
        cx.event(EventKind::Redis, Side::Originator, None, |json| {
            json.object("redis", |json| {
                json.number("tx_id", tx);
                json.object("response", |json| {
                    json.text("type", kind);
                    json.number("messages", unasked.messages);
                    json.number("bytes", unasked.bytes);
                });
                if cut {
                    json.flag("truncated", true);
                }
            });
        });
    }

    fn tell(&mut self, command: &Command, reply: Option<&Reply>, cut: bool, cx: &mut Context<'_>) {
        let tx = self.told;
        self.told += 1;
        let began_ns = reply.and_then(|reply| reply.began_ns);
        let time_ns = began_ns.map(|began| began.saturating_sub(command.asked_ns));
        if let Some(nanos) = time_ns {
            self.slowest_ns = self.slowest_ns.max(if command.blocks() { 0 } else { nanos });
            cx.response_time(Protocol::Redis, nanos);
        }
        cx.event(EventKind::Redis, Side::Originator, None, |json| {
            json.object("redis", |json| {
                json.number("tx_id", tx);
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
