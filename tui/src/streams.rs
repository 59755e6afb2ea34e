//! The streams screen's state: which stream is chosen, and what is to be decided about it.

use vxtap_analyzers::snapshot::{Act, AdmissionSnapshot, Choice, Ruling, Snapshot, StreamSnapshot, TurnedAwayStream};

use crate::keys::Command;
use crate::list::List;

/// A line of the screen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row<'a> {
    /// Not let in.
    Away(&'a TurnedAwayStream),
    /// Let in.
    In(&'a StreamSnapshot),
}

impl<'a> Row<'a> {
    pub(crate) fn name(self) -> &'a str {
        match self {
            Self::Away(stream) => &stream.name,
            Self::In(stream) => &stream.name,
        }
    }

    /// What is said of it in a word.
    pub(crate) const fn state(self) -> &'static str {
        match self {
            Self::Away(TurnedAwayStream { rejected: true, .. }) => "rejected",
            Self::Away(_) => "waiting",
            Self::In(StreamSnapshot { turned_away: true, .. }) => "was in",
            Self::In(_) => "let in",
        }
    }

    /// What was decided about this stream and no other, as far as `admission` lists it.
    pub(crate) fn decision(self, admission: &AdmissionSnapshot) -> Option<Choice> {
        let selector = self.selector()?;
        admission.decisions.iter().find(|decision| decision.selector == selector).map(|decision| decision.choice)
    }

    /// The words that stand for this stream and no other in a decision; `None` where there are none, or nothing is to be decided.
    fn selector(self) -> Option<String> {
        let selector = match self {
            Self::Away(stream) => &stream.selector,
            Self::In(stream) => &stream.selector,
        };
        Some(selector.clone()).filter(|selector| !selector.is_empty())
    }
}

/// The lines for `snapshot`: who waits first, then who is let in, then who is rejected, then who is let in no more.
pub(crate) fn rows(snapshot: &Snapshot) -> Vec<Row<'_>> {
    let away = |rejected: bool| {
        let streams = snapshot.admission.turned_away.iter();
        streams.filter(move |stream| stream.rejected == rejected).map(Row::Away)
    };
    let let_in =
        |no_more: bool| snapshot.streams.iter().filter(move |stream| stream.turned_away == no_more).map(Row::In);
    away(false).chain(let_in(false)).chain(away(true)).chain(let_in(true)).collect()
}

/// What became of the last decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is on its way.
    UnderWay(Ruling),
    /// It is in force.
    Done(Ruling),
    /// It is not; why.
    Failed(String),
}

/// The state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    pub(crate) list: List,
    /// The chosen stream, once a key has moved the choice: then the choice goes where the stream goes.
    followed: Option<String>,
    /// What waits for a yes.
    asking: Option<Ruling>,
    told: Option<Told>,
    decided: Option<Ruling>,
}

impl Streams {
    /// What waits for a yes.
    pub(crate) const fn asking(&self) -> Option<&Ruling> {
        self.asking.as_ref()
    }

    /// What became of the last decision.
    pub(crate) const fn told(&self) -> Option<&Told> {
        self.told.as_ref()
    }

    /// A decision that a key has made, once.
    pub(crate) fn take_decision(&mut self) -> Option<Ruling> {
        self.decided.take()
    }

    /// Says how many lines of `snapshot` fit on the screen.
    pub(crate) fn fit(&mut self, snapshot: &Snapshot, height: usize) {
        let rows = rows(snapshot);
        self.list.fit(rows.len(), height);
        let place = self.followed.as_ref().and_then(|name| rows.iter().position(|row| row.name() == name));
        if let Some(place) = place {
            self.list.select(place);
        }
    }

    /// Does what a key asks for; `false` where it asks for nothing.
    pub(crate) fn command(&mut self, command: Command, snapshot: Option<&Snapshot>) -> bool {
        let Some(snapshot) = snapshot else { return false };
        let rows = rows(snapshot);
        match command {
            Command::Accept => self.ask(Act::Accept, rows.get(self.list.selected()).copied(), &snapshot.admission),
            Command::Reject => self.ask(Act::Reject, rows.get(self.list.selected()).copied(), &snapshot.admission),
            Command::Forget => self.ask(Act::Forget, rows.get(self.list.selected()).copied(), &snapshot.admission),
            Command::Yes => {
                let Some(decision) = self.asking.take() else { return false };
                self.told = Some(Told::UnderWay(decision.clone()));
                self.decided = Some(decision);
                true
            }
            Command::Back => self.asking.take().is_some(),
            other => {
                let moved = self.list.go(other);
                if moved {
                    self.told.take_if(|told| !matches!(told, Told::UnderWay(_)));
                    self.followed = rows.get(self.list.selected()).map(|row| row.name().to_owned());
                }
                moved
            }
        }
    }

    fn ask(&mut self, act: Act, row: Option<Row<'_>>, admission: &AdmissionSnapshot) -> bool {
        let Some(row) = row else { return false };
        // A list that is cut may have it nevertheless: the collector knows.
        let lists_all = admission.decisions.len() as u64 >= admission.decisions_total;
        let is_decided = row.decision(admission).is_some();
        let same = matches!((act, row.state()), (Act::Accept, "let in") | (Act::Reject, "rejected"));
        match row.selector() {
            _ if same => self.told = Some(Told::Failed(format!("{} is {} already", row.name(), row.state()))),
            None => self.told = Some(Told::Failed(format!("nothing can be decided about {}", row.name()))),
            Some(selector) if act == Act::Forget && lists_all && !is_decided => {
                self.told = Some(Told::Failed(format!("nothing was decided about {selector} alone")));
            }
            Some(selector) => {
                self.told = None;
                self.asking = Some(Ruling { act, selector });
                // What is asked about stays chosen.
                self.followed = Some(row.name().to_owned());
            }
        }
        true
    }

    /// Takes in what came of a decision.
    pub(crate) fn answer(&mut self, decision: Ruling, answer: Result<(), String>) {
        self.told = Some(match answer {
            Ok(()) => Told::Done(decision),
            Err(error) => Told::Failed(error),
        });
    }
}
