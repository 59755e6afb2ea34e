//! The threads beside the packets: the steward, and the control port where there is one.

use std::sync::Arc;

use super::api::{BoundServer, Server, Shown};
use super::ledger::Ledger;
use super::steward::{Office, Steward};
use crate::control::Control;
use crate::error::SendError;

/// They end when it is dropped.
pub(super) struct Attendants {
    control: Arc<Control>,
    // In this order: who asks goes before who answers.
    _server: Option<Server>,
    _office: Office,
}

impl Attendants {
    /// Has `steward` look after the policy, also at SIGHUP, and `control_port` answer.
    pub(super) fn start(
        steward: Steward,
        control_port: Option<BoundServer>,
        ledger: &Arc<Ledger>,
        control: &Arc<Control>,
    ) -> Result<Self, SendError> {
        let status = steward.status();
        let office = steward.start().map_err(|error| SendError::Setting(format!("cannot start a thread: {error}")))?;
        let server = match control_port {
            Some(port) => {
                tracing::info!("control port on http://{}", port.address());
                let (ledger, control) = (Arc::clone(ledger), Arc::clone(control));
                Some(port.serve(Shown { ledger, control, status, requests: office.requests() })?)
            }
            None => None,
        };
        control.hang_up(Some(office.reload()));
        Ok(Self { control: Arc::clone(control), _server: server, _office: office })
    }
}

impl Drop for Attendants {
    fn drop(&mut self) {
        self.control.hang_up(None);
    }
}
