//! Whether the collector should get traffic, as metrics.

use std::fmt;

use prometheus_client::metrics::MetricType;
use vxtap_analyzers::snapshot::HealthSnapshot;

use super::Families;
use crate::health::Cause;

/// Writes the families.
pub(super) fn encode(families: &mut Families<'_>, health: &HealthSnapshot) -> fmt::Result {
    families.gauge("ready", "1 when load balancers are told to send traffic", u64::from(health.ready))?;
    let mut family = families.family("not_ready", "1 for what speaks against traffic", MetricType::Gauge)?;
    for cause in Cause::ALL {
        let stands = health.not_ready.iter().any(|reason| reason.cause == cause.as_str());
        family.gauge(&[("cause", cause.as_str())], u64::from(stands))?;
    }
    let counters = [
        ("ready_changes", "Times it became ready, or not ready, by what was seen of it", health.changes),
        ("health_connections", "Connections at the health port", health.connections),
        ("health_requests", "Requests answered at the health port", health.requests),
        ("health_evicted", "Connections closed at the health port to make room for others", health.evicted),
    ];
    counters.into_iter().try_for_each(|(name, help, count)| families.counter(name, help, count))
}
