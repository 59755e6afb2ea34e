//! The mirror streams: who sends, and how much.

use ratatui::style::Style;
use ratatui::text::Line;
use vxtap_analyzers::snapshot::{Snapshot, StreamSnapshot};

use crate::app::App;
use crate::number;
use crate::screens::grid::{Column, Grid};
use crate::text;
use crate::theme;

/// The longest name: `vni 16777215 from` an IPv6 address.
const NAME_MAX: usize = 57;
const NAME_MIN: usize = 22;

pub(super) fn lines(app: &App, snapshot: &Snapshot, width: usize, height: usize) -> Vec<Line<'static>> {
    if height == 0 {
        return Vec::new();
    }
    let visible = app.overview.visible();
    let shown = snapshot.streams.get(visible.clone()).unwrap_or_default();
    let longest = shown.iter().map(|stream| text::columns(&stream.name)).max().unwrap_or(0);
    let columns = [
        Column::name("mirror streams", NAME_MIN, longest.clamp(NAME_MIN + 12, NAME_MAX), 0),
        Column::number("frames/s", 8, 1),
        Column::number("bits/s", 6, 2),
        Column::number("frames", 6, 3),
        Column::number("trunc", 5, 4),
        Column::number("seen", 5, 5),
        Column::number("bytes", 6, Column::EXTRA),
        Column::number("encapsulation", 13, Column::EXTRA + 1),
        Column::number("reserved bits", 13, Column::EXTRA + 2),
    ];
    let grid = Grid::choose(&columns, width);
    let title = |column: usize| (column == 0).then(|| (title(&visible, snapshot), app.theme.heading()));
    let mut lines = vec![grid.titles(app.theme.heading(), title)];
    if shown.is_empty() {
        lines.push(Line::styled("none yet: no mirrored frame has come", theme::FAINT));
    }
    lines.extend(shown.iter().map(|stream| grid.row(Style::new(), |column| cell(app, snapshot, stream, column))));
    lines
}

/// `mirror streams (3)`, or which of them are on the screen.
fn title(visible: &std::ops::Range<usize>, snapshot: &Snapshot) -> String {
    let total = snapshot.streams_total.max(snapshot.streams.len() as u64);
    if total <= visible.len() as u64 {
        return format!("mirror streams ({total})");
    }
    format!("mirror streams {}-{} of {}", visible.start + 1, visible.end, number::count(total))
}

fn cell(app: &App, snapshot: &Snapshot, stream: &StreamSnapshot, column: usize) -> (String, Style) {
    let (plain, counters) = (Style::new(), &stream.counters);
    let rates = app.history().stream_rates(stream);
    match column {
        0 => (stream.name.clone(), plain),
        1 => (number::rate(rates.map(|(frames, _)| frames)), plain),
        2 => (number::rate(rates.map(|(_, bits)| bits)), plain),
        3 => (number::count(counters.frames), plain),
        4 => {
            let style = if counters.truncated > 0 { app.theme.notice() } else { plain };
            (number::share(counters.truncated as f64, counters.frames as f64), style)
        }
        5 if counters.last_seen_ns == 0 => ("-".into(), plain),
        5 => (number::age(snapshot.taken_ns.saturating_sub(counters.last_seen_ns)), plain),
        6 => (number::count(counters.bytes), plain),
        7 => (stream.encapsulation.as_str().into(), plain),
        _ => (number::count(counters.reserved_bits), plain),
    }
}
