//! tcpdump's programs, and an interpreter of classic BPF that shares nothing with ours.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use vxtap_filter::BpfInstruction;
use vxtap_tests::capture_file::{self, ETHERNET, Record};
use vxtap_tests::captures::Captures;

/// A frame and its length on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) wire_len: u32,
}

/// The lines of a table that are not empty and no comments.
pub(crate) fn lines(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.is_empty() && !line.starts_with("# "))
}

/// Every Ethernet frame of the captures, once: as they are, and what is in their tunnels.
pub(crate) fn frames(captures: &Captures) -> Vec<Frame> {
    let classes = ["vxlan", "geneve", "http", "dns", "tls", "quic", "appproto", "tcp", "l2l3", "mixed", "malformed"];
    let mut seen = HashSet::new();
    let mut frames = Vec::new();
    let mut add = |records: Vec<Record>| {
        for record in records.into_iter().filter(|record| record.link_type == ETHERNET) {
            let frame = Frame { wire_len: record.original_len as u32, bytes: record.data };
            if seen.insert(frame.clone()) {
                frames.push(frame);
            }
        }
    };
    for capture in captures.of(&classes) {
        let bytes = std::fs::read(&capture.path).expect("a capture can be read");
        // What is damaged has records before the damage or none.
        if let Ok(parsed) = capture_file::parse(&bytes) {
            add(parsed.records);
        }
        for (_, inner) in capture.decapsulated() {
            add(inner);
        }
    }
    assert!(frames.len() > 5000, "only {} frames", frames.len());
    frames
}

/// tcpdump as a compiler of filters for Ethernet frames in a file.
pub(crate) struct Tcpdump {
    empty: TempDir,
}

impl Tcpdump {
    pub(crate) fn new() -> Self {
        let empty = TempDir::new().unwrap();
        capture_file::write(&empty.path().join("empty.pcap"), &[]);
        Self { empty }
    }

    /// The program of `filter`, or why tcpdump refuses it.
    pub(crate) fn program(&self, filter: &str) -> Result<Vec<BpfInstruction>, String> {
        let file = self.empty.path().join("empty.pcap");
        let output = compile(&file, filter);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8(output.stdout).expect("numbers");
        let numbers = |line: &str| line.split(' ').map(|number| number.parse().unwrap()).collect::<Vec<u32>>();
        let program: Vec<BpfInstruction> = text
            .lines()
            .skip(1)
            .map(|line| match numbers(line)[..] {
                [code, jt, jf, k] => BpfInstruction { code: code as u16, jt: jt as u8, jf: jf as u8, k },
                _ => panic!("{line}"),
            })
            .collect();
        assert!(!program.is_empty(), "{filter}");
        Ok(program)
    }
}

fn compile(file: &Path, filter: &str) -> std::process::Output {
    let mut command = Command::new(vxtap_tests::needs::find_tool("tcpdump").expect("tcpdump is there"));
    command.arg("-ddd").arg("-r").arg(file).arg("--").arg(filter).output().expect("tcpdump starts")
}

/// How many instructions are run: tcpdump's loop over header chains need not end.
const MAX_STEPS: usize = 10_000;

/// What `program` returns for `frame`, with the rules of the kernel's documentation: a load behind the end and a division
/// by zero return 0.
pub(crate) fn run(program: &[BpfInstruction], frame: &Frame) -> u32 {
    let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0_u32; 16]);
    let mut at = 0_usize;
    for _ in 0..MAX_STEPS {
        let BpfInstruction { code, jt, jf, k } = program[at];
        at += 1;
        let operand = if code & 0x08 == 0 { k } else { x };
        match code & 0x07 {
            class @ (0 | 1) => {
                let load = |offset: Option<u32>| {
                    let len = [4, 2, 1][usize::from(code >> 3 & 3)];
                    let start = offset? as usize;
                    let bytes = frame.bytes.get(start..start.checked_add(len)?)?;
                    Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
                };
                let loaded = match code & 0xe0 {
                    0x00 => Some(k),
                    0x20 => load(Some(k)),
                    0x40 => load(x.checked_add(k)),
                    0x60 => Some(memory[k as usize]),
                    0x80 => Some(frame.wire_len),
                    0xa0 => frame.bytes.get(k as usize).map(|byte| u32::from(byte & 0x0f) * 4),
                    _ => panic!("{code:#x}"),
                };
                let Some(loaded) = loaded else { return 0 };
                *(if class == 0 { &mut a } else { &mut x }) = loaded;
            }
            2 => memory[k as usize] = a,
            3 => memory[k as usize] = x,
            4 => {
                a = match code & 0xf0 {
                    0x00 => a.wrapping_add(operand),
                    0x10 => a.wrapping_sub(operand),
                    0x20 => a.wrapping_mul(operand),
                    0x30 | 0x90 if operand == 0 => return 0,
                    0x30 => a / operand,
                    0x90 => a % operand,
                    0x40 => a | operand,
                    0x50 => a & operand,
                    0x60 => a.checked_shl(operand).unwrap_or(0),
                    0x70 => a.checked_shr(operand).unwrap_or(0),
                    0x80 => a.wrapping_neg(),
                    0xa0 => a ^ operand,
                    _ => panic!("{code:#x}"),
                }
            }
            5 => {
                let yes = match code & 0xf0 {
                    0x00 => {
                        at = at.wrapping_add_signed(k.cast_signed() as isize);
                        continue;
                    }
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    0x40 => a & operand != 0,
                    _ => panic!("{code:#x}"),
                };
                at += usize::from(if yes { jt } else { jf });
            }
            6 => return if code & 0x10 == 0 { k } else { a },
            _ if code & 0x80 == 0 => x = a,
            _ => a = x,
        }
    }
    0
}

mod tests {
    use super::*;

    fn result(program: &[(u16, u8, u8, u32)]) -> u32 {
        let program: Vec<_> = program.iter().map(|&(code, jt, jf, k)| BpfInstruction { code, jt, jf, k }).collect();
        run(&program, &Frame { bytes: vec![1, 2, 3, 4, 5], wire_len: 60 })
    }

    #[test]
    fn loads_have_their_sizes_and_end_the_program_behind_the_frame() {
        assert_eq!(result(&[(0x20, 0, 0, 1), (0x16, 0, 0, 0)]), 0x0203_0405);
        assert_eq!(result(&[(0x28, 0, 0, 3), (0x16, 0, 0, 0)]), 0x0405);
        assert_eq!(result(&[(0x28, 0, 0, 4), (0x06, 0, 0, 9)]), 0);
        assert_eq!(result(&[(0xb1, 0, 0, 0), (0x50, 0, 0, 0), (0x16, 0, 0, 0)]), 5);
        assert_eq!(result(&[(0x80, 0, 0, 0), (0x16, 0, 0, 0)]), 60);
    }

    #[test]
    fn jumps_go_by_the_comparison_and_a_loop_ends() {
        assert_eq!(result(&[(0x30, 0, 0, 0), (0x15, 0, 1, 1), (0x06, 0, 0, 7), (0x06, 0, 0, 8)]), 7);
        assert_eq!(result(&[(0x30, 0, 0, 0), (0x15, 0, 1, 2), (0x06, 0, 0, 7), (0x06, 0, 0, 8)]), 8);
        assert_eq!(result(&[(0x05, 0, 0, u32::MAX)]), 0);
    }

    #[test]
    fn a_division_by_zero_ends_the_program() {
        assert_eq!(result(&[(0x00, 0, 0, 6), (0x34, 0, 0, 2), (0x16, 0, 0, 0)]), 3);
        assert_eq!(result(&[(0x00, 0, 0, 6), (0x3c, 0, 0, 0), (0x06, 0, 0, 9)]), 0);
    }
}
