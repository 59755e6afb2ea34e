//! The workers: how the load is shared, and how hard each works.

use ratatui::style::Style;
use ratatui::text::Line;
use vxtap_analyzers::snapshot::{Snapshot, WorkerSnapshot};

use crate::app::{App, Tables};
use crate::history;
use crate::number;
use crate::screens::grid::{Column, Grid};
use crate::theme;

const COLUMNS: &[Column] = &[
    Column::number("worker", 6, 0),
    Column::number("packets/s", 9, 1),
    Column::number("share", 5, 2),
    Column::number("flows", 6, 3),
    Column::number("lost", 5, 4),
    Column::number("misdel", 6, 6),
    Column::number("batch p50/p99", 13, 7),
    Column::number("time p99", 8, 5),
    Column::number("buffer", 7, 8),
    Column::number("received", 8, Column::EXTRA),
    Column::number("kernel dropped", 14, Column::EXTRA + 1),
    Column::number("dropped", 7, Column::EXTRA + 2),
    Column::number("evicted", 7, Column::EXTRA + 3),
    Column::number("truncated", 9, Column::EXTRA + 4),
    Column::number("malformed", 9, Column::EXTRA + 5),
    Column::number("not IP", 6, Column::EXTRA + 6),
    Column::number("time p50", 8, Column::EXTRA + 7),
    Column::number("time max", 8, Column::EXTRA + 8),
    Column::number("batches", 7, Column::EXTRA + 9),
    Column::number("taken over", 10, Column::EXTRA + 10),
];

pub(super) fn lines(app: &App, snapshot: &Snapshot, width: usize, height: usize) -> Vec<Line<'static>> {
    if height == 0 {
        return Vec::new();
    }
    let grid = Grid::choose(COLUMNS, width);
    let mut lines = vec![grid.titles(app.theme.heading(), |_| None)];
    if snapshot.workers.is_empty() {
        lines.push(Line::styled("no worker yet", theme::FAINT));
    }
    let visible = if app.tables == Tables::Workers {
        app.overview.visible()
    } else {
        0..snapshot.workers.len().min(height.saturating_sub(1))
    };
    let hidden = snapshot.workers.len() - visible.len();
    let shown = snapshot.workers.get(visible).unwrap_or_default();
    let all = Total::of(app, snapshot);
    lines.extend(shown.iter().map(|worker| grid.row(Style::new(), |column| cell(app, worker, all, column))));
    // The last line gives way to a note, where there is room for more than that.
    if app.tables == Tables::Both && hidden > 0 && height > 2 {
        lines.pop();
        lines.push(Line::styled(format!("… {} more workers: w", hidden + 1), theme::FAINT));
    }
    lines
}

/// What the shares are of.
#[derive(Clone, Copy)]
struct Total {
    /// Packets for each second, if known and not 0.
    rate: Option<f64>,
    received: u64,
}

impl Total {
    fn of(app: &App, snapshot: &Snapshot) -> Self {
        let rates = snapshot.workers.iter().map(|worker| app.history().worker_packets(worker));
        Self {
            rate: rates.sum::<Option<f64>>().filter(|rate| *rate > 0.0),
            received: snapshot.workers.iter().map(|worker| worker.ledger.received).fold(0, u64::saturating_add),
        }
    }
}

fn cell(app: &App, worker: &WorkerSnapshot, all: Total, column: usize) -> (String, Style) {
    let (plain, theme, ledger) = (Style::new(), app.theme, &worker.ledger);
    let loss = |packets: u64| (number::count(packets), if packets > 0 { theme.bad() } else { plain });
    let count = |value: u64| (number::count(value), plain);
    match column {
        0 => (worker.worker.to_string(), plain),
        1 => (number::rate(app.history().worker_packets(worker)), plain),
        2 => {
            let now = app.history().worker_packets(worker).zip(all.rate);
            let (part, whole) = now.unwrap_or((ledger.received as f64, all.received as f64));
            (number::share(part, whole), plain)
        }
        // A table that had to throw flows out is too small.
        3 => (number::count(worker.flows_active), if worker.flows_evicted > 0 { theme.notice() } else { plain }),
        4 => loss(history::lost(ledger)),
        5 => count(ledger.misdelivered),
        6 if worker.batch_size.count == 0 => ("-".into(), plain),
        6 => (format!("{}/{}", number::count(worker.batch_size.p50), number::count(worker.batch_size.p99)), plain),
        7 => time(worker.batch_time_ns.count, worker.batch_time_ns.p99),
        8 if worker.receive_buffer == 0 => ("-".into(), plain),
        8 => (number::binary(worker.receive_buffer), plain),
        9 => count(ledger.received),
        10 => loss(ledger.kernel_dropped),
        11 => loss(history::dropped(ledger)),
        12 => {
            let (text, _) = count(worker.flows_evicted);
            (text, if worker.flows_evicted > 0 { theme.notice() } else { plain })
        }
        13 => count(worker.truncated),
        14 => count(worker.malformed),
        15 => count(worker.not_ip),
        16 => time(worker.batch_time_ns.count, worker.batch_time_ns.p50),
        17 => time(worker.batch_time_ns.count, worker.batch_time_ns.max),
        18 => count(worker.batches),
        _ => count(ledger.taken_over),
    }
}

/// A quantile of `recorded` times.
fn time(recorded: u64, nanos: u64) -> (String, Style) {
    (if recorded == 0 { "-".into() } else { number::short_time(nanos) }, Style::new())
}
