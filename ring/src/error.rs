//! What goes wrong with a ring.

use std::io;

/// The kernel refused something: which, for what, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object}: {source}{}", hint(operation, source))]
pub struct RingError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// With what.
    pub object: String,
    /// What the kernel said.
    pub source: io::Error,
}

impl RingError {
    pub(crate) fn new(operation: &'static str, object: impl Into<String>, source: io::Error) -> Self {
        Self { operation, object: object.into(), source }
    }

    /// Whether the process lacks `CAP_NET_RAW`.
    pub fn is_permission(&self) -> bool {
        matches!(self.source.raw_os_error(), Some(libc::EPERM | libc::EACCES))
    }

    /// Whether there is no such interface (any more).
    pub fn is_no_interface(&self) -> bool {
        matches!(self.source.raw_os_error(), Some(libc::ENODEV | libc::ENXIO))
    }
}

fn hint(operation: &str, error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOMEM) if operation.starts_with("attach") => " (raise net.core.optmem_max, or make it shorter)",
        Some(libc::EPERM | libc::EACCES) => " (it takes CAP_NET_RAW: run it as root, or give it that capability)",
        Some(libc::ENOMEM) => " (ask for fewer or smaller blocks)",
        _ => "",
    }
}
