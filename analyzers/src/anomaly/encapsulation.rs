//! Tunnels of mirrored hosts that are not what they say they are: the walk over headers stopped in front of them.
//!
//! Told only where the bytes are there that contradict, and, of what rides on UDP, only where the header is beyond doubt: a port is no proof.

use vxtap_wire::{FrameView, ethertype, geneve, protocol, vxlan};

use super::{Anomaly, is_known_type};

/// The least that stands behind a VXLAN header: Ethernet, up to the EtherType.
const TYPE_IN_ETHERNET: usize = 12;
/// The EtherType of PPP in GRE version 1 (RFC 2637 section 4.1).
const PPP: u16 = 0x880B;

/// What is wrong with the tunnel that the innermost packet of `view` is.
#[inline]
pub(super) fn find(view: &FrameView<'_>) -> Option<Anomaly> {
    let tuple = view.five_tuple.as_ref()?;
    match (tuple.protocol, tuple.destination_port) {
        (protocol::GRE, _) | (protocol::UDP, vxlan::PORT | geneve::PORT) => look(view),
        _ => None,
    }
}

#[cold]
fn look(view: &FrameView<'_>) -> Option<Anomaly> {
    let tuple = view.five_tuple.as_ref()?;
    if view.too_deep || view.fragment.is_some() {
        return None;
    }
    let payload = view.payload();
    let word = |at: usize| payload.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
    match (tuple.protocol, tuple.destination_port) {
        (protocol::GRE, _) => {
            let (flags, kind) = (word(0)?, word(2)?);
            // RFC 2784 section 2.3: the version is the last three bits.
            match flags & 7 {
                0 => None,
                1 => (kind != PPP).then_some(Anomaly::GreVersion1),
                _ => Some(Anomaly::GreVersion),
            }
        }
        (_, vxlan::PORT) => {
            // RFC 7348 section 5: the I flag alone, and 0 where nothing is.
            let header: &[u8; vxlan::HEADER_LEN] = payload.first_chunk()?;
            let is_vxlan = header[0] == 0x08 && header[1..4] == [0; 3] && header[7] == 0;
            let kind = word(vxlan::HEADER_LEN + TYPE_IN_ETHERNET)?;
            (is_vxlan && !is_known_type(kind)).then_some(Anomaly::VxlanType)
        }
        _ => {
            // RFC 8926 section 3.4: version 0, reserved bits 0, options that end within the datagram.
            let header: &[u8; 8] = payload.first_chunk()?;
            let options = usize::from(header[0] & 0x3f) * 4;
            let is_geneve =
                header[0] >> 6 == 0 && (header[1] & 0x3f) | header[7] == 0 && payload.len() > header.len() + options;
            let kind = word(2)?;
            let is_known = kind == ethertype::TRANSPARENT_ETHERNET || is_known_type(kind);
            (is_geneve && !is_known).then_some(Anomaly::GeneveType)
        }
    }
}
