//! What is wrong with a policy, and where in its file.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// The most problems that an error shows.
const MAX_SHOWN: usize = 50;
/// How much of a line of the file is shown below a problem, in characters.
const MAX_LINE: usize = 100;

/// A place in a policy file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
    /// The line's text around the place, nothing in it that acts on a terminal.
    #[serde(skip)]
    excerpt: String,
    /// How many characters of the excerpt are in front of those that are meant, and how many are.
    #[serde(skip)]
    marked: (usize, usize),
}

/// One thing that is wrong with a policy, or that should be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What it is about, as a path: `session[0].vni`.
    pub about: String,
    /// Where that is in the file; `None` for a policy that was not read from one.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// What is wrong and what was expected, in one line.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{}:{}: {}", place.line, place.column, self.message),
            None if self.about.is_empty() => f.write_str(&self.message),
            None => write!(f, "{}: {}", self.about, self.message),
        }
    }
}

impl Problem {
    /// The line of the file with the place marked, to be shown below the problem. Nothing where there is no place.
    pub fn excerpt(&self) -> Option<String> {
        let place = self.place.as_ref()?;
        let margin = " ".repeat(place.line.to_string().len());
        let (before, marks) = (" ".repeat(place.marked.0), "^".repeat(place.marked.1));
        Some(format!("  {} | {}\n  {margin} | {before}{marks}", place.line, place.excerpt))
    }
}

/// Everything that is wrong with a policy; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The file, as given; empty where there is none.
    file: String,
    problems: Vec<Problem>,
}

impl PolicyError {
    pub(super) fn new(file: &str, problems: Vec<Problem>) -> Self {
        Self { file: printable(file), problems }
    }

    /// The policy at `file` could not be read at all.
    pub(super) fn whole(file: &str, message: impl fmt::Display) -> Self {
        let message = printable(&message.to_string());
        Self::new(file, vec![Problem { about: String::new(), place: None, message }])
    }

    /// What is wrong, in the file's order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// A line for each problem, `FILE:LINE:COLUMN: …`, and below it the line of the file.
impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().take(MAX_SHOWN).enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            if !self.file.is_empty() {
                write!(f, "{}:{}", self.file, if problem.place.is_some() { "" } else { " " })?;
            }
            problem.fmt(f)?;
            if let Some(excerpt) = problem.excerpt() {
                write!(f, "\n{excerpt}")?;
            }
        }
        match self.problems.len().checked_sub(MAX_SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for PolicyError {}

/// Where each value of a policy file is, by its path.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    text: String,
    /// Where lines begin.
    lines: Vec<usize>,
    spans: HashMap<String, Range<usize>>,
}

impl Places {
    pub(super) fn new(text: &str) -> Self {
        let behind = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(behind).collect();
        Self { text: text.to_owned(), lines, spans: HashMap::new() }
    }

    pub(super) fn note(&mut self, path: &str, span: Range<usize>) {
        self.spans.insert(path.to_owned(), span);
    }

    /// Whether the file has a value at `path`.
    pub(super) fn has(&self, path: &str) -> bool {
        self.spans.contains_key(path)
    }

    /// `message` about what is at `path`, or what is around it where the file does not have it.
    pub(super) fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        let mut around = path;
        let span = loop {
            match self.spans.get(around) {
                Some(span) => break Some(span.clone()),
                None if around.is_empty() => break None,
                None => around = around.rfind(['.', '[']).map_or("", |end| &around[..end]),
            }
        };
        self.at(path, span, message)
    }

    pub(super) fn at(&self, path: &str, span: Option<Range<usize>>, message: impl Into<String>) -> Problem {
        let place = span.map(|span| self.place(&span));
        Problem { about: path.to_owned(), place, message: printable(&message.into()) }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let text = self.text.as_str();
        let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let start = floor(span.start);
        let end = floor(span.end.max(start));
        let number = self.lines.partition_point(|begin| *begin <= start).max(1);
        let line_start = self.lines.get(number - 1).copied().unwrap_or(0);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let before = text[line_start..start].chars().count();
        let marked = text[start..end].lines().next().map_or(0, |marked| marked.chars().count());
        // Of a long line, what is around the place; rules in one line are often long.
        let skipped = if line.chars().count() <= MAX_LINE { 0 } else { before.saturating_sub(MAX_LINE / 2) };
        let excerpt: String =
            line.chars().skip(skipped).take(MAX_LINE).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let room = excerpt.chars().count().saturating_sub(before - skipped).max(1);
        Place { line: number, column: before + 1, excerpt, marked: (before - skipped, marked.clamp(1, room)) }
    }
}

/// Problems as they are found, and the paths that have one already: what cannot be read is not missing, too.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) places: Places,
    pub(super) problems: Vec<Problem>,
    broken: HashSet<String>,
}

impl Findings {
    pub(super) fn new(places: Places) -> Self {
        Self { places, problems: Vec::new(), broken: HashSet::new() }
    }

    pub(super) fn add(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(self.places.problem(path, message));
        self.broken.insert(path.to_owned());
    }

    pub(super) fn add_at(&mut self, path: &str, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(self.places.at(path, Some(span), message));
        self.broken.insert(path.to_owned());
    }

    /// Keeps what is not whole from being judged.
    pub(super) fn mark(&mut self, path: &str) {
        self.broken.insert(path.to_owned());
    }

    /// Whether something was said about `path` already.
    pub(super) fn is_broken(&self, path: &str) -> bool {
        self.broken.contains(path)
    }

    /// All problems, in the file's order.
    pub(super) fn into_problems(self) -> (Places, Vec<Problem>) {
        let mut problems = self.problems;
        problems.sort_by_key(|problem| problem.place.as_ref().map(|place| (place.line, place.column)));
        (self.places, problems)
    }
}

/// `text` with nothing in it that acts on a terminal, and no line end.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}
