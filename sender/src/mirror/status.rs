//! What the control socket shows of a mirror besides its counts.

use std::net::SocketAddr;

use serde::Serialize;

use crate::policy::Encapsulation;

/// What is in force.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Status {
    /// The policy file.
    pub(crate) policy: String,
    /// How many policies have been in force, this one included: each reload and each session turned on or off makes one.
    pub(crate) generation: u64,
    /// What became of reloads.
    pub(crate) reloads: Reloads,
    /// In the order in which they are tried.
    pub(crate) sessions: Vec<SessionStatus>,
    /// Every place that copies go to.
    pub(crate) targets: Vec<TargetStatus>,
}

/// What became of reloads: of each time that the policy file was read again, whoever or whatever asked for it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Reloads {
    /// Those after which the file is in force.
    pub(crate) accepted: u64,
    /// Those that left the policy as it was, since the file is not right.
    pub(crate) refused: u64,
    /// When the policy that is in force was read, in seconds since 1970: at the start, or at the last reload that was accepted.
    pub(crate) accepted_at: f64,
    /// What is wrong with the file, where the last reload was refused.
    pub(crate) error: Option<String>,
}

/// A session as it is in force.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionStatus {
    pub(crate) name: String,
    pub(crate) number: u32,
    pub(crate) enabled: bool,
    pub(crate) vni: u32,
    pub(crate) encapsulation: Encapsulation,
    /// The target's name in the policy.
    pub(crate) target: String,
}

/// A place that copies go to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TargetStatus {
    /// As the policy names it, with the port.
    pub(crate) target: String,
    /// What it is for now; none where it has no address, or there is no route.
    pub(crate) address: Option<SocketAddr>,
}
