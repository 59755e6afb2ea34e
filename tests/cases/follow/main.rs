//! The live capture of `vxtap-collector run`, followed in every way: soon, whole, and at nobody's cost.

mod cost;
mod extcap;
mod following;
mod misbehaving;
mod visible;

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Tests that measure time have the machine to themselves; others share it.
static MACHINE: RwLock<()> = RwLock::new(());

fn shared_machine() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn quiet_machine() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}
