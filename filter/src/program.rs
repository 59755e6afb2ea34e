//! A graph as a list of instructions: those of classic BPF, and a few of our own for what BPF cannot ask.

use std::collections::HashMap;

use crate::formula::{Formulas, Found, Operand, Own, Relation, Size, Test, Value, ValueId};
use crate::graph::{Graph, Next, Node};
use crate::stride::{Stride, strides};
use crate::tree::Operator;

/// What an instruction does. A is the accumulator, X the index register, k the instruction's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// A = what is at k, at X + k.
    Load(Size),
    LoadIndexed(Size),
    /// A = length of the frame on the wire, k, scratch word k.
    LoadLength,
    LoadNumber,
    LoadScratch,
    /// X = four times the lower half of the byte at k, k, scratch word k.
    IndexHeaderLength,
    IndexNumber,
    IndexScratch,
    /// Scratch word k = A.
    Store,
    /// A = A op k, A = A op X, A = -A.
    Compute(Operator),
    ComputeIndex(Operator),
    Negate,
    /// X = A, A = X.
    ToIndex,
    FromIndex,
    /// Goes on at `yes` or `no`, by comparing A with k, with X.
    Compare(Relation),
    CompareIndex(Relation),
    /// Goes on behind it or at `no`, by comparing A with k.
    Continue(Relation),
    /// Goes on at `yes`.
    Jump,
    /// Goes on at `yes` or `no`: by `own` test k, by chain k.
    Own,
    Chain,
    Accept,
    Reject,
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) yes: u16,
    pub(crate) no: u16,
    pub(crate) k: u32,
}

/// Where a chain of headers is looked through, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) v6: bool,
    pub(crate) network: u32,
    pub(crate) protocol: u32,
}

/// The instructions of a filter. All jumps lead forward, and the last instruction ends it.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    /// The same, for evaluation.
    pub(crate) strides: Vec<Stride>,
    /// Whether scratch words are used.
    pub(crate) scratch: bool,
    pub(crate) own: Vec<Own>,
    pub(crate) chains: Vec<Chain>,
}

/// Why a filter has no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoProgram {
    /// More than [`MAX_STEPS`].
    TooLong,
    /// More intermediate results at once than there are scratch words.
    TooDeep,
}

/// The kernel's bound for a classic BPF program (`BPF_MAXINSNS`).
pub(crate) const MAX_STEPS: usize = 4096;
/// How many scratch words BPF has.
pub(crate) const SCRATCH: usize = 16;
/// The scratch words before are for [`Found`].
const FIRST_FREE: u32 = 3;
const TRANSPARENT_ETHERNET: u32 = 0x6558;

impl Program {
    /// The program of `graph`.
    pub(crate) fn new(formulas: &Formulas, graph: &Graph) -> Result<Self, NoProgram> {
        let mut writer = Writer {
            formulas,
            graph,
            steps: Vec::new(),
            chains: Vec::new(),
            state: State::default(),
            free: FIRST_FREE,
        };
        writer.write()?;
        let Writer { steps, chains, .. } = writer;
        let steps = with_shared_ends(steps);
        let scratch = steps.iter().any(|step| step.op == Op::Store);
        Ok(Self { strides: strides(&steps), scratch, steps, own: formulas.own.clone(), chains })
    }
}

/// What is in both registers.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    a: Option<ValueId>,
    x: Option<ValueId>,
}

struct Writer<'f> {
    formulas: &'f Formulas,
    graph: &'f Graph,
    steps: Vec<Step>,
    chains: Vec<Chain>,
    state: State,
    free: u32,
}

/// Until all is written, jumps name nodes: those that follow, and both ends.
const TO_ACCEPT: u16 = u16::MAX;
const TO_REJECT: u16 = u16::MAX - 1;

impl Writer<'_> {
    fn write(&mut self) -> Result<(), NoProgram> {
        let nodes = &self.graph.nodes;
        // Node numbers share 16 bits with the marks above; more nodes do not fit the kernel's bound anyway.
        if nodes.len() > 2 * MAX_STEPS {
            return Err(NoProgram::TooLong);
        }
        let tunnel = nodes.iter().any(|node| matches!(self.formulas.get_test(node.test), Test::Tunnel(_)));
        if tunnel && self.graph.entry != Next::Accept {
            // The kernel refuses a program that may read a word before it is written.
            self.push(Op::LoadNumber, 0);
            for found in [Found::EtherType, Found::Header, Found::Payload] {
                self.push(Op::Store, found.word());
            }
        }
        let mut states: Vec<Option<State>> = vec![None; nodes.len()];
        let mut starts = vec![0_u16; nodes.len()];
        if let Next::Node(entry) = self.graph.entry {
            if let Some(state) = states.get_mut(entry) {
                *state = Some(State::default());
            }
            for (at, node) in nodes.iter().enumerate().take(entry + 1).rev() {
                let Some(state) = states.get(at).copied().flatten() else { continue };
                if let Some(start) = starts.get_mut(at) {
                    *start = self.steps.len() as u16;
                }
                self.state = state;
                self.node(*node)?;
                if self.steps.len() > MAX_STEPS {
                    return Err(NoProgram::TooLong);
                }
                for next in [node.yes, node.no] {
                    if let Next::Node(next) = next
                        && let Some(state) = states.get_mut(next)
                    {
                        *state = Some(match *state {
                            None => self.state,
                            Some(before) => State {
                                a: before.a.filter(|_| before.a == self.state.a),
                                x: before.x.filter(|_| before.x == self.state.x),
                            },
                        });
                    }
                }
            }
        } else {
            self.push(if self.graph.entry == Next::Accept { Op::Accept } else { Op::Reject }, 0);
            return Ok(());
        }
        let end = self.steps.len() as u16;
        self.push(Op::Accept, 0);
        self.push(Op::Reject, 0);
        if self.steps.len() > MAX_STEPS {
            return Err(NoProgram::TooLong);
        }
        for step in &mut self.steps {
            if jumps(step.op) {
                for to in [&mut step.yes, &mut step.no] {
                    *to = match *to {
                        TO_ACCEPT => end,
                        TO_REJECT => end + 1,
                        node => starts.get(usize::from(node)).copied().unwrap_or(end + 1),
                    };
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, op: Op, k: u32) {
        self.steps.push(Step { op, yes: 0, no: 0, k });
    }

    fn jump(&mut self, op: Op, k: u32, node: Node) {
        let to = |next| match next {
            Next::Accept => TO_ACCEPT,
            Next::Reject => TO_REJECT,
            Next::Node(at) => at as u16,
        };
        self.steps.push(Step { op, yes: to(node.yes), no: to(node.no), k });
    }

    fn node(&mut self, node: Node) -> Result<(), NoProgram> {
        match self.formulas.get_test(node.test) {
            Test::Compare { left, relation, right: Operand::Number(number), .. } => {
                self.accumulate(left)?;
                self.jump(Op::Compare(relation), number, node);
            }
            Test::Compare { left, relation, right: Operand::Value(right), .. } => {
                let either = matches!(relation, Relation::Equal | Relation::AnyBit);
                self.both(left, right, either)?;
                self.jump(Op::CompareIndex(relation), 0, node);
            }
            Test::Chain { v6, network, protocol } => {
                self.jump(Op::Chain, self.chains.len() as u32, node);
                self.chains.push(Chain { v6, network, protocol });
            }
            Test::Own(number) => self.jump(Op::Own, number as u32, node),
            Test::Tunnel(start) => self.tunnel(start, node)?,
        }
        Ok(())
    }

    /// Notes where things are behind the GENEVE header at `start` (RFC 8926): in an Ethernet frame, or right behind.
    fn tunnel(&mut self, start: ValueId, node: Node) -> Result<(), NoProgram> {
        let (kind, header, payload) = (Found::EtherType.word(), Found::Header.word(), Found::Payload.word());
        self.index(start)?;
        self.push(Op::FromIndex, 0);
        self.push(Op::Compute(Operator::Add), 2);
        self.push(Op::Store, kind);
        self.push(Op::LoadIndexed(Size::Byte), 0);
        self.push(Op::Compute(Operator::And), 0x3f);
        self.push(Op::Compute(Operator::Multiply), 4);
        self.push(Op::Compute(Operator::Add), 8);
        self.push(Op::ComputeIndex(Operator::Add), 0);
        self.push(Op::Store, header);
        self.push(Op::Store, payload);
        self.push(Op::LoadIndexed(Size::Half), 2);
        // Where it is not Ethernet, all is done.
        self.jump(Op::Continue(Relation::Equal), TRANSPARENT_ETHERNET, node);
        self.push(Op::LoadScratch, header);
        self.push(Op::Compute(Operator::Add), 12);
        self.push(Op::Store, kind);
        self.push(Op::Compute(Operator::Add), 2);
        self.push(Op::Store, payload);
        self.jump(Op::Jump, 0, node);
        self.state = State::default();
        Ok(())
    }

    /// A = `value`.
    fn accumulate(&mut self, value: ValueId) -> Result<(), NoProgram> {
        if self.state.a == Some(value) {
            return Ok(());
        }
        match self.formulas.get_value(value) {
            Value::Number(number) => self.push(Op::LoadNumber, number),
            Value::Length => self.push(Op::LoadLength, 0),
            Value::Found(found) => self.push(Op::LoadScratch, found.word()),
            Value::Load { size, base: None, offset } => self.push(Op::Load(size), offset),
            Value::Load { size, base: Some(base), offset } => {
                self.index(base)?;
                self.push(Op::LoadIndexed(size), offset);
            }
            Value::HeaderLength(_) => {
                self.index(value)?;
                self.push(Op::FromIndex, 0);
            }
            Value::Negate(inner) => {
                self.accumulate(inner)?;
                self.push(Op::Negate, 0);
            }
            Value::Binary(operator, left, right) => {
                use Operator as O;
                if let Some(number) = self.formulas.constant(right) {
                    self.accumulate(left)?;
                    self.push(Op::Compute(operator), number);
                } else {
                    let either = matches!(operator, O::Add | O::Multiply | O::And | O::Or | O::Xor);
                    self.both(left, right, either)?;
                    self.push(Op::ComputeIndex(operator), 0);
                }
            }
        }
        self.state.a = Some(value);
        Ok(())
    }

    /// A = `left` and X = `right`, or the other way where `either` way will do.
    fn both(&mut self, left: ValueId, right: ValueId, either: bool) -> Result<(), NoProgram> {
        if self.spares_accumulator(right) {
            self.accumulate(left)?;
            return self.index(right);
        }
        if either && self.spares_accumulator(left) {
            self.accumulate(right)?;
            return self.index(left);
        }
        let word = self.free;
        if word as usize >= SCRATCH {
            return Err(NoProgram::TooDeep);
        }
        self.accumulate(left)?;
        self.push(Op::Store, word);
        self.free += 1;
        self.accumulate(right)?;
        self.free -= 1;
        if either {
            self.push(Op::IndexScratch, word);
            self.state.x = Some(left);
        } else {
            self.push(Op::ToIndex, 0);
            self.push(Op::LoadScratch, word);
            self.state = State { a: Some(left), x: Some(right) };
        }
        Ok(())
    }

    /// Whether X can get the value without A.
    fn spares_accumulator(&self, value: ValueId) -> bool {
        matches!(self.formulas.get_value(value), Value::Number(_) | Value::HeaderLength(_) | Value::Found(_))
    }

    /// X = `value`.
    fn index(&mut self, value: ValueId) -> Result<(), NoProgram> {
        if self.state.x == Some(value) {
            return Ok(());
        }
        match self.formulas.get_value(value) {
            Value::Number(number) => self.push(Op::IndexNumber, number),
            Value::HeaderLength(offset) => self.push(Op::IndexHeaderLength, offset),
            Value::Found(found) => self.push(Op::IndexScratch, found.word()),
            _ => {
                self.accumulate(value)?;
                self.push(Op::ToIndex, 0);
            }
        }
        self.state.x = Some(value);
        Ok(())
    }
}

/// The same program without comparisons that stand in it twice: a list of numbers that two values are compared with is
/// there once, whatever was loaded before it.
fn with_shared_ends(mut steps: Vec<Step>) -> Vec<Step> {
    let mut kept: HashMap<Step, u16> = HashMap::new();
    let mut moved: Vec<u16> = (0..steps.len()).map(|at| at as u16).collect();
    let new = |at: u16, moved: &[u16]| moved.get(usize::from(at)).copied().unwrap_or(at);
    for at in (0..steps.len()).rev() {
        // What is run into from above has to stay.
        let run_into = at.checked_sub(1).and_then(|above| steps.get(above)).is_none_or(|above| falls_through(above.op));
        let Some(step) = steps.get_mut(at).filter(|step| jumps(step.op)) else { continue };
        (step.yes, step.no) = (new(step.yes, &moved), new(step.no, &moved));
        let same = *kept.entry(*step).or_insert(at as u16);
        if let Some(moved) = moved.get_mut(at)
            && !run_into
        {
            *moved = same;
        }
    }
    // Close the gaps.
    let stays: Vec<bool> = moved.iter().enumerate().map(|(at, moved)| usize::from(*moved) == at).collect();
    let mut count = 0;
    let places: Vec<u16> = stays
        .iter()
        .map(|stays| {
            let place = count;
            count += u16::from(*stays);
            place
        })
        .collect();
    let mut stays = stays.iter();
    steps.retain(|_| stays.next() == Some(&true));
    for step in steps.iter_mut().filter(|step| jumps(step.op)) {
        (step.yes, step.no) = (new(step.yes, &places), new(step.no, &places));
    }
    steps
}

/// Whether the next instruction can come after this one without a jump.
fn falls_through(op: Op) -> bool {
    matches!(op, Op::Continue(_)) || !(jumps(op) || matches!(op, Op::Accept | Op::Reject))
}

/// Whether an instruction goes on elsewhere than behind it.
pub(crate) fn jumps(op: Op) -> bool {
    matches!(op, Op::Compare(_) | Op::CompareIndex(_) | Op::Continue(_) | Op::Jump | Op::Own | Op::Chain)
}
