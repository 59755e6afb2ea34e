//! What is known of a flow before its packets are read.

use vxtap_wire::FlowKey;

/// What is known of a flow, for [`Filter::may_match`](crate::Filter::may_match). What is not known is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowFacts<'a> {
    /// The flow; `None` for frames in no flow (ARP, cut IP headers) or in any.
    pub key: Option<FlowKey>,
    /// Whether no packet of the flow came in a tunnel inside its frame (IP in IP, GRE, VXLAN in the frame), so that the
    /// addresses of `key` are those of the outermost IP header. If it is false, `key` rules nothing out.
    pub direct: bool,
    /// The VNI, if all packets of the flow have the same.
    pub vni: Option<u32>,
    /// Name of the network, if all packets of the flow are in the same.
    pub network: Option<&'a str>,
}

impl<'a> FlowFacts<'a> {
    /// Of the flow `key`. Say also [`FlowFacts::direct`] where it is so.
    pub fn of(key: FlowKey) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// Of frames that are in no flow.
    pub fn no_flow() -> Self {
        Self::default()
    }

    /// The same, and no packet came in a tunnel inside its frame (`FrameView::tunnels` was 0 for each).
    #[must_use]
    pub fn direct(self) -> Self {
        Self { direct: true, ..self }
    }

    /// The same, and each packet has this VNI.
    #[must_use]
    pub fn with_vni(self, vni: u32) -> Self {
        Self { vni: Some(vni), ..self }
    }

    /// The same, and each packet is in the network of this name.
    #[must_use]
    pub fn with_network(self, name: &'a str) -> Self {
        Self { network: Some(name), ..self }
    }
}
