//! What is to be seen of a collector by somebody who must not wait for it.

use std::sync::Arc;

use super::readiness::{CaptureSeen, Observation, WorkerSeen};
use crate::capture::CaptureMonitor;
use crate::receive::Queue;
use crate::shared::{Pulse, Shared};

/// Looks at workers, at the sockets and rings that they read, and at the capture's writer.
pub(crate) struct Observer {
    shared: Arc<Shared>,
    /// By worker.
    queues: Vec<Vec<WatchedQueue>>,
    kernel_dropped: u64,
    capture: Option<CaptureWatch>,
}

struct WatchedQueue {
    queue: Queue,
    drops_seen: u32,
}

/// The capture's writer, and how it was when it could last be asked.
pub(crate) struct CaptureWatch {
    monitor: CaptureMonitor,
    seen: CaptureSeen,
}

impl CaptureWatch {
    pub(crate) fn new(monitor: CaptureMonitor) -> Self {
        Self { monitor, seen: CaptureSeen::default() }
    }

    fn look(&mut self) -> CaptureSeen {
        self.seen = self.monitor.seen().unwrap_or(self.seen);
        self.seen
    }
}

impl Observer {
    /// Looks at the workers of `shared`, each with the `queues` that it reads.
    pub(crate) fn new(shared: Arc<Shared>, queues: Vec<Vec<Queue>>, capture: Option<CaptureWatch>) -> Self {
        let socket = |queue: Queue| {
            let drops_seen = queue.state().map_or(0, |state| state.drops);
            WatchedQueue { queue, drops_seen }
        };
        let queues = queues.into_iter().map(|queues| queues.into_iter().map(socket).collect()).collect();
        Self { shared, queues, kernel_dropped: 0, capture }
    }

    /// How everything is now.
    pub(super) fn look(&mut self) -> Observation {
        let Self { shared, queues, kernel_dropped, capture } = self;
        let mut down = None;
        let workers = shared.pulses().iter().zip(queues).map(|(pulse, queues)| {
            let mut waiting = false;
            for WatchedQueue { queue, drops_seen } in queues {
                let Some(state) = queue.state() else { continue };
                waiting |= state.waiting;
                down = down.or(state.down);
                *kernel_dropped += u64::from(state.drops.wrapping_sub(std::mem::replace(drops_seen, state.drops)));
            }
            WorkerSeen { turns: pulse.turns(), waiting }
        });
        let workers = workers.collect();
        let received = shared.pulses().iter().map(Pulse::received).sum();
        let capture = capture.as_mut().map(CaptureWatch::look);
        Observation { workers, received, kernel_dropped: *kernel_dropped, capture, down }
    }
}
