//! Running a program over a packet.

use crate::Packet;
use crate::formula::{Own, Relation, Size, compute, holds};
use crate::program::{Chain, Op, Program, SCRATCH};
use crate::stride::{ACCEPT, Run};

/// How many headers are looked at behind an IP header.
const MAX_HEADERS: usize = 256;

impl Program {
    /// Whether the program accepts `packet`. Every jump leads forward, so it ends.
    #[inline]
    pub(crate) fn accepts(&self, packet: &Packet<'_>) -> bool {
        let accepted = if self.scratch { self.run(packet, &mut [0; SCRATCH]) } else { self.run(packet, &mut []) };
        accepted.unwrap_or(false)
    }

    /// `None` where the program reads behind the end of the frame or divides by zero.
    #[inline]
    fn run<const WORDS: usize>(&self, packet: &Packet<'_>, scratch: &mut [u32; WORDS]) -> Option<bool> {
        let frame = packet.frame;
        let (mut a, mut x) = (0_u32, 0_u32);
        let mut at = 0_usize;
        loop {
            let Some(stride) = self.strides.get(at) else { return Some(at == usize::from(ACCEPT)) };
            let (k, offset, mask) = (stride.k, stride.offset, stride.mask);
            let go = |yes: bool| usize::from(if yes { stride.yes } else { stride.no });
            at += 1;
            match stride.run {
                Run::HalfEqual => {
                    a = half(frame, offset)? & mask;
                    at = go(a == k);
                }
                Run::ByteEqual => {
                    a = byte(frame, offset)? & mask;
                    at = go(a == k);
                }
                Run::WordEqual => {
                    a = word(frame, offset)? & mask;
                    at = go(a == k);
                }
                Run::HalfAnyBit => {
                    a = half(frame, offset)?;
                    at = go(a & k != 0);
                }
                Run::ByteAnyBit => {
                    a = byte(frame, offset)?;
                    at = go(a & k != 0);
                }
                Run::IndexedHalfEqual => {
                    a = half(frame, x.checked_add(offset)?)? & mask;
                    at = go(a == k);
                }
                Run::TransportHalfEqual => {
                    x = (byte(frame, mask)? & 0x0f) << 2;
                    a = half(frame, x.checked_add(offset)?)?;
                    at = go(a == k);
                }
                Run::HalfEither => {
                    a = half(frame, offset)?;
                    at = if a != k && a == mask { usize::from(stride.other) } else { go(a == k) };
                }
                Run::TwoHalves => {
                    a = half(frame, offset)?;
                    if a != k {
                        a = half(frame, offset + 2)?;
                    }
                    at = go(a == k);
                }
                Run::TransportTwoHalves => {
                    x = (byte(frame, mask)? & 0x0f) << 2;
                    let place = x.checked_add(offset)?;
                    a = half(frame, place)?;
                    if a != k {
                        a = half(frame, place.checked_add(2)?)?;
                    }
                    at = go(a == k);
                }
                Run::One(op) => match op {
                    Op::Compare(Relation::Equal) => at = go(a == k),
                    Op::Accept => return Some(true),
                    Op::Reject => return Some(false),
                    Op::Load(Size::Byte) => a = byte(frame, k)?,
                    Op::Load(Size::Half) => a = half(frame, k)?,
                    Op::Load(Size::Word) => a = word(frame, k)?,
                    Op::LoadIndexed(size) => {
                        let place = x.checked_add(k)?;
                        a = match size {
                            Size::Byte => byte(frame, place)?,
                            Size::Half => half(frame, place)?,
                            Size::Word => word(frame, place)?,
                        };
                    }
                    Op::LoadLength => a = packet.wire_len,
                    Op::LoadNumber => a = k,
                    Op::LoadScratch => a = *scratch.get(k as usize)?,
                    Op::IndexHeaderLength => x = (byte(frame, k)? & 0x0f) << 2,
                    Op::IndexNumber => x = k,
                    Op::IndexScratch => x = *scratch.get(k as usize)?,
                    Op::Store => *scratch.get_mut(k as usize)? = a,
                    Op::Compute(operator) => a = compute(operator, a, k)?,
                    Op::ComputeIndex(operator) => a = compute(operator, a, x)?,
                    Op::Negate => a = a.wrapping_neg(),
                    Op::ToIndex => x = a,
                    Op::FromIndex => a = x,
                    Op::Compare(relation) => at = go(holds(a, relation, k)),
                    Op::CompareIndex(relation) => at = go(holds(a, relation, x)),
                    Op::Continue(relation) => {
                        if !holds(a, relation, k) {
                            at = usize::from(stride.no);
                        }
                    }
                    Op::Jump => at = usize::from(stride.yes),
                    Op::Own => at = go(self.own.get(k as usize)?.holds(packet)),
                    Op::Chain => at = go(self.chains.get(k as usize)?.holds(frame)?),
                },
            }
        }
    }
}

impl Own {
    fn holds(&self, packet: &Packet<'_>) -> bool {
        let tunnel = &packet.tunnel;
        match self {
            Self::Vni(vni) => tunnel.vni == Some(*vni),
            Self::Network(name) => tunnel.network == Some(name),
            Self::Outer(net) => tunnel.outer_source.is_some_and(|source| net.contains(source)),
        }
    }
}

impl Chain {
    /// As the loop does that tcpdump emits, which moves the offset behind an authentication header to the header's length
    /// instead of adding it. That can go round for ever; here it ends without a match.
    fn holds(self, frame: &[u8]) -> Option<bool> {
        let Self { v6, network, protocol } = self;
        let mut header = byte(frame, network.checked_add(if v6 { 6 } else { 9 })?)?;
        let mut behind = if v6 { 40 } else { (byte(frame, network)? & 0x0f) << 2 };
        for _ in 0..MAX_HEADERS {
            let at = behind.checked_add(network)?;
            match header {
                _ if header == protocol => return Some(true),
                0 | 60 | 43 | 44 if v6 => {
                    let next = byte(frame, at)?;
                    behind += (byte(frame, at.checked_add(1)?)? + 1) * 8;
                    header = next;
                }
                51 => {
                    let next = byte(frame, at)?;
                    behind = (byte(frame, at.checked_add(1)?)? + 2) * 4;
                    header = next;
                }
                _ => return Some(false),
            }
        }
        Some(false)
    }
}

#[inline]
fn byte(frame: &[u8], at: u32) -> Option<u32> {
    frame.get(at as usize).map(|byte| u32::from(*byte))
}

#[inline]
fn half(frame: &[u8], at: u32) -> Option<u32> {
    let bytes = frame.get(at as usize..)?.first_chunk()?;
    Some(u32::from(u16::from_be_bytes(*bytes)))
}

#[inline]
fn word(frame: &[u8], at: u32) -> Option<u32> {
    let bytes = frame.get(at as usize..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}
