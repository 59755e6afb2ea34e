//! The addresses that this machine answers to: packets of a raw mirror to one of them are its own, not mirrored.
//!
//! They are the kernel's local routes: addresses of interfaces, and the virtual addresses of load balancers, which a cloud's
//! agent has routed here without giving them to an interface.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the kernel is asked anew.
const INTERVAL: Duration = Duration::from_secs(2);
/// The most addresses that are kept: a machine that answers to whole networks is no target of mirrors.
const MAX_ADDRESSES: usize = 4096;
/// Bit of an IPv6 route to this machine itself (`RTF_LOCAL`).
const LOCAL_ROUTE: u32 = 0x8000_0000;

/// A set of addresses, at one moment.
pub(crate) type AddressSet = HashSet<IpAddr, foldhash::fast::RandomState>;

/// The addresses, as they come and go.
#[derive(Debug, Default)]
pub(crate) struct LocalAddresses {
    generation: AtomicU64,
    addresses: Mutex<Arc<AddressSet>>,
}

impl LocalAddresses {
    /// Counts how often the addresses have changed.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The addresses now.
    pub(crate) fn get(&self) -> Arc<AddressSet> {
        Arc::clone(&self.addresses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the kernel whose files are below `root`.
    fn refresh(&self, root: &Path) {
        let read = |name: &str| fs::read_to_string(root.join("proc/net").join(name)).unwrap_or_default();
        let (trie, routes, interfaces) = (read("fib_trie"), read("ipv6_route"), read("if_inet6"));
        let v4 = of_fib_trie(&trie).map(IpAddr::V4);
        let v6 = of_ipv6_route(&routes).chain(of_if_inet6(&interfaces)).map(IpAddr::V6);
        let now: AddressSet = v4.chain(v6).take(MAX_ADDRESSES).collect();
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if **addresses != now {
            *addresses = Arc::new(now);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }
}

/// Keeps [`LocalAddresses`] up to date until it is dropped.
#[derive(Debug)]
pub(crate) struct AddressWatch {
    addresses: Arc<LocalAddresses>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AddressWatch {
    /// Asks the kernel once, and from then on in a thread of its own.
    pub(crate) fn start() -> std::io::Result<Self> {
        let root = Path::new("/");
        let addresses = Arc::new(LocalAddresses::default());
        addresses.refresh(root);
        let stop = Arc::new(AtomicBool::new(false));
        let (watched, stopped) = (Arc::clone(&addresses), Arc::clone(&stop));
        let watch = move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(INTERVAL);
                watched.refresh(root);
            }
        };
        let thread = std::thread::Builder::new().name("addresses".into()).spawn(watch)?;
        Ok(Self { addresses, stop, thread: Some(thread) })
    }

    /// The addresses that are kept up to date.
    pub(crate) fn addresses(&self) -> Arc<LocalAddresses> {
        Arc::clone(&self.addresses)
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A thread that panicked has nothing to leave behind.
            let _ = thread.join();
        }
    }
}

/// Addresses of local routes out of `/proc/net/fib_trie`: a line with the prefix, and below it a line with its length and kind.
fn of_fib_trie(text: &str) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let mut prefix = None;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            prefix = address.trim().parse::<Ipv4Addr>().ok();
            return None;
        }
        // Prefixes of networks are no single addresses; that of loopback is told by its first address anyway.
        let local = line.strip_prefix("/32 ").is_some_and(|kind| kind.split_whitespace().any(|word| word == "LOCAL"));
        prefix.filter(|_| local)
    })
}

/// Addresses of local routes out of `/proc/net/ipv6_route`: address, length, …, flags in hexadecimal, interface.
fn of_ipv6_route(text: &str) -> impl Iterator<Item = Ipv6Addr> + '_ {
    text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, "80", .., flags, _] = words[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        (flags & LOCAL_ROUTE != 0).then(|| v6(address)).flatten()
    })
}

/// Addresses of interfaces out of `/proc/net/if_inet6`.
fn of_if_inet6(text: &str) -> impl Iterator<Item = Ipv6Addr> + '_ {
    text.lines().filter_map(|line| v6(line.split_whitespace().next()?))
}

/// 32 hexadecimal digits.
fn v6(text: &str) -> Option<Ipv6Addr> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests;
