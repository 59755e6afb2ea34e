//! Privileges given up.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

/// Takes every capability from the calling thread, and from threads that it starts from now on, and has programs that
/// they run gain none.
pub(crate) fn drop_all() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    // Kernels without ambient capabilities have none to clear.
    let _ = rustix::thread::clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}
