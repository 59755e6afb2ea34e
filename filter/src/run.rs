//! Running a program over a packet.

use vxtap_wire::{ETHERNET_HEADER_LEN, Link};

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
        match packet.link {
            Link::Ethernet => self.accepts_bytes(packet, packet.frame),
            link => self.accepts_bytes(packet, AsEthernet::new(link, packet.frame)),
        }
    }

    #[inline]
    fn accepts_bytes(&self, packet: &Packet<'_>, bytes: impl Bytes) -> bool {
        let accepted =
            if self.scratch { self.run(packet, bytes, &mut [0; SCRATCH]) } else { self.run(packet, bytes, &mut []) };
        accepted.unwrap_or(false)
    }

    /// `None` where the program reads behind the end of the frame or divides by zero.
    #[inline]
    fn run<const WORDS: usize>(
        &self,
        packet: &Packet<'_>,
        frame: impl Bytes,
        scratch: &mut [u32; WORDS],
    ) -> Option<bool> {
        let (mut a, mut x) = (0_u32, 0_u32);
        let mut at = 0_usize;
        loop {
            let Some(stride) = self.strides.get(at) else { return Some(at == usize::from(ACCEPT)) };
            let (k, offset, mask) = (stride.k, stride.offset, stride.mask);
            let go = |yes: bool| usize::from(if yes { stride.yes } else { stride.no });
            at += 1;
            match stride.run {
                Run::HalfEqual => {
                    a = frame.half(offset)? & mask;
                    at = go(a == k);
                }
                Run::ByteEqual => {
                    a = frame.byte(offset)? & mask;
                    at = go(a == k);
                }
                Run::WordEqual => {
                    a = frame.word(offset)? & mask;
                    at = go(a == k);
                }
                Run::HalfAnyBit => {
                    a = frame.half(offset)?;
                    at = go(a & k != 0);
                }
                Run::ByteAnyBit => {
                    a = frame.byte(offset)?;
                    at = go(a & k != 0);
                }
                Run::IndexedHalfEqual => {
                    a = frame.half(x.checked_add(offset)?)? & mask;
                    at = go(a == k);
                }
                Run::TransportHalfEqual => {
                    x = (frame.byte(mask)? & 0x0f) << 2;
                    a = frame.half(x.checked_add(offset)?)?;
                    at = go(a == k);
                }
                Run::HalfEither => {
                    a = frame.half(offset)?;
                    at = if a != k && a == mask { usize::from(stride.other) } else { go(a == k) };
                }
                Run::TwoHalves => {
                    a = frame.half(offset)?;
                    if a != k {
                        a = frame.half(offset + 2)?;
                    }
                    at = go(a == k);
                }
                Run::TransportTwoHalves => {
                    x = (frame.byte(mask)? & 0x0f) << 2;
                    let place = x.checked_add(offset)?;
                    a = frame.half(place)?;
                    if a != k {
                        a = frame.half(place.checked_add(2)?)?;
                    }
                    at = go(a == k);
                }
                Run::One(op) => match op {
                    Op::Compare(Relation::Equal) => at = go(a == k),
                    Op::Accept => return Some(true),
                    Op::Reject => return Some(false),
                    Op::Load(Size::Byte) => a = frame.byte(k)?,
                    Op::Load(Size::Half) => a = frame.half(k)?,
                    Op::Load(Size::Word) => a = frame.word(k)?,
                    Op::LoadIndexed(size) => {
                        let place = x.checked_add(k)?;
                        a = match size {
                            Size::Byte => frame.byte(place)?,
                            Size::Half => frame.half(place)?,
                            Size::Word => frame.word(place)?,
                        };
                    }
                    Op::LoadLength => a = packet.wire_len,
                    Op::LoadNumber => a = k,
                    Op::LoadScratch => a = *scratch.get(k as usize)?,
                    Op::IndexHeaderLength => x = (frame.byte(k)? & 0x0f) << 2,
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
            Self::Vni(vni) => {
                tunnel.vni == Some(*vni) || tunnel.around.as_slice().iter().any(|around| around.get() == *vni)
            }
            Self::Network(name) => tunnel.network == Some(name),
            Self::Outer(net) => tunnel.outer_source.is_some_and(|source| net.contains(source)),
        }
    }
}

impl Chain {
    /// As the loop does that tcpdump emits, which moves the offset behind an authentication header to the header's length
    /// instead of adding it. That can go round for ever; here it ends without a match.
    fn holds(self, frame: impl Bytes) -> Option<bool> {
        let Self { v6, network, protocol } = self;
        let mut header = frame.byte(network.checked_add(if v6 { 6 } else { 9 })?)?;
        let mut behind = if v6 { 40 } else { (frame.byte(network)? & 0x0f) << 2 };
        for _ in 0..MAX_HEADERS {
            let at = behind.checked_add(network)?;
            match header {
                _ if header == protocol => return Some(true),
                0 | 60 | 43 | 44 if v6 => {
                    let next = frame.byte(at)?;
                    behind += (frame.byte(at.checked_add(1)?)? + 1) * 8;
                    header = next;
                }
                51 => {
                    let next = frame.byte(at)?;
                    behind = (frame.byte(at.checked_add(1)?)? + 2) * 4;
                    header = next;
                }
                _ => return Some(false),
            }
        }
        Some(false)
    }
}

/// What a program reads.
trait Bytes: Copy {
    fn byte(self, at: u32) -> Option<u32>;
    fn half(self, at: u32) -> Option<u32>;
    fn word(self, at: u32) -> Option<u32>;
}

impl Bytes for &[u8] {
    #[inline]
    fn byte(self, at: u32) -> Option<u32> {
        self.get(at as usize).map(|byte| u32::from(*byte))
    }

    #[inline]
    fn half(self, at: u32) -> Option<u32> {
        let bytes = self.get(at as usize..)?.first_chunk()?;
        Some(u32::from(u16::from_be_bytes(*bytes)))
    }

    #[inline]
    fn word(self, at: u32) -> Option<u32> {
        let bytes = self.get(at as usize..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    }
}

/// A frame of another link as if it were one of Ethernet.
#[derive(Clone, Copy)]
struct AsEthernet<'a> {
    header: [u8; ETHERNET_HEADER_LEN],
    behind: &'a [u8],
}

impl<'a> AsEthernet<'a> {
    #[inline]
    fn new(link: Link, frame: &'a [u8]) -> Self {
        let (header, at) = link.as_ethernet(frame);
        Self { header, behind: &frame[at..] }
    }
}

impl Bytes for AsEthernet<'_> {
    fn byte(self, at: u32) -> Option<u32> {
        let at = at as usize;
        match at.checked_sub(ETHERNET_HEADER_LEN) {
            Some(at) => self.behind.get(at),
            None => self.header.get(at),
        }
        .map(|byte| u32::from(*byte))
    }

    fn half(self, at: u32) -> Option<u32> {
        Some(self.byte(at)? << 8 | self.byte(at.checked_add(1)?)?)
    }

    fn word(self, at: u32) -> Option<u32> {
        Some(self.half(at)? << 16 | self.half(at.checked_add(2)?)?)
    }
}
