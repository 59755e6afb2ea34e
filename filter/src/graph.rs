//! A formula as a graph of tests: which test comes next, by how the one before came out.
//!
//! Every test stands before those that may follow it, so there are no loops. The graph is made from the formula's end, and
//! simplified until nothing changes: a test whose result is known on every way to it is jumped over, and a test that
//! changes nothing goes. At last equal nodes become one.

use std::collections::HashMap;

use crate::formula::{Formula, FormulaId, Formulas, Operand, Relation, Test, TestId, ValueId};

mod pull_up;

/// Where a way through the graph goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Next {
    Accept,
    Reject,
    Node(usize),
}

/// A test and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) test: TestId,
    pub(crate) yes: Next,
    pub(crate) no: Next,
}

/// What a filter tests, and in which order.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Later ones lead only to earlier ones.
    pub(crate) nodes: Vec<Node>,
    pub(crate) entry: Next,
}

/// The filter is too long to be simplified in bounded memory.
#[derive(Debug)]
pub(crate) struct TooLong;

/// The most bits that what is known on all ways may take together: 32 MiB.
const MAX_KNOWN_BITS: usize = 1 << 28;
/// How often the graph is simplified. Each time makes something shorter, and few find all.
const MAX_ROUNDS: usize = 20;

impl Graph {
    /// The graph of `whole`.
    pub(crate) fn new(formulas: &Formulas, whole: FormulaId) -> Result<Self, TooLong> {
        let mut builder = Builder { formulas, nodes: Vec::new(), ids: None };
        let entry = builder.build(whole, Next::Accept, Next::Reject);
        let mut graph = Self { nodes: builder.nodes, entry };
        for _ in 0..MAX_ROUNDS {
            let mut changed = graph.jump_over_known(formulas)?;
            if changed {
                graph = graph.rebuilt(formulas, false);
            }
            changed |= graph.pull_up(formulas);
            if !changed {
                break;
            }
            graph = graph.rebuilt(formulas, false);
        }
        Ok(graph.rebuilt(formulas, true))
    }

    fn node(&self, next: Next) -> Option<(usize, Node)> {
        match next {
            Next::Node(at) => self.nodes.get(at).map(|node| (at, *node)),
            Next::Accept | Next::Reject => None,
        }
    }

    /// Lets every edge lead to the first test whose result is not known there. Says whether an edge changed.
    fn jump_over_known(&mut self, formulas: &Formulas) -> Result<bool, TooLong> {
        if self.nodes.len().saturating_mul(2 * formulas.tests()) > MAX_KNOWN_BITS {
            return Err(TooLong);
        }
        let mut known: Vec<Option<Known>> = vec![None; self.nodes.len()];
        if let Next::Node(entry) = self.entry
            && let Some(known) = known.get_mut(entry)
        {
            *known = Some(Known::default());
        }
        let mut changed = false;
        for at in (0..self.nodes.len()).rev() {
            // A node that nothing leads to any more is left to the rebuilding.
            let Some(before) = known.get_mut(at).and_then(Option::take) else { continue };
            let Some(mut node) = self.nodes.get(at).copied() else { continue };
            for outcome in [true, false] {
                let mut here = before.clone();
                here.learn(formulas, node.test, outcome);
                let edge = if outcome { &mut node.yes } else { &mut node.no };
                while let Some((_, next)) = self.node(*edge)
                    && let Some(outcome) = here.outcome(formulas, next.test)
                {
                    *edge = if outcome { next.yes } else { next.no };
                    changed = true;
                }
                if let Next::Node(next) = *edge
                    && let Some(known) = known.get_mut(next)
                {
                    match known {
                        Some(known) => known.keep_common(&here),
                        None => *known = Some(here),
                    }
                }
            }
            if let Some(slot) = self.nodes.get_mut(at) {
                *slot = node;
            }
        }
        Ok(changed)
    }

    /// The same graph of the nodes that are reached, in order; at last, equal ones joined.
    fn rebuilt(&self, formulas: &Formulas, join: bool) -> Self {
        let mut builder = Builder { formulas, nodes: Vec::new(), ids: join.then(HashMap::new) };
        let mut moved: Vec<Option<Next>> = vec![None; self.nodes.len()];
        let new = |next: Next, moved: &[Option<Next>]| match next {
            Next::Node(at) => moved.get(at).copied().flatten(),
            end => Some(end),
        };
        let mut open = vec![self.entry];
        while let Some(next) = open.last().copied() {
            let Some((at, node)) = self.node(next).filter(|_| new(next, &moved).is_none()) else {
                open.pop();
                continue;
            };
            match (new(node.yes, &moved), new(node.no, &moved)) {
                (None, _) => open.push(node.yes),
                (_, None) => open.push(node.no),
                (Some(yes), Some(no)) => {
                    if let Some(slot) = moved.get_mut(at) {
                        *slot = Some(builder.node(node.test, yes, no));
                    }
                    open.pop();
                }
            }
        }
        let entry = new(self.entry, &moved).unwrap_or(Next::Reject);
        Self { nodes: builder.nodes, entry }
    }
}

/// What is known on every way to a place.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Two bits for each test: it was true, it was false.
    outcomes: Vec<u64>,
    /// Values that were found equal to a number, in order.
    numbers: Vec<(ValueId, u32)>,
}

impl Known {
    fn learn(&mut self, formulas: &Formulas, test: TestId, outcome: bool) {
        let bit = 2 * test.0 + usize::from(outcome);
        if self.outcomes.len() <= bit / 64 {
            self.outcomes.resize(bit / 64 + 1, 0);
        }
        if let Some(word) = self.outcomes.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
        let test = formulas.get_test(test);
        if let (true, Test::Compare { left, relation: Relation::Equal, right: Operand::Number(number), written: false }) =
            (outcome, test)
            && let Err(at) = self.numbers.binary_search(&(left, number))
        {
            self.numbers.insert(at, (left, number));
        }
    }

    fn outcome(&self, formulas: &Formulas, test: TestId) -> Option<bool> {
        let bit = |outcome| {
            let bit = 2 * test.0 + usize::from(outcome);
            self.outcomes.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
        };
        if bit(true) {
            // A tunnel's places are noted once on a way.
            return Some(true);
        }
        if bit(false) {
            return Some(false);
        }
        let Test::Compare { left, relation: Relation::Equal, right: Operand::Number(number), written: false } =
            formulas.get_test(test)
        else {
            return None;
        };
        let at = self.numbers.partition_point(|(value, _)| *value < left);
        let (value, is) = self.numbers.get(at)?;
        (*value == left).then_some(*is == number)
    }

    /// Forgets what `other` does not know.
    fn keep_common(&mut self, other: &Self) {
        self.outcomes.truncate(other.outcomes.len());
        for (word, other) in self.outcomes.iter_mut().zip(&other.outcomes) {
            *word &= other;
        }
        self.numbers.retain(|number| other.numbers.binary_search(number).is_ok());
    }
}

/// Makes nodes.
struct Builder<'f> {
    formulas: &'f Formulas,
    nodes: Vec<Node>,
    /// If equal nodes are joined: which there are. A test that becomes needless by that stays, as in libpcap's programs.
    ids: Option<HashMap<Node, usize>>,
}

impl Builder<'_> {
    /// Where to begin so that `formula` leads to `yes` or `no`. Lists lean to the left, so that is the loop.
    fn build(&mut self, mut formula: FormulaId, mut yes: Next, mut no: Next) -> Next {
        loop {
            match self.formulas.get(formula) {
                Formula::Always(always) => return if always { yes } else { no },
                Formula::Test(test) => return self.node(test, yes, no),
                Formula::Not(inner) => {
                    formula = inner;
                    std::mem::swap(&mut yes, &mut no);
                }
                Formula::And(left, right) => {
                    yes = self.build(right, yes, no);
                    formula = left;
                }
                Formula::Or(left, right) => {
                    no = self.build(right, yes, no);
                    formula = left;
                }
            }
        }
    }

    fn node(&mut self, test: TestId, yes: Next, no: Next) -> Next {
        let tunnel = matches!(self.formulas.get_test(test), Test::Tunnel(_));
        if yes == no && !tunnel && self.ids.is_none() {
            return yes;
        }
        // A tunnel's test is always true.
        let node = Node { test, yes, no: if tunnel { yes } else { no } };
        let next = self.nodes.len();
        let id = self.ids.as_mut().map_or(next, |ids| *ids.entry(node).or_insert(next));
        if id == next {
            self.nodes.push(node);
        }
        Next::Node(id)
    }
}
