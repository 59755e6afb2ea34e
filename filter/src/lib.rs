//! Capture filters in the language of tcpdump.
//!
//! A [`Filter`] is parsed once and then says of each [`Packet`] whether it is wanted.

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

use graph::{Graph, Next};
use program::{MAX_STEPS, NoProgram, Program};
use tree::Tree;

/// A capture filter: parsed, checked and compiled. Clones share it.
#[derive(Clone, Debug)]
pub struct Filter {
    compiled: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    text: String,
    tree: Tree,
    program: Program,
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
        Ok(Self { compiled: Arc::new(Compiled { text: text.to_owned(), tree, program }) })
    }

    /// The text that it was parsed from.
    pub fn text(&self) -> &str {
        &self.compiled.text
    }

    /// Whether `packet` is wanted. Neither allocates nor panics; takes bounded time.
    pub fn matches(&self, packet: &Packet<'_>) -> bool {
        self.compiled.program.accepts(packet)
    }

    /// The filter as a classic BPF program over an Ethernet frame, which returns `snaplen` for a frame that is wanted
    /// and 0 for others.
    pub fn program(&self, snaplen: u32) -> Result<Vec<BpfInstruction>, NotForKernel> {
        self.compiled.program.bpf(snaplen)
    }

    /// Whether a packet of `flow` may be wanted: false only if none can be.
    pub fn may_match(&self, flow: &FlowFacts<'_>) -> bool {
        flow::may_match(&self.compiled.tree, flow)
    }
}

#[cfg(test)]
mod tests;
