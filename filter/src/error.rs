//! What is wrong with the text of a filter, and where.

use std::fmt;

/// A text that is no filter.
///
/// Displayed as one line that names the place; [`FilterError::with_caret`] shows the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("capture filter, at character {}: {what}", self.column())]
pub struct FilterError {
    text: String,
    at: usize,
    what: String,
}

impl FilterError {
    pub(crate) fn new(text: &str, at: usize, what: impl Into<String>) -> Self {
        Self { text: text.to_owned(), at, what: what.into() }
    }

    /// The place as an offset in bytes into the text; its length for something missing at the end.
    pub fn at(&self) -> usize {
        self.at
    }

    /// What is wrong, without the place: one line, safe to print.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The place as a person counts, in characters from 1.
    pub fn column(&self) -> usize {
        self.text.get(..self.at).unwrap_or(&self.text).chars().count() + 1
    }

    /// The text with a caret under the place, two lines, safe to print. Long texts are shortened around the place.
    pub fn with_caret(&self) -> impl fmt::Display {
        format!("{}\n{:>2$}", self.text.escape_debug(), '^', self.column())
    }
}

/// The filter has no classic BPF program: it says something that the bytes of the frame do not show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a filter with {primitive} cannot run in the kernel")]
pub struct NotForKernel {
    /// The primitive that has no program.
    pub primitive: &'static str,
}
