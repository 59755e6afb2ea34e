//! What of the traffic is captured.

use serde::Serialize;
use vxtap_filter::{Filter, Packet, Tunnel};
use vxtap_wire::FrameView;

/// Frames that are in no flow keep so many bytes when only headers are wanted: ARP and its like are all header.
const HEADERS_WITHOUT_FLOW: usize = 128;

/// A filter that two settings can be compared by.
#[derive(Clone, Debug)]
pub struct CaptureFilter(pub Filter);

impl PartialEq for CaptureFilter {
    fn eq(&self, other: &Self) -> bool {
        self.0.text() == other.0.text()
    }
}

/// Less than everything, by choice. A frame that is left out counts as not captured; one that is cut counts as captured, and in
/// [`CutFrames`], and keeps its length on the wire.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Only frames that this matches.
    pub filter: Option<CaptureFilter>,
    /// From the first frame on that matches, all frames of its flow.
    pub whole_flows: bool,
    /// No more than so many bytes of each frame.
    pub snaplen: Option<u32>,
    /// Headers only, up to the one of the innermost transport.
    pub headers: bool,
    /// No more than the first bytes of each flow.
    pub flow_bytes: Option<u64>,
    /// Only the first copy of a packet that came twice.
    pub one_copy: bool,
}

/// Frames that are captured without their end, by choice. A frame that the disk refuses later counts as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CutFrames {
    /// Frames.
    #[serde(rename = "capture_cut")]
    pub frames: u64,
    /// Bytes of them that are not captured.
    #[serde(rename = "capture_cut_bytes")]
    pub bytes: u64,
}

impl CutFrames {
    /// Counts a frame of which so many bytes are left out; 0 for one that is whole.
    #[inline]
    pub(crate) fn note(&mut self, left_out: usize) {
        self.frames += u64::from(left_out > 0);
        self.bytes += left_out as u64;
    }

    /// Adds `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
    }
}

impl Selection {
    /// Whether the filter lets the frame pass that came by `tunnel`.
    #[inline]
    pub(crate) fn takes(&self, view: &FrameView<'_>, tunnel: impl FnOnce() -> Tunnel<'static>) -> bool {
        self.filter.as_ref().is_none_or(|CaptureFilter(filter)| {
            filter.matches(&Packet { frame: view.bytes, link: view.link, wire_len: view.wire_len, tunnel: tunnel() })
        })
    }

    /// Whether flows have to be asked for by the frames that match.
    #[inline]
    pub(crate) const fn asks_for_flows(&self) -> bool {
        self.whole_flows && self.filter.is_some()
    }

    /// Whether no frame is left out.
    #[inline]
    pub(crate) const fn takes_all(&self) -> bool {
        self.filter.is_none() && self.flow_bytes.is_none() && !self.one_copy
    }

    /// Whether frames may be captured without their end.
    #[inline]
    pub(crate) const fn cuts(&self) -> bool {
        self.headers || self.snaplen.is_some()
    }

    /// How much of a frame is captured, in bytes.
    #[inline]
    pub(crate) fn length(&self, view: &FrameView<'_>) -> usize {
        let whole = view.bytes.len();
        if !self.cuts() {
            return whole;
        }
        let headers = match (self.headers, view.five_tuple) {
            (false, _) => whole,
            (true, Some(_)) => view.headers_len(),
            (true, None) => HEADERS_WITHOUT_FLOW,
        };
        whole.min(headers).min(self.snaplen.map_or(usize::MAX, |bytes| bytes as usize))
    }
}
