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
    /// In the order in which they are tried.
    pub(crate) sessions: Vec<SessionStatus>,
    /// Every place that copies go to.
    pub(crate) targets: Vec<TargetStatus>,
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
