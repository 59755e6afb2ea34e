//! Several rings that share the frames of one interface.

use crate::Instruction;
use crate::error::RingError;
use crate::ring::{Ring, Settings};

/// Which ring of a group gets a frame.
#[derive(Clone, Copy, Debug)]
pub enum Fanout<'a> {
    /// By the kernel's flow hash, equal for both directions of a flow; fragments by their addresses.
    Hash,
    /// By what a program gives, modulo the number of rings. It runs over the frame from where the kernel has it, so that
    /// it must load relative to the network header (`SKF_NET_OFF`) or the link header (`SKF_LL_OFF`).
    Program(&'a [Instruction]),
}

/// Rings that share the frames of an interface: each frame goes to one of them.
#[derive(Debug)]
pub struct FanoutGroup {
    /// The rings, in the order of the numbers that a [`Fanout::Program`] gives.
    pub rings: Vec<Ring>,
}

const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

impl FanoutGroup {
    /// Opens `count` rings as `settings` say and binds them to interface `index`, or all interfaces by 0. No frame is seen
    /// by two of them, and none before all are there. One ring alone is bound without a group.
    pub fn open(count: usize, index: u32, settings: &Settings<'_>, fanout: Fanout<'_>) -> Result<Self, RingError> {
        if count <= 1 {
            let ring = Ring::open(settings)?;
            ring.bind(index)?;
            return Ok(Self { rings: vec![ring] });
        }
        // A ring can join only when it is bound, and would see everything until then.
        let nothing = [Instruction { code: RETURN, jt: 0, jf: 0, k: 0 }];
        let closed = Settings { filter: &nothing, ..settings.clone() };
        let kind: libc::c_int = match fanout {
            Fanout::Hash => libc::PACKET_FANOUT_HASH.cast_signed(),
            Fanout::Program(_) => libc::PACKET_FANOUT_CBPF.cast_signed(),
        };
        let failed = |source| RingError::new("share frames among", format!("{count} rings"), source);
        let mut rings: Vec<Ring> = Vec::with_capacity(count);
        for _ in 0..count {
            let ring = Ring::open(&closed)?;
            ring.bind(index)?;
            let group = match rings.first() {
                // The kernel chooses a number that no other group has.
                None => (kind | libc::PACKET_FANOUT_FLAG_UNIQUEID.cast_signed()) << 16,
                Some(first) => first.socket().get::<libc::c_int>(libc::PACKET_FANOUT).map_err(failed)?,
            };
            ring.socket().set(libc::PACKET_FANOUT, &group).map_err(failed)?;
            rings.push(ring);
        }
        if let Fanout::Program(program) = fanout {
            rings[0].socket().set_fanout_program(program).map_err(failed)?;
        }
        let incoming;
        let filter = if settings.ignore_outgoing {
            incoming = incoming_only(settings.filter);
            &incoming
        } else {
            settings.filter
        };
        for ring in &rings {
            ring.set_filter(filter)?;
        }
        Ok(Self { rings })
    }
}

/// `filter` for frames that come in. Those that leave are not shown to a socket that ignores them, but the kernel forgets that
/// when the socket joins a group: a group has a flag of its own for it, which older kernels pass over.
fn incoming_only(filter: &[Instruction]) -> Vec<Instruction> {
    let everything = [Instruction { code: RETURN, jt: 0, jf: 0, k: u32::MAX }];
    let mut program = vec![
        Instruction { code: LOAD_BYTE, jt: 0, jf: 0, k: (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned() },
        Instruction { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: libc::PACKET_OUTGOING.into() },
        Instruction { code: RETURN, jt: 0, jf: 0, k: 0 },
    ];
    program.extend_from_slice(if filter.is_empty() { &everything } else { filter });
    program
}
