//! What a filter says, before it is known how to look for it in a frame.

use std::net::IpAddr;

use crate::words::Protocol;

/// Which end of a packet is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    Source,
    Destination,
    #[default]
    Either,
    Both,
}

/// What the name or number behind the qualifiers is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not said: as [`Kind::Host`].
    #[default]
    Default,
    Host,
    Net,
    Port,
    PortRange,
    Proto,
    ProtoChain,
}

/// The qualifiers in front of a name or number, which are carried over to the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Qualifiers {
    pub(crate) protocol: Option<Protocol>,
    pub(crate) direction: Direction,
    pub(crate) kind: Kind,
}

/// Where an IPv4 address is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// IP, ARP and RARP.
    Any,
    Ip,
    Arp,
    Rarp,
}

/// Which IP versions are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

/// Addresses that agree in the bits of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    V4 { address: u32, mask: u32 },
    V6 { address: u128, mask: u128 },
}

impl Net {
    /// Whether `address` is one of them.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4 { address, mask }, IpAddr::V4(one)) => u32::from(one) & mask == address,
            (Self::V6 { address, mask }, IpAddr::V6(one)) => u128::from(one) & mask == address,
            _ => false,
        }
    }
}

/// Frames with an LLC header, or those of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Llc {
    Any,
    /// An I-format frame.
    Information,
    /// The control byte agrees with `value` in the bits of `mask`.
    Control {
        mask: u32,
        value: u32,
    },
}

/// Something that a filter asks of a packet in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Primitive {
    Host {
        direction: Direction,
        place: Host,
        net: Net,
    },
    EtherHost {
        direction: Direction,
        address: [u8; 6],
    },
    /// `protocols` are the numbers of the transport protocols that have the port.
    Port {
        direction: Direction,
        protocols: &'static [u32],
        low: u16,
        high: u16,
    },
    /// An EtherType or, up to 1500, an LLC service access point.
    LinkType(u32),
    IpProtocol {
        family: Family,
        number: u32,
    },
    /// The number is looked for behind extension headers as well.
    IpChain {
        family: Family,
        number: u32,
    },
    IsoProtocol(u32),
    /// IS-IS packets of these types.
    Isis(&'static [u32]),
    IsisType(u32),
    EtherBroadcast,
    EtherMulticast,
    IpMulticast,
    Ip6Multicast,
    Llc(Llc),
    Vlan(Option<u32>),
    Mpls(Option<u32>),
    PppoeSession(Option<u32>),
    Geneve(Option<u32>),
    Vni(u32),
    Network(String),
    Outer(Net),
}

/// An operator between two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

/// How two numbers are compared, without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
}

/// An [`Expression`] of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExpressionId(pub(crate) usize);

/// A number that is computed from the packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expression {
    Number(u32),
    Length,
    Negate(ExpressionId),
    Binary(Operator, ExpressionId, ExpressionId),
    /// `size` bytes at `index` behind the start of the header of `protocol`.
    Bytes {
        protocol: Protocol,
        index: ExpressionId,
        size: u8,
    },
}

/// A [`Condition`] of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConditionId(pub(crate) usize);

/// Something that a packet meets or not.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Primitive(Primitive),
    /// Whether the comparison comes out as `wanted`.
    Relation {
        left: ExpressionId,
        comparison: Comparison,
        right: ExpressionId,
        wanted: bool,
    },
    Not(ConditionId),
    And(ConditionId, ConditionId),
    Or(ConditionId, ConditionId),
}

/// A parsed filter. Operands come before what uses them, so a tree of any shape is dropped without recursion.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    conditions: Vec<(Condition, usize)>,
    /// With their places, and how many expressions are on top of each other in them.
    expressions: Vec<(Expression, usize, usize)>,
    /// The first word that shifts the offsets of what stands behind it.
    first_shift: Option<usize>,
    /// `None` matches every packet.
    pub(crate) root: Option<ConditionId>,
}

impl Tree {
    /// Adds what is said at byte `at` of the text.
    pub(crate) fn condition(&mut self, condition: Condition, at: usize) -> ConditionId {
        use Primitive as P;
        if let Condition::Primitive(P::Vlan(_) | P::Mpls(_) | P::PppoeSession(_) | P::Geneve(_)) = condition {
            self.first_shift.get_or_insert(self.conditions.len());
        }
        self.conditions.push((condition, at));
        ConditionId(self.conditions.len() - 1)
    }

    /// Adds what is said at byte `at` of the text.
    pub(crate) fn expression(&mut self, expression: Expression, at: usize) -> ExpressionId {
        let depth = |id: ExpressionId| self.expressions.get(id.0).map_or(0, |(.., depth)| *depth);
        let inside = match expression {
            Expression::Number(_) | Expression::Length => 0,
            Expression::Negate(inner) | Expression::Bytes { index: inner, .. } => depth(inner),
            Expression::Binary(_, left, right) => depth(left).max(depth(right)),
        };
        self.expressions.push((expression, at, inside + 1));
        ExpressionId(self.expressions.len() - 1)
    }

    /// Whether a condition stands behind a word that shifts offsets.
    pub(crate) fn shifted(&self, id: ConditionId) -> bool {
        self.first_shift.is_some_and(|first| id.0 > first)
    }

    /// A condition and its place in the text.
    pub(crate) fn get(&self, id: ConditionId) -> Option<(&Condition, usize)> {
        self.conditions.get(id.0).map(|(condition, at)| (condition, *at))
    }

    /// An expression and its place in the text.
    pub(crate) fn number(&self, id: ExpressionId) -> Option<(Expression, usize)> {
        self.expressions.get(id.0).map(|(expression, at, _)| (*expression, *at))
    }

    /// How many expressions are on top of each other.
    pub(crate) fn depth(&self, id: ExpressionId) -> usize {
        self.expressions.get(id.0).map_or(0, |(.., depth)| *depth)
    }
}
