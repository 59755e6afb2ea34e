//! Admission: which mirror streams are let in. Others wait, counted and never kept, until somebody decides; or are rejected.
//!
//! [`Rules`] are what was configured and decided. They are replaced as a whole; workers hold the ones that they know, keep
//! the answer for each stream, and look once a batch whether a counter says that there are newer ones. So a packet costs no lock.

mod rules;
mod store;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vxtap_analyzers::snapshot::{Act, AdmissionSnapshot, Choice, Decision};

use crate::selector::{Selector, SelectorError};
use rules::Decisions;
pub(crate) use rules::Rules;
pub use rules::{Policy, Verdict};
pub use store::StateError;
use store::Store;

/// What admission is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// Who is let in.
    pub policy: Policy,
    /// The directory in which decisions are kept; without it they end with the run.
    pub state: Option<PathBuf>,
}

/// Who comes in, for all workers of a run.
#[derive(Debug, Default)]
pub struct Admission {
    /// Grows with each decision.
    generation: AtomicU64,
    decided: Mutex<Decided>,
}

#[derive(Debug, Default)]
struct Decided {
    rules: Arc<Rules>,
    store: Option<Store>,
}

/// Why a decision is not in force.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// It says nothing that is understood.
    #[error("{0}")]
    Selector(#[from] SelectorError),
    /// The configuration goes before it.
    #[error("the configuration rejects '{0}' (reject in [admission], --reject), and goes before what is decided here")]
    Configured(String),
    /// There is nothing to take back.
    #[error("nothing was decided about exactly '{0}': /v1/admission lists what was")]
    Undecided(String),
    /// There are as many as there may be.
    #[error(
        "there are {0} decisions, as many as there may be: decide about several streams at once, such as 'vni 100-199'"
    )]
    Full(usize),
    /// It could not be kept, so it does not count.
    #[error(transparent)]
    State(#[from] StateError),
}

impl Admission {
    /// Takes the state directory, if there is one, and what was decided before.
    pub fn open(settings: &AdmissionSettings) -> Result<Self, StateError> {
        let (store, decisions) = match &settings.state {
            Some(directory) => {
                let (store, decisions) = Store::open(directory)?;
                (Some(store), decisions)
            }
            None => (None, Decisions::default()),
        };
        Ok(Self::new(settings, store, decisions))
    }

    /// The same for a run in which nobody decides anything: another collector may have the directory.
    pub fn read_only(settings: &AdmissionSettings) -> Result<Self, StateError> {
        let decisions = settings.state.as_deref().map(store::read).transpose()?;
        Ok(Self::new(settings, None, decisions.unwrap_or_default()))
    }

    fn new(settings: &AdmissionSettings, store: Option<Store>, decisions: Decisions) -> Self {
        let rules = Arc::new(Rules { policy: settings.policy.clone(), decisions });
        Self { generation: AtomicU64::new(0), decided: Mutex::new(Decided { rules, store }) }
    }

    fn decided(&self) -> MutexGuard<'_, Decided> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another number than before once [`Admission::rules`] are others.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What is in force.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.decided().rules)
    }

    /// Decides about the mirror streams that `selector` stands for, or takes back what was decided in these words; gives how it is written.
    /// When this returns that is kept, and every worker follows it from its next batch on. What was let in stays in flows and captures.
    pub fn decide(&self, act: Act, selector: &str) -> Result<String, DecideError> {
        let selector: Selector = selector.parse()?;
        let text = selector.to_string();
        let mut decided = self.decided();
        let rejects = |origin| decided.rules.policy.reject.iter().any(|rejected| rejected.matches(&origin));
        if act == Act::Accept && selector.origin().is_some_and(rejects) {
            return Err(DecideError::Configured(text));
        }
        let mut rules = Rules::clone(&decided.rules);
        let count = rules.decisions.len();
        let choice = match act {
            Act::Accept => Some(Choice::Accept),
            Act::Reject => Some(Choice::Reject),
            Act::Forget => None,
        };
        match choice {
            Some(choice) => rules.decisions.add(choice, selector).map_err(|_| DecideError::Full(count))?,
            None if rules.decisions.take_back(&selector) => {}
            None => return Err(DecideError::Undecided(text)),
        }
        if let Some(store) = &decided.store {
            store.write(&rules.decisions)?;
        }
        decided.rules = Arc::new(rules);
        self.generation.fetch_add(1, Ordering::Release);
        Ok(text)
    }

    /// What is in force, for the API; without the streams that were turned away.
    pub(crate) fn snapshot(&self) -> AdmissionSnapshot {
        let decided = self.decided();
        let Rules { policy, decisions } = &*decided.rules;
        let decision = |(choice, selector): (Choice, Selector)| Decision { choice, selector: selector.to_string() };
        AdmissionSnapshot {
            accepts_all: policy.accepts_all(),
            decisions: decisions.iter().rev().take(AdmissionSnapshot::MAX_DECISIONS).map(decision).collect(),
            decisions_total: decisions.len() as u64,
            kept_in: decided.store.as_ref().map(|store| store.file().display().to_string()),
            ..AdmissionSnapshot::default()
        }
    }

    /// One line that says who comes in.
    pub fn told(&self) -> String {
        let decided = self.decided();
        let Rules { policy, decisions } = &*decided.rules;
        let who = match (policy.accepts_all(), policy.reject.len()) {
            (true, 0) => "every mirror stream is let in (--accept names those that are; others wait)".to_owned(),
            (true, rejects) => format!("every mirror stream is let in but those of {rejects} selectors of --reject"),
            (false, _) => "mirror streams that are not listed wait to be accepted".to_owned(),
        };
        match (decisions.len(), &decided.store) {
            (0, Some(store)) => format!("admission: {who}; decisions are kept in {}", store.file().display()),
            (count, Some(store)) => format!("admission: {who}; {count} decisions in {}", store.file().display()),
            (_, None) if policy.accepts_all() => format!("admission: {who}"),
            (_, None) => format!("admission: {who}; decisions end with the run (--state DIR keeps them)"),
        }
    }
}

#[cfg(test)]
mod tests;
