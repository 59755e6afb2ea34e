//! Classic BPF with labels (Linux, Documentation/networking/filter.rst).

use vxtap_wire::BpfInstruction;

/// The longest jump of a comparison.
const NEAR: usize = 255;

/// A place in the program, bound once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// How A is compared, with a number or with X; without sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    Above,
    AtLeast,
    AnyBit,
}

impl Test {
    const fn code(self) -> u16 {
        match self {
            Self::Equal => 0x15,
            Self::Above => 0x25,
            Self::AtLeast => 0x35,
            Self::AnyBit => 0x45,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Plain(BpfInstruction),
    /// To the label if the test comes out as `wanted`, and on otherwise.
    Branch {
        code: u16,
        k: u32,
        wanted: bool,
        to: Label,
    },
    Goto(Label),
}

/// A program as it is written. All jumps lead forward.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    items: Vec<Item>,
    /// The item that each label stands in front of.
    labels: Vec<Option<usize>>,
}

impl Assembler {
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub(super) fn bind(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(self.items.len());
        }
    }

    fn plain(&mut self, code: u16, k: u32) {
        self.items.push(Item::Plain(BpfInstruction { code, jt: 0, jf: 0, k }));
    }

    /// A = length of the frame.
    pub(super) fn load_length(&mut self) {
        self.plain(0x80, 0);
    }

    /// A = 1, 2, 4 bytes at `at`.
    pub(super) fn load_byte(&mut self, at: u32) {
        self.plain(0x30, at);
    }

    pub(super) fn load_half(&mut self, at: u32) {
        self.plain(0x28, at);
    }

    pub(super) fn load_word(&mut self, at: u32) {
        self.plain(0x20, at);
    }

    /// A = 2 bytes at X + `at`.
    pub(super) fn load_half_indexed(&mut self, at: u32) {
        self.plain(0x48, at);
    }

    /// X = four times the lower half of the byte at `at`.
    pub(super) fn index_header_length(&mut self, at: u32) {
        self.plain(0xb1, at);
    }

    pub(super) fn load_number(&mut self, number: u32) {
        self.plain(0x00, number);
    }

    pub(super) fn load_scratch(&mut self, word: u32) {
        self.plain(0x60, word);
    }

    pub(super) fn store(&mut self, word: u32) {
        self.plain(0x02, word);
    }

    pub(super) fn and(&mut self, mask: u32) {
        self.plain(0x54, mask);
    }

    pub(super) fn subtract(&mut self, number: u32) {
        self.plain(0x14, number);
    }

    pub(super) fn subtract_index(&mut self) {
        self.plain(0x1c, 0);
    }

    pub(super) fn ret(&mut self, value: u32) {
        self.plain(0x06, value);
    }

    pub(super) fn goto(&mut self, to: Label) {
        self.items.push(Item::Goto(to));
    }

    /// To `to` if the comparison of A with `k` holds.
    pub(super) fn jump_if(&mut self, test: Test, k: u32, to: Label) {
        self.items.push(Item::Branch { code: test.code(), k, wanted: true, to });
    }

    /// To `to` if it does not hold.
    pub(super) fn jump_unless(&mut self, test: Test, k: u32, to: Label) {
        self.items.push(Item::Branch { code: test.code(), k, wanted: false, to });
    }

    /// To `to` if the comparison of A with X holds.
    pub(super) fn jump_if_index(&mut self, test: Test, to: Label) {
        self.items.push(Item::Branch { code: test.code() | 0x08, k: 0, wanted: true, to });
    }

    /// How many instructions there are at least.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The program; `None` where a label is nowhere or behind a jump to it.
    pub(super) fn finish(self) -> Option<Vec<BpfInstruction>> {
        let Self { items, labels } = self;
        // A branch that does not reach its label gets a jump of its own behind it, which moves others apart: looked at again
        // until nothing changes. A jump to the very next instruction goes.
        let mut far = vec![false; items.len()];
        let needless =
            |at: usize, item: &Item| matches!(item, Item::Goto(to) if labels.get(to.0) == Some(&Some(at + 1)));
        let starts = loop {
            let mut starts = Vec::with_capacity(items.len() + 1);
            let mut next = 0;
            for (at, (item, far)) in items.iter().zip(&far).enumerate() {
                starts.push(next);
                next += if needless(at, item) { 0 } else { 1 + usize::from(*far) };
            }
            starts.push(next);
            let mut changed = false;
            for (at, (item, far)) in items.iter().zip(&mut far).enumerate() {
                if let Item::Branch { to, .. } = item
                    && !*far
                {
                    let target = starts.get(labels.get(to.0).copied().flatten()?)?;
                    *far = target.checked_sub(starts.get(at)? + 1)? > NEAR;
                    changed |= *far;
                }
            }
            if !changed {
                break starts;
            }
        };
        let place = |to: Label| starts.get(labels.get(to.0).copied().flatten()?).copied();
        let always = |distance: usize| BpfInstruction { code: 0x05, jt: 0, jf: 0, k: distance as u32 };
        let mut program: Vec<BpfInstruction> = Vec::with_capacity(starts.last().copied().unwrap_or_default());
        for (at, (item, far)) in items.iter().zip(&far).enumerate() {
            match *item {
                _ if needless(at, item) => {}
                Item::Plain(instruction) => program.push(instruction),
                Item::Goto(to) => program.push(always(place(to)?.checked_sub(program.len() + 1)?)),
                Item::Branch { code, k, wanted, to } => {
                    let target = place(to)?;
                    let here = program.len() + 1;
                    // To the label, and on: behind the jump if there is one.
                    let (to, on) = if *far { (0, 1) } else { (target.checked_sub(here)? as u8, 0) };
                    let (jt, jf) = if wanted { (to, on) } else { (on, to) };
                    program.push(BpfInstruction { code, jt, jf, k });
                    if *far {
                        program.push(always(target.checked_sub(here + 1)?));
                    }
                }
            }
        }
        Some(program)
    }
}
