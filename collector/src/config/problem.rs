//! What is wrong with a configuration, where, and how it is shown.

use std::fmt;
use std::ops::Range;

/// The longest piece of a line that is shown, in characters.
const MAX_EXCERPT: usize = 120;
/// The most problems that are shown.
const MAX_SHOWN: usize = 50;

/// Everything that is wrong with flags, environment and file; at least one thing.
#[derive(Debug)]
pub(crate) struct ConfigError(Vec<Problem>);

impl ConfigError {
    /// `problems` as an error, unless there are none.
    pub(super) fn unless_empty(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.0
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// One readable line for each problem, and below it the line of the file.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().take(MAX_SHOWN).enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        match self.0.len().checked_sub(MAX_SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    place: Place,
    message: String,
}

impl Problem {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = Printable(&self.message);
        match &self.place {
            Place::Arguments => write!(f, "error: {message}"),
            Place::Variable(name) => write!(f, "error: {name}: {message}"),
            Place::File { name, line, column, excerpt } => {
                let number = line.to_string();
                let margin = " ".repeat(number.len());
                write!(f, "{}:{line}:{column}: {message}", Printable(name))?;
                write!(f, "\n  {number} | {}\n  {margin} | {}", excerpt.line, excerpt.marks())
            }
        }
    }
}

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A flag, or nowhere.
    Arguments,
    /// An environment variable.
    Variable(String),
    /// A place in the file; line and column count from 1, the column in characters.
    File { name: String, line: usize, column: usize, excerpt: Excerpt },
}

impl Place {
    /// The place of the bytes `span` of `text`, which the file called `name` holds.
    pub(super) fn in_file(name: &str, text: &str, span: &Range<usize>) -> Self {
        let start = floor(text, span.start);
        let end = floor(text, span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let rest = &text[line_start..];
        let line = rest.split('\n').next().unwrap_or(rest).trim_end_matches('\r');
        let before = text[line_start..start].chars().count();
        let marked =
            text[start..end].split('\n').next().map_or(0, |marked| marked.trim_end_matches('\r').chars().count());
        Self::File {
            name: name.to_owned(),
            line: line_of(text, start),
            column: before + 1,
            excerpt: Excerpt::new(line, before, marked),
        }
    }
}

/// In a few words, for a problem that is shown at another place.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments => f.write_str("on the command line"),
            Self::Variable(name) => write!(f, "in {name}"),
            Self::File { name, line, column, .. } => write!(f, "at {name}:{line}:{column}"),
        }
    }
}

/// The line that the byte `at` of `text` is on, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text[..floor(text, at)].matches('\n').count() + 1
}

/// The character boundary of `text` at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A line of the file, one printable character for each of its own, cut where it is long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    line: String,
    before: usize,
    marked: usize,
}

impl Excerpt {
    fn new(line: &str, before: usize, marked: usize) -> Self {
        let skipped = if before < MAX_EXCERPT { 0 } else { before - MAX_EXCERPT / 4 };
        let shown: String = line.chars().skip(skipped).take(MAX_EXCERPT).map(visible).collect();
        let before = before - skipped;
        let room = shown.chars().count().saturating_sub(before).max(1);
        Self { line: shown, before, marked: marked.clamp(1, room) }
    }

    fn marks(&self) -> String {
        " ".repeat(self.before) + &"^".repeat(self.marked)
    }
}

fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// A text with nothing in it that acts on a terminal, and no line end.
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                fmt::Write::write_char(f, c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str, span: Range<usize>) -> String {
        Problem::new(Place::in_file("f.toml", text, &span), "wrong").to_string()
    }

    #[test]
    fn the_place_is_line_and_column_in_characters_with_the_line_below() {
        let text = "[capture]\r\nflush = \"é\" x\r\nlast";
        let at = text.find('x').unwrap();
        assert_eq!(shown(text, at..at + 1), "f.toml:2:13: wrong\n  2 | flush = \"é\" x\n    |             ^");
        assert_eq!(shown(text, 0..9), "f.toml:1:1: wrong\n  1 | [capture]\n    | ^^^^^^^^^");
        let end = text.len();
        assert_eq!(shown(text, end..end), "f.toml:3:5: wrong\n  3 | last\n    |     ^");
        assert_eq!(shown("", 0..0), "f.toml:1:1: wrong\n  1 | \n    | ^");
    }

    #[test]
    fn a_long_line_is_shown_around_the_mark() {
        let text = format!("{}BAD{}", "a".repeat(1000), "z".repeat(1000));
        let shown = shown(&text, 1000..1003);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "f.toml:1:1001: wrong");
        assert!(lines[1].len() < 140, "{}", lines[1]);
        let marks = lines[2].find('^').unwrap();
        assert_eq!(&lines[1][marks..marks + 3], "BAD");
    }

    #[test]
    fn control_characters_of_the_file_do_not_reach_the_terminal() {
        let text = "\u{1b}[2J\u{9b}1m = 1";
        let problem = Problem::new(Place::in_file("a\u{7}b", text, &(0..1)), "unknown key '\u{1b}\n'");
        let shown = problem.to_string();
        assert!(!shown.replace('\n', "").contains(char::is_control), "{shown:?}");
        assert_eq!(shown.lines().count(), 3);
    }

    #[test]
    fn many_problems_are_cut_and_counted() {
        let error = ConfigError(vec![Problem::new(Place::Arguments, "wrong"); 60]);
        assert_eq!(error.to_string().lines().last(), Some("and 10 more"));
        let error = ConfigError(vec![Problem::new(Place::Arguments, "wrong"); 50]);
        assert_eq!(error.to_string().lines().last(), Some("error: wrong"));
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_has_a_place(text: String, start in 0_usize..200, len in 0_usize..200) {
            let shown = shown(&text, start..start + len);
            prop_assert!(shown.starts_with("f.toml:"));
            prop_assert_eq!(shown.split('\n').count(), 3);
        }
    }
}
