//! Makes traffic: conversations as hosts have them, or plain load of given frame sizes.
//!
//! The same settings with the same seed give the same frames in the same order. Frames are right in every length and
//! checksum. Nothing is allocated once the run has begun.

mod address;
mod conversations;
mod dns;
mod frame;
mod http;
mod load;
mod random;
mod script;
mod tls;

use std::num::NonZeroU64;
use std::time::Duration;

use crate::control::Control;
use crate::error::SendError;
use crate::pace::{Rate, Timing};
use crate::send_loop::{self, ToOneTarget};
use crate::summary::Summary;
use crate::transmit::{TransmitSettings, Transmitter};
use conversations::Conversations;
use load::Load;

/// What to generate, how fast, how long, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateSettings {
    /// Encapsulation and target.
    pub transmit: TransmitSettings,
    /// How fast.
    pub rate: Rate,
    /// Flows at a time, 1 to [`GenerateSettings::MAX_FLOWS`]. A conversation that ends is followed by a new one.
    pub flows: u32,
    /// Frames of one size or of IMIX instead of conversations.
    pub size: Option<FrameSize>,
    /// Which frames: the same seed gives the same.
    pub seed: u64,
    /// How many of 100 flows are IPv6.
    pub ipv6_percent: u8,
    /// How many of 100 TCP segments with data are sent a second time a little later (conversations only).
    pub retransmit_percent: u8,
    /// How many of 100 TCP segments with data are overtaken by the next one (conversations only).
    pub reorder_percent: u8,
    /// End after so many frames.
    pub packets: Option<u64>,
    /// End after this time.
    pub duration: Option<Duration>,
}

impl GenerateSettings {
    /// The most flows at a time; each takes some 100 bytes.
    pub const MAX_FLOWS: u32 = 1_000_000;

    /// 1,000 frames a second of 100 conversations at a time, without end.
    pub const fn new(transmit: TransmitSettings) -> Self {
        Self {
            transmit,
            rate: Rate::PacketsPerSecond(NonZeroU64::MIN.saturating_add(999)),
            flows: 100,
            size: None,
            seed: 1,
            ipv6_percent: 20,
            retransmit_percent: 1,
            reorder_percent: 1,
            packets: None,
            duration: None,
        }
    }

    fn check(&self) -> Result<(), SendError> {
        let fault = |what: String| Err(SendError::Setting(what));
        if self.flows == 0 || self.flows > Self::MAX_FLOWS {
            return fault(format!("{} flows (expected 1 to {})", self.flows, Self::MAX_FLOWS));
        }
        if let Some(FrameSize::Bytes(bytes)) = self.size
            && !(FrameSize::SMALLEST..=FrameSize::LARGEST).contains(&bytes)
        {
            let (smallest, largest) = (FrameSize::SMALLEST, FrameSize::LARGEST);
            return fault(format!("frames of {bytes} bytes (expected {smallest} to {largest})"));
        }
        for (name, percent) in
            [("IPv6", self.ipv6_percent), ("retransmit", self.retransmit_percent), ("reorder", self.reorder_percent)]
        {
            if percent > 100 {
                return fault(format!("{name} share of {percent} percent (expected 0 to 100)"));
            }
        }
        Ok(())
    }
}

/// Sizes of generated frames: the inner Ethernet frame without its check sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSize {
    /// All of this many bytes, [`FrameSize::SMALLEST`] to [`FrameSize::LARGEST`].
    Bytes(u16),
    /// Simple IMIX: of 12 frames 7 of 64 bytes, 4 of 570 and 1 of 1518.
    Imix,
}

impl FrameSize {
    /// Room for Ethernet, IPv6 and UDP headers.
    pub const SMALLEST: u16 = 64;
    /// A jumbo frame.
    pub const LARGEST: u16 = 9216;
}

/// Generates and sends until the settings or `control` end it.
pub fn run(settings: &GenerateSettings, control: &Control) -> Result<Summary, SendError> {
    settings.check()?;
    let mut transmitter = Transmitter::open(&settings.transmit)?;
    let timing = Timing::Rate(settings.rate);
    let (duration, ports) = (settings.duration, transmitter.ports());
    let (transmitter, counters) = (&mut transmitter, control.counters());
    if let Some(size) = settings.size {
        let source = &mut Load::new(settings, size, ports);
        send_loop::run(&mut ToOneTarget { source, transmitter, counters }, timing, duration, control)
    } else {
        let source = &mut Conversations::new(settings, ports);
        send_loop::run(&mut ToOneTarget { source, transmitter, counters }, timing, duration, control)
    }
}
