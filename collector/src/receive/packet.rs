//! Frames of an interface, as a raw mirror has them come: a packet ring for each worker.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::time::Duration;

use vxtap_analyzers::InterfaceName;
use vxtap_ring::{Block, Condition, Fanout, FanoutGroup, Instruction, Interface, Ring, RingError, Settings};
use vxtap_wire::{BpfInstruction, SteerHash, frame_steer_program};

use super::queue::Queue;
use super::socket::ListenError;
use crate::settings::{PacketListener, ReceiveSettings};

/// A block of a ring: several super-frames of 64 KiB, and short enough that a ring has many of them.
const BLOCK_BYTES: u32 = 256 << 10;
/// A block goes to the worker after this time though it is not full. Well below the time for which a capture waits for other
/// workers' frames, so that those in a block are not late.
const RETIRE: Duration = Duration::from_millis(2);
/// The fewest blocks of a ring: the kernel fills one while the worker reads another.
const MIN_BLOCKS: u32 = 8;

/// After so long without a block, nothing that came before is left in a ring.
pub(crate) const SETTLED: Duration = Duration::from_millis(25);

/// A worker's ring on an interface.
#[derive(Debug)]
pub(crate) struct PacketSource {
    /// The interface.
    pub(crate) interface: InterfaceName,
    /// Whether VXLAN and GENEVE are taken off.
    pub(crate) decapsulate: bool,
    /// Bytes of the ring.
    pub(crate) buffer_bytes: u64,
    ring: Ring,
    condition: Condition,
}

/// Opens a ring for each of `workers` on `listener`'s interface; none of them sees a frame before all are there.
pub(crate) fn open_packet_group(
    listener: &PacketListener,
    workers: u32,
    settings: &ReceiveSettings,
    steer: SteerHash,
) -> Result<Vec<PacketSource>, ListenError> {
    let refused = |source: RingError| ListenError::Interface { listener: *listener, source };
    let interface = Interface::named(listener.interface.as_str()).map_err(refused)?;
    if !interface.kind.has_ethernet_header() {
        return Err(ListenError::NoEthernet { listener: *listener });
    }
    let blocks = u32::try_from(settings.buffer_bytes / BLOCK_BYTES as usize).unwrap_or(u32::MAX).max(MIN_BLOCKS);
    let settings = Settings {
        block_bytes: BLOCK_BYTES,
        blocks,
        retire: RETIRE,
        ignore_outgoing: true,
        offload: false,
        filter: &[],
    };
    let program: Vec<Instruction> = frame_steer_program(steer, workers)
        .into_iter()
        .map(|BpfInstruction { code, jt, jf, k }| Instruction { code, jt, jf, k })
        .collect();
    let fanout = Fanout::Program(&program);
    let group = FanoutGroup::open(workers as usize, interface.index, &settings, fanout).map_err(refused)?;
    let source = |ring: Ring| {
        if listener.promiscuous {
            let promiscuous = become_promiscuous(ring.as_fd(), interface.index);
            promiscuous.map_err(|source| ListenError::Promiscuous { listener: *listener, source })?;
        }
        Ok(PacketSource {
            interface: listener.interface,
            decapsulate: listener.decapsulate,
            buffer_bytes: u64::from(blocks) * u64::from(BLOCK_BYTES),
            ring,
            condition: Condition::Up,
        })
    };
    group.rings.into_iter().map(source).collect()
}

impl PacketSource {
    /// Readable when there is a block.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// The next block of frames, if there is one. Does not wait.
    #[inline]
    pub(crate) fn next_block(&mut self) -> Option<Block<'_>> {
        self.ring.next_block()
    }

    /// Frames that the ring had no room for.
    pub(crate) fn kernel_drops(&self) -> u64 {
        self.ring.statistics().dropped
    }

    /// A way to look at the ring from another thread, that does not keep it open.
    pub(crate) fn queue(&self) -> Queue {
        Queue::Ring(self.ring.watch(), self.interface)
    }

    /// How the interface is, if that has changed since the last call.
    pub(crate) fn changed(&mut self) -> Option<Condition> {
        let now = self.ring.condition();
        (std::mem::replace(&mut self.condition, now) != now).then_some(now)
    }
}

/// Has the card give frames to all addresses as long as the ring lives. Every ring asks for it: the kernel counts.
fn become_promiscuous(ring: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: interface.cast_signed(),
        mr_type: libc::PACKET_MR_PROMISC as _,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    // SAFETY: the value is a live packet_mreq and its size is given.
    let result = unsafe {
        libc::setsockopt(
            ring.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            size_of::<libc::packet_mreq>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
