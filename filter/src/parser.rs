//! Tokens to a tree, by the grammar of pcap-filter(7).
//!
//! `and` and `or` have one precedence and bind to the left, `not` binds tighter. A name or number without qualifiers has
//! those of the primitive before it; a parenthesis keeps, for what comes behind it, those from before it.

use crate::error::FilterError;
use crate::lexer::{Lexer, Placed, Token};
use crate::tree::{Comparison, Condition, ConditionId, ExpressionId, Primitive, Qualifiers, Tree};
use crate::words::{Protocol, Word};

mod arithmetic;
mod primitive;
mod target;

/// The longest text, in bytes.
pub(crate) const MAX_TEXT: usize = 65_536;
/// How deep parentheses, negations and signs may be nested.
const MAX_DEPTH: usize = 100;

/// The tree of `text`.
pub(crate) fn parse(text: &str) -> Result<Tree, FilterError> {
    if text.len() > MAX_TEXT {
        return Err(FilterError::new(text, MAX_TEXT, format!("the text is longer than {MAX_TEXT} bytes")));
    }
    let mut lexer = Lexer::new(text);
    let next = lexer.next()?;
    let mut parser = Parser { text, lexer, next, behind: 0, depth: 0, tree: Tree::default() };
    if parser.next.token != Token::End {
        let first = parser.element(None, false)?;
        let (root, _) = parser.rest_of_list(&first, false)?;
        if parser.next.token != Token::End {
            return Err(parser.expected("'and', 'or' or the end"));
        }
        parser.tree.root = Some(root);
    }
    Ok(parser.tree)
}

struct Parser<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    next: Placed<'t>,
    /// Where the last token taken ends.
    behind: usize,
    depth: usize,
    tree: Tree,
}

/// What has been read of a list, and which qualifiers the next name or number has.
struct Element {
    what: What,
    at: usize,
    qualifiers: Option<Qualifiers>,
}

enum What {
    /// A whole primitive, or a parenthesis that has some.
    Term(ConditionId),
    /// A name or number with qualifiers from before.
    Carried(ConditionId),
    /// A number that is not compared with anything; `bare` has a number that is not computed.
    Number { number: ExpressionId, bare: Option<u32> },
}

impl<'t> Parser<'t> {
    fn take(&mut self) -> Result<Placed<'t>, FilterError> {
        let next = self.lexer.next()?;
        self.behind = self.next.end;
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// Takes the next token if it is `token`.
    fn skip(&mut self, token: Token<'_>) -> Result<bool, FilterError> {
        let is = self.next.token == token;
        if is {
            self.take()?;
        }
        Ok(is)
    }

    fn skip_word(&mut self, word: Word) -> Result<bool, FilterError> {
        self.skip(Token::Word(word))
    }

    fn require(&mut self, token: Token<'_>, name: &str) -> Result<(), FilterError> {
        if self.skip(token)? { Ok(()) } else { Err(self.expected(name)) }
    }

    fn error(&self, at: usize, what: impl Into<String>) -> FilterError {
        FilterError::new(self.text, at, what)
    }

    fn expected(&self, what: &str) -> FilterError {
        let found = match self.next.token {
            Token::End => "but the filter ends".to_owned(),
            _ => format!("not '{}'", self.text.get(self.next.at..self.next.end).unwrap_or_default().escape_debug()),
        };
        self.error(self.next.at, format!("expected {what}, {found}"))
    }

    /// Runs `inner` one level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, FilterError>) -> Result<T, FilterError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(self.next.at, format!("nested deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// What stands between two operators. `carried` are the qualifiers of what comes before; `names` says whether a name
    /// or number may stand here without its own.
    fn element(&mut self, carried: Option<Qualifiers>, names: bool) -> Result<Element, FilterError> {
        let at = self.next.at;
        let term = |what, qualifiers| Ok(Element { what: What::Term(what), at, qualifiers });
        match self.next.token {
            Token::Not => {
                self.take()?;
                let inner = self.nested(|parser| parser.element(carried, names))?;
                let (what, carried) = (self.settled(&inner, names)?, matches!(inner.what, What::Term(_)));
                let not = self.tree.condition(Condition::Not(what), at);
                let what = if carried { What::Term(not) } else { What::Carried(not) };
                Ok(Element { what, at, qualifiers: inner.qualifiers })
            }
            Token::Open => {
                self.take()?;
                let inner = self.nested(|parser| parser.parenthesis(carried, names))?;
                match inner.what {
                    What::Number { number, bare } => self.relation(number, bare, carried, at),
                    _ => Ok(Element { at, ..inner }),
                }
            }
            Token::Number(_) | Token::Minus | Token::Word(Word::Length) => {
                let (number, bare) = self.operand()?;
                self.relation(number, bare, carried, at)
            }
            Token::Word(Word::Protocol(protocol)) => {
                self.take()?;
                if self.next.token == Token::OpenIndex {
                    let number = self.bytes(protocol, at)?;
                    return self.relation(number, None, carried, at);
                }
                let (primitive, qualifiers) = self.behind_protocol(protocol, at)?;
                term(primitive, qualifiers)
            }
            Token::Word(word) => {
                let (primitive, qualifiers) = self.primitive(word, at)?;
                term(primitive, qualifiers)
            }
            _ if self.at_name() => {
                let name = self.shown().escape_debug();
                let qualifiers = carried.filter(|_| names).ok_or_else(|| {
                    self.error(at, format!("nothing says what '{name}' is; write 'host', 'net', 'port' before it"))
                })?;
                let target = self.target(qualifiers)?;
                Ok(Element { what: What::Carried(target), at, qualifiers: Some(qualifiers) })
            }
            _ => Err(self.expected("a primitive such as 'host', 'port' or 'tcp'")),
        }
    }

    /// From behind `(` to behind `)`: a condition, or a number that the caller goes on with.
    fn parenthesis(&mut self, carried: Option<Qualifiers>, names: bool) -> Result<Element, FilterError> {
        let first = self.element(carried, names)?;
        if let What::Number { .. } = first.what
            && self.next.token == Token::Close
        {
            self.take()?;
            return Ok(first);
        }
        // A list of names and numbers has nothing else in it.
        let only_names = names && !matches!(first.what, What::Term(_));
        let at = first.at;
        let (list, qualifiers) = self.rest_of_list(&first, only_names)?;
        self.require(Token::Close, "'and', 'or' or ')'")?;
        Ok(if only_names {
            Element { what: What::Carried(list), at, qualifiers }
        } else {
            Element { what: What::Term(list), at, qualifiers: carried }
        })
    }

    /// `and` and `or` with what stands behind each, as long as there are some.
    fn rest_of_list(
        &mut self,
        first: &Element,
        only_names: bool,
    ) -> Result<(ConditionId, Option<Qualifiers>), FilterError> {
        let mut qualifiers = first.qualifiers;
        let mut list = self.settled(first, only_names)?;
        loop {
            let at = self.next.at;
            let and = match self.next.token {
                Token::And => true,
                Token::Or => false,
                _ => return Ok((list, qualifiers)),
            };
            self.take()?;
            let right = if let (true, Some(qualifiers)) = (only_names, qualifiers) {
                Element { what: What::Carried(self.name(qualifiers)?), at, qualifiers: Some(qualifiers) }
            } else {
                self.element(qualifiers, true)?
            };
            qualifiers = right.qualifiers;
            let right = self.settled(&right, true)?;
            let both = if and { Condition::And(list, right) } else { Condition::Or(list, right) };
            list = self.tree.condition(both, at);
        }
    }

    /// The condition that `element` is; a number alone is one with the qualifiers of what comes before.
    fn settled(&mut self, element: &Element, names: bool) -> Result<ConditionId, FilterError> {
        match element.what {
            What::Term(condition) | What::Carried(condition) => Ok(condition),
            What::Number { bare: Some(number), .. } => match element.qualifiers.filter(|_| names) {
                Some(qualifiers) => self.numbered(qualifiers, number, element.at),
                None => Err(self.error(
                    element.at,
                    format!("nothing says what '{number}' is; write 'host', 'net', 'port' before it"),
                )),
            },
            What::Number { bare: None, .. } => Err(self.expected("an operator or a comparison such as '='")),
        }
    }

    /// Goes on behind the first operand of what may become a comparison.
    fn relation(
        &mut self,
        first: ExpressionId,
        bare: Option<u32>,
        carried: Option<Qualifiers>,
        at: usize,
    ) -> Result<Element, FilterError> {
        let start = self.next.at;
        let left = self.operators(first, 0)?;
        let (comparison, wanted) = match self.next.token {
            Token::Equal => (Comparison::Equal, true),
            Token::NotEqual => (Comparison::Equal, false),
            Token::Greater => (Comparison::Greater, true),
            Token::LessOrEqual => (Comparison::Greater, false),
            Token::GreaterOrEqual => (Comparison::GreaterOrEqual, true),
            Token::Less => (Comparison::GreaterOrEqual, false),
            _ => {
                let bare = bare.filter(|_| self.next.at == start);
                return Ok(Element { what: What::Number { number: left, bare }, at, qualifiers: carried });
            }
        };
        self.take()?;
        let right = self.arithmetic()?;
        let relation = Condition::Relation { left, comparison, right, wanted };
        Ok(Element { what: What::Term(self.tree.condition(relation, at)), at, qualifiers: None })
    }

    /// The next token as it is written.
    fn shown(&self) -> &'t str {
        self.text.get(self.next.at..self.next.end).unwrap_or_default()
    }

    fn at_name(&self) -> bool {
        matches!(self.next.token, Token::Name(_) | Token::Dotted(_) | Token::Ipv6(_) | Token::Ether(_))
    }

    fn add(&mut self, primitive: Primitive, at: usize) -> ConditionId {
        self.tree.condition(Condition::Primitive(primitive), at)
    }

    /// A number that may be in parentheses.
    fn plain_number(&mut self) -> Result<Option<u32>, FilterError> {
        match self.next.token {
            Token::Number(number) => {
                self.take()?;
                Ok(Some(number))
            }
            Token::Open => {
                self.take()?;
                let number = self.nested(Self::plain_number)?;
                let number = number.ok_or_else(|| self.expected("a number"))?;
                self.require(Token::Close, "')'")?;
                Ok(Some(number))
            }
            _ => Ok(None),
        }
    }
}

/// The name of a protocol word in messages.
fn shown(protocol: Protocol) -> String {
    format!("{protocol:?}").to_lowercase()
}

#[cfg(test)]
mod tests;
