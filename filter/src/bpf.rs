//! Programs for the kernel: classic BPF (Linux, Documentation/networking/filter.rst).

use vxtap_wire::BpfInstruction;

use crate::error::NotForKernel;
use crate::formula::{Own, Relation, Size};
use crate::program::{Op, Program, Step, jumps};
use crate::tree::Operator;

const ALWAYS: u16 = 0x05;
const RETURN: u16 = 0x06;
/// The other operand is X instead of k.
const WITH_INDEX: u16 = 0x08;

/// The longest jump of a comparison.
const NEAR: usize = 255;

impl Program {
    /// The program in classic BPF. It returns `snaplen` for a frame that is wanted, and 0 for others.
    pub(crate) fn bpf(&self, snaplen: u32) -> Result<Vec<BpfInstruction>, NotForKernel> {
        for step in &self.steps {
            if let Some(what) = self.obstacle(*step) {
                return Err(NotForKernel { what });
            }
        }
        let far = self.far_jumps();
        let (starts, _) = Self::starts(&far);
        let start = |at: u16| starts.get(usize::from(at)).copied().unwrap_or_default();
        let mut code = Vec::with_capacity(self.steps.len());
        for (step, (far_yes, far_no)) in self.steps.iter().zip(&far) {
            let at = code.len();
            let (yes, no) = (start(step.yes), start(step.no));
            let plain = |code, k| BpfInstruction { code, jt: 0, jf: 0, k };
            if !jumps(step.op) {
                code.push(plain(opcode(step.op), if step.op == Op::Accept { snaplen } else { step.k }));
            } else if step.op == Op::Jump {
                code.push(plain(ALWAYS, (yes - at - 1) as u32));
            } else {
                // What is too far is reached by a jump of its own, right behind.
                let (mut near_yes, mut near_no) = (yes.wrapping_sub(at + 1), no.wrapping_sub(at + 1));
                if matches!(step.op, Op::Continue(_)) {
                    near_yes = usize::from(*far_no);
                }
                let mut behind = Vec::new();
                for (far, near, to) in [(*far_yes, &mut near_yes, yes), (*far_no, &mut near_no, no)] {
                    if far {
                        *near = behind.len();
                        behind.push(plain(ALWAYS, (to - at - 2 - behind.len()) as u32));
                    }
                }
                code.push(BpfInstruction { code: opcode(step.op), jt: near_yes as u8, jf: near_no as u8, k: step.k });
                code.append(&mut behind);
            }
        }
        Ok(code)
    }

    /// How many instructions the program has in classic BPF.
    pub(crate) fn bpf_len(&self) -> usize {
        Self::starts(&self.far_jumps()).1
    }

    /// Why the kernel would not do the same.
    fn obstacle(&self, step: Step) -> Option<&'static str> {
        match step.op {
            Op::Own => self.own.get(step.k as usize).map(|own| match own {
                Own::Vni(_) => "'vni'",
                Own::Network(_) => "'network'",
                Own::Outer(_) => "'outer'",
            }),
            Op::Chain => Some("'protochain'"),
            // The kernel has other things at negative offsets, and shifts by the count modulo 32.
            Op::Load(_) | Op::LoadIndexed(_) | Op::IndexHeaderLength if step.k > i32::MAX as u32 => {
                Some("a negative offset")
            }
            Op::ComputeIndex(Operator::ShiftLeft | Operator::ShiftRight) => Some("a shift by bits of the packet"),
            _ => None,
        }
    }

    /// Which comparisons cannot reach `yes`, `no` themselves. Each extra jump moves others apart, so it is looked again.
    fn far_jumps(&self) -> Vec<(bool, bool)> {
        let mut far = vec![(false, false); self.steps.len()];
        loop {
            let (starts, _) = Self::starts(&far);
            let mut changed = false;
            for ((at, step), (far_yes, far_no)) in self.steps.iter().enumerate().zip(&mut far) {
                if !jumps(step.op) || step.op == Op::Jump {
                    continue;
                }
                let from = starts.get(at).copied().unwrap_or_default() + 1;
                let is_far =
                    |to: u16| starts.get(usize::from(to)).copied().unwrap_or_default().saturating_sub(from) > NEAR;
                let (yes, no) = (is_far(step.yes) && !matches!(step.op, Op::Continue(_)), is_far(step.no));
                changed |= (yes && !*far_yes) || (no && !*far_no);
                *far_yes |= yes;
                *far_no |= no;
            }
            if !changed {
                return far;
            }
        }
    }

    /// Where each instruction begins in classic BPF, and where all end.
    fn starts(far: &[(bool, bool)]) -> (Vec<usize>, usize) {
        let mut at = 0;
        let starts = far.iter().map(|(yes, no)| {
            let start = at;
            at += 1 + usize::from(*yes) + usize::from(*no);
            start
        });
        (starts.collect(), at)
    }
}

fn opcode(op: Op) -> u16 {
    let size = |size| match size {
        Size::Word => 0x00,
        Size::Half => 0x08,
        Size::Byte => 0x10,
    };
    let relation = |relation| match relation {
        Relation::Equal => 0x15,
        Relation::Greater => 0x25,
        Relation::GreaterOrEqual => 0x35,
        Relation::AnyBit => 0x45,
    };
    match op {
        Op::Load(bytes) => 0x20 | size(bytes),
        Op::LoadIndexed(bytes) => 0x40 | size(bytes),
        Op::LoadLength => 0x80,
        Op::LoadNumber => 0x00,
        Op::LoadScratch => 0x60,
        Op::IndexHeaderLength => 0xb1,
        Op::IndexNumber => 0x01,
        Op::IndexScratch => 0x61,
        Op::Store => 0x02,
        Op::Compute(operator) => arithmetic(operator),
        Op::ComputeIndex(operator) => arithmetic(operator) | WITH_INDEX,
        Op::Negate => 0x84,
        Op::ToIndex => 0x07,
        Op::FromIndex => 0x87,
        Op::Compare(how) | Op::Continue(how) => relation(how),
        Op::CompareIndex(how) => relation(how) | WITH_INDEX,
        Op::Jump | Op::Own | Op::Chain => ALWAYS,
        Op::Accept | Op::Reject => RETURN,
    }
}

fn arithmetic(operator: Operator) -> u16 {
    match operator {
        Operator::Add => 0x04,
        Operator::Subtract => 0x14,
        Operator::Multiply => 0x24,
        Operator::Divide => 0x34,
        Operator::Or => 0x44,
        Operator::And => 0x54,
        Operator::ShiftLeft => 0x64,
        Operator::ShiftRight => 0x74,
        Operator::Modulo => 0x94,
        Operator::Xor => 0xa4,
    }
}
