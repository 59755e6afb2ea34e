//! Primitives: what follows each word of the language.

use std::net::IpAddr;

use super::{Parser, shown};
use crate::address::{ipv4_prefix, mask4, mask6};
use crate::error::FilterError;
use crate::lexer::Token;
use crate::names::protocols;
use crate::tree::{
    Comparison, Condition, ConditionId, Direction, Expression, Family, Kind, Llc, Net, Primitive, Qualifiers,
};
use crate::words::{Protocol, Word};

/// A primitive, and which qualifiers it leaves for the name or number behind it.
type Found = Result<(ConditionId, Option<Qualifiers>), FilterError>;

const MAX_VLAN: u32 = 0xfff;
const MAX_LABEL: u32 = 0xf_ffff;
const MAX_SESSION: u32 = 0xffff;
const MAX_VNI: u32 = vxtap_wire::vxlan::Vni::MAX;

impl Parser<'_> {
    /// A primitive that begins with `word`, which is not yet taken and names no protocol.
    pub(super) fn primitive(&mut self, word: Word, at: usize) -> Found {
        let primitive = match word {
            Word::Source
            | Word::Destination
            | Word::Host
            | Word::Net
            | Word::Port
            | Word::PortRange
            | Word::Proto
            | Word::ProtoChain
            | Word::Gateway => return self.qualified(None, at),
            Word::Broadcast | Word::Multicast => return self.group(None, at),
            Word::Less | Word::Greater => {
                self.take()?;
                let Token::Number(number) = self.next.token else { return Err(self.expected("a length")) };
                let number_at = self.take()?.at;
                let left = self.tree.expression(Expression::Length, at);
                let right = self.tree.expression(Expression::Number(number), number_at);
                let (comparison, wanted) = match word {
                    Word::Less => (Comparison::Greater, false),
                    _ => (Comparison::GreaterOrEqual, true),
                };
                let relation = Condition::Relation { left, comparison, right, wanted };
                return Ok((self.tree.condition(relation, at), None));
            }
            Word::Vlan => Primitive::Vlan(self.identifier("a VLAN identifier", MAX_VLAN)?),
            Word::Mpls => Primitive::Mpls(self.identifier("an MPLS label", MAX_LABEL)?),
            Word::PppoeSession => Primitive::PppoeSession(self.identifier("a PPPoE session", MAX_SESSION)?),
            Word::Geneve => Primitive::Geneve(self.identifier("a VNI", MAX_VNI)?),
            Word::PppoeDiscovery => {
                self.take()?;
                Primitive::LinkType(0x8863)
            }
            Word::Llc => {
                self.take()?;
                Primitive::Llc(self.llc()?)
            }
            Word::Vni => match self.identifier("a VNI", MAX_VNI)? {
                Some(vni) => Primitive::Vni(vni),
                None => return Err(self.expected("a VNI")),
            },
            Word::Network => {
                self.take()?;
                Primitive::Network(self.network()?)
            }
            Word::Outer => {
                self.take()?;
                Primitive::Outer(self.outer()?)
            }
            Word::Unsupported("byte") => return Err(self.error(at, "'byte' is not supported; write 'ether[N]'")),
            Word::Unsupported(word) => {
                let why = "it is for other link types, or for what a mirrored frame does not tell";
                return Err(self.error(at, format!("'{word}' is not supported: {why}")));
            }
            Word::Mask | Word::Length | Word::And | Word::Or | Word::Not | Word::Protocol(_) => {
                return Err(self.expected("a primitive such as 'host', 'port' or 'tcp'"));
            }
        };
        Ok((self.add(primitive, at), None))
    }

    /// A primitive that began with the word of `protocol`, which is taken and not followed by `[`.
    pub(super) fn behind_protocol(&mut self, protocol: Protocol, at: usize) -> Found {
        match self.next.token {
            Token::Word(
                Word::Source
                | Word::Destination
                | Word::Host
                | Word::Net
                | Word::Port
                | Word::PortRange
                | Word::Proto
                | Word::ProtoChain
                | Word::Gateway,
            ) => self.qualified(Some(protocol), at),
            Token::Word(Word::Broadcast | Word::Multicast) => self.group(Some(protocol), at),
            Token::Word(Word::Unsupported(word @ ("type" | "subtype" | "dir" | "direction"))) => {
                Err(self.error(self.next.at, format!("'{word}' is not supported: it is for wireless frames")))
            }
            _ => Ok((self.protocol(protocol, at)?, None)),
        }
    }

    /// `protocol` alone.
    fn protocol(&mut self, protocol: Protocol, at: usize) -> Result<ConditionId, FilterError> {
        use Protocol as P;
        let ip = |family, number| Primitive::IpProtocol { family, number };
        let primitive = match protocol {
            P::Link => return Err(self.expected("'host', 'src', 'dst', 'proto', 'broadcast', 'multicast' or '['")),
            P::Ip => Primitive::LinkType(0x0800),
            P::Ip6 => Primitive::LinkType(0x86dd),
            P::Arp => Primitive::LinkType(0x0806),
            P::Rarp => Primitive::LinkType(0x8035),
            P::Sctp => ip(Family::Any, 132),
            P::Tcp => ip(Family::Any, 6),
            P::Udp => ip(Family::Any, 17),
            P::Icmp => ip(Family::V4, 1),
            P::Icmp6 => ip(Family::V6, 58),
            P::Igmp => ip(Family::V4, 2),
            P::Igrp => ip(Family::V4, 9),
            P::Pim => ip(Family::Any, 103),
            P::Vrrp | P::Carp => ip(Family::V4, 112),
            P::Ah => ip(Family::Any, 51),
            P::Esp => ip(Family::Any, 50),
            P::Atalk => Primitive::LinkType(0x809b),
            P::Aarp => Primitive::LinkType(0x80f3),
            P::Decnet => Primitive::LinkType(0x6003),
            P::Lat => Primitive::LinkType(0x6004),
            P::Sca => Primitive::LinkType(0x6007),
            P::Moprc => Primitive::LinkType(0x6002),
            P::Mopdl => Primitive::LinkType(0x6001),
            P::Iso => Primitive::LinkType(0xfe),
            P::Esis => Primitive::IsoProtocol(0x82),
            P::Isis => Primitive::IsoProtocol(0x83),
            P::Clnp => Primitive::IsoProtocol(0x81),
            // PDU types of ISO/IEC 10589, in tcpdump's order.
            P::IsisL1 => Primitive::Isis(&[26, 24, 18, 15, 17]),
            P::IsisL2 => Primitive::Isis(&[27, 25, 20, 16, 17]),
            P::IsisIih => Primitive::Isis(&[17, 15, 16]),
            P::IsisLsp => Primitive::Isis(&[18, 20]),
            P::IsisSnp => Primitive::Isis(&[27, 26, 24, 25]),
            P::IsisCsnp => Primitive::Isis(&[24, 25]),
            P::IsisPsnp => Primitive::Isis(&[26, 27]),
            P::Stp => Primitive::LinkType(0x42),
            P::Ipx => Primitive::LinkType(0xe0),
            P::Netbeui => Primitive::LinkType(0xf0),
        };
        Ok(self.add(primitive, at))
    }

    /// Direction and kind, and the name or number behind them.
    fn qualified(&mut self, protocol: Option<Protocol>, at: usize) -> Found {
        let directed = matches!(self.next.token, Token::Word(Word::Source | Word::Destination));
        let direction = if directed { self.direction()? } else { Direction::default() };
        let kind = match self.next.token {
            Token::Word(Word::Host) => Kind::Host,
            Token::Word(Word::Net) => Kind::Net,
            Token::Word(Word::Port) => Kind::Port,
            Token::Word(Word::PortRange) => Kind::PortRange,
            Token::Word(Word::Proto) if !directed => Kind::Proto,
            Token::Word(Word::ProtoChain) if !directed => Kind::ProtoChain,
            Token::Word(Word::Gateway) if !directed => {
                let instead = "write 'ether host MAC and not host ADDRESS'";
                return Err(
                    self.error(self.next.at, format!("'gateway' needs names, which are not looked up; {instead}"))
                );
            }
            _ => Kind::Default,
        };
        if kind != Kind::Default {
            self.take()?;
        }
        let qualifiers = Qualifiers { protocol, direction, kind };
        self.check(qualifiers, at)?;
        Ok((self.name(qualifiers)?, Some(qualifiers)))
    }

    /// `src`, `dst`, or both with `or` or `and` between them.
    fn direction(&mut self) -> Result<Direction, FilterError> {
        let first = self.take()?.token;
        let other = match first {
            Token::Word(Word::Source) => Word::Destination,
            _ => Word::Source,
        };
        let both = match self.next.token {
            Token::Or => Direction::Either,
            Token::And => Direction::Both,
            _ if other == Word::Destination => return Ok(Direction::Source),
            _ => return Ok(Direction::Destination),
        };
        self.take()?;
        if self.skip_word(other)? {
            return Ok(both);
        }
        Err(self.expected(if other == Word::Source { "'src'" } else { "'dst'" }))
    }

    /// `broadcast` or `multicast`.
    fn group(&mut self, protocol: Option<Protocol>, at: usize) -> Found {
        let broadcast = self.take()?.token == Token::Word(Word::Broadcast);
        let primitive = match (broadcast, protocol) {
            (true, None | Some(Protocol::Link)) => Primitive::EtherBroadcast,
            (false, None | Some(Protocol::Link)) => Primitive::EtherMulticast,
            (false, Some(Protocol::Ip)) => Primitive::IpMulticast,
            (false, Some(Protocol::Ip6)) => Primitive::Ip6Multicast,
            (true, Some(Protocol::Ip)) => {
                let what =
                    "'ip broadcast' needs the mask of a network, which is not known; write the broadcast address";
                return Err(self.error(at, format!("{what}, 'ip dst 255.255.255.255'")));
            }
            (_, Some(protocol)) => {
                let kind = if broadcast { "broadcast" } else { "multicast" };
                return Err(self.error(at, format!("there is no '{kind}' of {}", shown(protocol))));
            }
        };
        Ok((self.add(primitive, at), None))
    }

    /// The number that may stand behind a word, which is not yet taken.
    fn identifier(&mut self, what: &str, max: u32) -> Result<Option<u32>, FilterError> {
        self.take()?;
        let at = self.next.at;
        match self.plain_number()? {
            Some(number) if number > max => Err(self.error(at, format!("{what} is at most {max}"))),
            number => Ok(number),
        }
    }

    /// The form of an LLC frame, if one is named (IEEE 802.2).
    fn llc(&mut self) -> Result<Llc, FilterError> {
        let supervisory = |value| Llc::Control { mask: 0x0f, value };
        let unnumbered = |value| Llc::Control { mask: 0xef, value };
        let name = match self.next.token {
            Token::Name(name) => name,
            Token::Word(Word::Unsupported("rnr")) => "rnr",
            _ => return Ok(Llc::Any),
        };
        let form = match name.to_ascii_lowercase().as_str() {
            "i" => Llc::Information,
            "s" => Llc::Control { mask: 0x03, value: 0x01 },
            "u" => Llc::Control { mask: 0x03, value: 0x03 },
            "rr" => supervisory(0x01),
            "rnr" => supervisory(0x05),
            "rej" => supervisory(0x09),
            "ui" => unnumbered(0x03),
            "ua" => unnumbered(0x63),
            "disc" => unnumbered(0x43),
            "dm" => unnumbered(0x0f),
            "sabme" => unnumbered(0x6f),
            "test" => unnumbered(0xe3),
            "xid" => unnumbered(0xaf),
            "frmr" => unnumbered(0x87),
            _ => return Err(self.expected("a form of LLC frame such as 'ui' or 'rr'")),
        };
        self.take()?;
        Ok(form)
    }

    /// The name of a network, with or without quotation marks.
    fn network(&mut self) -> Result<String, FilterError> {
        let name = match self.next.token {
            Token::Quoted(name) | Token::Name(name) => name,
            Token::Word(_) | Token::Number(_) | Token::Dotted(_) | Token::Ether(_) => self.shown(),
            _ => return Err(self.expected("the name of a network")),
        };
        self.take()?;
        Ok(name.to_owned())
    }

    /// `src`, and an address or net.
    fn outer(&mut self) -> Result<Net, FilterError> {
        if !self.skip_word(Word::Source)? {
            return Err(self.expected("'src': of the outer packet only the source is known"));
        }
        if self.next.token == Token::Word(Word::Host) || self.next.token == Token::Word(Word::Net) {
            self.take()?;
        }
        let at = self.next.at;
        let (address, bits): (IpAddr, u32) = match self.next.token {
            Token::Ipv6(address) => (address.into(), 128),
            Token::Dotted(text) => match ipv4_prefix(text) {
                Some((address, bits)) => (std::net::Ipv4Addr::from(address).into(), bits),
                None => return Err(self.expected("an address or a net")),
            },
            _ => return Err(self.expected("an address or a net")),
        };
        self.take()?;
        let bits = if self.skip(Token::Slash)? { self.prefix_length(address.is_ipv6())? } else { bits };
        let (net, strict) = match address {
            IpAddr::V4(address) => {
                let (address, mask) = (u32::from(address), mask4(bits));
                (Net::V4 { address, mask }, address & !mask == 0)
            }
            IpAddr::V6(address) => {
                let (address, mask) = (u128::from(address), mask6(bits));
                (Net::V6 { address, mask }, address & !mask == 0)
            }
        };
        if strict { Ok(net) } else { Err(self.error(at, "the address has bits behind its prefix")) }
    }

    /// The number behind `/`.
    pub(super) fn prefix_length(&mut self, v6: bool) -> Result<u32, FilterError> {
        let max = if v6 { 128 } else { 32 };
        match self.next.token {
            Token::Number(bits) if bits <= max => {
                self.take()?;
                Ok(bits)
            }
            _ => Err(self.expected(&format!("a prefix length of at most {max}"))),
        }
    }

    /// The protocol of a name behind `proto` or `protochain`.
    pub(super) fn protocol_named(&self, name: &str, of: Option<Protocol>) -> Result<u32, FilterError> {
        let (number, kind) = match of {
            Some(Protocol::Link) => (protocols::ether(name), "an Ethernet protocol"),
            Some(Protocol::Iso) => (protocols::iso(name), "an OSI protocol"),
            _ => (protocols::ip(name), "an IP protocol"),
        };
        number.ok_or_else(|| self.expected(&format!("the number or name of {kind}")))
    }
}
