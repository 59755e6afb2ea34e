//! The ways to targets: whether one goes through a tunnel that hides what it carries.
//!
//! A copy whose way goes through a tunnel leaves once more, in a packet of that tunnel. Of a captured interface that would be one more
//! packet to mirror, and so on without end. In what an overlay sends in the clear our copies are [recognised](crate::policy::OwnTraffic),
//! packet by packet. What a VPN encrypts, or a program puts together behind a tun device, looks like any other traffic: nobody can tell
//! which of it is ours. So it has to be known where such a tunnel sends to, and what goes there is not captured. The kernel knows that of
//! none of them for everyone to see, so it is [told](Tunnel); where it is not, no copy goes that way.
//!
//! The way is asked of the kernel, as it is for each source port, and followed: from a tunnel in the clear to the way to its far end, from
//! a device to the one below.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

mod kernel;
mod lookout;
mod message;

use kernel::Kernel;
pub(crate) use lookout::Lookout;

/// Devices looked at for one target: tunnels in each other on stacked devices, by several ways.
const MOST_DEVICES: usize = 64;
/// Kinds of devices whose packets do not show what they carry: encrypted, or made by a program.
const HIDING: [&str; 8] = ["wireguard", "tun", "ovpn", "xfrm", "vti", "vti6", "macsec", "ppp"];

/// What somebody knows of a tunnel that the kernel does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Name of its device.
    pub device: String,
    /// Where its packets go; nothing from or to these is captured. None where none of its packets crosses a captured interface, or
    /// they show what they carry.
    pub far_ends: Vec<IpAddr>,
}

impl FromStr for Tunnel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected DEVICE=ADDRESS, several addresses with commas between, or DEVICE=none".to_owned();
        let (device, ends) = text.split_once('=').filter(|(device, _)| !device.is_empty()).ok_or_else(expected)?;
        let far_ends = match ends {
            "none" => Vec::new(),
            _ => ends.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| expected())?,
        };
        Ok(Self { device: device.to_owned(), far_ends })
    }
}

/// A device, as far as ways depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Device {
    index: u32,
    name: String,
    /// What the kernel calls its kind; empty for hardware.
    kind: String,
    /// Index of the device that it stands on.
    below: Option<u32>,
    /// Where it sends to, of a tunnel in the clear that has one far end.
    far_end: Option<IpAddr>,
}

/// Who knows routes and devices.
trait Network {
    /// Index of the device by which a datagram leaves that goes from `source` to `destination`; `None` where there is no way.
    fn route(&mut self, source: Option<SocketAddr>, destination: SocketAddr) -> io::Result<Option<u32>>;

    fn device(&mut self, index: u32) -> io::Result<Device>;
}

/// A tunnel on the way to a target in whose packets copies cannot be told from other traffic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "copies to {target} go through {device} ({kind}), which hides what it carries: where its packets cross {}, each copy would be captured and \
     sent again, without end. Say where {device} sends to, which is then not captured (--tunnel {device}=ADDRESS), or that its packets do not \
     cross what is captured, or are in the clear (--tunnel {device}=none)",
    .captured.join(", ")
)]
pub struct HiddenWay {
    /// The target.
    pub target: SocketAddr,
    /// Name of the tunnel's device.
    pub device: String,
    /// Its kind.
    pub kind: String,
    /// The captured interfaces that the tunnel's packets may cross.
    pub captured: Vec<String>,
}

/// Looks at ways to targets.
pub(crate) struct Ways {
    /// Why nothing can be asked was told.
    network: Option<Box<dyn Network + Send>>,
    captured: Vec<String>,
    tunnels: Vec<Tunnel>,
    is_trouble_told: bool,
}

impl Ways {
    /// Ways from a host where the interfaces `captured` are, and whose `tunnels` are known.
    pub(crate) fn new(captured: Vec<String>, tunnels: Vec<Tunnel>) -> Self {
        let network: Option<Box<dyn Network + Send>> = match Kernel::open() {
            Ok(kernel) => Some(Box::new(kernel)),
            Err(error) => {
                tracing::warn!(
                    "tunnels on the way to targets are not looked for: cannot open a netlink socket: {error}"
                );
                None
            }
        };
        Self { network, captured, tunnels, is_trouble_told: false }
    }

    /// Whether copies from `sources` to `target` may go: no tunnel hides them in what is captured.
    pub(crate) fn check(&mut self, sources: &[SocketAddr], target: SocketAddr) -> Result<(), HiddenWay> {
        let Some(network) = &mut self.network else { return Ok(()) };
        let walk =
            Walk { network: network.as_mut(), captured: &self.captured, tunnels: &self.tunnels, seen: Vec::new() };
        let (hiding, trouble) = match walk.from(sources, target) {
            Ok(hiding) => (hiding, None),
            Err(error) => (None, Some(error)),
        };
        if let Some(error) = &trouble
            && !self.is_trouble_told
        {
            tracing::warn!("cannot ask the kernel for the way to {target}: {error}; tunnels on it may not be seen");
        }
        self.is_trouble_told = trouble.is_some();
        let Some(Device { name, kind, .. }) = hiding else { return Ok(()) };
        let captured = elsewhere(&self.captured, &name);
        Err(HiddenWay { target, device: name, kind, captured })
    }
}

/// The interfaces of `captured` that are not `device` itself: there our copies are known by their ends.
fn elsewhere(captured: &[String], device: &str) -> Vec<String> {
    captured.iter().filter(|name| *name != device).cloned().collect()
}

/// The way to one target, followed to its end.
struct Walk<'a> {
    network: &'a mut dyn Network,
    captured: &'a [String],
    tunnels: &'a [Tunnel],
    /// Devices that were looked at, so that ways that lead in a circle end.
    seen: Vec<u32>,
}

impl Walk<'_> {
    /// The first device that hides copies in what is captured.
    fn from(mut self, sources: &[SocketAddr], target: SocketAddr) -> io::Result<Option<Device>> {
        let mut open = Vec::new();
        // Each source port may have a way of its own, where several routes are equally good or rules look at ports.
        for source in sources {
            open.extend(self.network.route(Some(*source), target)?);
        }
        // Also where the sources are addresses that this host does not have any more: others will take their places.
        if open.is_empty() {
            open.extend(self.network.route(None, target)?);
        }
        while let Some(index) = open.pop() {
            if self.seen.contains(&index) || self.seen.len() == MOST_DEVICES {
                continue;
            }
            self.seen.push(index);
            let device = self.network.device(index)?;
            open.extend(device.below);
            let told = self.tunnels.iter().find(|tunnel| tunnel.device == device.name);
            let hides = HIDING.contains(&device.kind.as_str()) && !elsewhere(self.captured, &device.name).is_empty();
            if hides && told.is_none() {
                return Ok(Some(device));
            }
            let far_ends = told.map(|tunnel| tunnel.far_ends.as_slice()).unwrap_or_default();
            for far_end in far_ends.iter().copied().chain(device.far_end) {
                open.extend(self.network.route(None, SocketAddr::new(far_end, 0))?);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
