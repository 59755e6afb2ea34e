//! The overview.
//!
//! ```text
//! running  up 00:12:34  …                          status
//! Received  12.3k packets/s …   98.7M bits/s …     rates
//! Ledger  nothing lost …                           ledger
//! worker  …                                        workers
//! mirror streams …                                 streams
//! ```

mod ledger;
mod rates;
mod status;
mod streams;
mod workers;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use vxtap_analyzers::snapshot::Snapshot;

use super::{below, put};
use crate::app::{App, Tables};

/// Where the regions go.
struct Regions {
    status: Rect,
    rates: Rect,
    ledger: Rect,
    workers: Rect,
    streams: Rect,
}

impl Regions {
    fn of(area: Rect, app: &App, snapshot: &Snapshot) -> Self {
        let mut left = area;
        let mut take = |wanted: usize| {
            let height = u16::try_from(wanted).unwrap_or(u16::MAX).min(left.height);
            let taken = Rect { height, ..left };
            left = below(left, height);
            taken
        };
        let (status_rows, curve_rows, gap) = match area.height {
            0..20 => (1, 1, 0),
            20..36 => (2, 2, 0),
            _ => (2, 7, 1),
        };
        let status = take(status_rows);
        let rates = take(1 + curve_rows + gap);
        // On a low terminal a table that is wanted alone leaves of the ledger what it says first.
        let ledger_lines = match app.tables {
            Tables::Workers | Tables::Streams if area.height < 20 => 1,
            _ => ledger::lines(app, snapshot, area.width.into()).len(),
        };
        let ledger = take(ledger_lines + gap);
        let tables = usize::from(left.height);
        let mut take = |wanted: usize| {
            let height = u16::try_from(wanted).unwrap_or(u16::MAX).min(left.height);
            let taken = Rect { height, ..left };
            left = below(left, height);
            taken
        };
        let workers = take(match app.tables {
            Tables::Both => {
                let (workers, streams) = (1 + snapshot.workers.len() + gap, 1 + snapshot.streams.len().max(1));
                let workers = workers.min((tables / 2).max(tables.saturating_sub(streams)));
                // Titles alone are of no use.
                if workers < 2 { 0 } else { workers }
            }
            Tables::Workers => tables,
            Tables::Streams => 0,
        });
        let streams = take(tables);
        Self { status, rates, ledger, workers, streams }
    }
}

pub(crate) fn draw(buffer: &mut Buffer, area: Rect, app: &App, snapshot: &Snapshot) {
    let regions = Regions::of(area, app, snapshot);
    let width = area.width.into();
    put(buffer, regions.status, status::lines(app, snapshot, width));
    rates::draw(buffer, regions.rates, app);
    put(buffer, regions.ledger, ledger::lines(app, snapshot, width));
    put(buffer, regions.workers, workers::lines(app, snapshot, width, regions.workers.height.into()));
    put(buffer, regions.streams, streams::lines(app, snapshot, width, regions.streams.height.into()));
}

/// Lays the table that scrolls out: the workers if they are alone, else the streams.
pub(crate) fn fit(app: &mut App, area: Rect) {
    let Some(snapshot) = app.history().latest() else { return };
    let regions = Regions::of(area, app, snapshot);
    let (len, height) = match app.tables {
        Tables::Workers => (snapshot.workers.len(), regions.workers.height),
        Tables::Both | Tables::Streams => (snapshot.streams.len(), regions.streams.height),
    };
    app.overview.fit(len, usize::from(height).saturating_sub(1));
}
