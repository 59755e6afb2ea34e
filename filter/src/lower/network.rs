//! IP: addresses, protocols, ports.

use super::Lowering;
use crate::error::FilterError;
use crate::formula::{FormulaId, Relation, Size, Test, Value, ValueId};
use crate::tree::{Direction, Family, Host, Net, Operator};

const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const ARP: u32 = 0x0806;
const RARP: u32 = 0x8035;
const IPV6_HEADER: u32 = 40;
const FRAGMENT_HEADER: u32 = 44;

type Lowered = Result<FormulaId, FilterError>;

impl Lowering<'_> {
    pub(super) fn host(&mut self, direction: Direction, place: Host, net: Net, at: usize) -> Lowered {
        let (address, mask) = match net {
            Net::V4 { address, mask } => (address, mask),
            Net::V6 { address, mask } => return self.host6(direction, (address, mask), at),
        };
        // EtherType, and offsets of both addresses (RFC 791, RFC 826).
        let places: &[(u32, u32, u32)] = match place {
            Host::Any if self.layout.labels => &[(IPV4, 12, 16)],
            Host::Any => &[(IPV4, 12, 16), (ARP, 14, 24), (RARP, 14, 24)],
            Host::Ip => &[(IPV4, 12, 16)],
            Host::Arp => &[(ARP, 14, 24)],
            Host::Rarp => &[(RARP, 14, 24)],
        };
        let mut any = Vec::new();
        for (ether_type, source, destination) in places {
            any.push(self.either_end(direction, |lowering, is_source| {
                let kind = lowering.link_type(*ether_type, at)?;
                let place = lowering.network().behind(if is_source { *source } else { *destination });
                let is = lowering.is_masked(Size::Word, place, mask, address);
                Ok(lowering.formulas.all(&[kind, is]))
            })?);
        }
        Ok(self.formulas.any(&any))
    }

    fn host6(&mut self, direction: Direction, (address, mask): (u128, u128), at: usize) -> Lowered {
        self.either_end(direction, |lowering, source| {
            let mut all = vec![lowering.link_type(IPV6, at)?];
            let start = lowering.network().behind(if source { 8 } else { 24 });
            for word in 0..4 {
                let part = |bits: u128| (bits >> (96 - 32 * word)) as u32;
                all.push(lowering.is_masked(Size::Word, start.behind(4 * word), part(mask), part(address)));
            }
            Ok(lowering.formulas.all(&all))
        })
    }

    pub(super) fn ip_protocol(&mut self, family: Family, number: u32, at: usize) -> Lowered {
        match family {
            Family::Any => {
                let versions = [self.ip_protocol(Family::V4, number, at)?, self.ip_protocol(Family::V6, number, at)?];
                Ok(self.formulas.any(&versions))
            }
            Family::V4 => {
                let ip = self.link_type(IPV4, at)?;
                let is = self.is(Size::Byte, self.network().behind(9), number);
                Ok(self.formulas.all(&[ip, is]))
            }
            Family::V6 => {
                let ip6 = self.link_type(IPV6, at)?;
                let next = self.network().behind(6);
                let is = self.is(Size::Byte, next, number);
                let fragment = self.is(Size::Byte, next, FRAGMENT_HEADER);
                let behind = self.is(Size::Byte, self.network().behind(IPV6_HEADER), number);
                let behind = self.formulas.all(&[fragment, behind]);
                let any = self.formulas.any(&[is, behind]);
                Ok(self.formulas.all(&[ip6, any]))
            }
        }
    }

    pub(super) fn chain(&mut self, family: Family, protocol: u32, at: usize) -> Lowered {
        if self.layout.link_payload.found.is_some() {
            return Err(self.error(at, "'protochain' is not supported behind 'geneve'"));
        }
        let network = self.network().offset;
        let mut version = |v6, ether_type| {
            let ip = self.link_type(ether_type, at)?;
            let chain = self.formulas.test(Test::Chain { v6, network, protocol });
            Ok(self.formulas.all(&[ip, chain]))
        };
        match family {
            Family::V4 => version(false, IPV4),
            Family::V6 => version(true, IPV6),
            Family::Any => {
                let versions = [version(false, IPV4)?, version(true, IPV6)?];
                Ok(self.formulas.any(&versions))
            }
        }
    }

    pub(super) fn ip_multicast(&mut self, at: usize) -> Lowered {
        let ip = self.link_type(IPV4, at)?;
        let first = self.load(Size::Byte, self.network().behind(16));
        let group = self.formulas.compare_number(first, Relation::GreaterOrEqual, 224);
        Ok(self.formulas.all(&[ip, group]))
    }

    pub(super) fn ip6_multicast(&mut self, at: usize) -> Lowered {
        let ip6 = self.link_type(IPV6, at)?;
        let group = self.is(Size::Byte, self.network().behind(24), 0xff);
        Ok(self.formulas.all(&[ip6, group]))
    }

    /// What is behind the IPv4 header begins at the network header's place, behind this.
    pub(super) fn ipv4_header_length(&mut self) -> ValueId {
        let network = self.network();
        if network.found.is_none() {
            return self.formulas.value(Value::HeaderLength(network.offset));
        }
        let first = self.load(Size::Byte, network);
        let words = self.masked(first, 0x0f);
        let two = self.formulas.number(2);
        let bytes = self.formulas.binary(Operator::ShiftLeft, words, two);
        let base = network.found.map(|found| self.formulas.value(Value::Found(found)));
        base.map_or(bytes, |base| self.formulas.binary(Operator::Add, bytes, base))
    }

    /// Bytes behind the IPv4 header.
    fn behind_ipv4(&mut self, size: Size, bytes: u32) -> ValueId {
        let base = Some(self.ipv4_header_length());
        let offset = self.network().behind(bytes).offset;
        self.formulas.value(Value::Load { size, base, offset })
    }

    /// Whether the IPv4 packet is whole or the first fragment.
    pub(super) fn has_transport_header(&mut self) -> FormulaId {
        let fragment = self.load(Size::Half, self.network().behind(6));
        let later = self.formulas.compare_number(fragment, Relation::AnyBit, 0x1fff);
        self.formulas.not(later)
    }

    pub(super) fn ports(&mut self, direction: Direction, protocols: &[u32], range: (u16, u16), at: usize) -> Lowered {
        let mut versions = Vec::new();
        for v6 in [true, false] {
            let ip = self.link_type(if v6 { IPV6 } else { IPV4 }, at)?;
            let mut any = Vec::new();
            for protocol in protocols {
                any.push(self.ports_of(v6, *protocol, direction, range)?);
            }
            let any = self.formulas.any(&any);
            versions.push(self.formulas.all(&[ip, any]));
        }
        Ok(self.formulas.any(&versions))
    }

    fn ports_of(&mut self, v6: bool, protocol: u32, direction: Direction, range: (u16, u16)) -> Lowered {
        let mut all = vec![self.is(Size::Byte, self.network().behind(if v6 { 6 } else { 9 }), protocol)];
        if !v6 {
            all.push(self.has_transport_header());
        }
        all.push(self.either_end(direction, |lowering, source| {
            let place = if source { 0 } else { 2 };
            let port = if v6 {
                lowering.load(Size::Half, lowering.network().behind(IPV6_HEADER + place))
            } else {
                lowering.behind_ipv4(Size::Half, place)
            };
            Ok(lowering.in_range(port, range))
        })?);
        Ok(self.formulas.all(&all))
    }

    fn in_range(&mut self, port: ValueId, (low, high): (u16, u16)) -> FormulaId {
        if low == high {
            return self.formulas.compare_number(port, Relation::Equal, low.into());
        }
        let from = self.formulas.compare_number(port, Relation::GreaterOrEqual, low.into());
        let above = self.formulas.compare_number(port, Relation::Greater, high.into());
        let to = self.formulas.not(above);
        self.formulas.all(&[from, to])
    }

    /// The checks that the GENEVE and UDP headers are there, by version, and where the UDP header is.
    pub(super) fn udp(
        &mut self,
        v6: bool,
        destination_port: u32,
        at: usize,
    ) -> Result<(Vec<FormulaId>, Option<ValueId>), FilterError> {
        let mut all = vec![self.link_type(if v6 { IPV6 } else { IPV4 }, at)?];
        all.push(self.is(Size::Byte, self.network().behind(if v6 { 6 } else { 9 }), 17));
        let header = if v6 {
            None
        } else {
            all.push(self.has_transport_header());
            Some(self.ipv4_header_length())
        };
        let port = self.behind_ip(header, Size::Half, 2);
        all.push(self.formulas.compare_number(port, Relation::Equal, destination_port));
        Ok((all, header))
    }

    /// Bytes behind an IPv4 header of a length, or behind an IPv6 header.
    pub(super) fn behind_ip(&mut self, ipv4_header: Option<ValueId>, size: Size, bytes: u32) -> ValueId {
        match ipv4_header {
            Some(_) => self.behind_ipv4(size, bytes),
            None => self.load(size, self.network().behind(IPV6_HEADER + bytes)),
        }
    }

    /// Offset of what is `bytes` behind an IPv4 header of a length, or behind an IPv6 header.
    pub(super) fn offset_behind_ip(&mut self, ipv4_header: Option<ValueId>, bytes: u32) -> ValueId {
        let length = ipv4_header.unwrap_or_else(|| self.formulas.number(IPV6_HEADER));
        let rest = self.formulas.number(self.network().behind(bytes).offset);
        self.formulas.binary(Operator::Add, length, rest)
    }
}
