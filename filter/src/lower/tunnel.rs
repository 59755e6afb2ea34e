//! Tags and tunnels inside the frame: words that shift the offsets for what stands behind them.

use super::{Layout, Link, Lowering, Place};
use crate::error::FilterError;
use crate::formula::{FormulaId, Found, Relation, Size, Test};

/// VLAN tags (IEEE 802.1Q, 802.1ad, and an older one of QinQ).
const TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];
const TAG: u32 = 4;
const MPLS: u32 = 0x8847;
const LABEL: u32 = 4;
const PPPOE_SESSION: u32 = 0x8864;
const PPPOE_HEADER: u32 = 6;
const PPP_PROTOCOL: u32 = 2;
const GENEVE_PORT: u32 = 6081;
const UDP_HEADER: u32 = 8;

type Lowered = Result<FormulaId, FilterError>;

impl Lowering<'_> {
    pub(super) fn vlan(&mut self, id: Option<u32>, at: usize) -> Lowered {
        if self.layout.labels {
            return Err(self.error(at, "there is no 'vlan' behind 'mpls'"));
        }
        if self.layout.link == Link::Ppp {
            return Err(self.error(at, "there is no 'vlan' behind 'pppoes'"));
        }
        let tags = TAGS.map(|tag| self.is(Size::Half, self.layout.link_type, tag));
        let mut all = vec![self.formulas.any(&tags)];
        if let Some(id) = id {
            all.push(self.is_masked(Size::Half, self.layout.link_payload, 0x0fff, id));
        }
        self.layout.link_type = self.layout.link_type.behind(TAG);
        self.layout.link_payload = self.layout.link_payload.behind(TAG);
        Ok(self.formulas.all(&all))
    }

    pub(super) fn mpls(&mut self, label: Option<u32>, at: usize) -> Lowered {
        let is_mpls = if self.layout.labels { self.last_label(false) } else { self.link_type(MPLS, at)? };
        let mut all = vec![is_mpls];
        if let Some(label) = label {
            // Label, traffic class, bottom of stack, time to live (RFC 3032).
            all.push(self.is_masked(Size::Word, self.network(), 0xffff_f000, label << 12));
        }
        self.layout.network += LABEL;
        self.layout.behind_llc += LABEL;
        self.layout.labels = true;
        Ok(self.formulas.all(&all))
    }

    pub(super) fn pppoe(&mut self, session: Option<u32>, at: usize) -> Lowered {
        let mut all = vec![self.link_type(PPPOE_SESSION, at)?];
        if let Some(session) = session {
            all.push(self.is_masked(Size::Word, self.network(), 0xffff, session));
        }
        let ppp = self.network().behind(PPPOE_HEADER);
        self.layout = Layout {
            link: Link::Ppp,
            link_header: ppp,
            link_type: ppp,
            link_payload: ppp.behind(PPP_PROTOCOL),
            network: 0,
            behind_llc: 0,
            ..self.layout
        };
        Ok(self.formulas.all(&all))
    }

    pub(super) fn geneve(&mut self, vni: Option<u32>, at: usize) -> Lowered {
        if self.layout.geneve || self.layout.labels {
            let before = if self.layout.geneve { "geneve" } else { "mpls" };
            return Err(self.error(at, format!("'geneve' is not supported behind '{before}'")));
        }
        let mut versions = Vec::new();
        for v6 in [false, true] {
            let (mut all, header) = self.udp(v6, GENEVE_PORT, at)?;
            // Version 0 (RFC 8926).
            let first = self.behind_ip(header, Size::Byte, UDP_HEADER);
            let version = self.masked(first, 0xc0);
            all.push(self.formulas.compare_number(version, Relation::Equal, 0));
            if let Some(vni) = vni {
                let word = self.behind_ip(header, Size::Word, UDP_HEADER + 4);
                let word = self.masked(word, 0xffff_ff00);
                all.push(self.formulas.compare_number(word, Relation::Equal, vni << 8));
            }
            let start = self.offset_behind_ip(header, UDP_HEADER);
            all.push(self.formulas.test(Test::Tunnel(start)));
            versions.push(self.formulas.all(&all));
        }
        let found = |found| Place { found: Some(found), offset: 0 };
        self.layout = Layout {
            link: Link::Ethernet,
            link_header: found(Found::Header),
            link_type: found(Found::EtherType),
            link_payload: found(Found::Payload),
            network: 0,
            behind_llc: self.layout.behind_llc,
            labels: false,
            geneve: true,
        };
        Ok(self.formulas.any(&versions))
    }
}
