//! Instructions that are run often one behind the other, as one.
//!
//! A program is mostly loads, masks and comparisons in this order, and finding out what the next instruction is costs more
//! than doing it. A stride does what the instruction at its place does and, where that begins such a run, the whole run.
//! The others keep their places, for jumps that lead to them.

use crate::formula::{Relation, Size};
use crate::program::{Op, Step};
use crate::tree::Operator;

/// What a stride does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// The instruction alone.
    One(Op),
    /// A = what is at the offset, masked; then whether it is k.
    ByteEqual,
    HalfEqual,
    WordEqual,
    /// A = what is at the offset; then whether it has a bit of k.
    ByteAnyBit,
    HalfAnyBit,
    /// As [`Run::HalfEqual`], behind X.
    IndexedHalfEqual,
    /// X = length of the IPv4 header at the place that `mask` says, then as before, without a mask.
    TransportHalfEqual,
    /// As [`Run::HalfEqual`] without a mask; if it is not, whether it is `mask`: then goes on at `other`.
    HalfEither,
    /// Whether what is at the offset or two bytes further on is k; the same behind an IPv4 header.
    TwoHalves,
    TransportTwoHalves,
}

/// Instead of the places of [`Op::Accept`] and [`Op::Reject`]: no program is so long.
pub(crate) const ACCEPT: u16 = u16::MAX;
pub(crate) const REJECT: u16 = u16::MAX - 1;

/// One or more instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stride {
    pub(crate) run: Run,
    pub(crate) yes: u16,
    pub(crate) no: u16,
    pub(crate) other: u16,
    pub(crate) k: u32,
    pub(crate) offset: u32,
    pub(crate) mask: u32,
}

/// The strides of a program, one for each instruction.
pub(crate) fn strides(steps: &[Step]) -> Vec<Stride> {
    let end = |at: u16| match steps.get(usize::from(at)).map(|step| step.op) {
        Some(Op::Accept) => ACCEPT,
        Some(Op::Reject) => REJECT,
        _ => at,
    };
    let all = (0..steps.len()).filter_map(|at| steps.get(at..)).filter_map(|rest| stride(steps, rest));
    all.map(|stride| Stride { yes: end(stride.yes), no: end(stride.no), other: end(stride.other), ..stride }).collect()
}

fn stride(steps: &[Step], rest: &[Step]) -> Option<Stride> {
    let first = rest.first()?;
    let one = Stride {
        run: Run::One(first.op),
        yes: first.yes,
        no: first.no,
        other: 0,
        k: first.k,
        offset: 0,
        mask: u32::MAX,
    };
    let Some(run) = longer(rest) else { return Some(one) };
    let behind = steps.get(usize::from(run.no)..).unwrap_or_default();
    Some(with_second(run, behind).unwrap_or(run))
}

/// A run and what follows it where the comparison does not hold: a comparison of the same value, or of the next two bytes
/// with the same number.
fn with_second(run: Stride, behind: &[Step]) -> Option<Stride> {
    let next = behind.first()?;
    if run.run == Run::HalfEqual && run.mask == u32::MAX && next.op == Op::Compare(Relation::Equal) {
        return Some(Stride { run: Run::HalfEither, mask: next.k, other: next.yes, no: next.no, ..run });
    }
    let (load, both) = match run.run {
        Run::HalfEqual if run.mask == u32::MAX => (Op::Load(Size::Half), Run::TwoHalves),
        Run::TransportHalfEqual => (Op::LoadIndexed(Size::Half), Run::TransportTwoHalves),
        _ => return None,
    };
    let compare = behind.get(1)?;
    let same = next.op == load
        && Some(next.k) == run.offset.checked_add(2)
        && compare.op == Op::Compare(Relation::Equal)
        && (compare.k, compare.yes) == (run.k, run.yes);
    same.then_some(Stride { run: both, no: compare.no, ..run })
}

/// The run that begins here, if it is one of those that have a stride.
fn longer(steps: &[Step]) -> Option<Stride> {
    let (first, rest) = steps.split_first()?;
    let (second, third) = (rest.first()?, rest.get(1));
    let (mask, compare) = match (second.op, third) {
        (Op::Compute(Operator::And), Some(third)) => (second.k, third),
        _ => (u32::MAX, second),
    };
    let all = |run, compare: &Step, offset, mask| Stride {
        run,
        yes: compare.yes,
        no: compare.no,
        other: 0,
        k: compare.k,
        offset,
        mask,
    };
    match (first.op, compare.op) {
        (Op::Load(size), Op::Compare(Relation::Equal)) => {
            let run = match size {
                Size::Byte => Run::ByteEqual,
                Size::Half => Run::HalfEqual,
                Size::Word => Run::WordEqual,
            };
            Some(all(run, compare, first.k, mask))
        }
        (Op::Load(Size::Byte), Op::Compare(Relation::AnyBit)) if mask == u32::MAX => {
            Some(all(Run::ByteAnyBit, compare, first.k, mask))
        }
        (Op::Load(Size::Half), Op::Compare(Relation::AnyBit)) if mask == u32::MAX => {
            Some(all(Run::HalfAnyBit, compare, first.k, mask))
        }
        (Op::LoadIndexed(Size::Half), Op::Compare(Relation::Equal)) => {
            Some(all(Run::IndexedHalfEqual, compare, first.k, mask))
        }
        (Op::IndexHeaderLength, _) if second.op == Op::LoadIndexed(Size::Half) => {
            let third = third.filter(|third| third.op == Op::Compare(Relation::Equal))?;
            Some(all(Run::TransportHalfEqual, third, second.k, first.k))
        }
        _ => None,
    }
}
