//! How things look: the 16 named colours on the terminal's own background, or attributes alone.

use ratatui::style::{Color, Modifier, Style};

/// Beside the point, or old. An attribute and no grey: dark grey can't be read on every background.
pub(crate) const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
/// The chosen row, screen or column.
pub(crate) const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);
/// Keys in help and hints, and numbers to look at first.
pub(crate) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

/// Styles by meaning, in colour if colours are wanted. Nothing is told by colour alone: every red number has its name beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Theme {
    color: bool,
}

impl Theme {
    pub(crate) const fn new(color: bool) -> Self {
        Self { color }
    }

    const fn colored(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// Names of regions and columns.
    pub(crate) const fn heading(self) -> Style {
        self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// Nothing wrong.
    pub(crate) const fn good(self) -> Style {
        self.colored(Color::Green)
    }

    /// Loss and errors.
    pub(crate) const fn bad(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Worth a look.
    pub(crate) const fn notice(self) -> Style {
        self.colored(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// A bar across the screen that can't be overlooked.
    pub(crate) const fn alarm(self) -> Style {
        self.bad().add_modifier(Modifier::REVERSED)
    }

    /// The curve of packets.
    pub(crate) const fn packets(self) -> Style {
        self.colored(Color::Green)
    }

    /// The curve of bits.
    pub(crate) const fn bits(self) -> Style {
        self.colored(Color::Cyan)
    }
}
