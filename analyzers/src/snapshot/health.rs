//! Whether a collector should get traffic, as others see it.

use serde::{Deserialize, Serialize};

/// Whether a load balancer should send traffic to a collector, and who asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HealthSnapshot {
    /// Whether it should: nothing speaks against it.
    pub ready: bool,
    /// What speaks against it.
    pub not_ready: Vec<NotReady>,
    /// How often it has become ready, or not ready, by what was seen of it.
    pub changes: u64,
    /// Connections that were taken at the health port.
    pub connections: u64,
    /// Requests that were answered there.
    pub requests: u64,
    /// Connections that were closed there to make room for others.
    pub evicted: u64,
}

/// Something that speaks against sending traffic to a collector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NotReady {
    /// Its name: `starting`, `draining`, `stopped`, `worker_stalled`, `kernel_drops`, `capture_failing` or
    /// `interface_down`.
    pub cause: String,
    /// What was seen, in words.
    pub detail: String,
    /// For how many seconds it has been so.
    pub seconds: f64,
}
