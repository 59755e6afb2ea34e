//! Keeps copies from being mirrored: ways on which they would come back are not taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use super::{ABSENT_RETRY, Change, Known, Steward, own_traffic};
use crate::target::Target;
use crate::transmit::Link;
use crate::ways::{Tunnel, Ways};

/// What ways to targets have to keep clear of.
#[derive(Clone)]
pub(crate) struct WaySettings {
    /// Names of the interfaces that are captured.
    pub(crate) captured: Vec<String>,
    /// The tunnels of this host that somebody has told of.
    pub(crate) tunnels: Vec<Tunnel>,
}

impl Steward {
    /// Takes the link of each target away whose way leads, by now, through a tunnel that hides copies in what is captured. It is tried
    /// again with the names.
    pub(super) fn look_at_ways(&mut self) {
        let links = self.links_for(self.known.len());
        let Some(ways) = &mut self.ways else { return };
        let mut changes = Vec::new();
        for (place, known) in self.known.iter_mut().enumerate() {
            let Some(address) = known.address else { continue };
            if let Err(hidden) = ways.check(&known.sockets, address) {
                tracing::warn!("no copies go to {} until this is mended: {hidden}", known.target);
                *known = Known { target: known.target.clone(), address: None, sockets: Vec::new() };
                changes.push(Change::Exit { place, link: Box::new(Link::absent(links)) });
            }
        }
        if !changes.is_empty() {
            // What is our own stays what it was: the last copies may still be on their way.
            self.mailbox.post(changes);
            self.next_resolve = self.next_resolve.min(Instant::now() + ABSENT_RETRY);
            self.show_targets();
        }
    }

    /// Takes note of addresses of this host that are gone: the links connect their sockets again by themselves, and what comes from
    /// another address then is our own as well.
    pub(super) fn look_at_sources(&mut self) {
        let mut has_changed = false;
        for known in &mut self.known {
            let (Some(target), Some(socket)) = (known.address, known.sockets.first()) else { continue };
            if is_local(*socket) {
                continue;
            }
            let old = socket.ip();
            let Some(new) = source_towards(target).filter(|new| *new != old) else { continue };
            tracing::warn!("copies to {} come from {new} from now on, since {old} is gone", known.target);
            known.sockets.iter_mut().for_each(|socket| socket.set_ip(new));
            has_changed = true;
        }
        if has_changed {
            self.own = Arc::new(own_traffic(&self.known));
            self.mailbox.post([Change::Own(Arc::clone(&self.own))]);
        }
    }
}

/// Where datagrams to `target` come from now; `None` where there is no way.
fn source_towards(target: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(target).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Tells that copies go to this host itself; refuses it where nothing keeps copies of copies from being made.
pub(super) fn refuse_loop(target: &Target, link: &Link, guarded: bool) -> Result<(), String> {
    let Some(address) = link.target().filter(|address| is_local(*address)) else { return Ok(()) };
    if !guarded {
        return Err(format!(
            "copies would go to {target}, which is this host ({address}), and copies of copies after them: take another target, or let \
             our own traffic be left out (own = true in [never])"
        ));
    }
    tracing::warn!("{target} is this host itself ({address}): what goes there is not mirrored");
    Ok(())
}

/// Whether copies may take the way of `link`; the text says what is wrong with it.
pub(super) fn is_clear(ways: &mut Ways, link: &Link) -> Result<(), String> {
    let Some(target) = link.target() else { return Ok(()) };
    ways.check(&link.sockets(), target).map_err(|hidden| hidden.to_string())
}

/// Whether `address` is one of this host's, on its interface where it has one: only to those can a socket be bound.
fn is_local(mut address: SocketAddr) -> bool {
    address.set_port(0);
    UdpSocket::bind(address).is_ok()
}
