//! `vxtap-collector run` and `demo` on loopback, as an ordinary user.

mod admission;
mod api;
mod dedup;
mod demo;
mod encapsulations;
mod extract;
mod following;
mod fragments;
mod hostile;
mod ledger;
mod load;
mod receiving;
mod replay;
mod restart;
mod signals;
mod steering;
mod streams;
mod tenants;
mod terminal;
mod vni_flood;

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Tests that measure time have the machine to themselves; others share it.
static MACHINE: RwLock<()> = RwLock::new(());

fn shared_machine() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn quiet_machine() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}
