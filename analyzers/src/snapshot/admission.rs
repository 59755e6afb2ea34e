//! Which mirror streams are let in, and which are not.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::stream::Encapsulation;

/// What admission does, and whom it has turned away so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdmissionSnapshot {
    /// Whether everybody is let in who is not rejected; others wait otherwise.
    pub accepts_all: bool,
    /// Mirror streams that are not let in, those with most frames for each second first; at most [`AdmissionSnapshot::MAX_STREAMS`].
    pub turned_away: Vec<TurnedAwayStream>,
    /// How many of them there are, those not listed included.
    pub turned_away_total: u64,
    /// Frames turned away that no listed stream counts: of streams that were too many to tell apart, are silent for long, or
    /// were let in since.
    pub other_frames: u64,
    /// Bytes of those frames.
    pub other_bytes: u64,
    /// What was decided while the collector ran, or before and kept, the newest first; at most [`AdmissionSnapshot::MAX_DECISIONS`].
    pub decisions: Vec<Decision>,
    /// Decisions in all.
    pub decisions_total: u64,
    /// Where decisions are kept; `None` where they end with the run.
    pub kept_in: Option<String>,
}

impl AdmissionSnapshot {
    /// At most so many streams are listed.
    pub const MAX_STREAMS: usize = 1000;
    /// At most so many decisions are listed.
    pub const MAX_DECISIONS: usize = 1000;
}

/// A mirror stream that is not let in: nothing of it is kept but these counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnedAwayStream {
    /// `vni 4242 from 10.0.0.7`.
    pub name: String,
    /// What stands for it in a decision: `vxlan vni 4242 from 10.0.0.7`. Empty for all further streams of a source together.
    pub selector: String,
    /// How its frames come.
    pub encapsulation: Encapsulation,
    /// Outer source address.
    pub source: Option<IpAddr>,
    /// VNI; `None` for all further ones of the source together.
    pub vni: Option<u32>,
    /// Whether it was rejected; it waits otherwise.
    pub rejected: bool,
    /// Frames turned away since it is listed.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames for each second, over the last second or so.
    pub frames_per_second: f64,
    /// Bits for each second, over the last second or so.
    pub bits_per_second: f64,
    /// When the first of these frames came, nanoseconds since 1970.
    pub first_seen_ns: u64,
    /// When the last of these frames came, nanoseconds since 1970.
    pub last_seen_ns: u64,
}

/// Something that was decided of mirror streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What.
    pub choice: Choice,
    /// Of which: `vxlan vni 4242 from 10.0.0.7`.
    pub selector: String,
}

/// What somebody asks of the collector about mirror streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What is to be done.
    pub act: Act,
    /// About which: `vxlan vni 4242 from 10.0.0.7`.
    pub selector: String,
}

/// What can be asked about mirror streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// Let them in.
    Accept,
    /// Keep them out.
    Reject,
    /// Take back what was decided about them: what counts is what is left.
    Forget,
}

impl Act {
    /// Its name, in paths of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => Choice::Accept.as_str(),
            Self::Reject => Choice::Reject.as_str(),
            Self::Forget => "forget",
        }
    }
}

/// What was decided of mirror streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// Let it in.
    Accept,
    /// Keep it out.
    Reject,
}

impl Choice {
    /// Its name, in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
        }
    }
}
