//! Whether the system's clock follows one that is right.
#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

/// What the kernel knows about its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockState {
    /// Whether something keeps it right.
    pub(crate) synchronised: bool,
    /// How far it may be off at the most.
    pub(crate) error_bound: Duration,
}

/// Asks the kernel, and changes nothing.
pub(crate) fn clock_state() -> io::Result<ClockState> {
    // SAFETY: a timex is a plain C structure for which zero is a valid value, and its mode 0 only reads; the kernel writes no
    // more than the structure.
    let (state, time) = unsafe {
        let mut time = std::mem::zeroed::<libc::timex>();
        (libc::adjtimex(&raw mut time), time)
    };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ClockState {
        synchronised: state != libc::TIME_ERROR && time.status & libc::STA_UNSYNC == 0,
        error_bound: Duration::from_micros(u64::try_from(time.maxerror).unwrap_or(0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_its_clock_is() {
        let state = clock_state().unwrap();
        // The kernel gives a clock up that may be off by more than 16 s.
        assert!(state.error_bound <= Duration::from_secs(16), "{state:?}");
    }
}
