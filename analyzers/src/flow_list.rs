//! Lists flows for the API and the terminal UI: filters, orders, and keeps the first so many.

use std::cmp::Ordering;

use vxtap_wire::community_id::community_id;
use vxtap_wire::{FiveTuple, NetworkId};

use crate::eve::{has_ports, protocol_name};
use crate::flow::Flow;
use crate::flow_filter::{FlowFilter, FlowFilterError};
use crate::snapshot::{FlowPage, FlowQuery, FlowSnapshot, FlowSort};

/// A list under way. Bounded: holds at most twice as many flows as were asked for.
#[derive(Debug)]
pub struct FlowList {
    query: FlowQuery,
    filter: FlowFilter,
    flows: Vec<Listed>,
    /// What a flow must at least have in the sorted column to come onto the list, once that is full.
    threshold: Option<u64>,
    matching: u64,
    total: u64,
}

#[derive(Debug)]
struct Listed {
    flow: FlowSnapshot,
    /// For the Community ID, which is made at the end and for the listed flows only; `None` when it is there.
    tuple: Option<FiveTuple>,
}

impl FlowList {
    /// An empty list for `query`; an error when its filter cannot be understood.
    pub fn new(query: &FlowQuery) -> Result<Self, FlowFilterError> {
        let query = FlowQuery { limit: query.limit.min(FlowQuery::MAX_LIMIT), ..query.clone() };
        let filter = query.filter.parse()?;
        Ok(Self { query, filter, flows: Vec::new(), threshold: None, matching: 0, total: 0 })
    }

    /// Considers one flow of `worker`, that came by the mirror stream and is in the network that `names` gives the names of; not every
    /// network has one.
    pub fn add(&mut self, worker: u32, flow: &Flow, names: impl FnOnce() -> (String, Option<&'static str>)) {
        self.total += 1;
        // Most flows of a large table are below the list's end: they are passed over before any text is made.
        if self.filter.is_empty()
            && !self.query.ascending
            && let (Some(threshold), Some(value)) = (self.threshold, column(self.query.sort, flow))
            && value < threshold
        {
            self.matching += 1;
            return;
        }
        let tuple = flow.five_tuple();
        let snapshot = snapshot(worker, flow, &tuple, names());
        if !self.filter.matches(&snapshot) {
            return;
        }
        self.matching += 1;
        self.flows.push(Listed { flow: snapshot, tuple: Some(tuple) });
        if self.flows.len() >= (self.query.limit * 2).max(64) {
            self.cut();
            self.threshold = self.flows.last().and_then(|last| column_of_snapshot(self.query.sort, &last.flow));
        }
    }

    /// Adds what another worker listed for the same query.
    pub fn merge(&mut self, page: FlowPage) {
        self.total += page.total;
        self.matching += page.matching;
        self.flows.extend(page.flows.into_iter().map(|flow| Listed { flow, tuple: None }));
        self.cut();
    }

    /// The list as asked for.
    pub fn finish(mut self) -> FlowPage {
        self.cut();
        let flows = self.flows.into_iter().map(|Listed { mut flow, tuple }| {
            if let Some(tuple) = tuple {
                flow.community_id = String::from_utf8_lossy(&community_id(0, &tuple)).into_owned();
            }
            flow
        });
        FlowPage { flows: flows.collect(), matching: self.matching, total: self.total }
    }

    fn cut(&mut self) {
        let (sort, ascending) = (self.query.sort, self.query.ascending);
        self.flows.sort_by(|Listed { flow: a, .. }, Listed { flow: b, .. }| {
            let order = compare(sort, a, b);
            // Equal ones in one order whichever way the column is sorted, so that rows do not jump.
            (if ascending { order } else { order.reverse() }).then_with(|| ends(a).cmp(&ends(b)))
        });
        self.flows.truncate(self.query.limit);
    }
}

/// The sorted column of `flow`, where that is a number.
const fn column(sort: FlowSort, flow: &Flow) -> Option<u64> {
    match sort {
        FlowSort::Bytes => Some(flow.to_responder.bytes + flow.to_originator.bytes),
        FlowSort::Frames => Some(flow.frames()),
        FlowSort::Last => Some(flow.last_ns),
        FlowSort::First => Some(flow.first_ns),
        FlowSort::Duration => Some(flow.last_ns.saturating_sub(flow.first_ns)),
        _ => None,
    }
}

/// The same of a flow on the list.
const fn column_of_snapshot(sort: FlowSort, flow: &FlowSnapshot) -> Option<u64> {
    match sort {
        FlowSort::Bytes => Some(flow.bytes()),
        FlowSort::Frames => Some(flow.frames()),
        FlowSort::Last => Some(flow.last_ns),
        FlowSort::First => Some(flow.first_ns),
        FlowSort::Duration => Some(flow.last_ns.saturating_sub(flow.first_ns)),
        _ => None,
    }
}

type Ends<'a> = (std::net::IpAddr, Option<u16>, std::net::IpAddr, Option<u16>, &'a str, Option<u32>);

fn ends(flow: &FlowSnapshot) -> Ends<'_> {
    (flow.originator, flow.originator_port, flow.responder, flow.responder_port, &flow.protocol, flow.network)
}

fn compare(sort: FlowSort, a: &FlowSnapshot, b: &FlowSnapshot) -> Ordering {
    if let (Some(a), Some(b)) = (column_of_snapshot(sort, a), column_of_snapshot(sort, b)) {
        return a.cmp(&b);
    }
    match sort {
        FlowSort::Network => a.network.cmp(&b.network),
        FlowSort::Protocol => a.protocol.cmp(&b.protocol),
        FlowSort::Originator => (a.originator, a.originator_port).cmp(&(b.originator, b.originator_port)),
        FlowSort::Responder => (a.responder, a.responder_port).cmp(&(b.responder, b.responder_port)),
        FlowSort::State => a.state.cmp(&b.state),
        FlowSort::Worker => a.worker.cmp(&b.worker),
        // The numeric columns, compared above.
        _ => Ordering::Equal,
    }
}

fn snapshot(
    worker: u32,
    flow: &Flow,
    tuple: &FiveTuple,
    (stream, network_name): (String, Option<&'static str>),
) -> FlowSnapshot {
    let ports = has_ports(tuple);
    FlowSnapshot {
        worker,
        community_id: String::new(),
        network: (flow.key.network != NetworkId::NONE).then_some(flow.key.network.0),
        network_name: network_name.map(str::to_owned),
        stream,
        protocol: protocol_name(tuple.protocol).map_or_else(|| format!("{:03}", tuple.protocol), str::to_owned),
        originator: tuple.source_ip(),
        originator_port: ports.then_some(tuple.source_port),
        responder: tuple.destination_ip(),
        responder_port: ports.then_some(tuple.destination_port),
        state: flow.state().as_str().to_owned(),
        app: flow.app_protocol().map(|protocol| protocol.as_str().to_owned()),
        frames_to_responder: flow.to_responder.frames,
        frames_to_originator: flow.to_originator.frames,
        bytes_to_responder: flow.to_responder.bytes,
        bytes_to_originator: flow.to_originator.bytes,
        tcp_flags_to_responder: flow.to_responder.tcp_flags.0,
        tcp_flags_to_originator: flow.to_originator.tcp_flags.0,
        first_ns: flow.first_ns,
        last_ns: flow.last_ns,
    }
}

#[cfg(test)]
mod tests;
