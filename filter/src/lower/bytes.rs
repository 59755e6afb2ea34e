//! Byte expressions.

use super::Lowering;
use crate::error::FilterError;
use crate::formula::{FormulaId, Size, Value, ValueId};
use crate::tree::{Expression, ExpressionId, Family, Operator};
use crate::words::Protocol;

/// A value, and what must be true so that it has a meaning.
type Number = Result<(ValueId, Vec<FormulaId>), FilterError>;

impl Lowering<'_> {
    /// The value of an expression. How deep it is the parser has bounded.
    pub(super) fn number(&mut self, id: ExpressionId) -> Number {
        let Some((expression, at)) = self.tree.number(id) else { return Ok((self.formulas.number(0), Vec::new())) };
        match expression {
            Expression::Number(number) => Ok((self.formulas.number(number), Vec::new())),
            Expression::Length => Ok((self.formulas.value(Value::Length), Vec::new())),
            Expression::Negate(inner) => {
                let (value, checks) = self.number(inner)?;
                Ok((self.formulas.negate(value), checks))
            }
            Expression::Binary(operator, left, right) => {
                let (left, checks) = self.number(left)?;
                // libpcap forgets the checks of the right operand: `1 + tcp[0]` looks into every frame. So it is here.
                let (right, _) = self.number(right)?;
                if matches!(operator, Operator::Divide | Operator::Modulo) && self.formulas.constant(right) == Some(0) {
                    return Err(self.error(at, "division by zero"));
                }
                Ok((self.formulas.binary(operator, left, right), checks))
            }
            Expression::Bytes { protocol, index, size } => {
                let size = match size {
                    1 => Size::Byte,
                    2 => Size::Half,
                    _ => Size::Word,
                };
                let (index, mut checks) = self.number(index)?;
                let value = self.bytes(protocol, index, size, &mut checks, at)?;
                Ok((value, checks))
            }
        }
    }

    fn bytes(
        &mut self,
        protocol: Protocol,
        index: ValueId,
        size: Size,
        checks: &mut Vec<FormulaId>,
        at: usize,
    ) -> Result<ValueId, FilterError> {
        use Protocol as P;
        let transport = match protocol {
            P::Link => {
                let place = self.layout.link_header;
                return Ok(self.indexed(place, index, size));
            }
            P::Icmp6 => {
                checks.push(self.link_type(0x86dd, at)?);
                checks.push(self.is(Size::Byte, self.network().behind(6), 58));
                let place = self.network().behind(40);
                return Ok(self.indexed(place, index, size));
            }
            P::Sctp => (Family::Any, 132),
            P::Tcp => (Family::Any, 6),
            P::Udp => (Family::Any, 17),
            P::Icmp => (Family::V4, 1),
            P::Igmp => (Family::V4, 2),
            P::Igrp => (Family::V4, 9),
            P::Pim => (Family::Any, 103),
            P::Vrrp | P::Carp => (Family::V4, 112),
            network => {
                checks.push(self.link_type(ether_type(network), at)?);
                let place = self.network();
                return Ok(self.indexed(place, index, size));
            }
        };
        // Only what is in IPv4 and is no later fragment.
        checks.push(self.link_type(0x0800, at)?);
        checks.push(self.ip_protocol(transport.0, transport.1, at)?);
        checks.push(self.has_transport_header());
        let header = self.ipv4_header_length();
        let offset = self.network().offset;
        let (base, offset) = match self.formulas.constant(index) {
            Some(index) => (header, offset.wrapping_add(index)),
            None => (self.formulas.binary(Operator::Add, index, header), offset),
        };
        Ok(self.formulas.value(Value::Load { size, base: Some(base), offset }))
    }

    /// What is `index` behind a place.
    fn indexed(&mut self, place: super::Place, index: ValueId, size: Size) -> ValueId {
        let found = place.found.map(|found| self.formulas.value(Value::Found(found)));
        let (base, offset) = match (found, self.formulas.constant(index)) {
            (base, Some(index)) => (base, place.offset.wrapping_add(index)),
            (None, None) => (Some(index), place.offset),
            (Some(base), None) => (Some(self.formulas.binary(Operator::Add, index, base)), place.offset),
        };
        self.formulas.value(Value::Load { size, base, offset })
    }
}

/// The EtherType of a protocol that is right behind the link header.
fn ether_type(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Ip6 => 0x86dd,
        Protocol::Arp => 0x0806,
        Protocol::Rarp => 0x8035,
        Protocol::Atalk => 0x809b,
        Protocol::Decnet => 0x6003,
        Protocol::Lat => 0x6004,
        Protocol::Sca => 0x6007,
        Protocol::Mopdl => 0x6001,
        Protocol::Moprc => 0x6002,
        _ => 0x0800,
    }
}
