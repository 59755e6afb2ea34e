//! Every key, from the table in which keys are looked up.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::put;
use crate::app::App;
use crate::keys::{SECTIONS, Section};
use crate::theme;

/// Columns of the keys, and of keys and meaning together.
const KEYS: usize = 13;
const WIDTH: usize = 39;
const COLUMNS_MAX: usize = 4;

pub(crate) fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let columns = columns(area.width.into());
    let top = app.help.visible().start;
    for (at, sections) in columns.into_iter().enumerate() {
        let x = area.x + u16::try_from(at * (WIDTH + 1)).unwrap_or(u16::MAX);
        let column = Rect { x: x + 1, width: (area.right() - x - 1).min(WIDTH as u16), ..area };
        put(buffer, column, lines(app, sections).into_iter().skip(top));
    }
}

/// Lays the columns out for scrolling.
pub(crate) fn fit(app: &mut App, area: Rect) {
    let columns = columns(area.width.into());
    let tallest = columns.into_iter().map(height).max().unwrap_or(0);
    app.help.fit(tallest, area.height.into());
}

fn lines(app: &App, sections: &[Section]) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for section in sections {
        if !section.heading.is_empty() {
            if !lines.is_empty() {
                lines.push(Line::default());
            }
            lines.push(Line::styled(section.heading, app.theme.heading()));
        }
        lines.extend(section.bindings.iter().map(|binding| {
            let names: Vec<&str> = binding.keys.iter().map(|key| key.name).collect();
            let names = Span::styled(format!("{:<KEYS$}", names.join(" ")), theme::STRONG);
            Line::from(vec![names, Span::raw(binding.meaning)])
        }));
    }
    lines
}

/// Lines that `sections` take below each other.
fn height(sections: &[Section]) -> usize {
    let headings = sections.iter().filter(|section| !section.heading.is_empty()).count();
    let gaps = sections.iter().skip(1).filter(|section| !section.heading.is_empty()).count();
    sections.iter().map(|section| section.bindings.len()).sum::<usize>() + headings + gaps
}

/// The sections in as many columns as fit into `width`, none taller than needed.
fn columns(width: usize) -> Vec<&'static [Section]> {
    let count = (width / (WIDTH + 1)).clamp(1, COLUMNS_MAX);
    let tallest = SECTIONS.iter().map(|section| 1 + section.bindings.len()).max().unwrap_or(0);
    let columns = (tallest..=height(SECTIONS)).map(columns_within).find(|columns| columns.len() <= count);
    columns.unwrap_or_else(|| vec![SECTIONS])
}

/// The sections in columns of at most `tallest` lines.
fn columns_within(tallest: usize) -> Vec<&'static [Section]> {
    let mut columns = Vec::new();
    let mut start = 0;
    for end in 1..=SECTIONS.len() {
        if height(&SECTIONS[start..end]) > tallest {
            columns.push(&SECTIONS[start..end - 1]);
            start = end - 1;
        }
    }
    columns.push(&SECTIONS[start..]);
    columns
}
