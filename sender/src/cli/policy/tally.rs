//! How often each rule decided.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::table::Table;
use crate::cli::report::Grouped;
use crate::policy::{Action, Decision, Direction, Excluded, Outcome, Pass, PassedOver, Policy, Step, Trace};

/// What decided about a packet. Places are those of sessions and rules in the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Decider {
    Session { session: usize, direction: u8, by: By },
    Never(Excluded),
    Nobody,
}

/// What of a session decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Rule { rule: usize, number: u32 },
    NoRule,
    NoFilter,
    Service,
}

/// Packets of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    packets: u64,
    /// Bytes of their frames on the wire.
    bytes: u64,
    /// Those that are mirrored.
    mirrored: u64,
    /// Bytes of frames that go into copies.
    copied: u64,
}

/// Decisions about many packets.
#[derive(Debug, Default)]
pub(super) struct Tally {
    deciders: BTreeMap<Decider, Count>,
    all: Count,
}

impl Tally {
    /// Counts a packet of `wire_len` bytes, of which `available` are there.
    pub(super) fn add(&mut self, trace: &Trace, wire_len: u32, available: usize) {
        let mirror = match trace.decision {
            Decision::Mirror(mirror) => Some(u64::from(mirror.length).min(available as u64)),
            Decision::Pass(_) => None,
        };
        let one = self.deciders.entry(decider(trace)).or_default();
        for count in [one, &mut self.all] {
            count.packets += 1;
            count.bytes += u64::from(wire_len);
            count.mirrored += u64::from(mirror.is_some());
            count.copied += mirror.unwrap_or(0);
        }
    }

    pub(super) fn text(&self, policy: &Policy) -> String {
        let mut table = Table::new(&["decided by", "", ">packets", ">bytes", ">mirrored", ">copied"]);
        for (decider, count) in &self.deciders {
            let (who, how) = described(*decider, policy);
            table.row(vec![
                who,
                how,
                Grouped(count.packets).to_string(),
                Grouped(count.bytes).to_string(),
                Grouped(count.mirrored).to_string(),
                Grouped(count.copied).to_string(),
            ]);
        }
        let silent: Vec<String> = self
            .silent_rules(policy)
            .map(|(session, direction, number)| format!("{session} {direction} {number}"))
            .collect();
        let mut text = if table.is_empty() { "no packets\n".to_owned() } else { table.text() };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\n{} of {} packets are mirrored, {} of {} bytes",
            Grouped(self.all.mirrored),
            Grouped(self.all.packets),
            Grouped(self.all.copied),
            Grouped(self.all.bytes)
        );
        if !silent.is_empty() {
            text.push_str("rules that decided about no packet:\n");
            for rule in silent {
                let _ = writeln!(text, "  {rule}");
            }
        }
        text
    }

    pub(super) fn json(&self, policy: &Policy) -> Value {
        let deciders: Vec<Value> = self
            .deciders
            .iter()
            .map(|(decider, count)| {
                let mut value = json!({ "packets": count.packets, "bytes": count.bytes, "mirrored": count.mirrored, "copied_bytes": count.copied });
                match decider {
                    Decider::Never(reason) => value["never"] = json!(reason),
                    Decider::Nobody => value["unmatched"] = json!(true),
                    Decider::Session { session, direction, by } => {
                        value["session"] = json!(policy.sessions.get(*session).map(|session| &session.name));
                        value["direction"] = json!(direction_of(*direction));
                        match by {
                            By::Rule { number, .. } => {
                                value["rule"] = json!(number);
                                value["action"] = json!(action(policy, *session, *direction, *by));
                            }
                            By::NoRule => value["by"] = json!("no-rule"),
                            By::NoFilter => value["by"] = json!("no-filter"),
                            By::Service => value["by"] = json!("service"),
                        }
                    }
                }
                value
            })
            .collect();
        let silent: Vec<Value> = self
            .silent_rules(policy)
            .map(|(session, direction, number)| json!({ "session": session, "direction": direction, "rule": number }))
            .collect();
        json!({
            "packets": self.all.packets, "bytes": self.all.bytes,
            "mirrored": self.all.mirrored, "copied_bytes": self.all.copied,
            "decided_by": deciders, "silent_rules": silent,
        })
    }

    /// Rules of sessions that are on and decided about nothing: session, direction, number.
    fn silent_rules<'p>(&'p self, policy: &'p Policy) -> impl Iterator<Item = (&'p str, Direction, u32)> {
        let sessions = policy.sessions.iter().enumerate().filter(|(_, session)| session.enabled);
        let rules = sessions.flat_map(|(at, session)| {
            let filter = session.filter.and_then(|at| policy.filters.get(at));
            filter.into_iter().flat_map(move |filter| {
                Direction::BOTH.into_iter().flat_map(move |direction| {
                    let rules = filter.rules(direction).iter().enumerate();
                    rules.map(move |(rule, model)| (at, session.name.as_str(), direction, rule, model.number))
                })
            })
        });
        rules
            .filter(|(session, _, direction, rule, number)| {
                let by = By::Rule { rule: *rule, number: *number };
                let decider = Decider::Session { session: *session, direction: *direction as u8, by };
                !self.deciders.contains_key(&decider)
            })
            .map(|(_, name, direction, _, number)| (name, direction, number))
    }
}

fn direction_of(number: u8) -> Direction {
    if number == Direction::Inbound as u8 { Direction::Inbound } else { Direction::Outbound }
}

fn decider(trace: &Trace) -> Decider {
    // Rules are those of the direction in which the flow was opened, where that counts.
    let direction = trace.opened.unwrap_or(trace.direction) as u8;
    let of = |step: &Step| {
        let by = match step.outcome {
            Outcome::Rule { rule, number, .. } => By::Rule { rule, number },
            Outcome::NoFilter { .. } => By::NoFilter,
            Outcome::Service => By::Service,
            Outcome::NoRule | Outcome::NotEligible => By::NoRule,
        };
        Decider::Session { session: step.session, direction, by }
    };
    let step_of = |session: usize| trace.steps.iter().find(|step| step.session == session).map_or(Decider::Nobody, of);
    match trace.decision {
        Decision::Mirror(mirror) => step_of(mirror.session),
        Decision::Pass(Pass::Rejected(session) | Pass::Sampled(session)) => step_of(session),
        Decision::Pass(Pass::Never(reason)) => Decider::Never(reason),
        Decision::Pass(Pass::Unmatched) => Decider::Nobody,
    }
}

fn action(policy: &Policy, session: usize, direction: u8, by: By) -> Option<Action> {
    let By::Rule { rule, .. } = by else { return None };
    let filter = policy.filters.get(policy.sessions.get(session)?.filter?)?;
    filter.rules(direction_of(direction)).get(rule).map(|rule| rule.action)
}

/// Who decided, and by what.
fn described(decider: Decider, policy: &Policy) -> (String, String) {
    match decider {
        Decider::Never(reason) => ("never mirrored".into(), reason.name().into()),
        Decider::Nobody => ("no session".into(), String::new()),
        Decider::Session { session, direction, by } => {
            let name = policy.sessions.get(session).map_or_else(String::new, |session| session.name.clone());
            let how = match by {
                By::Rule { number, .. } => {
                    let does = match action(policy, session, direction, by) {
                        Some(Action::Accept) => "accepts",
                        Some(Action::Reject) => "rejects",
                        _ => "passes on",
                    };
                    format!("{} rule {number} {does}", direction_of(direction))
                }
                By::NoRule => format!("{}, no rule", direction_of(direction)),
                By::NoFilter => format!("{}, no filter", direction_of(direction)),
                By::Service => format!("{}, its service", direction_of(direction)),
            };
            (name, how)
        }
    }
}

/// The rules that a session passed over, in a few words each.
pub(super) fn passed_over(rules: &[PassedOver]) -> String {
    const MOST: usize = 8;
    let mut told: Vec<String> =
        rules.iter().take(MOST).map(|rule| format!("{} ({})", rule.number, rule.because.name())).collect();
    if rules.len() > MOST {
        told.push(format!("{} more", rules.len() - MOST));
    }
    told.join(", ")
}
