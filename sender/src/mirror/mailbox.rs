//! What the steward has ready for the packet path, and what the packet path no longer needs.
//!
//! The packet path looks at one flag for each batch, and takes the lock only when there is something; it never waits
//! for it, since the steward holds it no longer than it takes to put something in.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::exits::ExitChange;
use super::plan::Plan;
use crate::policy::OwnTraffic;
use crate::transmit::Link;

/// Something to come into force between two batches.
pub(crate) enum Change {
    /// Another policy, and the links of its targets.
    Plan {
        /// The policy.
        plan: Box<Plan>,
        /// One for each of [`Plan::targets`].
        exits: Vec<ExitChange>,
    },
    /// Another link to the target at this place.
    Exit {
        /// Which target.
        place: usize,
        /// The link.
        link: Box<Link>,
    },
    /// What is our own traffic now.
    Own(Arc<OwnTraffic>),
}

/// Between the steward and the packet path.
#[derive(Default)]
pub(crate) struct Mailbox {
    waiting: AtomicBool,
    changes: Mutex<VecDeque<Change>>,
    posted: AtomicU64,
    applied: AtomicU64,
    discarded: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Mailbox {
    /// Hands `changes` over together, in order; gives a ticket for [`Mailbox::is_applied`].
    pub(crate) fn post(&self, changes: impl IntoIterator<Item = Change>) -> u64 {
        let mut queue = lock(&self.changes);
        let before = queue.len();
        queue.extend(changes);
        let ticket = self.posted.load(Ordering::Relaxed) + (queue.len() - before) as u64;
        self.posted.store(ticket, Ordering::Relaxed);
        self.waiting.store(true, Ordering::Release);
        ticket
    }

    /// Whether everything up to `ticket` is in force.
    pub(crate) fn is_applied(&self, ticket: u64) -> bool {
        self.applied.load(Ordering::Acquire) >= ticket
    }

    /// Whether something is there.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// The next change; none as well while the steward is putting more in, and where it is another policy and `plans` are not
    /// to be taken.
    pub(crate) fn next(&self, plans: bool) -> Option<Change> {
        let mut queue = match self.changes.try_lock() {
            Ok(queue) => queue,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if !plans && matches!(queue.front(), Some(Change::Plan { .. })) {
            return None;
        }
        let change = queue.pop_front();
        self.waiting.store(!queue.is_empty(), Ordering::Relaxed);
        change
    }

    /// Whether the next change is another policy.
    pub(crate) fn is_plan_next(&self) -> bool {
        self.is_waiting() && matches!(lock(&self.changes).front(), Some(Change::Plan { .. }))
    }

    /// One more change is in force.
    pub(crate) fn applied(&self) {
        self.applied.fetch_add(1, Ordering::Release);
    }

    /// Leaves it to the steward to drop `what`: closing sockets and giving memory back take their time.
    pub(crate) fn discard(&self, what: Box<dyn Any + Send>) {
        lock(&self.discarded).push(what);
    }

    /// Drops what was left.
    pub(crate) fn sweep(&self) {
        let discarded = std::mem::take(&mut *lock(&self.discarded));
        drop(discarded);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
