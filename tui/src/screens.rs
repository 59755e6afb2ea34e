//! Draws the screens: a pure function of the application's state and the time.
//!
//! ```text
//! vxtap  1 Overview  2 Flows  3 Captures  4 Streams  5 Help    PAUSED  running    frame
//! connection lost, trying again …                                           only when it is so
//! ┌───────────────────────────────────────────────────────────────────────┐
//! │ overview, flows, captures, streams or help                                     │  body
//! └───────────────────────────────────────────────────────────────────────┘
//! saved 12 packets to …                                                     only when a flow is saved
//! ? help  q quit  …                                                         frame
//! ```

pub(crate) mod captures;
mod edges;
pub(crate) mod flows;
mod grid;
pub(crate) mod help;
pub(crate) mod overview;
pub(crate) mod streams;

use std::time::Duration;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Rect, Size};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Widget as _, Wrap};

use crate::app::{App, Connection};
use crate::keys::Screen;
use crate::text;
use crate::theme;

/// The smallest terminal that the screens fit into.
pub(crate) const MIN_SIZE: Size = Size { width: 60, height: 15 };

/// Where things go.
struct Areas {
    top: Rect,
    banner: Option<Rect>,
    body: Rect,
    save: Rect,
    bottom: Rect,
}

impl Areas {
    /// `None` if the terminal is too small.
    fn of(app: &App, area: Rect) -> Option<Self> {
        if area.width < MIN_SIZE.width || area.height < MIN_SIZE.height {
            return None;
        }
        let row = |y: u16, height: u16| Rect { y: area.y + y, height, ..area };
        let banner = matches!(app.connection, Connection::Lost { since: Some(_), .. }).then(|| row(1, 2));
        let above = 1 + banner.map_or(0, |banner| banner.height);
        let save = edges::save_lines(app, area.width).len() as u16;
        let below = 1 + save;
        Some(Self {
            top: row(0, 1),
            banner,
            body: row(above, area.height - above - below),
            save: row(area.height - below, save),
            bottom: row(area.height - 1, 1),
        })
    }
}

/// Draws `app` as it is at `now`.
pub(crate) fn draw(frame: &mut Frame<'_>, app: &App, now: Duration) {
    let area = frame.area();
    match Areas::of(app, area) {
        Some(areas) => draw_areas(frame, &areas, app, now),
        None => draw_too_small(frame.buffer_mut(), area),
    }
    replace_hostile(frame.buffer_mut());
}

fn draw_areas(frame: &mut Frame<'_>, areas: &Areas, app: &App, now: Duration) {
    edges::draw_top(frame.buffer_mut(), areas.top, app);
    edges::draw_bottom(frame.buffer_mut(), areas.bottom, app);
    if let Some(banner) = areas.banner {
        edges::draw_banner(frame.buffer_mut(), banner, app, now);
    }
    put(frame.buffer_mut(), areas.save, edges::save_lines(app, areas.save.width));
    if app.screen == Screen::Help {
        return help::draw(frame.buffer_mut(), areas.body, app);
    }
    match app.history().latest() {
        None => edges::draw_waiting(frame.buffer_mut(), areas.body, app),
        Some(snapshot) => match app.screen {
            Screen::Overview => overview::draw(frame.buffer_mut(), areas.body, app, snapshot),
            Screen::Flows => flows::draw(frame, areas.body, app, snapshot),
            Screen::Captures => captures::draw(frame.buffer_mut(), areas.body, app, snapshot),
            Screen::Streams => streams::draw(frame.buffer_mut(), areas.body, app, snapshot),
            Screen::Help => {}
        },
    }
    if areas.banner.is_some() {
        frame.buffer_mut().set_style(areas.body, theme::FAINT);
    }
}

/// Lays the lists of `app` out for a terminal of `size`.
pub(crate) fn fit(app: &mut App, size: Size) {
    let Some(areas) = Areas::of(app, Rect::new(0, 0, size.width, size.height)) else { return };
    overview::fit(app, areas.body);
    flows::fit(app, areas.body);
    captures::fit(app, areas.body);
    streams::fit(app, areas.body);
    help::fit(app, areas.body);
}

fn draw_too_small(buffer: &mut Buffer, area: Rect) {
    let Size { width, height } = MIN_SIZE;
    let told = format!("The terminal is {}x{}; vxtap needs {width}x{height}. q quits.", area.width, area.height);
    Paragraph::new(told).alignment(Alignment::Center).wrap(Wrap { trim: true }).render(area, buffer);
}

/// The last line of defence: a cell that could act on the terminal, whatever let it through, is not sent there.
fn replace_hostile(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !text::is_clean(cell.symbol()) {
            cell.set_symbol("?");
        }
    }
}

/// Puts `lines` into `area` from its top; those that find no room are left out.
fn put<'a>(buffer: &mut Buffer, area: Rect, lines: impl IntoIterator<Item = Line<'a>>) {
    for (row, line) in area.rows().zip(lines) {
        line.render(row, buffer);
    }
}

/// The lower part of `area` from row `from` on.
fn below(area: Rect, from: u16) -> Rect {
    let from = from.min(area.height);
    Rect { y: area.y + from, height: area.height - from, ..area }
}

/// A message in the middle of an area.
fn put_message(buffer: &mut Buffer, area: Rect, lines: &[(String, Style)]) {
    let message: Vec<Line<'_>> = lines.iter().map(|(text, style)| Line::styled(text.as_str(), *style)).collect();
    let paragraph = Paragraph::new(message).alignment(Alignment::Center).wrap(Wrap { trim: true });
    paragraph.render(below(area, area.height / 4), buffer);
}

#[cfg(test)]
mod tests;
