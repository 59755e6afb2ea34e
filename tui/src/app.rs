//! Everything that the screens show, and what keys and updates do to it. No terminal, no clock, no thread.

use std::time::Duration;

use crossterm::event::{KeyEvent, KeyEventKind};
use ratatui::layout::Size;
use vxtap_analyzers::snapshot::{FlowQuery, Ruling, Snapshot};

use crate::flows::{self, Flows};
use crate::history::History;
use crate::keys::{self, Command, Edit, Place, Screen};
use crate::list::List;
use crate::poller::Update;
use crate::save::Saved;
use crate::screens;
use crate::source::CapturedFlow;
use crate::streams::Streams;
use crate::text;
use crate::theme::Theme;

/// What a key or an update led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing to draw anew.
    Same,
    /// Something to draw.
    Changed,
    /// The user wants to leave.
    Quit,
}

impl Outcome {
    /// What two outcomes in a row lead to.
    fn and(self, next: Self) -> Self {
        match (self, next) {
            (Self::Quit, _) | (_, Self::Quit) => Self::Quit,
            (Self::Same, Self::Same) => Self::Same,
            _ => Self::Changed,
        }
    }
}

/// Which tables the overview shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tables {
    #[default]
    Both,
    Workers,
    Streams,
}

/// The connection to the collector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Nothing came yet.
    #[default]
    New,
    /// The newest question was answered.
    Up,
    /// It was not.
    Lost {
        /// Why.
        error: String,
        /// When the newest data came; `None` for never.
        since: Option<Duration>,
    },
}

/// What became of the flow that was to be saved last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Save {
    /// Its packets are being looked for; its Community ID.
    UnderWay(String),
    Done(Saved),
    Failed(String),
}

/// The state of the terminal UI.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) theme: Theme,
    /// What is looked at: the address of the API, or nothing in process.
    pub(crate) origin: Option<String>,
    pub(crate) screen: Screen,
    /// Where help was called from.
    before_help: Screen,
    pub(crate) connection: Connection,
    last_data: Option<Duration>,
    live: History,
    /// What was on the screen when it was told to hold still.
    held: Option<Box<History>>,
    pub(crate) tables: Tables,
    pub(crate) overview: List,
    pub(crate) flows: Flows,
    pub(crate) captures: List,
    pub(crate) streams: Streams,
    pub(crate) help: List,
    /// Until another screen is shown.
    pub(crate) save: Option<Save>,
    flow_to_save: Option<CapturedFlow>,
}

impl App {
    /// Before the first snapshot; these are asked for every `interval`.
    pub(crate) fn new(theme: Theme, origin: Option<String>, interval: Duration) -> Self {
        Self {
            theme,
            origin: origin.map(|origin| text::escape(&origin).into_owned()),
            screen: Screen::default(),
            before_help: Screen::default(),
            connection: Connection::default(),
            last_data: None,
            live: History::new(interval),
            held: None,
            tables: Tables::default(),
            overview: List::default(),
            flows: Flows::new(),
            captures: List::default(),
            streams: Streams::default(),
            help: List::default(),
            save: None,
            flow_to_save: None,
        }
    }

    /// What the screens show: the newest, or what they hold.
    pub(crate) fn history(&self) -> &History {
        self.held.as_deref().unwrap_or(&self.live)
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.held.is_some()
    }

    /// Where the keyboard is.
    pub(crate) fn place(&self) -> Place {
        match self.screen {
            Screen::Overview => Place::Overview,
            Screen::Flows if self.flows.detail().is_some() => Place::FlowDetail,
            Screen::Flows if self.flows.line().is_some() => Place::FilterLine,
            Screen::Flows => Place::FlowList,
            Screen::Captures => Place::Captures,
            Screen::Streams if self.streams.asking().is_some() => Place::Asking,
            Screen::Streams => Place::Streams,
            Screen::Help => Place::Help,
        }
    }

    /// The flows to ask for: those on the screen, and when it holds still only what was not answered yet.
    pub(crate) fn wanted_flows(&self) -> Option<FlowQuery> {
        let wanted = self.screen == Screen::Flows && !(self.is_paused() && self.flows.is_answered());
        wanted.then(|| self.flows.query().clone())
    }

    /// A flow that a key asked to save, once.
    pub(crate) fn take_flow_to_save(&mut self) -> Option<CapturedFlow> {
        self.flow_to_save.take()
    }

    /// A decision about a stream that a key has made, once.
    pub(crate) fn take_decision(&mut self) -> Option<Ruling> {
        self.streams.take_decision()
    }

    /// Lays the lists out for a terminal of `size`.
    pub(crate) fn fit(&mut self, size: Size) {
        screens::fit(self, size);
    }

    /// Takes in what the source said, at `now`.
    pub(crate) fn update(&mut self, update: Update, now: Duration) -> Outcome {
        match update {
            Update::Snapshot(Ok(mut snapshot)) => {
                escape_snapshot(&mut snapshot);
                let restarted = self.live.latest().is_some_and(|latest| latest.started_ns != snapshot.started_ns);
                if restarted && !self.is_paused() {
                    self.flows.forget();
                }
                self.live.push(*snapshot);
                self.last_data = Some(now);
                let was_up = std::mem::replace(&mut self.connection, Connection::Up) == Connection::Up;
                if was_up && self.is_paused() { Outcome::Same } else { Outcome::Changed }
            }
            Update::Snapshot(Err(error)) => {
                let error = text::escape(&error.to_string()).into_owned();
                let lost = Connection::Lost { error, since: self.last_data };
                if self.connection == lost {
                    return Outcome::Same;
                }
                self.connection = lost;
                Outcome::Changed
            }
            Update::Flows { query, answer } => {
                // An answer that was on its way when the screen was told to hold still.
                if self.is_paused() && self.flows.is_answered() {
                    return Outcome::Same;
                }
                self.flows.answer(query, answer, now);
                Outcome::Changed
            }
            Update::Decided { decision, answer } => {
                let answer = answer.map_err(|error| text::escape(&error.to_string()).into_owned());
                self.streams.answer(decision, answer);
                Outcome::Changed
            }
            Update::Saved(saved) => {
                let shown = |told: String| text::escape(&told).into_owned();
                self.save = Some(match saved {
                    Ok(saved) => Save::Done(Saved { lacks: saved.lacks.map(shown), ..saved }),
                    Err(error) => Save::Failed(shown(error)),
                });
                Outcome::Changed
            }
        }
    }

    /// Does what `event` asks for.
    pub(crate) fn key(&mut self, event: &KeyEvent) -> Outcome {
        if event.kind == KeyEventKind::Release {
            return Outcome::Same;
        }
        // While a filter is written, Alt is for moving by words in most editors: no reason to throw the filter away.
        if self.place() != Place::FilterLine
            && let Some(keys) = keys::after_escape(event)
        {
            return keys.iter().map(|key| self.key(key)).fold(Outcome::Same, Outcome::and);
        }
        let Some(command) = keys::command(self.place(), event) else { return Outcome::Same };
        let leaves =
            matches!(command, Command::Show(_) | Command::NextScreen | Command::PreviousScreen | Command::Back);
        if leaves && !matches!(self.save, Some(Save::UnderWay(_))) {
            self.save = None;
        }
        match command {
            Command::Quit => return Outcome::Quit,
            Command::Help if self.screen == Screen::Help => self.screen = self.before_help,
            Command::Help => self.show(Screen::Help),
            Command::Show(screen) => self.show(screen),
            Command::NextScreen => self.show(self.screen.next()),
            Command::PreviousScreen => self.show(self.screen.previous()),
            Command::Pause => {
                self.flows.stay();
                self.held = if self.is_paused() { None } else { Some(Box::new(self.live.clone())) };
            }
            other => return if self.on_screen(other) { Outcome::Changed } else { Outcome::Same },
        }
        Outcome::Changed
    }

    /// Takes text that was pasted: it goes into the filter that is being written, and is nothing elsewhere, where each letter
    /// would be a key that does something.
    pub(crate) fn paste(&mut self, text: &str) -> Outcome {
        if self.place() != Place::FilterLine {
            return Outcome::Same;
        }
        // Lines and columns that were copied from elsewhere are words of one filter here.
        for (at, word) in text.split(char::is_control).filter(|word| !word.is_empty()).enumerate() {
            let blank = (at > 0).then_some(' ');
            for c in blank.into_iter().chain(word.chars()) {
                self.flows.command(Command::Edit(Edit::Insert(c)));
            }
        }
        Outcome::Changed
    }

    fn show(&mut self, screen: Screen) {
        if screen == Screen::Help && self.screen != Screen::Help {
            self.before_help = self.screen;
        }
        self.screen = screen;
    }

    /// Asks for the packets of the current flow, unless others are still on their way.
    fn save_flow(&mut self) -> bool {
        let Some(flow) = self.flows.current().filter(|_| !matches!(self.save, Some(Save::UnderWay(_)))) else {
            return false;
        };
        let capture = self.history().latest().and_then(|snapshot| snapshot.capture.as_ref());
        let wanted = flows::captured(flow, capture);
        self.save = Some(Save::UnderWay(wanted.community_id.clone()));
        self.flow_to_save = Some(wanted);
        true
    }

    fn on_screen(&mut self, command: Command) -> bool {
        match (self.screen, command) {
            (Screen::Overview, Command::Tables) => {
                self.tables = match self.tables {
                    Tables::Both => Tables::Workers,
                    Tables::Workers => Tables::Streams,
                    Tables::Streams => Tables::Both,
                };
                self.overview = List::default();
                true
            }
            (Screen::Overview, command) => self.overview.scroll(command),
            (Screen::Flows, Command::Save) => self.save_flow(),
            (Screen::Flows, command) => self.flows.command(command),
            (Screen::Captures, command) => self.captures.scroll(command),
            (Screen::Streams, command) => {
                let history = self.held.as_deref().unwrap_or(&self.live);
                self.streams.command(command, history.latest())
            }
            (Screen::Help, Command::Back) => {
                self.screen = self.before_help;
                true
            }
            (Screen::Help, command) => self.help.scroll(command),
        }
    }
}

/// Makes every string of `snapshot` harmless, whoever made it.
fn escape_snapshot(snapshot: &mut Snapshot) {
    text::escape_in_place(&mut snapshot.version);
    snapshot.listeners.iter_mut().for_each(text::escape_in_place);
    for stream in &mut snapshot.streams {
        text::escape_in_place(&mut stream.name);
        stream.network.iter_mut().for_each(text::escape_in_place);
    }
    for stream in &mut snapshot.admission.turned_away {
        text::escape_in_place(&mut stream.name);
        text::escape_in_place(&mut stream.selector);
    }
    snapshot.admission.kept_in.iter_mut().for_each(text::escape_in_place);
    for pair in &mut snapshot.duplicate_pairs {
        text::escape_in_place(&mut pair.first);
        text::escape_in_place(&mut pair.second);
    }
    if let Some(capture) = &mut snapshot.capture {
        text::escape_in_place(&mut capture.directory);
        capture.error.iter_mut().for_each(text::escape_in_place);
        capture.kept.error.iter_mut().for_each(text::escape_in_place);
        capture.files.iter_mut().for_each(|file| text::escape_in_place(&mut file.name));
    }
    if let Some(log) = &mut snapshot.log {
        text::escape_in_place(&mut log.directory);
        log.error.iter_mut().for_each(text::escape_in_place);
    }
}

#[cfg(test)]
mod tests;
