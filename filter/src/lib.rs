//! Capture filters in the language of tcpdump.
//!
//! A [`Filter`] is parsed once and then says of each [`Packet`] whether it is wanted.

mod error;
mod flow;

use std::net::IpAddr;
use std::sync::Arc;

pub use error::{FilterError, NotForKernel};
pub use flow::FlowFacts;
pub use vxtap_wire::BpfInstruction;

/// A capture filter: parsed, checked and compiled. Clones share it.
#[derive(Clone, Debug)]
pub struct Filter {
    compiled: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    text: String,
    wanted: Option<u16>,
}

/// One inner frame, as a filter sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet<'a> {
    /// The frame's bytes, from its Ethernet header on, as far as they are there.
    pub frame: &'a [u8],
    /// Length in bytes of the frame when it was sent: what `len`, `less` and `greater` look at.
    pub wire_len: u32,
    /// How the frame came.
    pub tunnel: Tunnel<'a>,
}

/// The mirror tunnel that a frame came in. What is `None` matches no `vni`, `network` or `outer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunnel<'a> {
    /// VNI.
    pub vni: Option<u32>,
    /// Name of the configured network.
    pub network: Option<&'a str>,
    /// Source address of the outer IP header.
    pub outer_source: Option<IpAddr>,
}

impl Filter {
    /// Parses, checks and compiles `text`. A text of nothing but white space matches every packet.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let wanted = match text.trim() {
            "" => None,
            "ip" => Some(0x0800),
            "ip6" => Some(0x86dd),
            "arp" => Some(0x0806),
            _ => return Err(FilterError::new(text, 0, "not understood yet")),
        };
        Ok(Self { compiled: Arc::new(Compiled { text: text.to_owned(), wanted }) })
    }

    /// The text that it was parsed from.
    pub fn text(&self) -> &str {
        &self.compiled.text
    }

    /// Whether `packet` is wanted. Neither allocates nor panics; takes bounded time.
    pub fn matches(&self, packet: &Packet<'_>) -> bool {
        self.compiled.wanted.is_none_or(|wanted| packet.frame.get(12..14) == Some(&wanted.to_be_bytes()))
    }

    /// The filter as a classic BPF program over an Ethernet frame, which returns `snaplen` for a frame that is wanted
    /// and 0 for others.
    pub fn program(&self, snaplen: u32) -> Result<Vec<BpfInstruction>, NotForKernel> {
        Ok(vec![BpfInstruction { code: 6, jt: 0, jf: 0, k: snaplen }])
    }

    /// Whether a packet of `flow` may be wanted: false only if none can be.
    pub fn may_match(&self, flow: &FlowFacts<'_>) -> bool {
        let _ = flow;
        true
    }
}
