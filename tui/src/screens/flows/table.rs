//! The table of flows.

use std::net::IpAddr;

use ratatui::style::Style;
use ratatui::text::Line;
use vxtap_analyzers::snapshot::{FlowPage, FlowSnapshot, FlowSort, Snapshot};

use crate::app::App;
use crate::number;
use crate::screens::grid::{Column, Grid};
use crate::theme;

/// The longest end of a flow: an IPv6 address in brackets and a port.
const END_MAX: usize = 47;
/// The longest of an IPv4 flow.
const END_USUAL: usize = 21;

/// The longest name of a protocol that is given room.
const PROTOCOL_MAX: usize = 10;

/// The columns, with what they sort by.
const COLUMNS: [(Column, Option<FlowSort>); 14] = [
    (Column::name("proto", 6, 6, 3), Some(FlowSort::Protocol)),
    (Column::name("app", 6, 10, Column::EXTRA), None),
    (Column::number("network", 8, 4), Some(FlowSort::Network)),
    (Column::name("originator", 18, END_USUAL, 1), Some(FlowSort::Originator)),
    (Column::name("responder", 18, END_USUAL, 2), Some(FlowSort::Responder)),
    (Column::name("state", 6, 6, Column::EXTRA), Some(FlowSort::State)),
    (Column::number("bytes", 6, 5), Some(FlowSort::Bytes)),
    (Column::number("frames", 7, 6), Some(FlowSort::Frames)),
    (Column::number("bits/s", 6, Column::EXTRA + 1), None),
    (Column::number("frames/s", 8, Column::EXTRA + 4), None),
    (Column::number("lasted", 7, Column::EXTRA + 2), Some(FlowSort::Duration)),
    (Column::number("first", 6, Column::EXTRA + 3), Some(FlowSort::First)),
    (Column::number("seen", 5, 7), Some(FlowSort::Last)),
    (Column::number("worker", 7, Column::EXTRA + 5), Some(FlowSort::Worker)),
];

pub(super) fn lines(app: &App, snapshot: &Snapshot, page: &FlowPage, width: usize) -> Vec<Line<'static>> {
    let flows = &app.flows;
    let visible = flows.list().visible();
    let shown = page.flows.get(visible.clone()).unwrap_or_default();
    let columns = columns(shown, flows.query().sort);
    let grid = Grid::choose(&columns, width);
    // Where there is no room for both, what is in a protocol says more than the protocol, unless that gives the order.
    let apart = grid.shows("app") || flows.query().sort == FlowSort::Protocol;
    let mark = |column: usize| sort_mark(app, column);
    let mut lines = vec![grid.titles(app.theme.heading(), mark)];
    lines.extend(visible.zip(shown).map(|(row, flow)| {
        let chosen = row == flows.list().selected();
        let style = if chosen { theme::CHOSEN } else { Style::new() };
        grid.row(style, |column| (cell(app, snapshot, flow, column, apart), style))
    }));
    lines
}

/// The columns for these flows: room for the longest address, and the column to sort by in any case.
fn columns(shown: &[FlowSnapshot], sort: FlowSort) -> [Column; COLUMNS.len()] {
    let longest = |end: fn(&FlowSnapshot) -> String| shown.iter().map(|flow| end(flow).len()).max().unwrap_or(0);
    let (originator, responder) = (longest(originator), longest(responder));
    let protocol = longest(|flow| protocol(flow).to_owned());
    COLUMNS.map(|(column, sorts)| {
        let want = match sorts {
            Some(FlowSort::Originator) => originator.clamp(END_USUAL, END_MAX),
            Some(FlowSort::Responder) => responder.clamp(END_USUAL, END_MAX),
            Some(FlowSort::Protocol) => protocol.clamp(column.width, PROTOCOL_MAX),
            _ => column.want,
        };
        Column { want, rank: if sorts == Some(sort) { 0 } else { column.rank }, ..column }
    })
}

/// The title of the column that the flows are sorted by.
fn sort_mark(app: &App, column: usize) -> Option<(String, Style)> {
    let query = app.flows.query();
    let (Column { title, .. }, sorts) = COLUMNS[column];
    let arrow = if query.ascending { '▲' } else { '▼' };
    (sorts == Some(query.sort)).then(|| (format!("{title}{arrow}"), app.theme.heading().patch(theme::CHOSEN)))
}

fn cell(app: &App, snapshot: &Snapshot, flow: &FlowSnapshot, column: usize, apart: bool) -> String {
    let rate = app.flows.rate(flow);
    let ago = |then: u64| number::age(snapshot.taken_ns.saturating_sub(then));
    match column {
        0 if !apart => flow.app.clone().unwrap_or_else(|| protocol(flow).to_owned()),
        0 => protocol(flow).to_owned(),
        1 => flow.app.clone().unwrap_or_else(|| "-".into()),
        2 => network(flow),
        3 => originator(flow),
        4 => responder(flow),
        5 if flow.state == "established" => "estab".into(),
        5 => flow.state.clone(),
        6 => number::count(flow.bytes()),
        7 => number::count(flow.frames()),
        8 => number::rate(rate.map(|rate| 8.0 * (rate.bytes[0] + rate.bytes[1]))),
        9 => number::rate(rate.map(|rate| rate.frames[0] + rate.frames[1])),
        10 => number::short_time(flow.last_ns.saturating_sub(flow.first_ns)),
        11 => ago(flow.first_ns),
        12 => ago(flow.last_ns),
        _ => flow.worker.to_string(),
    }
}

/// The name of the network, or its VNI.
pub(super) fn network(flow: &FlowSnapshot) -> String {
    match (&flow.network_name, flow.network) {
        (Some(name), _) => name.clone(),
        (None, Some(network)) => network.to_string(),
        (None, None) => "-".into(),
    }
}

fn protocol(flow: &FlowSnapshot) -> &str {
    if flow.protocol == "IPv6-ICMP" { "ICMPv6" } else { &flow.protocol }
}

pub(super) fn originator(flow: &FlowSnapshot) -> String {
    end(flow.originator, flow.originator_port)
}

pub(super) fn responder(flow: &FlowSnapshot) -> String {
    end(flow.responder, flow.responder_port)
}

/// `10.0.0.1:443`, `[2001:db8::1]:443`, `2001:db8::1`
fn end(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (address, None) => address.to_string(),
        (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
    }
}
