//! The filter of the flow list: words that must all hold.
//!
//! `tcp`, `10.0.0.1`, `10.0.0.0/8`, `port 443` (or `:443`), `vni 42`, `network blue`, `app tls`, `worker 1`, `state established`,
//! `stream 10.200.0.1` (a part of the mirror stream's name). A word with `!` in front must not hold.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use vxtap_wire::{IpAddress, IpVersion};

use crate::snapshot::FlowSnapshot;

/// A parsed filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    terms: Vec<(bool, Term)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Protocol(String),
    Net(IpVersion, IpAddress, u8),
    Port(u16),
    Network(u32),
    NamedNetwork(String),
    App(String),
    Worker(u32),
    State(String),
    Stream(String),
}

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowFilterError {
    /// The word that could not be understood.
    pub word: String,
    /// What would have been.
    pub expected: &'static str,
}

impl fmt::Display for FlowFilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' in the filter: expected {}", self.word.escape_debug(), self.expected)
    }
}

impl std::error::Error for FlowFilterError {}

/// The most words of a filter.
const TERMS_MAX: usize = 32;
const PROTOCOLS: &[&str] = &["tcp", "udp", "icmp", "ipv6-icmp", "sctp", "gre", "esp", "igmp"];
const STATES: &[&str] = &["new", "established", "closed"];
const ANY: &str = "a protocol, an address, a prefix, 'port N', 'vni N', 'network NAME', 'app NAME', \
                   'worker N', 'state NAME' or 'stream TEXT'";

impl FromStr for FlowFilter {
    type Err = FlowFilterError;

    fn from_str(text: &str) -> Result<Self, FlowFilterError> {
        let error = |word: &str, expected| FlowFilterError { word: word.to_owned(), expected };
        let mut words = text.split_whitespace();
        let mut terms = Vec::new();
        while let Some(word) = words.next() {
            if terms.len() == TERMS_MAX {
                return Err(error(word, "no more than 32 words"));
            }
            let (wanted, bare) = word.strip_prefix('!').map_or((true, word), |bare| (false, bare));
            let lower = bare.to_ascii_lowercase();
            let mut operand = |expected| words.next().ok_or_else(|| error(word, expected));
            let term = match lower.as_str() {
                "port" => {
                    let number = operand("a port number behind 'port'")?;
                    Term::Port(number.parse().map_err(|_| error(number, "a port, 0 to 65535"))?)
                }
                "vni" => {
                    let number = operand("a VNI behind 'vni'")?;
                    Term::Network(number.parse().map_err(|_| error(number, "a VNI, 0 to 16777215"))?)
                }
                "network" => Term::NamedNetwork(operand("a network's name behind 'network'")?.to_owned()),
                "app" => Term::App(operand("a protocol such as 'tls' behind 'app'")?.to_owned()),
                "worker" => {
                    let number = operand("a worker's number behind 'worker'")?;
                    Term::Worker(number.parse().map_err(|_| error(number, "a worker's number"))?)
                }
                "state" => {
                    let state = operand("a state behind 'state'")?.to_ascii_lowercase();
                    if !STATES.contains(&state.as_str()) {
                        return Err(error(&state, "new, established or closed"));
                    }
                    Term::State(state)
                }
                "stream" => Term::Stream(operand("a part of a stream's name behind 'stream'")?.to_owned()),
                "icmpv6" | "icmp6" => Term::Protocol("ipv6-icmp".to_owned()),
                name if PROTOCOLS.contains(&name) => Term::Protocol(lower),
                other => match other.strip_prefix(':').filter(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
                    Some(port) => Term::Port(port.parse().map_err(|_| error(word, "a port, 0 to 65535"))?),
                    None => prefix(other).ok_or_else(|| error(word, ANY))?,
                },
            };
            terms.push((wanted, term));
        }
        Ok(Self { terms })
    }
}

fn prefix(text: &str) -> Option<Term> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let ip: IpAddr = address.parse().ok()?;
    let (version, bits_max) = if ip.is_ipv4() { (IpVersion::V4, 32) } else { (IpVersion::V6, 128) };
    let bits = bits.unwrap_or(bits_max);
    (bits <= bits_max).then(|| Term::Net(version, ip.into(), bits))
}

impl FlowFilter {
    /// Whether `flow` is wanted.
    pub fn matches(&self, flow: &FlowSnapshot) -> bool {
        self.terms.iter().all(|(wanted, term)| term.holds(flow) == *wanted)
    }

    /// Whether every flow is wanted.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

impl Term {
    fn holds(&self, flow: &FlowSnapshot) -> bool {
        match self {
            Self::Protocol(name) => flow.protocol.eq_ignore_ascii_case(name),
            Self::Net(version, network, bits) => {
                [flow.originator, flow.responder].iter().any(|ip| in_network(*ip, *version, *network, *bits))
            }
            Self::Port(port) => flow.originator_port == Some(*port) || flow.responder_port == Some(*port),
            Self::Network(network) => flow.network == Some(*network),
            Self::NamedNetwork(name) => flow.network_name.as_deref() == Some(name),
            Self::App(name) => flow.app.as_deref().is_some_and(|app| app.eq_ignore_ascii_case(name)),
            Self::Worker(worker) => flow.worker == *worker,
            Self::State(state) => flow.state == *state,
            Self::Stream(text) => flow.stream.contains(text.as_str()),
        }
    }
}

fn in_network(ip: IpAddr, version: IpVersion, network: IpAddress, bits: u8) -> bool {
    if ip.is_ipv4() != (version == IpVersion::V4) {
        return false;
    }
    let (ip, network) = (u128::from_be_bytes(IpAddress::from(ip).0), u128::from_be_bytes(network.0));
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    (ip ^ network) & mask == 0
}

#[cfg(test)]
mod tests;
