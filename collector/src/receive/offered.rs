//! How many datagrams came to a socket, whether its queue had room for them or not.
//!
//! The kernel counts what it drops in buffers, and a buffer may be a train: several datagrams as one (UDP GRO, or a sender's own
//! segmentation offload on the way over loopback or veth). A socket filter sees each buffer before the queue does, and how many
//! datagrams are in it. This one keeps every buffer and counts.
//!
//! It is eBPF, since classic BPF cannot count. Loading it takes `CAP_BPF`, or an old kernel that lets everybody.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// Counts what comes to one socket.
#[derive(Debug)]
pub(super) struct OfferCounter {
    map: OwnedFd,
}

/// What has come to a socket since the counter was attached. Both wrap at 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Offered {
    /// Buffers: datagrams, or trains of them.
    pub(super) messages: u64,
    /// Datagrams, those in trains too.
    pub(super) datagrams: u64,
}

impl OfferCounter {
    /// Attaches a counter to `socket`, in place of any filter that it has. An error is mostly a missing privilege.
    pub(super) fn attach(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let map = MapAttributes { kind: MAP_ARRAY, key_bytes: 4, value_bytes: size_of::<Offered>() as u32, entries: 1 };
        // SAFETY: the attributes are those that creating a map takes.
        let map = unsafe { descriptor(COMMAND_MAP_CREATE, &map)? };
        let program = program(map.as_raw_fd());
        let attributes = ProgramAttributes {
            kind: PROGRAM_SOCKET_FILTER,
            instructions: program.len() as u32,
            program: program.as_ptr().addr() as u64,
            license: c"MIT".as_ptr().addr() as u64,
        };
        // SAFETY: the attributes are those that loading a program takes; the instructions and the licence outlive the call.
        let program = unsafe { descriptor(COMMAND_PROGRAM_LOAD, &attributes)? };
        let number = program.as_raw_fd();
        // SAFETY: the value is a live descriptor, a c_int, and its size is given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_BPF,
                (&raw const number).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        // The socket holds the program, and the program the map.
        if result == 0 { Ok(Self { map }) } else { Err(io::Error::last_os_error()) }
    }

    /// What has come so far.
    pub(super) fn read(&self) -> io::Result<Offered> {
        let key = 0u32;
        let mut offered = Offered::default();
        let attributes = LookupAttributes {
            map: self.map.as_raw_fd() as u32,
            unused: 0,
            key: (&raw const key).addr() as u64,
            value: (&raw mut offered).addr() as u64,
            flags: 0,
        };
        // SAFETY: the attributes are those that a lookup takes; the key has the four bytes and the value the size that the map was
        // made with, and both outlive the call.
        unsafe { bpf(COMMAND_MAP_LOOKUP, &attributes)? };
        // The kernel wrote it behind the compiler's back.
        Ok(std::hint::black_box(offered))
    }
}

/// The filter, over the map with descriptor `map`: no branch but one, no loop, no helper.
fn program(map: libc::c_int) -> [Instruction; 10] {
    /// Where `struct __sk_buff` (`linux/bpf.h`) has the number of segments, since Linux 5.1.
    const GSO_SEGMENTS: i16 = 164;
    const VALUE_OF_A_MAP: u8 = 2;
    let op = |code, to: u8, from: u8, offset, value| Instruction { code, registers: from << 4 | to, offset, value };
    [
        // Datagrams: a buffer that is no train has 0 segments.
        op(0x61, 2, 1, GSO_SEGMENTS, 0),     // r2 = *(u32 *)(r1 + GSO_SEGMENTS)
        op(0x55, 2, 0, 1, 0),                // if r2 != 0 skip the next
        op(0xb7, 2, 0, 0, 1),                // r2 = 1
        op(0xb7, 3, 0, 0, 1),                // r3 = 1
        op(0x18, 1, VALUE_OF_A_MAP, 0, map), // r1 = the map's value
        op(0x00, 0, 0, 0, 0),
        // The buffer first: whoever sees it counted and does not find it anywhere yet knows that the reading is of no use.
        op(0xdb, 1, 3, 0, 0), // *(u64 *)(r1 + 0) += r3, at once
        op(0xdb, 1, 2, 8, 0), // *(u64 *)(r1 + 8) += r2, at once
        // As many bytes as there are.
        op(0xb4, 0, 0, 0, -1), // w0 = -1
        op(0x95, 0, 0, 0, 0),  // exit
    ]
}

/// `struct bpf_insn`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

const COMMAND_MAP_CREATE: libc::c_int = 0;
const COMMAND_MAP_LOOKUP: libc::c_int = 1;
const COMMAND_PROGRAM_LOAD: libc::c_int = 5;
const MAP_ARRAY: u32 = 2;
const PROGRAM_SOCKET_FILTER: u32 = 1;

/// The beginnings of `union bpf_attr` for the three commands; the kernel takes what is not given as zero.
#[repr(C)]
struct MapAttributes {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
}

#[repr(C)]
struct ProgramAttributes {
    kind: u32,
    instructions: u32,
    program: u64,
    license: u64,
}

#[repr(C)]
struct LookupAttributes {
    map: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Does `command`, whose result is a descriptor.
///
/// # Safety
///
/// As [`bpf`].
unsafe fn descriptor<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let number = unsafe { bpf(command, attributes)? };
    // SAFETY: these commands give a descriptor that is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The system call.
///
/// # Safety
///
/// `attributes` must be laid out as `union bpf_attr` is for `command`, with no padding that is not initialised, and every address in it must be
/// good for what the command does with it.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are alive, and their size is given.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    libc::c_int::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}
