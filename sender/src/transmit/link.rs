//! The sockets towards one target, and what was learned about the way there.
//!
//! A link that [waits](LinkSettings::waits) for room in the queues gives up a datagram only after a second: it belongs to
//! a run that would rather be late than lose. One that does not is a mirror's, which must cost the mirrored host
//! nothing: no call blocks, a full queue ends the batch for its port, and a target that answers with errors is left alone for a while,
//! twice as long each time, and then tried with a few frames before it gets everything again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::socket::{self, PortSocket};
use super::{Method, fault_of};
use crate::batch::Slot;
use crate::error::SendError;
use crate::summary::{SendFault, SkipReason};
use crate::target::Target;

/// How often the way is looked at, so that a path that carries more again, and another address of this host, are noticed.
const WAY_REFRESH: Duration = Duration::from_secs(1);
/// How often one kind of trouble is told.
const NOTICE_INTERVAL: Duration = Duration::from_mins(1);
/// How long a target is left alone after its first error, and at most.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// How long a target is tried: an error comes back within the round trip, if one comes back at all.
const TRIAL: Duration = Duration::from_millis(200);
/// Frames of a batch that go to a target on trial.
const TRIAL_FRAMES: u32 = 8;
/// After so long without an error the next one counts as the first.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);
/// How the sockets of a link are opened and used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkSettings {
    /// Outer source ports to spread the flows over.
    pub(crate) source_ports: u16,
    /// First of them; ports in use are passed over.
    pub(crate) source_port_base: u16,
    /// Whether outer UDP checksums are filled in.
    pub(crate) udp_checksum: bool,
    /// The most that is asked of the kernel.
    pub(crate) method: Method,
    /// Whether a datagram waits for room in full queues.
    pub(crate) waits: bool,
}

/// Whether the target is worth a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// It has no address, or there is no way to it.
    Absent,
    Up,
    /// It answers with errors.
    Down {
        until: Instant,
    },
    /// It did; so many more frames of this batch may find out whether it still does.
    Trial {
        until: Instant,
        frames: u32,
    },
}

/// The sockets to one target.
pub(crate) struct Link {
    settings: LinkSettings,
    /// Of no meaning where it is absent.
    target: SocketAddr,
    sockets: Vec<PortSocket>,
    has_moved: bool,
    method: Method,
    /// What the path carries, as the kernel said last, and the longest UDP payload that fits.
    path_mtu: u32,
    max_datagram: u32,
    now: Instant,
    way_seen: Instant,
    last_notice: Option<Instant>,
    health: Health,
    backoff: Duration,
    last_fault: Option<Instant>,
}

impl Link {
    /// Opens the sockets to the first of `addresses`, those of `target`, that has a route.
    pub(crate) fn open_any(
        settings: LinkSettings,
        addresses: &[SocketAddr],
        target: &Target,
    ) -> Result<Self, SendError> {
        let mut first_error = None;
        for address in addresses {
            match Self::open(settings, *address) {
                Ok(link) => return Ok(link),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| SendError::Setting(format!("{target} has no address"))))
    }

    fn open(settings: LinkSettings, target: SocketAddr) -> Result<Self, SendError> {
        let sockets = socket::open_ports(settings, target)?;
        // Without a checksum the kernel refuses to segment (its receivers could not put the trains together again).
        let method = if settings.udp_checksum { settings.method } else { settings.method.max(Method::Batches) };
        let method = match sockets[0].probe_segmentation() {
            Err(error) if method == Method::Trains => {
                tracing::info!(%error, "the kernel has no UDP segmentation offload, sending datagrams one by one");
                Method::Batches
            }
            _ => method,
        };
        let now = Instant::now();
        let mut link = Self {
            settings,
            target,
            sockets,
            has_moved: false,
            method,
            path_mtu: 0,
            max_datagram: 0,
            now,
            way_seen: now,
            last_notice: None,
            health: Health::Up,
            backoff: FIRST_BACKOFF,
            last_fault: None,
        };
        let mtu = link.read_path_mtu();
        if link.max_datagram == 0 {
            return Err(SendError::PathMtu { target, mtu });
        }
        Ok(link)
    }

    /// A link to a target that has no address, or no way to it, for now: it takes nothing.
    pub(crate) fn absent(settings: LinkSettings) -> Self {
        Self {
            settings,
            target: (Ipv4Addr::UNSPECIFIED, 0).into(),
            sockets: Vec::new(),
            has_moved: false,
            method: settings.method,
            path_mtu: 0,
            max_datagram: 0,
            now: Instant::now(),
            way_seen: Instant::now(),
            last_notice: None,
            health: Health::Absent,
            backoff: FIRST_BACKOFF,
            last_fault: None,
        }
    }

    /// The target's address; of no meaning where it is absent.
    pub(super) const fn address(&self) -> SocketAddr {
        self.target
    }

    /// The target's address; `None` where it is absent.
    pub(crate) fn target(&self) -> Option<SocketAddr> {
        (self.health != Health::Absent).then_some(self.target)
    }

    /// How many source ports there are.
    pub(crate) const fn ports(&self) -> u32 {
        self.settings.source_ports as u32
    }

    /// The source ports.
    pub(crate) fn source_ports(&self) -> Vec<u16> {
        self.sockets.iter().map(PortSocket::port).collect()
    }

    /// Where datagrams come from: this host's address on the way to the target, and the source port.
    pub(crate) fn sockets(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(PortSocket::local_address).collect()
    }

    /// Whether datagrams come from another address since this was asked last.
    pub(super) const fn take_move(&mut self) -> bool {
        std::mem::replace(&mut self.has_moved, false)
    }

    /// How datagrams are sent now.
    pub(crate) const fn method(&self) -> Method {
        self.method
    }

    /// Length in bytes of the outer IP and UDP headers.
    pub(crate) const fn outer_bytes(&self) -> u32 {
        outer_bytes(self.target)
    }

    /// Longest frame that the path carries behind a tunnel header of `head` bytes, at least 1.
    #[inline]
    pub(crate) const fn max_frame(&self, head: u8) -> u32 {
        let left = self.max_datagram.saturating_sub(head as u32);
        if left > 1 { left } else { 1 }
    }

    /// Longest UDP payload of a whole train.
    pub(super) const fn max_train(&self) -> u32 {
        max_payload(self.target)
    }

    /// A batch begins: what is due by time is done.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.now = now;
        if self.health == Health::Absent {
            return;
        }
        if now.duration_since(self.way_seen) >= WAY_REFRESH {
            self.way_seen = now;
            self.look_at_way();
        }
        match self.health {
            Health::Absent => {}
            Health::Up => {
                if self.last_fault.is_some_and(|fault| now.duration_since(fault) >= FORGIVEN_AFTER) {
                    self.last_fault = None;
                    self.backoff = FIRST_BACKOFF;
                }
            }
            Health::Down { until } if now < until => {}
            Health::Down { .. } => {
                // What came meanwhile is about datagrams of long ago.
                self.forget_errors();
                self.health = Health::Trial { until: now + TRIAL, frames: TRIAL_FRAMES };
            }
            Health::Trial { until, .. } if now < until => self.health = Health::Trial { until, frames: TRIAL_FRAMES },
            Health::Trial { .. } => match self.sockets.iter().find_map(PortSocket::take_error) {
                Some(error) => self.trip(&error),
                None => self.health = Health::Up,
            },
        }
    }

    /// Whether one more frame of this batch may go to the target.
    #[inline]
    pub(crate) const fn admit(&mut self) -> Result<(), SkipReason> {
        match &mut self.health {
            Health::Up => Ok(()),
            Health::Absent => Err(SkipReason::NoTarget),
            Health::Down { .. } | Health::Trial { frames: 0, .. } => Err(SkipReason::TargetDown),
            Health::Trial { frames, .. } => {
                *frames -= 1;
                Ok(())
            }
        }
    }

    /// Whether the target is left alone for now.
    pub(crate) const fn is_down(&self) -> bool {
        matches!(self.health, Health::Down { .. })
    }

    /// Whether a datagram waits for room in full queues.
    pub(super) const fn waits(&self) -> bool {
        self.settings.waits
    }

    pub(super) fn socket(&self, port: usize) -> &PortSocket {
        &self.sockets[port]
    }

    /// Takes note of `error`, which a datagram brought back. Whether the target is left alone from now on.
    pub(super) fn suffer(&mut self, error: &io::Error, fault: SendFault) -> bool {
        self.notice(error);
        let is_dead = matches!(fault, SendFault::Refused | SendFault::Unreachable | SendFault::Denied);
        if is_dead && !self.settings.waits {
            self.trip(error);
        }
        self.is_down()
    }

    fn trip(&mut self, error: &io::Error) {
        self.notice(error);
        self.forget_errors();
        self.health = Health::Down { until: self.now + self.backoff };
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
        self.last_fault = Some(self.now);
    }

    fn forget_errors(&self) {
        for socket in &self.sockets {
            socket.forget_errors();
        }
    }

    /// Whether `error` taught something that makes another try worth while: a smaller path MTU (then all frames of
    /// `slots` to this target, which is link `index`, are cut again) or a method that the kernel lacks.
    pub(super) fn learn_from(&mut self, error: &io::Error, port: usize, slots: &mut [Slot], index: u8) -> bool {
        if matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::EINVAL)) {
            let before = self.max_datagram;
            if let Ok(mtu) = self.sockets[port].path_mtu() {
                self.max_datagram = self.max_datagram.min(max_datagram(self.target, mtu));
            }
            if self.max_datagram < before && self.max_datagram > 0 {
                for slot in slots.iter_mut().filter(|slot| slot.link == index) {
                    slot.len = slot.len.min(self.max_frame(slot.head));
                }
                return true;
            }
            self.max_datagram = before;
        }
        if let Some(method) = self.method.fallback(error) {
            tracing::warn!(%error, from = self.method.as_str(), to = method.as_str(), "the kernel refuses how datagrams are sent");
            self.method = method;
            return true;
        }
        false
    }

    /// Looks whether this host still has the address that datagrams come from, and how much the path carries.
    fn look_at_way(&mut self) {
        // They are connected again in their order, so that what holds for the last one holds for all.
        if !self.sockets.last().is_none_or(PortSocket::has_own_address) {
            match self.sockets.iter().try_for_each(|socket| socket.connect_again(self.target)) {
                Ok(()) => self.has_moved = true,
                Err(error) => {
                    self.suffer(&error, fault_of(&error));
                }
            }
        }
        self.refresh_narrow_ways();
        self.read_path_mtu();
    }

    /// Has the ways looked up again of sockets that seem to carry less than others, or than before. A socket knows a way since its last
    /// datagram, and goes on telling the MTU of one that is no more: the 68 bytes of a device that was down in the meantime.
    fn refresh_narrow_ways(&self) {
        let mtu = |socket: &PortSocket| socket.path_mtu().ok();
        let most = self.sockets.iter().filter_map(mtu).max().unwrap_or(0).max(self.path_mtu);
        for socket in self.sockets.iter().filter(|socket| mtu(socket).is_some_and(|mtu| mtu < most)) {
            // Where there is no way for now, the next datagram brings the error.
            let _ = socket.connect_again(self.target);
        }
    }

    /// Reads what the path carries on all sockets (routes may differ by port) and keeps the least.
    fn read_path_mtu(&mut self) -> u32 {
        let mtu = self.sockets.iter().filter_map(|socket| socket.path_mtu().ok()).min().unwrap_or(0);
        let datagram = max_datagram(self.target, mtu);
        if datagram > 0 || self.max_datagram == 0 {
            self.max_datagram = datagram;
            self.path_mtu = mtu;
        }
        mtu
    }

    pub(super) fn notice(&mut self, error: &io::Error) {
        if self.last_notice.is_none_or(|last| last.elapsed() >= NOTICE_INTERVAL) {
            self.last_notice = Some(Instant::now());
            tracing::warn!("datagrams to {} are not sent: {error} (told at most once a minute)", self.target);
        }
    }

    #[cfg(test)]
    pub(super) const fn force(&mut self, max_datagram: Option<u32>, method: Option<Method>) {
        if let Some(max_datagram) = max_datagram {
            self.max_datagram = max_datagram;
        }
        if let Some(method) = method {
            self.method = method;
        }
    }
}

/// Length of the outer IP and UDP headers on the way to `target`.
const fn outer_bytes(target: SocketAddr) -> u32 {
    match target {
        SocketAddr::V4(_) => 28,
        SocketAddr::V6(_) => 48,
    }
}

/// Longest UDP payload that one outer packet to `target` can have at all: the length fields have 16 bits, and the one
/// of IPv4 counts its own header.
const fn max_payload(target: SocketAddr) -> u32 {
    match target.ip() {
        IpAddr::V4(_) => 65_535 - 28,
        IpAddr::V6(_) => 65_535 - 8,
    }
}

/// Longest UDP payload that fits one outer packet of `mtu` bytes; 0 where no VXLAN header with a byte behind it does.
pub(super) const fn max_datagram(target: SocketAddr, mtu: u32) -> u32 {
    let by_mtu = mtu.saturating_sub(outer_bytes(target));
    let by_length = max_payload(target);
    let datagram = if by_mtu < by_length { by_mtu } else { by_length };
    if datagram > vxtap_wire::vxlan::HEADER_LEN as u32 { datagram } else { 0 }
}

#[cfg(test)]
mod tests;
