//! A tree to formulas: where in a frame is what the primitives ask for.
//!
//! `vlan`, `mpls`, `pppoes` and `geneve` shift the offsets for all that stands behind them in the text, whatever operators
//! are between, as libpcap does. Tests are joined in libpcap's order: a load behind the end of the frame ends the filter,
//! so the order can be seen in frames that were cut.

use crate::error::FilterError;
use crate::formula::{Formula, FormulaId, Formulas, Found, Own, Relation, Size, Test, Value, ValueId};
use crate::tree::{Condition, ConditionId, Direction, Operator, Primitive, Tree};

mod bytes;
mod link;
mod network;
mod tunnel;

/// The most formulas of one filter, so that its memory is bounded; more do not fit the kernel's program length.
const MAX_FORMULAS: usize = 40_000;

/// The formulas of a tree, and which is the whole filter.
pub(crate) fn lower(text: &str, tree: &Tree) -> Result<(Formulas, FormulaId), FilterError> {
    let mut lowering = Lowering { text, tree, formulas: Formulas::default(), layout: Layout::default() };
    let whole = match tree.root {
        Some(root) => lowering.condition(root)?,
        None => lowering.formulas.formula(Formula::Always(true)),
    };
    Ok((lowering.formulas, whole))
}

/// An offset from something that is found only in the frame.
#[derive(Clone, Copy, Debug)]
struct Place {
    found: Option<Found>,
    offset: u32,
}

impl Place {
    fn behind(self, bytes: u32) -> Self {
        Self { offset: self.offset.wrapping_add(bytes), ..self }
    }
}

/// What the link header of the outermost layer is that is not yet looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Ethernet,
    Ppp,
}

/// Where things are, given the words for tags and tunnels so far.
#[derive(Clone, Copy, Debug)]
struct Layout {
    link: Link,
    link_header: Place,
    link_type: Place,
    /// What is behind the link header; LLC if there is one.
    link_payload: Place,
    /// From `link_payload` to the network header.
    network: u32,
    /// From `link_payload` to what is behind an LLC header without SNAP.
    behind_llc: u32,
    labels: bool,
    geneve: bool,
}

impl Default for Layout {
    fn default() -> Self {
        let at = |offset| Place { found: None, offset };
        Self {
            link: Link::Ethernet,
            link_header: at(0),
            link_type: at(12),
            link_payload: at(14),
            network: 0,
            behind_llc: 3,
            labels: false,
            geneve: false,
        }
    }
}

struct Lowering<'t> {
    text: &'t str,
    tree: &'t Tree,
    formulas: Formulas,
    layout: Layout,
}

impl Lowering<'_> {
    fn error(&self, at: usize, what: impl Into<String>) -> FilterError {
        FilterError::new(self.text, at, what)
    }

    /// Long lists lean to the left: they are walked in a loop, and only what the parser has bounded recurses.
    fn condition(&mut self, mut id: ConditionId) -> Result<FormulaId, FilterError> {
        let mut behind = Vec::new();
        while let Some((Condition::And(left, _) | Condition::Or(left, _), _)) = self.tree.get(id) {
            behind.push(id);
            id = *left;
        }
        let mut list = self.single(id)?;
        while let Some(id) = behind.pop() {
            match self.tree.get(id) {
                Some((Condition::And(_, right), _)) => {
                    let right = self.condition(*right)?;
                    list = self.formulas.formula(Formula::And(list, right));
                }
                Some((Condition::Or(_, right), _)) => {
                    let right = self.condition(*right)?;
                    list = self.formulas.formula(Formula::Or(list, right));
                }
                _ => {}
            }
        }
        Ok(list)
    }

    fn single(&mut self, id: ConditionId) -> Result<FormulaId, FilterError> {
        let Some((condition, at)) = self.tree.get(id) else { return Ok(self.formulas.formula(Formula::Always(true))) };
        if self.formulas.len() > MAX_FORMULAS {
            return Err(self.error(at, "the filter is too long"));
        }
        match condition {
            Condition::Primitive(primitive) => self.primitive(primitive, at),
            Condition::Not(inner) => {
                let inner = self.condition(*inner)?;
                Ok(self.formulas.not(inner))
            }
            Condition::Relation { left, comparison, right, wanted } => {
                let (left, left_checks) = self.number(*left)?;
                let (right, right_checks) = self.number(*right)?;
                let compared = self.formulas.compare_written(left, Relation::from(*comparison), right);
                let compared = if *wanted { compared } else { self.formulas.not(compared) };
                let checks: Vec<_> = left_checks.into_iter().chain(right_checks).chain([compared]).collect();
                Ok(self.formulas.all(&checks))
            }
            Condition::And(..) | Condition::Or(..) => self.condition(id),
        }
    }

    fn primitive(&mut self, primitive: &Primitive, at: usize) -> Result<FormulaId, FilterError> {
        match *primitive {
            Primitive::Host { direction, place, net } => self.host(direction, place, net, at),
            Primitive::EtherHost { direction, address } => self.ether_host(direction, address, at),
            Primitive::Port { direction, protocols, low, high } => self.ports(direction, protocols, (low, high), at),
            Primitive::LinkType(number) => self.link_type(number, at),
            Primitive::IpProtocol { family, number } => self.ip_protocol(family, number, at),
            Primitive::IpChain { family, number } => self.chain(family, number, at),
            Primitive::IsoProtocol(number) => self.iso_protocol(number, at),
            Primitive::Isis(types) => {
                let types = types.iter().map(|kind| self.isis(*kind, at)).collect::<Result<Vec<_>, _>>()?;
                Ok(self.formulas.any(&types))
            }
            Primitive::IsisType(number) => self.isis(number, at),
            Primitive::EtherBroadcast => self.ether_host(Direction::Destination, [0xff; 6], at),
            Primitive::EtherMulticast => self.ether_multicast(at),
            Primitive::IpMulticast => self.ip_multicast(at),
            Primitive::Ip6Multicast => self.ip6_multicast(at),
            Primitive::Llc(form) => self.llc(form, at),
            Primitive::Vlan(id) => self.vlan(id, at),
            Primitive::Mpls(label) => self.mpls(label, at),
            Primitive::PppoeSession(id) => self.pppoe(id, at),
            Primitive::Geneve(vni) => self.geneve(vni, at),
            Primitive::Vni(vni) => Ok(self.own(Own::Vni(vni))),
            Primitive::Network(ref name) => Ok(self.own(Own::Network(name.clone()))),
            Primitive::Outer(net) => Ok(self.own(Own::Outer(net))),
        }
    }

    fn own(&mut self, own: Own) -> FormulaId {
        let known = self.formulas.own.iter().position(|one| *one == own);
        let number = known.unwrap_or_else(|| {
            self.formulas.own.push(own);
            self.formulas.own.len() - 1
        });
        self.formulas.test(Test::Own(number))
    }

    /// What is at a place.
    fn load(&mut self, size: Size, place: Place) -> ValueId {
        let base = place.found.map(|found| self.formulas.value(Value::Found(found)));
        self.formulas.value(Value::Load { size, base, offset: place.offset })
    }

    /// Whether what is at a place is `number`.
    fn is(&mut self, size: Size, place: Place, number: u32) -> FormulaId {
        let value = self.load(size, place);
        self.formulas.compare_number(value, Relation::Equal, number)
    }

    /// Whether what is at a place agrees with `number` in the bits of `mask`.
    fn is_masked(&mut self, size: Size, place: Place, mask: u32, number: u32) -> FormulaId {
        let value = self.load(size, place);
        let value = self.masked(value, mask);
        self.formulas.compare_number(value, Relation::Equal, number)
    }

    fn masked(&mut self, value: ValueId, mask: u32) -> ValueId {
        if mask == u32::MAX {
            return value;
        }
        let mask = self.formulas.number(mask);
        self.formulas.binary(Operator::And, value, mask)
    }

    /// Where the network header is.
    fn network(&self) -> Place {
        self.layout.link_payload.behind(self.layout.network)
    }

    /// Joins what is asked of the source and of the destination.
    fn either_end(
        &mut self,
        direction: Direction,
        mut end: impl FnMut(&mut Self, bool) -> Result<FormulaId, FilterError>,
    ) -> Result<FormulaId, FilterError> {
        Ok(match direction {
            Direction::Source => end(self, true)?,
            Direction::Destination => end(self, false)?,
            Direction::Either => {
                let ends = [end(self, true)?, end(self, false)?];
                self.formulas.any(&ends)
            }
            Direction::Both => {
                let ends = [end(self, true)?, end(self, false)?];
                self.formulas.all(&ends)
            }
        })
    }
}
