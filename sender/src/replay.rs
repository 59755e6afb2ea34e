//! Sends the frames of capture files.

use std::path::PathBuf;

use crate::control::Control;
use crate::error::SendError;
use crate::pace::Timing;
use crate::send_loop::{self, ToOneTarget};
use crate::source::{Files, Records};
use crate::summary::Summary;
use crate::transmit::{TransmitSettings, Transmitter};

/// Which files to replay, how, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplaySettings {
    /// Encapsulation and target.
    pub transmit: TransmitSettings,
    /// Capture files, one after the other; `-` is standard input. Each begins when the one before has ended, whatever
    /// time lies between them.
    pub files: Vec<PathBuf>,
    /// When frames are sent.
    pub timing: Timing,
    /// How often to replay all files; 0 is without end.
    pub loops: u64,
}

impl ReplaySettings {
    /// `files` once, with their own timing.
    pub const fn new(transmit: TransmitSettings, files: Vec<PathBuf>) -> Self {
        Self { transmit, files, timing: Timing::Original { speed: 1.0, max_gap: None }, loops: 1 }
    }

    fn check(&self) -> Result<(), SendError> {
        if self.files.is_empty() {
            return Err(SendError::Setting("no capture file to replay".to_owned()));
        }
        match self.timing {
            Timing::Original { speed, .. } if !(speed.is_finite() && speed > 0.0) => {
                Err(SendError::Setting(format!("speed {speed} (expected a number greater than 0)")))
            }
            _ => Ok(()),
        }
    }
}

/// Replays and sends until the files or `control` end it.
///
/// Every file is looked into before the first frame is sent. A file without any Ethernet frame is refused; among
/// Ethernet frames, records of other link types (a pcapng file can have both) are skipped and counted. What can still
/// be read of a damaged file is sent, and the damage is counted once.
pub fn run(settings: &ReplaySettings, control: &Control) -> Result<Summary, SendError> {
    settings.check()?;
    Records::check(&settings.files, settings.loops)?;
    let mut transmitter = Transmitter::open(&settings.transmit)?;
    let counters = control.counters();
    let mut files = Files::open(settings, transmitter.ports(), counters)?;
    let mut traffic = ToOneTarget { source: &mut files, transmitter: &mut transmitter, counters };
    send_loop::run(&mut traffic, settings.timing, None, control)
}
