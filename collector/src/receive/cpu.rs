//! Keeping a worker on one CPU.
#![allow(unsafe_code)]

use std::io;

/// Keeps the calling thread on CPU `number`, counted around the CPUs that there are.
pub(crate) fn pin_to_cpu(number: u32) -> io::Result<()> {
    let cpus = std::thread::available_parallelism()?.get();
    let cpu = number as usize % cpus;
    // SAFETY: a cpu_set_t is a plain bit set, for which zero is the empty one; CPU_SET checks its bounds by the type's size.
    let result = unsafe {
        let mut set = std::mem::zeroed::<libc::cpu_set_t>();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
