//! Where the screens get what they show.

use std::io::Write;
use std::sync::Arc;

use vxtap_analyzers::snapshot::{FlowPage, FlowQuery, Ruling, Snapshot};

/// A collector to look at: in the same process, or over its API through HTTP.
///
/// Called from one background thread only, so it may block; it should answer within about two seconds, because the screens
/// say so when data gets old.
pub trait Source: Send {
    /// The collector as it is now.
    fn snapshot(&mut self) -> Result<Snapshot, SourceError>;

    /// The flows that `query` asks for.
    fn flows(&mut self, query: &FlowQuery) -> Result<FlowPage, SourceError>;

    /// Decides about mirror streams that are not let in, or are, or takes a decision back. When it returns that is in force.
    fn decide(&mut self, decision: &Ruling) -> Result<(), SourceError> {
        let Ruling { act, selector } = decision;
        Err(SourceError::Refused(format!("can't {} {selector}: nothing is decided here", act.as_str())))
    }

    /// What the collector has captured, to be asked while the source is asked other things; `None` where it can't be.
    fn captured(&self) -> Option<Arc<dyn Captured>> {
        None
    }
}

/// A flow whose packets are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapturedFlow {
    /// Its Community ID, which flows of other networks may have as well.
    pub community_id: String,
    /// A capture filter that its packets pass and those of other networks do not; empty where captures don't tell them apart.
    pub filter: String,
}

/// The packets that a collector has captured.
pub trait Captured: Send + Sync {
    /// Writes the packets of `flow` to `output` as little-endian pcapng. May take as long as captures are
    /// large, and ends when `output` fails. What was found before an error came is written, and is worth keeping.
    fn copy_flow(&self, flow: &CapturedFlow, output: &mut dyn Write) -> Result<(), SourceError>;
}

/// Why a [`Source`] gave no answer. The text is shown as it is (escaped): one line that names the object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The filter of a [`FlowQuery`] makes no sense; the text says where and what was expected. Shown beside the filter.
    #[error("{0}")]
    Filter(String),
    /// The collector can't be reached. The screens keep the last data, say that they are old, and try again.
    #[error("{0}")]
    Unreachable(String),
    /// The collector answered, but refused, or with something that is no snapshot. Tried again as well.
    #[error("{0}")]
    Refused(String),
}
