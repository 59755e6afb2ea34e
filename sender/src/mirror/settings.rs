//! What mirrors of interfaces and of files are told alike.

use std::path::PathBuf;
use std::time::Duration;

use super::api::ControlSettings;
use super::steward::{Interfaces, StewardSettings};
use crate::transmit::{LinkSettings, Method, TransmitSettings};

/// By what policy to mirror, and how copies are sent.
#[derive(Clone, Debug)]
pub struct MirrorSettings {
    /// The policy file.
    pub policy: PathBuf,
    /// Outer source ports for each target.
    pub source_ports: u16,
    /// First of them.
    pub source_port_base: u16,
    /// Seed of the hash that picks a flow's source port.
    pub port_seed: u32,
    /// Whether outer UDP checksums are filled in.
    pub udp_checksum: bool,
    /// The most that is asked of the kernel.
    pub method: Method,
    /// How often names are looked up again.
    pub resolve_interval: Duration,
    /// Where the control port is, if there is to be one.
    pub control: Option<ControlSettings>,
}

impl MirrorSettings {
    /// By the policy in the file `policy`.
    pub const fn new(policy: PathBuf) -> Self {
        Self {
            policy,
            source_ports: TransmitSettings::DEFAULT_SOURCE_PORTS,
            source_port_base: TransmitSettings::DEFAULT_SOURCE_PORT_BASE,
            port_seed: 0,
            udp_checksum: true,
            method: Method::Trains,
            resolve_interval: StewardSettings::RESOLVE_INTERVAL,
            control: None,
        }
    }

    /// The steward's part, for frames of `interfaces` on links that wait or do not.
    pub(super) fn steward(&self, waits: bool, interfaces: Interfaces) -> StewardSettings {
        StewardSettings {
            policy: self.policy.clone(),
            links: LinkSettings {
                source_ports: self.source_ports,
                source_port_base: self.source_port_base,
                udp_checksum: self.udp_checksum,
                method: self.method,
                waits,
            },
            resolve_interval: self.resolve_interval,
            tick: StewardSettings::TICK,
            interfaces,
            ways: None,
        }
    }
}
