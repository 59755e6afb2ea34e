//! Bringing tests of one value together.
//!
//! `host a or b` asks for source a, destination a, source b, destination b. Where the results lead to the same place the
//! order of such a list is free, so a test that looks at a value again is pulled up to the one before that did: the
//! value is loaded once. The rule is that of libpcap's optimizer, since in a frame that was cut between both values the
//! order decides whether the load that fails comes first.

use super::{Graph, Next, Node};
use crate::formula::{Formulas, Relation, Test, ValueId};

/// The edges and dominators of a graph before anything is pulled up.
struct Shape {
    /// Where each node is reached from.
    before: Vec<Vec<usize>>,
    /// The nearest node that is on every way to a node, and how many such nodes there are.
    dominators: Vec<(Option<usize>, usize)>,
    /// Numbers of all nodes whose ways go through a node: from the first, so many.
    below: Vec<(usize, usize)>,
    /// The longest way from a node to an end.
    levels: Vec<usize>,
}

impl Graph {
    /// Pulls up what can be. Says whether there was something; the order of nodes is then lost.
    pub(super) fn pull_up(&mut self, formulas: &Formulas) -> bool {
        let shape = Shape::of(self);
        let mut order: Vec<usize> = (0..self.nodes.len()).rev().collect();
        order.sort_by_key(|at| shape.levels.get(*at).copied());
        let mut changed = false;
        for at in order {
            for chain in [true, false] {
                changed |= self.pull_up_at(formulas, &shape, at, chain).is_some();
            }
        }
        changed
    }

    /// Looks down the list of tests from node `top` along its no edges (`by_no`, a list joined by or) or its yes edges.
    fn pull_up_at(&mut self, formulas: &Formulas, shape: &Shape, top: usize, by_no: bool) -> Option<()> {
        let before = shape.before.get(top)?;
        // All that leads here has looked at one value.
        let value = self.value(formulas, *before.first()?)?;
        if before.iter().any(|at| self.value(formulas, *at) != Some(value) || !self.leads(*at, top)) {
            return None;
        }
        let exit = self.nodes.get(top)?.other(by_no);
        let in_list = |graph: &Self, next: Next| {
            let Next::Node(at) = next else { return None };
            let node = graph.nodes.get(at)?;
            let same = node.other(by_no) == exit && shape.is_dominated(at, top);
            (same && !matches!(formulas.get_test(node.test), Test::Tunnel(_))).then_some(at)
        };
        // The first test of another value, and the one that leads there.
        let mut last_same = None;
        let mut different = in_list(self, Next::Node(top))?;
        while self.value(formulas, different) == Some(value) {
            last_same = Some(different);
            different = in_list(self, self.nodes.get(different)?.along(by_no))?;
        }
        // Behind it, each test of the same value.
        let mut above = different;
        let mut changed = None;
        while let Some(next) = in_list(self, self.nodes.get(above)?.along(by_no)) {
            if self.value(formulas, next) != Some(value) {
                above = next;
                continue;
            }
            let behind = self.nodes.get(next)?.along(by_no);
            *self.nodes.get_mut(above)?.along_mut(by_no) = behind;
            *self.nodes.get_mut(next)?.along_mut(by_no) = Next::Node(different);
            match last_same {
                Some(last) => *self.nodes.get_mut(last)?.along_mut(by_no) = Next::Node(next),
                None => {
                    for at in before {
                        let node = self.nodes.get_mut(*at)?;
                        for edge in [&mut node.yes, &mut node.no] {
                            if *edge == Next::Node(top) {
                                *edge = Next::Node(next);
                            }
                        }
                    }
                }
            }
            last_same = Some(next);
            changed = Some(());
        }
        changed
    }

    /// What a node compares, and whether the text writes it out. A written `=` is a difference from its number for
    /// libpcap, and no two are alike.
    fn value(&self, formulas: &Formulas, at: usize) -> Option<(ValueId, bool)> {
        match formulas.get_test(self.nodes.get(at)?.test) {
            Test::Compare { relation: Relation::Equal, written: true, .. }
            | Test::Tunnel(_)
            | Test::Chain { .. }
            | Test::Own(_) => None,
            Test::Compare { left, written, .. } => Some((left, written)),
        }
    }

    fn leads(&self, from: usize, to: usize) -> bool {
        self.nodes.get(from).is_some_and(|node| node.yes == Next::Node(to) || node.no == Next::Node(to))
    }
}

impl Node {
    fn along(self, by_no: bool) -> Next {
        if by_no { self.no } else { self.yes }
    }

    fn along_mut(&mut self, by_no: bool) -> &mut Next {
        if by_no { &mut self.no } else { &mut self.yes }
    }

    fn other(self, by_no: bool) -> Next {
        self.along(!by_no)
    }
}

impl Shape {
    fn of(graph: &Graph) -> Self {
        let len = graph.nodes.len();
        let mut shape = Self {
            before: vec![Vec::new(); len],
            dominators: vec![(None, 0); len],
            below: vec![(0, 1); len],
            levels: vec![0; len],
        };
        for (at, node) in graph.nodes.iter().enumerate() {
            let level = |next| match next {
                Next::Node(at) => shape.levels.get(at).map_or(0, |level| level + 1),
                Next::Accept | Next::Reject => 1,
            };
            let level = level(node.yes).max(level(node.no));
            if let Some(slot) = shape.levels.get_mut(at) {
                *slot = level;
            }
            for next in [node.yes, node.no] {
                if let Next::Node(next) = next
                    && let Some(before) = shape.before.get_mut(next)
                    && before.last() != Some(&at)
                {
                    before.push(at);
                }
            }
        }
        for at in (0..len).rev() {
            let nearest =
                shape.before.get(at).and_then(|before| before.iter().copied().reduce(|a, b| shape.common(a, b)));
            let depth = nearest.map_or(0, |nearest| shape.depth(nearest) + 1);
            if let Some(slot) = shape.dominators.get_mut(at) {
                *slot = (nearest, depth);
            }
        }
        shape.number();
        shape
    }

    fn depth(&self, at: usize) -> usize {
        self.dominators.get(at).map_or(0, |(_, depth)| *depth)
    }

    fn up(&self, at: usize) -> usize {
        self.nearest(at).unwrap_or(at)
    }

    /// The nearest node on every way to `a` and to `b`.
    fn common(&self, mut a: usize, mut b: usize) -> usize {
        while a != b {
            let (from_a, from_b) = (self.depth(a), self.depth(b));
            if from_a == 0 && from_b == 0 {
                break;
            }
            if from_a >= from_b {
                a = self.up(a);
            }
            if from_b >= from_a {
                b = self.up(b);
            }
        }
        a
    }

    /// Numbers the nodes so that those below one are in a row. What is above a node comes behind it in the graph.
    fn number(&mut self) {
        for at in 0..self.below.len() {
            let Some((_, count)) = self.below.get(at).copied() else { continue };
            if let Some((_, above)) = self.nearest(at).and_then(|nearest| self.below.get_mut(nearest)) {
                *above += count;
            }
        }
        let mut free: Vec<usize> = vec![1; self.below.len()];
        for at in (0..self.below.len()).rev() {
            let Some(nearest) = self.nearest(at) else { continue };
            let (Some((start, _)), Some((_, count))) = (self.below.get(nearest).copied(), self.below.get(at).copied())
            else {
                continue;
            };
            if let (Some(free), Some((own, _))) = (free.get_mut(nearest), self.below.get_mut(at)) {
                *own = start + *free;
                *free += count;
            }
        }
    }

    fn nearest(&self, at: usize) -> Option<usize> {
        self.dominators.get(at).and_then(|(nearest, _)| *nearest)
    }

    /// Whether every way to `at` goes through `by`.
    fn is_dominated(&self, at: usize, by: usize) -> bool {
        match (self.below.get(at), self.below.get(by)) {
            (Some((at, _)), Some((start, count))) => (*start..start + count).contains(at),
            _ => false,
        }
    }
}
