//! Tunnels of the mirrored host: VXLAN, GENEVE, GRE and ERSPAN.

use super::Walk;
use super::link::MIN_ETHERTYPE;
use crate::frame::{FrameView, Missing, ethertype};
use crate::vxlan::{self, VxlanError};

const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
const GRE_VERSION: u16 = 0x0007;

impl<'a> Walk<'a> {
    #[cold]
    pub(super) fn vxlan(&mut self, view: &mut FrameView<'a>, at: usize) {
        match self.readable.get(at..).map(vxlan::decapsulate) {
            Some(Ok(_)) => self.enter_tunnel(view, at + vxlan::HEADER_LEN, Self::ethernet),
            Some(Err(VxlanError::FlagClear | VxlanError::ProxyHeader)) | None => {}
            Some(Err(VxlanError::HeaderTooShort | VxlanError::EmptyFrame)) => self.lacks_suggested(view),
        }
    }

    /// RFC 8926 section 3.4: version 0, options skipped by their length.
    #[cold]
    pub(super) fn geneve(&mut self, view: &mut FrameView<'a>, at: usize) {
        let Some(header) = self.array::<8>(at) else { return self.lacks_suggested(view) };
        if header[0] >> 6 != 0 {
            return;
        }
        let inside = at + 8 + usize::from(header[0] & 0x3f) * 4;
        if inside >= self.readable.len() {
            return self.lacks_suggested(view);
        }
        self.announced(view, u16::from_be_bytes([header[2], header[3]]), inside);
    }

    /// A port number only suggests a tunnel, so a datagram that is too short for one is not malformed.
    fn lacks_suggested(&self, view: &mut FrameView<'a>) {
        if self.is_cut() {
            self.lacks(view, Missing::Shim);
        }
    }

    /// RFC 2784 and 2890, and ERSPAN (draft-foschiano-erspan) on top of them.
    #[cold]
    pub(super) fn gre(&mut self, view: &mut FrameView<'a>, at: usize) {
        let Some(header) = self.array::<4>(at) else { return self.lacks(view, Missing::Shim) };
        let flags = u16::from_be_bytes([header[0], header[1]]);
        // Version 1 is PPTP's; routing (RFC 1701) is of variable length and long gone.
        if flags & (GRE_VERSION | GRE_ROUTING) != 0 {
            return;
        }
        let options = [GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE].iter().filter(|flag| flags & **flag != 0).count();
        let inside = at + 4 + options * 4;
        match u16::from_be_bytes([header[2], header[3]]) {
            // Type I has no header of its own, and no sequence number in front of it.
            ethertype::ERSPAN_II if flags & GRE_SEQUENCE == 0 => self.enter_tunnel(view, inside, Self::ethernet),
            ethertype::ERSPAN_II => self.enter_tunnel(view, inside + 8, Self::ethernet),
            ethertype::ERSPAN_III => {
                let Some(header) = self.array::<12>(inside) else { return self.lacks(view, Missing::Shim) };
                // The O bit announces an eight-byte platform header.
                let inside = inside + if header[11] & 1 == 0 { 12 } else { 20 };
                match (header[10] >> 2) & 0x1f {
                    0 => self.enter_tunnel(view, inside, Self::ethernet),
                    2 => self.enter_tunnel(view, inside, Self::ip_by_version),
                    _ => {}
                }
            }
            kind => self.announced(view, kind, inside),
        }
    }

    /// What a tunnel's header announces by `kind`, an EtherType, at `at`.
    fn announced(&mut self, view: &mut FrameView<'a>, kind: u16, at: usize) {
        match kind {
            ethertype::TRANSPARENT_ETHERNET => self.enter_tunnel(view, at, Self::ethernet),
            kind if kind >= MIN_ETHERTYPE => {
                self.enter_tunnel(view, at, |walk, view, at| walk.ether_type(view, kind, at));
            }
            _ => {}
        }
    }
}
