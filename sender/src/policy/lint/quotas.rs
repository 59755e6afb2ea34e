//! What the provider would not take, although our sender can do it.

use super::Lint;
use crate::policy::provider::Limits;

impl Lint<'_> {
    /// Numbers of sessions, rules and sources.
    pub(super) fn quotas(&mut self) {
        let policy = &self.file.policy;
        let limits = policy.provider.profile().limits;
        for (at, source) in policy.sources.iter().enumerate() {
            let count = policy.sessions.iter().filter(|session| session.sources.contains(&at)).count();
            self.over(
                limits.sessions_per_source,
                count,
                &format!("source[{at}]"),
                &format!("sessions of source '{}'", source.name),
            );
        }
        for (at, filter) in policy.filters.iter().enumerate() {
            let path = format!("filter[{at}]");
            let (inbound, outbound) = (filter.inbound.len(), filter.outbound.len());
            let name = &filter.name;
            self.over(limits.rules_per_direction, inbound, &path, &format!("inbound rules of filter '{name}'"));
            self.over(limits.rules_per_direction, outbound, &path, &format!("outbound rules of filter '{name}'"));
            self.over(limits.rules_per_filter, inbound + outbound, &path, &format!("rules of filter '{name}'"));
            self.one_of_each(&limits, at);
        }
        for (at, session) in policy.sessions.iter().enumerate() {
            let path = self.session_path(at);
            self.over(
                limits.sources_per_session,
                session.sources.len(),
                &path,
                &format!("sources of session '{}'", session.name),
            );
        }
        if !limits.ipv6 {
            self.ipv6();
        }
    }

    fn over(&mut self, quota: Option<usize>, count: usize, path: &str, what: &str) {
        if let Some(quota) = quota.filter(|quota| count > *quota) {
            let provider = self.file.policy.provider;
            self.warn(path, format!("{count} {what} are more than {provider} takes ({quota})"));
        }
    }

    /// A rule of the clouds has one protocol, one range of ports and one network on each side; ours may have lists.
    fn one_of_each(&mut self, limits: &Limits, filter: usize) {
        let provider = self.file.policy.provider;
        // Google's have lists, and ours do.
        if limits.next || !limits.reject {
            return;
        }
        let Some(model) = self.file.policy.filters.get(filter) else { return };
        for direction in crate::policy::model::Direction::BOTH {
            for (at, rule) in model.rules(direction).iter().enumerate() {
                let most = [
                    rule.protocols.len(),
                    rule.source.len(),
                    rule.destination.len(),
                    rule.source_ports.len(),
                    rule.destination_ports.len(),
                ];
                if most.iter().any(|count| *count > 1) {
                    let path = self.rule_path(filter, direction, at);
                    self.warn(
                        &path,
                        format!("a rule of {provider} has one of each at most: this one would be several there"),
                    );
                }
            }
        }
    }

    /// Addresses of a family that the provider does not mirror.
    fn ipv6(&mut self) {
        let provider = self.file.policy.provider;
        for (at, source) in self.file.policy.sources.iter().enumerate() {
            if source.addresses.iter().any(std::net::IpAddr::is_ipv6) {
                self.note(&format!("source[{at}].addresses"), format!("{provider} mirrors no IPv6"));
            }
        }
    }
}
