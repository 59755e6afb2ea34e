//! What ends a run: one readable line each, with the operation and its object.

use std::io;
use std::net::SocketAddr;

use vxtap_capfile::{LinkType, OpenError, ReadError};

use crate::capture::CaptureError;
use crate::mirror::reason;
use crate::policy::PolicyError;
use crate::summary::Imbalance;
use crate::target::ScopedAddress;
use crate::ways::HiddenWay;

/// Why a run could not begin or go on. A frame that cannot be sent is never an error: it is counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A setting is out of its bounds.
    #[error("{0}")]
    Setting(String),
    /// The target's name has no address.
    #[error("cannot resolve '{host}': {source} (give an address, or mend the name service)")]
    Resolve {
        /// The name as given.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The interface that a link-local target is on is not there.
    #[error("cannot send to {address}: there is no interface '{}' ({source})", address.interface())]
    Scope {
        /// The target.
        address: ScopedAddress,
        /// What the system said.
        source: io::Error,
    },
    /// A socket towards the target could not be made.
    #[error("cannot {operation} a UDP socket to {target}: {source}")]
    Socket {
        /// Which step failed.
        operation: &'static str,
        /// Where the datagrams would go.
        target: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The range of source ports has too few that are free.
    #[error("only {found} of {wanted} source ports are free from {base} up (choose another --source-port-base)")]
    SourcePorts {
        /// First port tried.
        base: u16,
        /// Ports needed.
        wanted: u16,
        /// Ports that were free.
        found: u16,
    },
    /// The path to the target cannot carry a VXLAN header and one byte.
    #[error("the path to {target} carries packets of {mtu} bytes, too few for VXLAN")]
    PathMtu {
        /// The target.
        target: SocketAddr,
        /// What one outer packet may measure.
        mtu: u32,
    },
    /// Copies would be captured again.
    #[error(transparent)]
    HiddenWay(#[from] HiddenWay),
    /// A policy is not right; told with its places.
    #[error(transparent)]
    Policy(PolicyError),
    /// The control port cannot be served.
    #[error("cannot serve the control port on {address}: {}", reason(source))]
    Control {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The books of a mirror do not agree: a fault of this program.
    #[error(transparent)]
    Imbalance(#[from] Imbalance),
    /// An interface cannot be captured from.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A capture file cannot be opened or is not one.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system stopped giving a capture file's bytes.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A capture file has no packets of a network.
    #[error(
        "cannot replay '{file}': its link type is {link_type}; what can be sent are Ethernet, IP, loopback, Linux's cooked frames (SLL, SLL2), PPP and NFLOG"
    )]
    LinkType {
        /// The file, as given.
        file: String,
        /// The link type of its first record.
        link_type: LinkType,
    },
}

impl SendError {
    /// Whether the arguments are at fault, and not the run: exit code 2 rather than 1.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Capture(error) => error.is_usage(),
            Self::Setting(_)
            | Self::Resolve { .. }
            | Self::Scope { .. }
            | Self::SourcePorts { .. }
            | Self::HiddenWay(_)
            | Self::Policy(_)
            | Self::Open(_)
            | Self::LinkType { .. } => true,
            Self::Read(_) | Self::Socket { .. } | Self::PathMtu { .. } | Self::Control { .. } | Self::Imbalance(_) => {
                false
            }
        }
    }
}
