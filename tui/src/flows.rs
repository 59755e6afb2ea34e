//! The flows screen's state: what is asked for, what came, which flow is chosen.

use std::collections::HashMap;
use std::time::Duration;

use vxtap_analyzers::snapshot::{CaptureSnapshot, FlowPage, FlowQuery, FlowSnapshot, FlowSort};

use crate::history::per_second;
use crate::keys::{Command, Edit};
use crate::line_edit::LineEdit;
use crate::list::List;
use crate::source::{CapturedFlow, SourceError};
use crate::text;

/// How many flows are asked for: the first that holds what is on the screen and a page more.
const LIMITS: [usize; 4] = [100, 500, 2000, FlowQuery::MAX_LIMIT];
/// Networks beyond this are told by something else than a VNI.
const VNI_MAX: u32 = (1 << 24) - 1;
/// Rates are taken over at least this long: two answers close together say little.
const RATE_TIME: Duration = Duration::from_millis(500);

/// The columns to sort by, in the order in which the screen has them.
pub(crate) const SORTS: [FlowSort; 11] = [
    FlowSort::Protocol,
    FlowSort::Network,
    FlowSort::Originator,
    FlowSort::Responder,
    FlowSort::State,
    FlowSort::Bytes,
    FlowSort::Frames,
    FlowSort::Duration,
    FlowSort::First,
    FlowSort::Last,
    FlowSort::Worker,
];

/// What makes a flow the same in two answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlowId {
    network: Option<u32>,
    community_id: String,
    /// A flow that ended and began again is another.
    first_ns: u64,
}

impl FlowId {
    pub(crate) fn of(flow: &FlowSnapshot) -> Self {
        Self { network: flow.network, community_id: flow.community_id.clone(), first_ns: flow.first_ns }
    }
}

/// A flow's speed, for each second, towards the responder and towards the originator.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct FlowRate {
    pub(crate) frames: [f64; 2],
    pub(crate) bytes: [f64; 2],
}

/// One flow that is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Detail {
    pub(crate) flow: FlowSnapshot,
    /// Whether it was in the newest answer.
    pub(crate) listed: bool,
    pub(crate) list: List,
}

/// The state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flows {
    /// What is asked for.
    query: FlowQuery,
    /// What came, with what was asked.
    answer: Option<(FlowQuery, FlowPage)>,
    /// What went wrong last, until an answer comes; a refused filter, until it is mended or given up.
    error: Option<SourceError>,
    /// The filter being written.
    line: Option<LineEdit>,
    /// The chosen row, and the flow in it once a key has moved the choice: then the choice goes where the flow goes.
    list: List,
    followed: Option<FlowId>,
    /// The choice goes to the end of the list when all that can be listed is there.
    to_end: bool,
    detail: Option<Detail>,
    rates: HashMap<FlowId, FlowRate>,
    /// Counters of an earlier answer, for the rates, and when that came.
    baseline: HashMap<FlowId, ([u64; 2], [u64; 2])>,
    baseline_at: Option<Duration>,
}

impl Flows {
    pub(crate) fn new() -> Self {
        Self { query: FlowQuery { limit: LIMITS[0], ..FlowQuery::default() }, ..Self::default() }
    }

    /// What is asked for.
    pub(crate) const fn query(&self) -> &FlowQuery {
        &self.query
    }

    /// What came last.
    pub(crate) fn page(&self) -> Option<&FlowPage> {
        self.answer.as_ref().map(|(_, page)| page)
    }

    pub(crate) const fn error(&self) -> Option<&SourceError> {
        self.error.as_ref()
    }

    pub(crate) const fn line(&self) -> Option<&LineEdit> {
        self.line.as_ref()
    }

    pub(crate) const fn list(&self) -> &List {
        &self.list
    }

    pub(crate) const fn detail(&self) -> Option<&Detail> {
        self.detail.as_ref()
    }

    pub(crate) fn rate(&self, flow: &FlowSnapshot) -> Option<FlowRate> {
        self.rates.get(&FlowId::of(flow)).copied()
    }

    /// Whether what is on the screen is what is asked for (apart from how many).
    pub(crate) fn is_answered(&self) -> bool {
        self.answer.as_ref().is_some_and(|(asked, _)| same_flows(asked, &self.query))
    }

    /// Forgets what came: another run began.
    pub(crate) fn forget(&mut self) {
        self.answer = None;
        self.rates.clear();
        self.baseline.clear();
        self.baseline_at = None;
        if let Some(detail) = &mut self.detail {
            detail.listed = false;
        }
    }

    /// Takes in the answer to `asked` that came at `now`.
    pub(crate) fn answer(&mut self, asked: FlowQuery, answer: Result<FlowPage, SourceError>, now: Duration) {
        if !same_flows(&asked, &self.query) {
            return;
        }
        match answer {
            Ok(mut page) => {
                page.flows.iter_mut().for_each(escape_flow);
                self.measure(&page, now);
                if !matches!(self.error, Some(SourceError::Filter(_))) {
                    self.error = None;
                }
                if let Some(detail) = &mut self.detail {
                    let id = FlowId::of(&detail.flow);
                    let found = page.flows.iter().find(|flow| FlowId::of(flow) == id);
                    detail.listed = found.is_some();
                    if let Some(found) = found {
                        detail.flow = found.clone();
                    }
                }
                let followed = self.followed.as_ref();
                let place = followed.and_then(|id| page.flows.iter().position(|flow| FlowId::of(flow) == *id));
                self.list.fit(page.flows.len(), self.list.visible().len());
                if let Some(place) = place {
                    self.list.select(place);
                }
                if self.to_end && asked.limit >= FlowQuery::MAX_LIMIT {
                    self.to_end = false;
                    self.list.go(Command::Last);
                    self.followed = page.flows.last().map(FlowId::of);
                }
                self.answer = Some((asked, page));
            }
            Err(mut error) => {
                if let SourceError::Filter(reason) = &mut error {
                    text::escape_in_place(reason);
                    // Back to the filter that is on the screen, with the refused one at hand to be mended.
                    let refused = std::mem::take(&mut self.query.filter);
                    self.query.filter = self.answer.as_ref().map(|(asked, _)| asked.filter.clone()).unwrap_or_default();
                    self.line.get_or_insert_with(|| LineEdit::new(&refused));
                }
                self.error = Some(error);
            }
        }
    }

    /// Takes rates from the counters of an earlier answer.
    fn measure(&mut self, page: &FlowPage, now: Duration) {
        let since = self.baseline_at.map(|at| now.saturating_sub(at));
        if since.is_some_and(|since| since < RATE_TIME) {
            return;
        }
        let seconds = since.unwrap_or_default().as_secs_f64();
        let mut baseline = HashMap::with_capacity(page.flows.len());
        self.rates.clear();
        for flow in &page.flows {
            let id = FlowId::of(flow);
            let frames = [flow.frames_to_responder, flow.frames_to_originator];
            let bytes = [flow.bytes_to_responder, flow.bytes_to_originator];
            if let Some((frames_before, bytes_before)) = self.baseline.get(&id) {
                let rate = FlowRate {
                    frames: [0, 1].map(|to| per_second(frames_before[to], frames[to], seconds)),
                    bytes: [0, 1].map(|to| per_second(bytes_before[to], bytes[to], seconds)),
                };
                self.rates.insert(id.clone(), rate);
            }
            baseline.insert(id, (frames, bytes));
        }
        self.baseline = baseline;
        self.baseline_at = Some(now);
    }

    /// Says how many rows of the list, or of one flow's detail, fit on the screen.
    pub(crate) fn fit(&mut self, rows: usize, detail_lines: usize, detail_rows: usize) {
        let len = self.page().map_or(0, |page| page.flows.len());
        self.list.fit(len, rows);
        let needed = if self.to_end { FlowQuery::MAX_LIMIT } else { self.list.visible().end + rows };
        self.query.limit = LIMITS.into_iter().find(|limit| *limit >= needed).unwrap_or(FlowQuery::MAX_LIMIT);
        if let Some(detail) = &mut self.detail {
            detail.list.fit(detail_lines, detail_rows);
        }
    }

    /// Does what a key asked for; `false` if that is not for this screen.
    pub(crate) fn command(&mut self, command: Command) -> bool {
        if let Some(detail) = &mut self.detail {
            if command == Command::Back {
                self.detail = None;
                return true;
            }
            return detail.list.scroll(command);
        }
        // Whatever else is wanted, it is no longer the end of this list.
        self.to_end =
            command == Command::Last && self.page().is_some_and(|page| page.matching > page.flows.len() as u64);
        match command {
            Command::Edit(edit) => self.edit(edit),
            Command::NextColumn => self.sort_by(1),
            Command::PreviousColumn => self.sort_by(SORTS.len() - 1),
            Command::Reverse => self.query.ascending = !self.query.ascending,
            Command::Filter => self.line = Some(LineEdit::new(&self.query.filter)),
            Command::Back => {
                self.query.filter.clear();
                self.error = None;
            }
            Command::Open => {
                let chosen = self.chosen().cloned();
                self.followed = chosen.as_ref().map(FlowId::of);
                self.detail = chosen.map(|flow| Detail { flow, listed: true, list: List::default() });
            }
            other => {
                if !self.list.go(other) {
                    return false;
                }
                self.followed = if other == Command::First { None } else { self.chosen().map(FlowId::of) };
            }
        }
        true
    }

    /// The choice stays where it is, also where the end of the list was on its way.
    pub(crate) const fn stay(&mut self) {
        self.to_end = false;
    }

    /// The flow that is looked at, or chosen in the list.
    pub(crate) fn current(&self) -> Option<&FlowSnapshot> {
        self.detail.as_ref().map(|detail| &detail.flow).or_else(|| self.chosen())
    }

    fn chosen(&self) -> Option<&FlowSnapshot> {
        self.page()?.flows.get(self.list.selected())
    }

    fn edit(&mut self, edit: Edit) {
        let Some(line) = &mut self.line else { return };
        line.edit(edit);
        match edit {
            Edit::Apply => {
                line.text().trim().clone_into(&mut self.query.filter);
                (self.line, self.error) = (None, None);
                self.list.select(0);
                self.followed = None;
            }
            Edit::Cancel => (self.line, self.error) = (None, None),
            _ => {}
        }
    }

    fn sort_by(&mut self, columns_on: usize) {
        let place = SORTS.iter().position(|sort| *sort == self.query.sort).unwrap_or(0);
        self.query.sort = SORTS[(place + columns_on) % SORTS.len()];
        // Numbers and times: the largest first. Names: from the beginning.
        self.query.ascending = matches!(
            self.query.sort,
            FlowSort::Network
                | FlowSort::Protocol
                | FlowSort::Originator
                | FlowSort::Responder
                | FlowSort::State
                | FlowSort::Worker
        );
    }
}

/// Whether two queries ask for the same flows in the same order, however many.
fn same_flows(one: &FlowQuery, other: &FlowQuery) -> bool {
    (one.sort, one.ascending, &one.filter) == (other.sort, other.ascending, &other.filter)
}

/// What to look for in the captures to find `flow` and not the same five-tuple of another network, which has its Community ID.
pub(crate) fn captured(flow: &FlowSnapshot, capture: Option<&CaptureSnapshot>) -> CapturedFlow {
    // Classic pcap has no place for it, and what is beyond the most streams that are told apart comes under one name.
    let told = capture.is_none_or(|capture| capture.files.iter().all(|file| file.name.contains(".pcapng")));
    let filter = match (&flow.network_name, flow.network) {
        _ if !told || !flow.stream.contains("vni ") => String::new(),
        // What the language of filters has no words for, or is not as it was (escaped).
        (Some(name), _) if name.contains(['"', '\\']) => String::new(),
        (Some(name), _) => format!("network \"{name}\""),
        (None, Some(vni)) if vni <= VNI_MAX => format!("vni {vni}"),
        (None, _) => String::new(),
    };
    CapturedFlow { community_id: flow.community_id.clone(), filter }
}

fn escape_flow(flow: &mut FlowSnapshot) {
    for text in [&mut flow.community_id, &mut flow.stream, &mut flow.protocol, &mut flow.state] {
        text::escape_in_place(text);
    }
    for text in [&mut flow.app, &mut flow.network_name].into_iter().flatten() {
        text::escape_in_place(text);
    }
}

#[cfg(test)]
mod tests;
