//! What stands before a frame in its datagram.

use vxtap_wire::geneve::{self, Mark};
use vxtap_wire::vxlan::{self, Vni};

use crate::policy::Encapsulation;

/// The tunnel's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// VXLAN, the same for all frames.
    Vxlan([u8; vxlan::HEADER_LEN]),
    /// GENEVE of that network, with a mark for each frame.
    Geneve(Vni),
}

impl Head {
    /// Length in bytes of the longest header there is.
    pub(crate) const LONGEST: usize = geneve::MARKED_HEADER_LEN;

    pub(crate) fn new(encapsulation: Encapsulation, vni: Vni) -> Self {
        match encapsulation {
            Encapsulation::Vxlan => Self::Vxlan(vxlan::header(vni)),
            Encapsulation::Geneve => Self::Geneve(vni),
        }
    }

    /// Its length in bytes.
    #[inline]
    pub(crate) const fn len(self) -> u8 {
        match self {
            Self::Vxlan(_) => vxlan::HEADER_LEN as u8,
            Self::Geneve(_) => geneve::MARKED_HEADER_LEN as u8,
        }
    }

    /// Fills `room`, which has its length; asks for a `mark` where there is a place for one.
    #[inline]
    pub(crate) fn write(self, room: &mut [u8], mark: impl FnOnce() -> Mark) {
        match self {
            Self::Vxlan(header) => room.copy_from_slice(&header),
            Self::Geneve(vni) => {
                room.copy_from_slice(&geneve::marked_header(vni, &mark()));
            }
        }
    }
}
