//! Conditions as comparisons of values in the frame, joined by and, or and not.

use std::collections::HashMap;

use crate::tree::{Comparison, Net, Operator};

/// A [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ValueId(pub(crate) usize);

/// How many bytes a load takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Size {
    Byte,
    Half,
    Word,
}

/// A number that is computed from the frame. A load behind the end of the frame, and a division by zero, end the filter:
/// the frame does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Number(u32),
    /// Length of the frame on the wire.
    Length,
    /// What is at `offset`, behind `base` if there is one.
    Load {
        size: Size,
        base: Option<ValueId>,
        offset: u32,
    },
    /// Four times the lower half of the byte at the offset: length of an IPv4 header.
    HeaderLength(u32),
    /// What a [`Test::Tunnel`] found.
    Found(Found),
    Negate(ValueId),
    Binary(Operator, ValueId, ValueId),
}

/// What is known of a frame in a GENEVE tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Found {
    /// Offset of the EtherType of what is inside.
    EtherType,
    /// Offset of what is inside.
    Header,
    /// Offset of the network header inside.
    Payload,
}

impl Found {
    /// The scratch word that keeps it.
    pub(crate) fn word(self) -> u32 {
        match self {
            Self::EtherType => 0,
            Self::Header => 1,
            Self::Payload => 2,
        }
    }
}

/// What a value is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operand {
    Number(u32),
    Value(ValueId),
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Relation {
    Equal,
    Greater,
    GreaterOrEqual,
    /// Whether they have a bit in common.
    AnyBit,
}

impl From<Comparison> for Relation {
    fn from(comparison: Comparison) -> Self {
        match comparison {
            Comparison::Equal => Self::Equal,
            Comparison::Greater => Self::Greater,
            Comparison::GreaterOrEqual => Self::GreaterOrEqual,
        }
    }
}

/// A [`Test`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TestId(pub(crate) usize);

/// A question to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Test {
    /// Comparisons that the text writes out are `written`: libpcap's optimizer does not connect them with those of
    /// primitives, and what it leaves in the program decides about frames that were cut.
    Compare { left: ValueId, relation: Relation, right: Operand, written: bool },
    /// Always true: notes where things are inside the GENEVE tunnel whose header begins at the value.
    Tunnel(ValueId),
    /// Whether an IP packet has a header of this protocol, by the chain of its headers.
    Chain { v6: bool, network: u32, protocol: u32 },
    /// Our own: by number in [`Formulas::own`].
    Own(usize),
}

/// A question to what is around the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    Vni(u32),
    Network(String),
    Outer(Net),
}

/// A [`Formula`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FormulaId(usize);

/// Tests that are joined.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Formula {
    Always(bool),
    Test(TestId),
    Not(FormulaId),
    And(FormulaId, FormulaId),
    Or(FormulaId, FormulaId),
}

/// All values, tests and formulas of one filter; equal values and tests are there once.
#[derive(Debug, Default)]
pub(crate) struct Formulas {
    values: Vec<Value>,
    value_ids: HashMap<Value, ValueId>,
    tests: Vec<Test>,
    test_ids: HashMap<Test, TestId>,
    formulas: Vec<Formula>,
    pub(crate) own: Vec<Own>,
}

impl Formulas {
    pub(crate) fn value(&mut self, value: Value) -> ValueId {
        let next = ValueId(self.values.len());
        let id = *self.value_ids.entry(value).or_insert(next);
        if id == next {
            self.values.push(value);
        }
        id
    }

    pub(crate) fn number(&mut self, number: u32) -> ValueId {
        self.value(Value::Number(number))
    }

    pub(crate) fn get_value(&self, id: ValueId) -> Value {
        self.values.get(id.0).copied().unwrap_or(Value::Number(0))
    }

    /// The number that a value is whatever the frame.
    pub(crate) fn constant(&self, id: ValueId) -> Option<u32> {
        match self.get_value(id) {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn negate(&mut self, value: ValueId) -> ValueId {
        match self.constant(value) {
            Some(number) => self.number(number.wrapping_neg()),
            None => self.value(Value::Negate(value)),
        }
    }

    /// `left` and `right` computed with, at once where the result is known.
    pub(crate) fn binary(&mut self, operator: Operator, left: ValueId, right: ValueId) -> ValueId {
        use Operator as O;
        let known = match (self.constant(left), self.constant(right)) {
            (Some(left), Some(right)) => compute(operator, left, right),
            (None, Some(0)) => match operator {
                O::Add | O::Subtract | O::Or | O::Xor | O::ShiftLeft | O::ShiftRight => return left,
                O::Multiply | O::And => Some(0),
                O::Divide | O::Modulo => None,
            },
            (Some(0), None) => match operator {
                O::Multiply | O::Divide | O::Modulo | O::And | O::ShiftLeft | O::ShiftRight => Some(0),
                O::Add | O::Or | O::Xor => return right,
                O::Subtract => None,
            },
            _ => None,
        };
        match known {
            Some(number) => self.number(number),
            None => self.value(Value::Binary(operator, left, right)),
        }
    }

    pub(crate) fn get_test(&self, id: TestId) -> Test {
        self.tests.get(id.0).copied().unwrap_or(Test::Own(usize::MAX))
    }

    pub(crate) fn tests(&self) -> usize {
        self.tests.len()
    }

    pub(crate) fn test(&mut self, test: Test) -> FormulaId {
        let next = TestId(self.tests.len());
        let id = *self.test_ids.entry(test).or_insert(next);
        if id == next {
            self.tests.push(test);
        }
        self.formula(Formula::Test(id))
    }

    /// Compares `left` with `right`, in the form that other equal comparisons have as well.
    pub(crate) fn compare_written(&mut self, left: ValueId, relation: Relation, right: ValueId) -> FormulaId {
        match (self.constant(left), self.constant(right)) {
            (Some(left), Some(right)) => self.formula(Formula::Always(holds(left, relation, right))),
            (None, Some(number)) => self.number_test(left, relation, number, true),
            (Some(number), None) => {
                // Turned around: a > b is not b >= a.
                let (relation, wanted) = match relation {
                    Relation::Equal | Relation::AnyBit => (relation, true),
                    Relation::Greater => (Relation::GreaterOrEqual, false),
                    Relation::GreaterOrEqual => (Relation::Greater, false),
                };
                let turned = self.number_test(right, relation, number, true);
                if wanted { turned } else { self.not(turned) }
            }
            (None, None) => self.test(Test::Compare { left, relation, right: Operand::Value(right), written: true }),
        }
    }

    /// Compares `left` with a number.
    pub(crate) fn compare_number(&mut self, left: ValueId, relation: Relation, number: u32) -> FormulaId {
        self.number_test(left, relation, number, false)
    }

    fn number_test(&mut self, left: ValueId, relation: Relation, number: u32, written: bool) -> FormulaId {
        if let Some(left) = self.constant(left) {
            return self.formula(Formula::Always(holds(left, relation, number)));
        }
        let plain = |left, relation, number| Test::Compare { left, relation, right: Operand::Number(number), written };
        if (relation, number) == (Relation::AnyBit, 0) {
            return self.formula(Formula::Always(false));
        }
        // Whether masked bits are all zero is one instruction.
        if let (Relation::Equal, 0, Value::Binary(Operator::And, masked, mask)) =
            (relation, number, self.get_value(left))
            && let Some(mask) = self.constant(mask)
        {
            let any = self.test(plain(masked, Relation::AnyBit, mask));
            return self.not(any);
        }
        self.test(plain(left, relation, number))
    }

    pub(crate) fn formula(&mut self, formula: Formula) -> FormulaId {
        self.formulas.push(formula);
        FormulaId(self.formulas.len() - 1)
    }

    pub(crate) fn get(&self, id: FormulaId) -> Formula {
        self.formulas.get(id.0).copied().unwrap_or(Formula::Always(false))
    }

    /// How many formulas there are: a bound for the work that they make.
    pub(crate) fn len(&self) -> usize {
        self.formulas.len()
    }

    pub(crate) fn not(&mut self, one: FormulaId) -> FormulaId {
        self.formula(Formula::Not(one))
    }

    /// True if all are; they are asked in this order.
    pub(crate) fn all(&mut self, of: &[FormulaId]) -> FormulaId {
        let joined = of.iter().copied().reduce(|left, right| self.formula(Formula::And(left, right)));
        joined.unwrap_or_else(|| self.formula(Formula::Always(true)))
    }

    /// True if one is; they are asked in this order.
    pub(crate) fn any(&mut self, of: &[FormulaId]) -> FormulaId {
        let joined = of.iter().copied().reduce(|left, right| self.formula(Formula::Or(left, right)));
        joined.unwrap_or_else(|| self.formula(Formula::Always(false)))
    }
}

/// The result of an operator as classic BPF has it; `None` for a division by zero.
pub(crate) fn compute(operator: Operator, left: u32, right: u32) -> Option<u32> {
    Some(match operator {
        Operator::Add => left.wrapping_add(right),
        Operator::Subtract => left.wrapping_sub(right),
        Operator::Multiply => left.wrapping_mul(right),
        Operator::Divide => left.checked_div(right)?,
        Operator::Modulo => left.checked_rem(right)?,
        Operator::And => left & right,
        Operator::Or => left | right,
        Operator::Xor => left ^ right,
        // The kernel's shifts take the count modulo 32, libpcap's give 0; the grammar keeps constant counts below 32.
        Operator::ShiftLeft => left.checked_shl(right).unwrap_or_default(),
        Operator::ShiftRight => left.checked_shr(right).unwrap_or_default(),
    })
}

/// Whether a comparison holds, without sign.
pub(crate) fn holds(left: u32, relation: Relation, right: u32) -> bool {
    match relation {
        Relation::Equal => left == right,
        Relation::Greater => left > right,
        Relation::GreaterOrEqual => left >= right,
        Relation::AnyBit => left & right != 0,
    }
}
