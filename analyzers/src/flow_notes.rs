//! What the capture of a shard's frames needs to know of their flows.

use vxtap_wire::FlowKey;

use crate::flow::Flow;

/// Notes each flow once for each stamp, and which frames are beyond the first bytes of their flow.
///
/// Frames are captured in blocks; the index of a capture needs to know once for each block which flows are in it. The stamp is the
/// block's number. That a flow was noted is kept in the flow, so a frame of a known flow costs one comparison.
#[derive(Debug, Default)]
pub struct FlowNotes {
    /// Whether anybody will ask for any of this.
    pub kept: bool,
    /// Number of the block that the frames go into; 0 notes nothing.
    pub stamp: u32,
    /// Flows noted.
    pub keys: Vec<FlowKey>,
    /// So many bytes of each flow are wanted: the frame that reaches the bound is the last one.
    pub flow_bytes_max: Option<u64>,
    /// Frames of the last batch that are beyond that, as bits, the first frame lowest.
    pub beyond: u64,
    /// Frames of the next batch that somebody has asked for, as bits: their flows are wanted from then on.
    pub asked_for: u64,
    /// Frames of the last batch that are of a flow that is wanted, or were asked for themselves.
    pub wanted: u64,
}

impl FlowNotes {
    #[inline]
    pub(crate) fn note(&mut self, flow: &mut Flow, frame: usize, bytes: usize) {
        if !self.kept {
            return;
        }
        flow.wanted |= self.asked_for & 1 << frame != 0;
        self.wanted |= u64::from(flow.wanted) << frame;
        if let Some(most) = self.flow_bytes_max {
            if flow.noted_bytes >= most {
                self.beyond |= 1 << frame;
                return;
            }
            flow.noted_bytes += bytes as u64;
        }
        if self.stamp != flow.noted_in {
            flow.noted_in = self.stamp;
            if self.stamp != 0 {
                self.keys.push(flow.key);
            }
        }
    }

    /// Notes a flow that a frame of the block is of, and that is not followed.
    pub(crate) fn note_unfollowed(&mut self, key: FlowKey) {
        if self.kept && self.stamp != 0 {
            self.keys.push(key);
        }
    }
}
