//! The name or number behind qualifiers.

use super::{Parser, shown};
use crate::address::{ipv4_prefix, mask4, mask6, numbered_net};
use crate::error::FilterError;
use crate::lexer::Token;
use crate::names::services::{self, Transport};
use crate::tree::{Condition, ConditionId, Family, Host, Kind, Net, Primitive, Qualifiers};
use crate::words::{Protocol, Word};

const MAX_PORT: u32 = 0xffff;
/// Protocols with ports, in tcpdump's order.
const WITH_PORTS: &[u32] = &[132, 6, 17];

impl Parser<'_> {
    /// A name or number, `not` one, or a list of some in parentheses.
    pub(super) fn name(&mut self, qualifiers: Qualifiers) -> Result<ConditionId, FilterError> {
        let at = self.next.at;
        match self.next.token {
            Token::Not => {
                self.take()?;
                let inner = self.nested(|parser| parser.name(qualifiers))?;
                Ok(self.tree.condition(Condition::Not(inner), at))
            }
            Token::Open => {
                self.take()?;
                self.nested(|parser| parser.names(qualifiers))
            }
            Token::Number(number) => {
                self.take()?;
                self.numbered(qualifiers, number, at)
            }
            _ => self.target(qualifiers),
        }
    }

    /// From behind `(` to behind `)`.
    fn names(&mut self, qualifiers: Qualifiers) -> Result<ConditionId, FilterError> {
        let mut list = self.name(qualifiers)?;
        loop {
            let at = self.next.at;
            let and = match self.next.token {
                Token::And => true,
                Token::Or => false,
                Token::Close => break,
                _ => return Err(self.expected("'and', 'or' or ')'")),
            };
            self.take()?;
            let right = self.name(qualifiers)?;
            let both = if and { Condition::And(list, right) } else { Condition::Or(list, right) };
            list = self.tree.condition(both, at);
        }
        self.take()?;
        Ok(list)
    }

    /// Whether there can be something with `qualifiers`, so that the message is about them and not about what follows.
    pub(super) fn check(&self, qualifiers: Qualifiers, at: usize) -> Result<(), FilterError> {
        use Protocol as P;
        let Some(protocol) = qualifiers.protocol else { return Ok(()) };
        let (fits, kind, what) = match qualifiers.kind {
            Kind::Default | Kind::Host => (
                matches!(protocol, P::Link | P::Ip | P::Ip6 | P::Arp | P::Rarp),
                "host",
                "'ether', 'ip', 'ip6', 'arp' or 'rarp'",
            ),
            Kind::Net => (matches!(protocol, P::Ip | P::Ip6 | P::Arp | P::Rarp), "net", "'ip', 'ip6', 'arp' or 'rarp'"),
            Kind::Port => (matches!(protocol, P::Tcp | P::Udp | P::Sctp), "port", "'tcp', 'udp' or 'sctp'"),
            Kind::PortRange => (matches!(protocol, P::Tcp | P::Udp | P::Sctp), "portrange", "'tcp', 'udp' or 'sctp'"),
            Kind::Proto => (
                matches!(protocol, P::Link | P::Ip | P::Ip6 | P::Iso | P::Isis),
                "proto",
                "'ether', 'ip', 'ip6', 'iso' or 'isis'",
            ),
            Kind::ProtoChain => (matches!(protocol, P::Ip | P::Ip6), "protochain", "'ip' or 'ip6'"),
        };
        if fits {
            return Ok(());
        }
        Err(self.error(at, format!("there is no '{kind}' of {}; it can be of {what}, or of nothing", shown(protocol))))
    }

    /// A number with `qualifiers`.
    pub(super) fn numbered(
        &mut self,
        qualifiers: Qualifiers,
        number: u32,
        at: usize,
    ) -> Result<ConditionId, FilterError> {
        if self.next.token == Token::Slash {
            return Err(self.error(at, "write a net with a dot, such as 10.0/8"));
        }
        match qualifiers.kind {
            Kind::Default | Kind::Host => self.host(qualifiers, Net::V4 { address: number, mask: u32::MAX }, at),
            Kind::Net => self.host(qualifiers, numbered_net(number), at),
            Kind::Port | Kind::PortRange => {
                let port = self.port_number(number, at)?;
                let protocols = transports(qualifiers.protocol, None).unwrap_or_default();
                let direction = qualifiers.direction;
                Ok(self.add(Primitive::Port { direction, protocols, low: port, high: port }, at))
            }
            Kind::Proto | Kind::ProtoChain => Ok(self.with_protocol(qualifiers, number, at)),
        }
    }

    fn port_number(&self, number: u32, at: usize) -> Result<u16, FilterError> {
        u16::try_from(number).map_err(|_| self.error(at, format!("a port is at most {MAX_PORT}")))
    }

    fn with_protocol(&mut self, qualifiers: Qualifiers, number: u32, at: usize) -> ConditionId {
        let family = match qualifiers.protocol {
            Some(Protocol::Ip) => Family::V4,
            Some(Protocol::Ip6) => Family::V6,
            _ => Family::Any,
        };
        let primitive = match (qualifiers.kind, qualifiers.protocol) {
            (Kind::ProtoChain, _) => Primitive::IpChain { family, number },
            (_, Some(Protocol::Link)) => Primitive::LinkType(number),
            (_, Some(Protocol::Iso)) => Primitive::IsoProtocol(number),
            (_, Some(Protocol::Isis)) => Primitive::IsisType(number),
            _ => Primitive::IpProtocol { family, number },
        };
        self.add(primitive, at)
    }

    /// A name or an address with `qualifiers`.
    pub(super) fn target(&mut self, qualifiers: Qualifiers) -> Result<ConditionId, FilterError> {
        let at = self.next.at;
        let address = matches!(self.next.token, Token::Dotted(_) | Token::Ipv6(_) | Token::Ether(_));
        match qualifiers.kind {
            Kind::Port | Kind::PortRange if address => Err(self.expected("a port")),
            Kind::Proto | Kind::ProtoChain if address => Err(self.expected("a protocol")),
            _ => match self.next.token {
                Token::Dotted(text) => self.dotted(qualifiers, text),
                Token::Ipv6(address) => {
                    self.take()?;
                    let bits = if self.skip(Token::Slash)? { self.prefix_length(true)? } else { 128 };
                    let (address, mask) = (u128::from(address), mask6(bits));
                    if address & !mask != 0 {
                        return Err(self.error(at, "the address has bits behind its prefix"));
                    }
                    self.only_net_has_mask(qualifiers, bits == 128, at)?;
                    self.host(qualifiers, Net::V6 { address, mask }, at)
                }
                Token::Ether(address) => {
                    if qualifiers.protocol != Some(Protocol::Link) || qualifiers.kind == Kind::Net {
                        return Err(self.error(
                            at,
                            "an Ethernet address stands only behind 'ether host', 'ether src' or 'ether dst'",
                        ));
                    }
                    self.take()?;
                    Ok(self.add(Primitive::EtherHost { direction: qualifiers.direction, address }, at))
                }
                Token::Name(name) => self.named(qualifiers, name),
                Token::Word(_) if matches!(qualifiers.kind, Kind::Proto | Kind::ProtoChain) => {
                    let word = self.shown();
                    Err(self.expected(&format!("a protocol; as a name write '\\{word}'")))
                }
                _ => Err(self.expected(match qualifiers.kind {
                    Kind::Default | Kind::Host => "an address",
                    Kind::Net => "a net",
                    Kind::Port => "a port",
                    Kind::PortRange => "a range of ports",
                    Kind::Proto | Kind::ProtoChain => "a protocol",
                })),
            },
        }
    }

    fn dotted(&mut self, qualifiers: Qualifiers, text: &str) -> Result<ConditionId, FilterError> {
        let Some((address, bits)) = ipv4_prefix(text) else { return Err(self.expected("an IPv4 address")) };
        let at = self.take()?.at;
        let (mask, given) = if self.skip(Token::Slash)? {
            (mask4(self.prefix_length(false)?), true)
        } else if self.skip_word(Word::Mask)? {
            let mask = match self.next.token {
                Token::Dotted(text) => ipv4_prefix(text),
                _ => None,
            };
            let Some((mask, _)) = mask else { return Err(self.expected("a mask such as 255.255.0.0")) };
            self.take()?;
            (mask, true)
        } else {
            (mask4(bits), false)
        };
        if address & !mask != 0 {
            return Err(self.error(at, "the address has bits outside its mask"));
        }
        self.only_net_has_mask(qualifiers, !given, at)?;
        self.host(qualifiers, Net::V4 { address, mask }, at)
    }

    fn only_net_has_mask(&self, qualifiers: Qualifiers, whole: bool, at: usize) -> Result<(), FilterError> {
        if whole || qualifiers.kind == Kind::Net {
            return Ok(());
        }
        Err(self.error(at, "only a 'net' has a prefix length or a mask"))
    }

    /// An address or net of IP or ARP.
    fn host(&mut self, qualifiers: Qualifiers, net: Net, at: usize) -> Result<ConditionId, FilterError> {
        let place = match (qualifiers.protocol, net) {
            (None, _) => Host::Any,
            (Some(Protocol::Ip), Net::V4 { .. }) | (Some(Protocol::Ip6), Net::V6 { .. }) => Host::Ip,
            (Some(Protocol::Arp), Net::V4 { .. }) => Host::Arp,
            (Some(Protocol::Rarp), Net::V4 { .. }) => Host::Rarp,
            (Some(Protocol::Link), _) => return Err(self.error(at, "expected an Ethernet address")),
            (Some(protocol), net) => {
                let version = if matches!(net, Net::V4 { .. }) { "IPv4" } else { "IPv6" };
                return Err(self.error(at, format!("{} has no {version} addresses", shown(protocol))));
            }
        };
        Ok(self.add(Primitive::Host { direction: qualifiers.direction, place, net }, at))
    }

    fn named(&mut self, qualifiers: Qualifiers, name: &str) -> Result<ConditionId, FilterError> {
        let at = self.next.at;
        let shown = name.escape_debug();
        match qualifiers.kind {
            Kind::Default | Kind::Host => {
                let net = match name.parse() {
                    Ok(std::net::IpAddr::V4(address)) => Net::V4 { address: address.into(), mask: u32::MAX },
                    Ok(std::net::IpAddr::V6(address)) => Net::V6 { address: address.into(), mask: u128::MAX },
                    Err(_) => {
                        return Err(
                            self.error(at, format!("names such as '{shown}' are not looked up; write an address"))
                        );
                    }
                };
                self.take()?;
                self.host(qualifiers, net, at)
            }
            Kind::Net => Err(self.error(at, format!("names such as '{shown}' are not looked up; write a net"))),
            Kind::Port => {
                let Some((port, transport)) = port_named(name) else {
                    return Err(self.error(at, format!("no port is called '{shown}'; write its number")));
                };
                self.ports(qualifiers, (port, port), transport, name)
            }
            Kind::PortRange => {
                let ends =
                    name.split_once('-').and_then(|(low, high)| Some((port_of_range(low)?, port_of_range(high)?)));
                let Some(((low, one), (high, other))) = ends else {
                    return Err(self.error(at, format!("'{shown}' is no range of ports; write it as 6000-6008")));
                };
                let transport = one.filter(|_| one == other);
                self.ports(qualifiers, (low.min(high), low.max(high)), transport, name)
            }
            Kind::Proto | Kind::ProtoChain => {
                let number = self.protocol_named(name, qualifiers.protocol)?;
                self.take()?;
                Ok(self.with_protocol(qualifiers, number, at))
            }
        }
    }

    fn ports(
        &mut self,
        qualifiers: Qualifiers,
        (low, high): (u16, u16),
        transport: Option<Transport>,
        name: &str,
    ) -> Result<ConditionId, FilterError> {
        let Some(protocols) = transports(qualifiers.protocol, transport) else {
            let of = if transport == Some(Transport::Tcp) { "TCP" } else { "UDP" };
            return Err(self.error(self.next.at, format!("'{}' is the name of a port of {of}", name.escape_debug())));
        };
        let at = self.take()?.at;
        Ok(self.add(Primitive::Port { direction: qualifiers.direction, protocols, low, high }, at))
    }
}

fn port_named(name: &str) -> Option<(u16, Option<Transport>)> {
    let number = || name.parse().ok().map(|port| (port, None));
    services::port(name)
        .map(|(port, transport)| (port, Some(transport).filter(|one| *one != Transport::Both)))
        .or_else(number)
}

fn port_of_range(name: &str) -> Option<(u16, Option<Transport>)> {
    port_named(name).filter(|_| !name.starts_with('+'))
}

/// The protocols that have the port: those that the qualifier says and the name is registered for. `None` if they
/// contradict.
fn transports(qualifier: Option<Protocol>, name: Option<Transport>) -> Option<&'static [u32]> {
    let of_name: &[u32] = match name {
        None | Some(Transport::Both) => WITH_PORTS,
        Some(Transport::Tcp) => &[6],
        Some(Transport::Udp) => &[17],
    };
    let of_qualifier: &[u32] = match qualifier {
        Some(Protocol::Tcp) => &[6],
        Some(Protocol::Udp) => &[17],
        Some(Protocol::Sctp) => &[132],
        _ => return Some(of_name),
    };
    of_qualifier.iter().all(|protocol| of_name.contains(protocol)).then_some(of_qualifier)
}
