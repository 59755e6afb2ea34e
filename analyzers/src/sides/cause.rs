//! What one-sided flows are the sign of.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Recent;

/// Judged flows before anything is said.
pub(super) const FLOWS_ENOUGH: u64 = 20;
/// A smaller share of one-sided flows is nothing unusual.
const SHARE_ENOUGH: f64 = 0.1;
/// So large a part stands for the whole.
const MOST: f64 = 0.8;
/// A direction that is missing in so few of the one-sided flows is the one that is there.
const RARELY: f64 = 0.1;
/// Both directions are missing about equally where each is in so many of them.
const OFTEN: f64 = 0.25;

/// Why one direction of many flows is most likely missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum OneSidedCause {
    /// Sometimes the one and sometimes the other direction is missing: a load balancer sends them to different collectors.
    DirectionsSplit,
    /// Always the same direction is missing: only ingress or only egress is mirrored.
    DirectionMissing,
    /// One direction of one port is missing, and others are whole: a filter that takes only one.
    Filter {
        /// The responder's port.
        port: u16,
    },
    /// Nothing of the kind.
    Unclear,
}

impl OneSidedCause {
    /// A name for metrics and columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DirectionsSplit => "directions_split",
            Self::DirectionMissing => "direction_missing",
            Self::Filter { .. } => "filter",
            Self::Unclear => "unclear",
        }
    }
}

/// The cause, and where to look.
impl fmt::Display for OneSidedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DirectionsSplit => f.write_str(
                "now this, now that direction is missing: a load balancer splits them over collectors (have the mirror use one source \
                 port for both directions of a flow, or the balancer keep a source on one target)",
            ),
            Self::DirectionMissing => f.write_str(
                "always the same direction is missing: only ingress or only egress is mirrored (mirror both in the mirror session)",
            ),
            Self::Filter { port } => write!(
                f,
                "one direction of port {port} is missing while others are whole: the mirror filter takes that port in one direction only \
                 (add a rule with source and destination exchanged)"
            ),
            Self::Unclear => f.write_str("the mirror or the way to here loses whole directions of some flows"),
        }
    }
}

/// The cause of `share` one-sided flows, if that is many.
pub(super) fn of(recent: &Recent, share: f64) -> Option<OneSidedCause> {
    if share < SHARE_ENOUGH {
        return None;
    }
    let one_sided = (recent.originator_only + recent.responder_only) as f64;
    if let Some(port) = recent.port {
        let (port_one_sided, port_both) = (recent.port_one_sided as f64, recent.port_both as f64);
        let whole_elsewhere = recent.both as f64 - port_both;
        // Few of this port are whole, and many of others.
        let is_of_port = port_one_sided >= MOST * one_sided && port_both <= port_one_sided / 4.0;
        if is_of_port && whole_elsewhere >= one_sided / 4.0 {
            return Some(OneSidedCause::Filter { port });
        }
    }
    let by_host = recent.from_host + recent.to_host;
    let (one, other) = if by_host as f64 >= MOST * one_sided {
        (recent.from_host, recent.to_host)
    } else {
        (recent.originator_only, recent.responder_only)
    };
    let rarer = one.min(other) as f64 / (one + other).max(1) as f64;
    Some(match rarer {
        rarer if rarer <= RARELY => OneSidedCause::DirectionMissing,
        rarer if rarer >= OFTEN => OneSidedCause::DirectionsSplit,
        _ => OneSidedCause::Unclear,
    })
}
