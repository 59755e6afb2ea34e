//! Numbers that are computed from the packet.

use super::Parser;
use crate::error::FilterError;
use crate::lexer::Token;
use crate::tree::{Expression, ExpressionId, Operator};
use crate::words::{Protocol, Word};

/// How many operations may be on top of each other.
const MAX_OPERATIONS: usize = 200;

impl Parser<'_> {
    /// A whole arithmetic expression.
    pub(super) fn arithmetic(&mut self) -> Result<ExpressionId, FilterError> {
        let (first, _) = self.operand()?;
        self.operators(first, 0)
    }

    /// The operators behind `left` that bind at least as tight as `tightest`, and their operands.
    ///
    /// `%` and `^` have no rank in tcpdump's grammar: each takes what is on its left as far as the operator before it
    /// allows, and everything on its right.
    pub(super) fn operators(&mut self, mut left: ExpressionId, tightest: u8) -> Result<ExpressionId, FilterError> {
        while let Some((operator, rank)) = binary(self.next.token) {
            if rank.is_some_and(|rank| rank < tightest) {
                break;
            }
            if self.tree.depth(left) > MAX_OPERATIONS {
                return Err(
                    self.error(self.next.at, format!("more than {MAX_OPERATIONS} operations on top of each other"))
                );
            }
            let at = self.take()?.at;
            let right_at = self.next.at;
            let right = self.nested(|parser| {
                let (first, _) = parser.operand()?;
                parser.operators(first, rank.map_or(0, |rank| rank + 1))
            })?;
            let constant = match self.tree.number(right) {
                Some((Expression::Number(number), _)) => Some(number),
                _ => None,
            };
            let wrong = match (operator, constant) {
                (Operator::Divide | Operator::Modulo, Some(0)) => Some("division by zero"),
                (Operator::ShiftLeft | Operator::ShiftRight, Some(32..)) => Some("shift by more than 31 bits"),
                _ => None,
            };
            if let Some(wrong) = wrong {
                return Err(self.error(right_at, wrong));
            }
            left = self.tree.expression(Expression::Binary(operator, left, right), at);
        }
        Ok(left)
    }

    /// One operand, and the number that it is if it is nothing else.
    pub(super) fn operand(&mut self) -> Result<(ExpressionId, Option<u32>), FilterError> {
        let at = self.next.at;
        match self.next.token {
            Token::Number(number) => {
                self.take()?;
                Ok((self.tree.expression(Expression::Number(number), at), Some(number)))
            }
            Token::Word(Word::Length) => {
                self.take()?;
                Ok((self.tree.expression(Expression::Length, at), None))
            }
            Token::Minus => {
                self.take()?;
                // Only the operators without a rank reach into a signed operand.
                let inner = self.nested(|parser| {
                    let (first, _) = parser.operand()?;
                    parser.operators(first, u8::MAX)
                })?;
                Ok((self.tree.expression(Expression::Negate(inner), at), None))
            }
            Token::Open => {
                self.take()?;
                let (first, bare) = self.nested(Self::operand)?;
                let behind = self.next.at;
                let inner = self.nested(|parser| parser.operators(first, 0))?;
                let computed = self.next.at != behind;
                self.require(Token::Close, "an operator or ')'")?;
                Ok((inner, bare.filter(|_| !computed)))
            }
            Token::Word(Word::Protocol(protocol)) => {
                self.take()?;
                if self.next.token != Token::OpenIndex {
                    return Err(self.expected("'['"));
                }
                Ok((self.bytes(protocol, at)?, None))
            }
            _ => Err(self.expected("a number, 'len' or bytes such as 'tcp[0]'")),
        }
    }

    /// From `[` to behind `]`.
    pub(super) fn bytes(&mut self, protocol: Protocol, at: usize) -> Result<ExpressionId, FilterError> {
        use Protocol as P;
        let known = matches!(
            protocol,
            P::Link | P::Ip | P::Ip6 | P::Arp | P::Rarp | P::Sctp | P::Tcp | P::Udp | P::Icmp | P::Icmp6 | P::Igmp
        ) || matches!(
            protocol,
            P::Igrp | P::Pim | P::Vrrp | P::Carp | P::Atalk | P::Decnet | P::Lat | P::Sca | P::Moprc | P::Mopdl
        );
        if !known {
            return Err(self.error(at, "the bytes of this protocol cannot be looked at; count from 'ether[' or 'ip['"));
        }
        self.take()?;
        let index = self.nested(Self::arithmetic)?;
        let size = if self.skip(Token::Colon)? {
            let size = match self.next.token {
                Token::Number(1) => 1,
                Token::Number(2) => 2,
                Token::Number(4) => 4,
                _ => return Err(self.expected("1, 2 or 4 bytes")),
            };
            self.take()?;
            size
        } else {
            1
        };
        self.require(Token::CloseIndex, "an operator, ':' or ']'")?;
        Ok(self.tree.expression(Expression::Bytes { protocol, index, size }, at))
    }
}

/// An operator between two numbers, and how tight it binds.
fn binary(token: Token<'_>) -> Option<(Operator, Option<u8>)> {
    Some(match token {
        Token::Bar => (Operator::Or, Some(1)),
        Token::Ampersand => (Operator::And, Some(2)),
        Token::ShiftLeft => (Operator::ShiftLeft, Some(3)),
        Token::ShiftRight => (Operator::ShiftRight, Some(3)),
        Token::Plus => (Operator::Add, Some(4)),
        Token::Minus => (Operator::Subtract, Some(4)),
        Token::Star => (Operator::Multiply, Some(5)),
        Token::Slash => (Operator::Divide, Some(5)),
        Token::Percent => (Operator::Modulo, None),
        Token::Caret => (Operator::Xor, None),
        _ => return None,
    })
}
