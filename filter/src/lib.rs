//! Capture filters in the language of tcpdump.
//!
//! This crate owns the language: a [`Filter`] is parsed once and then says of each [`Packet`] whether it is wanted, as a
//! classic BPF program lets the kernel say it, and says of a flow whether its packets can be wanted at all. It opens
//! nothing, reads no clock and looks up no name.
//!
//! # The language
//!
//! That of pcap-filter(7) for Ethernet frames in a file, with libpcap 1.10's meaning: addresses and nets of IPv4, IPv6, ARP
//! and Ethernet; ports and ranges; protocols by name and number, `protochain`; LLC, OSI and the other link-layer
//! protocols; `vlan`, `mpls`, `pppoes`, `geneve`, which shift offsets for all that stands behind them; lengths; byte
//! expressions with all operators and named constants; `and`, `or`, `not`, parentheses, qualifiers that are carried over.
//! The verdict is that of the program that tcpdump compiles, bit by bit: a load behind the end of a frame, or a division by
//! zero, ends the filter without a match, also under `not`, and tests are made in libpcap's order, which shows in frames
//! that were cut. Oddities are kept: `1 + tcp[0]` looks into every frame, `tcp[…]` only into IPv4, `%` and `^` take all
//! that stands on their right.
//!
//! Our own: `vni N`, `network NAME` (in quotation marks if it is no plain word), and `outer src ADDRESS` or `outer src NET`
//! ask for the mirror tunnel that the frame came in. They have no BPF program.
//!
//! # What differs from tcpdump
//!
//! - Names of hosts, nets and Ethernet addresses are not looked up: a filter must mean the same everywhere and not wait. Names
//!   of ports and protocols come from a table of this crate, not from `/etc`. `gateway` needs both and is refused.
//! - `ip broadcast` is refused: it needs the mask of an interface. tcpdump takes 0.0.0.0 for it when it reads a file.
//! - `byte`, `inbound`, `outbound`, `ifindex`, words for firewall logs, wireless, ATM and SS7, and `host` of DECnet are
//!   refused: mirrored frames do not tell, or have other link types. So is `geneve` behind `geneve` or `mpls`, and
//!   `0 / x`-like arithmetic is computed where tcpdump gives up.
//! - `protochain` ends after 256 headers; tcpdump's loop may go round for ever. It has no program for the kernel. tcpdump does
//!   not simplify a filter that has it, so of loads that are needless one may fail there, in a frame that was cut.
//! - What `geneve` noted of a tunnel is 0 where there is none (`geneve or ip`); with tcpdump it is what was in memory.
//!
//! # Bounds
//!
//! A text has at most 65,536 bytes and is nested at most 100 deep, a number has at most 200 operations on top of each
//! other, a program at most 4,096 instructions. All jumps lead forward, so evaluation is bounded by the program's length.
//!
//! # How
//!
//! Text to tree (`parser`), tree to formulas of loads and comparisons (`lower`), formulas to a graph in which nothing is
//! asked twice (`graph`), graph to instructions (`program`), which are run over frames (`run`) and are the kernel's program
//! (`bpf`). So evaluation and kernel cannot disagree on what a filter means.

mod address;
mod bpf;
mod error;
mod flow;
mod formula;
mod graph;
mod lexer;
mod lower;
mod names;
mod parser;
mod program;
mod run;
mod stride;
mod tree;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

pub use error::{FilterError, NotForKernel};
pub use flow::FlowFacts;
pub use vxtap_wire::BpfInstruction;
use vxtap_wire::Link;
use vxtap_wire::envelope::Vnis;

use flow::Question;
use graph::{Graph, Next};
use program::{MAX_STEPS, NoProgram, Program};

/// A capture filter: parsed, checked and compiled. Clones share it.
#[derive(Clone, Debug)]
pub struct Filter {
    compiled: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    text: String,
    question: Question,
    program: Program,
}

/// One inner frame, as a filter sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet<'a> {
    /// The frame's bytes, from its first header on, as far as they are there.
    pub frame: &'a [u8],
    /// What that is. In front of an IP packet a filter sees an Ethernet header of zeros that announces it; `len` stays the packet's own.
    pub link: Link,
    /// Length in bytes of the frame when it was sent: what `len`, `less` and `greater` look at.
    pub wire_len: u32,
    /// How the frame came.
    pub tunnel: Tunnel<'a>,
}

/// The mirror tunnel that a frame came in. What is `None` matches no `vni`, `network` or `outer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunnel<'a> {
    /// VNI of the innermost layer of the tunnel.
    pub vni: Option<u32>,
    /// VNIs of the layers around that one: `vni` asks for any of them.
    pub around: Vnis,
    /// Name of the configured network.
    pub network: Option<&'a str>,
    /// Source address of the outer IP header.
    pub outer_source: Option<IpAddr>,
}

impl Filter {
    /// Parses, checks and compiles `text`. A text of nothing but white space matches every packet.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let tree = parser::parse(text)?;
        let (formulas, whole) = lower::lower(text, &tree)?;
        let error = |what: &str| FilterError::new(text, 0, what);
        let too_long = || error("the filter is too long: more than 4096 instructions");
        let graph = Graph::new(&formulas, whole).map_err(|_| too_long())?;
        if graph.entry == Next::Reject {
            return Err(error("no packet can match this"));
        }
        let program = Program::new(&formulas, &graph).map_err(|why| match why {
            NoProgram::TooLong => too_long(),
            NoProgram::TooDeep => error("an arithmetic expression has more than 13 intermediate results at once"),
        })?;
        if program.bpf_len() > MAX_STEPS {
            return Err(too_long());
        }
        Ok(Self { compiled: Arc::new(Compiled { text: text.to_owned(), question: Question::new(&tree), program }) })
    }

    /// The text that it was parsed from.
    pub fn text(&self) -> &str {
        &self.compiled.text
    }

    /// Whether `packet` is wanted. Neither allocates nor panics; takes bounded time.
    pub fn matches(&self, packet: &Packet<'_>) -> bool {
        self.compiled.program.accepts(packet)
    }

    /// The filter as a classic BPF program over an Ethernet frame, which returns `snaplen` for a frame that is wanted and
    /// 0 for others. At most 4,096 instructions, as the kernel demands. For the kernel `len` is the length of what it is
    /// run over.
    pub fn program(&self, snaplen: u32) -> Result<Vec<BpfInstruction>, NotForKernel> {
        self.compiled.program.bpf(snaplen)
    }

    /// Whether a packet of `flow` may be wanted: false only if none can be, whatever tags its frames have and wherever
    /// they were cut.
    pub fn may_match(&self, flow: &FlowFacts<'_>) -> bool {
        self.compiled.question.may_match(flow)
    }
}

#[cfg(test)]
mod tests;
