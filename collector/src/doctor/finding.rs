//! What a check says.

use serde::Serialize;

use super::machine::SysctlKey;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Could not be looked at.
    Unknown,
    /// Costs time, or loses packets where something else comes on top.
    Hint,
    /// Loses packets, or keeps a run from starting.
    Problem,
}

impl Severity {
    /// Its name, in reports and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Hint => "hint",
            Self::Problem => "problem",
        }
    }
}

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check: a stable name.
    pub check: &'static str,
    /// What it is about (an interface, a mirror stream); empty for the machine.
    pub about: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// What it costs; empty where it costs nothing.
    pub cost: String,
    /// What mends it, in the order in which to try.
    pub mend: Vec<Mend>,
}

impl Finding {
    /// Nothing to mend.
    pub(super) fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Severity::Good, found)
    }

    /// Something that could not be looked at, and why.
    pub(super) fn unknown(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Severity::Unknown, found)
    }

    /// Something that could be better.
    pub(super) fn hint(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Severity::Hint, found)
    }

    /// Something that loses packets.
    pub(super) fn problem(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Severity::Problem, found)
    }

    fn new(check: &'static str, severity: Severity, found: impl Into<String>) -> Self {
        Self { check, about: String::new(), severity, found: found.into(), cost: String::new(), mend: Vec::new() }
    }

    #[must_use]
    pub(super) fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    #[must_use]
    pub(super) fn costs(mut self, cost: impl Into<String>) -> Self {
        self.cost = cost.into();
        self
    }

    /// Adds a command that mends it.
    #[must_use]
    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend.push(Mend { what: String::new(), command: command.into(), fix: None });
        self
    }

    /// Adds something to do that is no command of this machine, or a command that needs a word.
    #[must_use]
    pub(super) fn mend_by(mut self, what: impl Into<String>, command: impl Into<String>) -> Self {
        self.mend.push(Mend { what: what.into(), command: command.into(), fix: None });
        self
    }

    /// Adds a kernel setting that `--fix` may make: it changes nothing for anybody but receivers.
    #[must_use]
    pub(super) fn mend_sysctl(mut self, key: SysctlKey, value: impl Into<String>) -> Self {
        let value = value.into();
        let quoted = if value.contains(char::is_whitespace) { format!("'{value}'") } else { value.clone() };
        let command = format!("sysctl -w {key}={quoted}");
        self.mend.push(Mend { what: String::new(), command, fix: Some(Fix { key, value }) });
        self
    }
}

/// What mends a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mend {
    /// What to do, in words; empty where the command says it.
    pub what: String,
    /// The command; empty where it is no matter of this machine.
    pub command: String,
    /// What `--fix` does for it.
    #[serde(skip)]
    pub(super) fix: Option<Fix>,
}

/// A kernel setting to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fix {
    pub(super) key: SysctlKey,
    pub(super) value: String,
}
