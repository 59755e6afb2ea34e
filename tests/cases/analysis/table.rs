//! What is printed at the end.

use std::fmt;

/// One line of the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) what: String,
    /// What must be told, but for rows that have nothing to compare.
    pub(crate) rows: usize,
    /// How many of these are not told, or told otherwise.
    pub(crate) differ: usize,
    /// What is told beyond these.
    pub(crate) more: usize,
}

/// What one comparison found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) lines: Vec<Line>,
    /// What nothing explains.
    pub(crate) wrong: Vec<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, rows, differ, more } = self;
        let equal = rows - differ;
        let percent = if *rows == 0 { 100.0 } else { 100.0 * equal as f64 / *rows as f64 };
        write!(f, "| {what:<40} | {rows:>6} | {equal:>6} | {percent:>6.2} | {differ:>6} | {more:>6} |")
    }
}

/// The table of all `parts`.
pub(crate) fn print(parts: &[Part]) {
    println!("| {:<40} | {:>6} | {:>6} | {:>6} | {:>6} | {:>6} |", "what", "rows", "equal", "%", "differ", "more");
    println!("|{:-<42}|{:->8}|{:->8}|{:->8}|{:->8}|{:->8}|", "", ":", ":", ":", ":", ":");
    parts.iter().flat_map(|part| &part.lines).for_each(|line| println!("{line}"));
}
