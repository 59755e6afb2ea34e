//! The link layer: EtherTypes, LLC, Ethernet addresses, OSI.

use super::{Link, Lowering};
use crate::error::FilterError;
use crate::formula::{FormulaId, Found, Operand, Relation, Size, Test, Value};
use crate::tree::{Direction, Llc};

/// The largest value of an Ethernet length field; what is larger is an EtherType (IEEE 802.3 has 1500).
const MAX_LENGTH: u32 = 1500;
/// LLC service access points (IEEE 802.2).
const SAP_IP: u32 = 0x06;
const SAP_STP: u32 = 0x42;
const SAP_IPX: u32 = 0xe0;
const SAP_NETBEUI: u32 = 0xf0;
const SAP_ISO: u32 = 0xfe;
/// EtherTypes.
const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const ATALK: u32 = 0x809b;
const AARP: u32 = 0x80f3;
const IPX: u32 = 0x8137;
const DECNET: u32 = 0x6003;
const MPLS: u32 = 0x8847;

type Lowered = Result<FormulaId, FilterError>;

impl Lowering<'_> {
    /// Whether the frame carries a protocol, given as an EtherType or, up to 1500, as an LLC service access point.
    pub(super) fn link_type(&mut self, protocol: u32, at: usize) -> Lowered {
        if self.layout.labels {
            return self.under_labels(protocol, at);
        }
        if self.layout.link == Link::Ppp {
            let number = ppp_protocol(protocol);
            return Ok(self.is(Size::Half, self.layout.link_type, number));
        }
        let payload = self.layout.link_payload;
        match protocol {
            SAP_ISO | SAP_IP | SAP_NETBEUI => {
                let (is_length, sap) = (self.is_length(), self.is(Size::Half, payload, protocol << 8 | protocol));
                Ok(self.formulas.all(&[is_length, sap]))
            }
            SAP_IPX => {
                // As Ethernet II, SNAP, LLC, or right behind an 802.3 header.
                let ethernet = self.is(Size::Half, self.layout.link_type, IPX);
                let is_length = self.is_length();
                let snap = self.snap(0, IPX);
                let llc = self.is(Size::Byte, payload, SAP_IPX);
                let bare = self.is(Size::Half, payload, 0xffff);
                let inside = self.formulas.any(&[snap, llc, bare]);
                let inside = self.formulas.all(&[is_length, inside]);
                Ok(self.formulas.any(&[ethernet, inside]))
            }
            ATALK | AARP => {
                let ethernet = self.is(Size::Half, self.layout.link_type, protocol);
                let is_length = self.is_length();
                let snap = self.snap(if protocol == ATALK { 0x08_0007 } else { 0 }, protocol);
                let inside = self.formulas.all(&[is_length, snap]);
                Ok(self.formulas.any(&[ethernet, inside]))
            }
            0..=MAX_LENGTH => {
                let (is_length, sap) = (self.is_length(), self.is(Size::Byte, payload, protocol));
                Ok(self.formulas.all(&[is_length, sap]))
            }
            _ => Ok(self.is(Size::Half, self.layout.link_type, protocol)),
        }
    }

    /// Below a label the version of an IP header says what it is, if the label before it is the last.
    fn under_labels(&mut self, protocol: u32, at: usize) -> Lowered {
        let version = match protocol {
            IPV4 => 0x40,
            IPV6 => 0x60,
            _ => return Err(self.error(at, "behind 'mpls' only IPv4 and IPv6 can be asked for")),
        };
        let last = self.last_label(true);
        let is_version = self.is_masked(Size::Byte, self.network(), 0xf0, version);
        Ok(self.formulas.all(&[last, is_version]))
    }

    /// Whether the label before the network header has the bottom-of-stack bit as `wanted` (RFC 3032).
    pub(super) fn last_label(&mut self, wanted: bool) -> FormulaId {
        // Two bytes before the end of the label.
        let place = self.network().behind(0_u32.wrapping_sub(2));
        self.is_masked(Size::Byte, place, 0x01, u32::from(wanted))
    }

    fn is_length(&mut self) -> FormulaId {
        let value = self.load(Size::Half, self.layout.link_type);
        let longer = self.formulas.compare_number(value, Relation::Greater, MAX_LENGTH);
        self.formulas.not(longer)
    }

    /// Whether there is a SNAP header of an organisation and protocol (IEEE 802).
    fn snap(&mut self, organisation: u32, protocol: u32) -> FormulaId {
        let payload = self.layout.link_payload;
        let end = self.is(Size::Word, payload.behind(4), (organisation & 0xffff) << 16 | protocol);
        let start = self.is(Size::Word, payload, 0xaaaa_0300 | organisation >> 16);
        self.formulas.all(&[end, start])
    }

    pub(super) fn ether_host(&mut self, direction: Direction, address: [u8; 6], at: usize) -> Lowered {
        let inside = self.has_link_header(at)?;
        let number = address.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let (front, back) = ((number >> 32) as u32, number as u32);
        let host = self.either_end(direction, |lowering, source| {
            let start = lowering.layout.link_header.behind(if source { 6 } else { 0 });
            let back = lowering.is(Size::Word, start.behind(2), back);
            let front = lowering.is(Size::Half, start, front);
            Ok(lowering.formulas.all(&[back, front]))
        })?;
        Ok(self.formulas.all(&inside.into_iter().chain([host]).collect::<Vec<_>>()))
    }

    pub(super) fn ether_multicast(&mut self, at: usize) -> Lowered {
        let inside = self.has_link_header(at)?;
        let first = self.load(Size::Byte, self.layout.link_header);
        let group = self.formulas.compare_number(first, Relation::AnyBit, 1);
        Ok(self.formulas.all(&inside.into_iter().chain([group]).collect::<Vec<_>>()))
    }

    /// Inside a GENEVE tunnel there may be no Ethernet header, and where it would end is then where it starts.
    fn has_link_header(&mut self, at: usize) -> Result<Option<FormulaId>, FilterError> {
        if self.layout.link == Link::Ppp {
            return Err(self.error(at, "behind 'pppoes' there are no Ethernet addresses"));
        }
        if !self.layout.geneve {
            return Ok(None);
        }
        let header = self.formulas.value(Value::Found(Found::Header));
        let payload = self.formulas.value(Value::Found(Found::Payload));
        let same = self.formulas.test(Test::Compare {
            left: header,
            relation: Relation::Equal,
            right: Operand::Value(payload),
            written: false,
        });
        Ok(Some(self.formulas.not(same)))
    }

    pub(super) fn llc(&mut self, form: Llc, at: usize) -> Lowered {
        if self.layout.link == Link::Ppp {
            return Err(self.error(at, "behind 'pppoes' there is no LLC header"));
        }
        let is_length = self.is_length();
        let payload = self.layout.link_payload;
        // IPX right behind an 802.3 header looks like these access points.
        let bare = self.is(Size::Half, payload, 0xffff);
        let mut all = vec![is_length, self.formulas.not(bare)];
        match form {
            Llc::Any => {}
            Llc::Information => {
                let control = self.load(Size::Byte, payload.behind(2));
                let numbered = self.formulas.compare_number(control, Relation::AnyBit, 1);
                all.push(self.formulas.not(numbered));
            }
            Llc::Control { mask, value } => all.push(self.is_masked(Size::Byte, payload.behind(2), mask, value)),
        }
        Ok(self.formulas.all(&all))
    }

    pub(super) fn iso_protocol(&mut self, number: u32, at: usize) -> Lowered {
        let iso = self.link_type(SAP_ISO, at)?;
        let protocol = self.is(Size::Byte, self.layout.link_payload.behind(self.layout.behind_llc), number);
        Ok(self.formulas.all(&[iso, protocol]))
    }

    /// Whether it is an IS-IS packet of a type.
    pub(super) fn isis(&mut self, kind: u32, at: usize) -> Lowered {
        let isis = self.iso_protocol(0x83, at)?;
        let kind = self.is(Size::Byte, self.layout.link_payload.behind(self.layout.behind_llc + 4), kind);
        Ok(self.formulas.all(&[isis, kind]))
    }
}

/// The PPP protocol number (IANA) of what Ethernet has as an EtherType or service access point.
fn ppp_protocol(protocol: u32) -> u32 {
    match protocol {
        IPV4 => 0x0021,
        IPV6 => 0x0057,
        DECNET => 0x0027,
        ATALK => 0x0029,
        0x0600 => 0x0025,
        SAP_ISO => 0x0023,
        SAP_STP => 0x0031,
        SAP_IPX => 0x002b,
        MPLS => 0x0281,
        other => other,
    }
}
