//! Mirror streams: who is let in and who waits, how much comes by each, and what is wrong with it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use vxtap_analyzers::StreamCounters;
use vxtap_analyzers::snapshot::{Act, Choice, Snapshot};

use super::grid::{Cell, Column, Grid};
use super::{below, put};
use crate::app::App;
use crate::number;
use crate::streams::{Row, Told, rows};
use crate::text;
use crate::theme;

/// The longest name that is given room: `vni 16777215 (name) from` an IPv6 address.
const NAME_MAX: usize = 66;
const NAME_MIN: usize = 22;
/// Lines below the table about the chosen stream.
const ABOUT: usize = 5;

pub(crate) fn draw(buffer: &mut Buffer, area: Rect, app: &App, snapshot: &Snapshot) {
    let width = area.width.into();
    let above = above(app, snapshot, width);
    let heights = heights(area, above.len());
    let rows = rows(snapshot);
    let table = below(area, above.len() as u16);
    put(buffer, area, above);
    put(buffer, Rect { height: heights.table + 1, ..table }, lines(app, snapshot, &rows, width));
    let chosen = rows.get(app.streams.list.selected());
    if let Some(row) = chosen {
        put(buffer, below(table, heights.table + 1), about(app, snapshot, *row, width));
    }
}

/// Lays the list out.
pub(crate) fn fit(app: &mut App, area: Rect) {
    // Out of the application meanwhile, which has the snapshot as well.
    let mut streams = std::mem::take(&mut app.streams);
    if let Some(snapshot) = app.history().latest() {
        // A line that tells of a decision is there or not, whatever it says.
        let told = usize::from(streams.asking().is_some() || streams.told().is_some());
        let heights = heights(area, above(app, snapshot, area.width.into()).len() + told);
        streams.fit(snapshot, heights.table.into());
    }
    app.streams = streams;
}

struct Heights {
    /// Rows of the table, without its titles.
    table: u16,
}

fn heights(area: Rect, above: usize) -> Heights {
    let left = usize::from(area.height).saturating_sub(above + 1);
    let about = if left > 3 * ABOUT { ABOUT } else { left / 3 };
    Heights { table: (left - about) as u16 }
}

/// ```text
/// mirror streams  12 let in, 3 wait, 1 rejected; others wait to be accepted
/// skew  busiest worker 1.2x, busiest stream 3.4x the mean    decisions 4, kept in /var/lib/vxtap/admission.txt
/// ```
fn above(app: &App, snapshot: &Snapshot, width: usize) -> Vec<Line<'static>> {
    let admission = &snapshot.admission;
    let rejected = admission.turned_away.iter().filter(|stream| stream.rejected).count() as u64;
    let waiting = admission.turned_away_total.saturating_sub(rejected);
    let no_more = snapshot.streams.iter().filter(|stream| stream.turned_away).count() as u64;
    let rule = if admission.accepts_all { "every stream is let in" } else { "others wait to be accepted" };
    let waits = if waiting > 0 { app.theme.notice() } else { Style::new() };
    let mut first = Line::from(vec![
        Span::styled("mirror streams  ", app.theme.heading()),
        Span::raw(format!("{} let in, ", number::count(snapshot.streams_total.saturating_sub(no_more)))),
        Span::styled(format!("{} waiting", number::count(waiting)), waits),
        Span::raw(format!(", {} rejected", number::count(rejected))),
    ]);
    push_if_room(&mut first, format!("; {rule}"), width);
    if admission.other_frames > 0 {
        push_if_room(
            &mut first,
            format!("; {} frames of no listed stream", number::count(admission.other_frames)),
            width,
        );
    }
    let part = |part: Option<f64>, of: &str| part.map_or_else(|| "-".to_owned(), |part| format!("{part:.1}x{of}"));
    let skew = &snapshot.skew;
    let mut second = Line::from(vec![
        Span::styled("skew  ", app.theme.heading()),
        Span::raw(format!(
            "busiest worker {}, busiest stream {}",
            part(skew.workers, ""),
            part(skew.streams, " the mean")
        )),
    ]);
    push_if_room(&mut second, format!("  decisions {}", number::count(admission.decisions_total)), width);
    if let Some(file) = &admission.kept_in {
        push_if_room(&mut second, format!(", kept in {}", text::escape(file)), width);
    }
    let mut lines = vec![first, second];
    lines.extend(told(app, width));
    lines
}

fn push_if_room(line: &mut Line<'static>, more: String, width: usize) {
    if line.width() + text::columns(&more) <= width {
        line.push_span(Span::raw(more));
    }
}

const fn verb(act: Act) -> &'static str {
    match act {
        Act::Accept => "accept",
        Act::Reject => "reject",
        Act::Forget => "take back what was decided about",
    }
}

/// What is to be decided, or was.
fn told(app: &App, width: usize) -> Option<Line<'static>> {
    let streams = &app.streams;
    let (told, style) = if let Some(decision) = streams.asking() {
        let verb = verb(decision.act);
        (format!(" {verb} {}?  y yes  Esc no", decision.selector), app.theme.notice())
    } else {
        let done = |act| match act {
            Act::Accept => "accepted",
            Act::Reject => "rejected",
            Act::Forget => "took back what was decided about",
        };
        match streams.told()? {
            Told::UnderWay(decision) => {
                (format!(" {} {} …", verb(decision.act), decision.selector), app.theme.notice())
            }
            Told::Done(decision) => (format!(" {} {}", done(decision.act), decision.selector), app.theme.good()),
            Told::Failed(error) => (format!(" {error}"), app.theme.bad()),
        }
    };
    // What is asked and why something failed stand at the end.
    Some(Line::styled(text::shorten_middle(&told, width).into_owned(), style))
}

fn lines(app: &App, snapshot: &Snapshot, rows: &[Row<'_>], width: usize) -> Vec<Line<'static>> {
    let visible = app.streams.list.visible();
    let shown = rows.get(visible.clone()).unwrap_or_default();
    let longest = shown.iter().map(|row| text::columns(row.name())).max().unwrap_or(0);
    let columns = [
        Column::name("stream", NAME_MIN, longest.clamp(NAME_MIN + 8, NAME_MAX), 0),
        Column::name("state", 8, 8, 1),
        Column::number("frames/s", 8, 2),
        Column::number("bits/s", 6, 3),
        Column::number("1-sided", 7, 4),
        Column::number("trunc", 5, 5),
        Column::number("seen", 5, 6),
        Column::number("frames", 6, Column::EXTRA),
        Column::number("copies", 6, Column::EXTRA + 1),
        Column::name("network", 10, 16, Column::EXTRA + 2),
        Column::number("bytes", 6, Column::EXTRA + 3),
        Column::name("cause", 17, 17, Column::EXTRA + 4),
        Column::number("flows judged", 12, Column::EXTRA + 5),
        // Of streams whose sender numbers what it sends.
        Column::number("lost", 5, 7),
    ];
    let grid = Grid::choose(&columns, width);
    let title = |column: usize| (column == 0).then(|| (title(&visible, rows.len()), app.theme.heading()));
    let mut lines = vec![grid.titles(app.theme.heading(), title)];
    if rows.is_empty() {
        lines.push(Line::styled("none yet: no mirrored frame has come", theme::FAINT));
    }
    lines.extend(visible.zip(shown).map(|(number, row)| {
        let chosen = number == app.streams.list.selected();
        let style = if chosen { theme::CHOSEN } else { Style::new() };
        grid.row(style, |column| {
            let (text, own) = cell(app, snapshot, *row, column);
            (text, style.patch(own))
        })
    }));
    lines
}

fn title(visible: &std::ops::Range<usize>, total: usize) -> String {
    if total <= visible.len() {
        return format!("stream ({total})");
    }
    format!("stream {}-{} of {}", visible.start + 1, visible.end, number::count(total as u64))
}

fn cell(app: &App, snapshot: &Snapshot, row: Row<'_>, column: usize) -> Cell {
    let plain = Style::new();
    let ago = |then: u64| match then {
        0 => "-".to_owned(),
        then => number::age(snapshot.taken_ns.saturating_sub(then)),
    };
    match (column, row) {
        (0, row) => (row.name().to_owned(), plain),
        (1, Row::Away(stream)) => {
            (row.state().to_owned(), if stream.rejected { app.theme.bad() } else { app.theme.notice() })
        }
        (1, Row::In(stream)) => (row.state().to_owned(), if stream.turned_away { plain } else { app.theme.good() }),
        (2, Row::Away(stream)) => (number::rate(Some(stream.frames_per_second)), plain),
        (3, Row::Away(stream)) => (number::rate(Some(stream.bits_per_second)), plain),
        (6, Row::Away(stream)) => (ago(stream.last_seen_ns), plain),
        (7, Row::Away(stream)) => (number::count(stream.frames), plain),
        (10, Row::Away(stream)) => (number::count(stream.bytes), plain),
        (9 | 11, Row::Away(_)) => (String::new(), plain),
        (_, Row::Away(_)) => ("-".to_owned(), plain),
        (2, Row::In(stream)) => (number::rate(app.history().stream_rates(stream).map(|(frames, _)| frames)), plain),
        (3, Row::In(stream)) => (number::rate(app.history().stream_rates(stream).map(|(_, bits)| bits)), plain),
        (4, Row::In(stream)) => match stream.sides.share {
            None => ("-".to_owned(), plain),
            Some(share) => {
                let style = if stream.sides.cause.is_some() { app.theme.notice() } else { plain };
                (number::share(share, 1.0), style)
            }
        },
        (5, Row::In(stream)) => {
            let counters = &stream.counters;
            let style = if counters.truncated > 0 { app.theme.notice() } else { plain };
            (number::share(counters.truncated as f64, counters.frames as f64), style)
        }
        (6, Row::In(stream)) => (ago(stream.counters.last_seen_ns), plain),
        (7, Row::In(stream)) => (number::count(stream.counters.frames), plain),
        (8, Row::In(stream)) => {
            let copies = snapshot.duplicate_pairs.iter().filter(|pair| pair.second == stream.name);
            (number::count(copies.map(|pair| pair.duplicates).fold(0, u64::saturating_add)), plain)
        }
        (9, Row::In(stream)) => (stream.network.clone().unwrap_or_default(), plain),
        (10, Row::In(stream)) => (number::count(stream.counters.bytes), plain),
        (11, Row::In(stream)) => (stream.sides.cause.map_or("", |cause| cause.as_str()).to_owned(), plain),
        (12, Row::In(stream)) => (number::count(stream.sides.counts.judged()), plain),
        (_, Row::In(stream)) => match stream.loss {
            None => ("-".to_owned(), plain),
            Some(loss) => (number::count(loss.lost), if loss.lost > 0 { app.theme.bad() } else { plain }),
        },
    }
}

/// What there is to say of the chosen stream.
fn about(app: &App, snapshot: &Snapshot, row: Row<'_>, width: usize) -> Vec<Line<'static>> {
    let name = |name: &str| Line::styled(text::shorten_end(name, width).into_owned(), app.theme.heading());
    let mut lines = vec![name(row.name())];
    match row {
        Row::Away(stream) => {
            let told = if stream.selector.is_empty() {
                "one source has so many streams that these are counted together; accept or reject them over the API"
                    .to_owned()
            } else if stream.rejected {
                format!("nothing of it is kept; {} frames were turned away. a accepts it", number::count(stream.frames))
            } else {
                format!(
                    "nothing of it is kept; {} frames waited so far. a accepts it, x rejects it",
                    number::count(stream.frames)
                )
            };
            lines.extend(text::wrap(&told, width, 2).into_iter().map(Line::raw));
        }
        Row::In(stream) => {
            if stream.turned_away {
                lines.push(Line::raw("was let in before; what comes of it now is turned away"));
            }
            if let Some((cause, share)) = stream.sides.cause.zip(stream.sides.share) {
                let told = format!("{} of its flows are one-sided: {cause}", number::share(share, 1.0));
                let style = app.theme.notice();
                lines.extend(text::wrap(&told, width, 3).into_iter().map(|line| Line::styled(line, style)));
            }
            if let Some(loss) = stream.loss.filter(|loss| loss.lost > 0) {
                let share = number::share(loss.lost as f64, loss.lost as f64 + loss.received as f64);
                let told = format!(
                    "{} frames were lost on the way, {share} of those that were sent",
                    number::count(loss.lost)
                );
                lines.push(Line::styled(told, app.theme.bad()));
            }
            let StreamCounters { frames, truncated, .. } = stream.counters;
            if truncated > 0 {
                let share = number::share(truncated as f64, frames as f64);
                lines.push(Line::styled(format!("{share} of its frames come without their end"), app.theme.notice()));
            }
            for pair in snapshot.duplicate_pairs.iter().filter(|pair| pair.second == stream.name) {
                let told = format!("{} copies of packets of {}", number::count(pair.duplicates), pair.first);
                lines.push(Line::raw(text::shorten_end(&told, width).into_owned()));
            }
            if lines.len() == 1 {
                lines.push(Line::styled("nothing wrong with it", theme::FAINT));
            }
        }
    }
    // Beside the name, where it takes no line of what is wrong.
    let decided = row.decision(&snapshot.admission).map(|choice| match choice {
        Choice::Accept => "  accepted here; u takes that back",
        Choice::Reject => "  rejected here; u takes that back",
    });
    if let (Some(decided), Some(first)) = (decided, lines.first_mut()) {
        push_if_room(first, decided.to_owned(), width);
    }
    lines.truncate(ABOUT);
    lines
}
