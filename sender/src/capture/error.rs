//! Why a capture cannot begin.

use std::io;

use vxtap_ring::RingError;

/// Why a capture cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The kernel gives no ring, or there is no such interface.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The frames of an interface do not begin with an Ethernet header.
    #[error(
        "cannot mirror interface '{name}': its frames have no Ethernet header (hardware type {kind}), and VXLAN carries Ethernet frames only"
    )]
    NoEthernet {
        /// Its name.
        name: String,
        /// ARP hardware type.
        kind: u16,
    },
    /// The place to wait at cannot be made.
    #[error("cannot wait for frames: {0}")]
    Wait(io::Error),
    /// Privileges stay.
    #[error("cannot give up privileges: {0}")]
    Privileges(io::Error),
}

impl CaptureError {
    /// Whether the arguments are at fault.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Self::Ring(error) => error.is_no_interface(),
            Self::NoEthernet { .. } => true,
            Self::Wait(_) | Self::Privileges(_) => false,
        }
    }
}
