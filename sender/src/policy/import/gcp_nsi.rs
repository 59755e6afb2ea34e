//! Mirroring rules of Google's Network Security Integration, out of a network firewall policy.
//!
//! There a rule has everything: its priority, whom it is for, and the security profile group that leads to the collectors.
//! Here a session has sources and a target, and its filter the rules. So the rules, in the order of their priority, are cut into
//! runs of one target and one set of sources; each run is a session, and the sessions are tried in the same order. A rule
//! `goto_next` leaves the policy: with several runs it becomes a reject, since the next session is not the next policy.

use serde_json::Value;

use super::super::{Action, Direction, PortRange, Ports, Protocol, Provider, RuleDocument};
use super::document::{Fields, Node, Place};
use super::findings::{Findings, FoundFilter, FoundSession, FoundSource, FoundTarget, SourceKind};
use super::gcp::{last_part, path};
use super::rules::{protocol, word};
use super::{ImportError, Remarks};

/// One rule, as it is understood.
struct Rule {
    priority: u32,
    directed: Vec<(Direction, RuleDocument)>,
    action: Action,
    sources: Vec<FoundSource>,
    target: Option<FoundTarget>,
    place: Place,
}

impl Rule {
    fn endpoint(&self) -> Option<&str> {
        self.target.as_ref().map(|target| target.endpoint.as_str())
    }
}

/// A firewall policy with its mirroring rules.
pub(super) fn policy(
    node: &Node<'_>,
    mut fields: Fields<'_>,
    findings: &mut Findings,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    findings.is_for(Provider::GcpNsi, node.place())?;
    let name = fields.text("shortName")?.or(fields.text("name")?).unwrap_or("rules").to_owned();
    let mut rules = Vec::new();
    for item in fields.need("packetMirroringRules")?.items()? {
        rules.extend(rule_of(&item, &name, remarks)?);
    }
    if rules.iter().any(|rule| rule.sources.iter().any(|source| source.id == name)) {
        let text = format!(
            "rules without a target are for every machine of the network: here, for those with the tag '{name}'"
        );
        remarks.note(node.place(), text);
    }
    sessions(&name, rules, findings, remarks);
    // The firewall's own rules are no matter of mirroring, and the networks that it is for are not seen from a host.
    fields.pass(&[
        "name",
        "displayName",
        "description",
        "kind",
        "id",
        "creationTimestamp",
        "fingerprint",
        "selfLink",
        "selfLinkWithId",
        "ruleTupleCount",
        "parent",
        "region",
        "policyType",
        "rules",
        "associations",
        "packetMirroringRuleTupleCount",
    ]);
    fields.finish(remarks);
    Ok(())
}

/// A rule by itself, as `mirroring-rules describe` prints it.
pub(super) fn rule(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    findings.is_for(Provider::GcpNsi, node.place())?;
    let rules: Vec<Rule> = rule_of(node, "network", remarks)?.into_iter().collect();
    let name = format!("rule-{}", rules.first().map_or(0, |rule| rule.priority));
    sessions(&name, rules, findings, remarks);
    Ok(())
}

/// Cuts rules into runs and makes sessions of them.
fn sessions(policy: &str, mut rules: Vec<Rule>, findings: &mut Findings, remarks: &mut Remarks) {
    rules.sort_by_key(|rule| rule.priority);
    let mut runs: Vec<Vec<Rule>> = Vec::new();
    for rule in rules {
        let fits = runs.last().is_some_and(|run| {
            let before = run.iter().find_map(Rule::endpoint);
            let same_target = before.is_none() || rule.target.is_none() || before == rule.endpoint();
            same_target
                && run[0].sources.iter().map(|source| &source.id).eq(rule.sources.iter().map(|source| &source.id))
        });
        match runs.last_mut().filter(|_| fits) {
            Some(run) => run.push(rule),
            None => runs.push(vec![rule]),
        }
    }
    let several = runs.len() > 1;
    // A run that only rejects goes nowhere; it is given the target of another one, since a session has one.
    let some_target = runs.iter().flatten().find_map(Rule::endpoint).map(str::to_owned);
    for (index, run) in runs.into_iter().enumerate() {
        let name = if several { format!("{policy}-{}", run[0].priority) } else { policy.to_owned() };
        let place = run[0].place.clone();
        let sources = run[0].sources.clone();
        let target = run.iter().find_map(Rule::endpoint).map(str::to_owned);
        let Some(target) = target.or_else(|| some_target.clone()) else {
            remarks.note(&place, "passed over: no rule of this policy mirrors anything");
            continue;
        };
        let mut filter = FoundFilter::new(place.clone());
        filter.name = Some(name.clone());
        // A rule that is several here needs as many numbers: those behind it move up where they are taken.
        let mut next = [0; 2];
        for rule in run {
            if rule.action == Action::Next && several {
                remarks.lost(
                    &rule.place,
                    "goto_next leaves a policy that is several sessions here: the rule rejects instead",
                );
            }
            for (direction, mut document) in rule.directed {
                if document.action == Some(Action::Next) && several {
                    document.action = Some(Action::Reject);
                }
                let next = &mut next[usize::from(direction == Direction::Outbound)];
                let number = rule.priority.max(*next);
                if number != rule.priority {
                    remarks.note(&rule.place, format!("a part of rule {} is rule {number} here", rule.priority));
                }
                (document.number, *next) = (Some(number), number.saturating_add(1));
                filter.rules(direction).push(document);
            }
            if let Some(target) = rule.target {
                findings.add_target(target);
            }
        }
        findings.filters.push(filter);
        findings.sessions.push(FoundSession {
            id: None,
            name: Some(name.clone()),
            description: None,
            number: several.then_some(index as u32 + 1),
            sources,
            filter: Some(name),
            target,
            vni: None,
            length: None,
            enabled: None,
            place,
        });
    }
}

/// Reads a rule; `None` where it is off, or accepts something narrower than a policy can say.
fn rule_of(node: &Node<'_>, network: &str, remarks: &mut Remarks) -> Result<Option<Rule>, ImportError> {
    const ACTIONS: [(&str, Action); 3] =
        [("mirror", Action::Accept), ("do_not_mirror", Action::Reject), ("goto_next", Action::Next)];
    const DIRECTIONS: [(&str, Direction); 2] = [("INGRESS", Direction::Inbound), ("EGRESS", Direction::Outbound)];
    let mut fields = node.fields()?;
    let priority = fields.need("priority")?.number_up_to(u32::MAX)?;
    let mut action = word(&fields.need("action")?, &ACTIONS)?;
    let direction = word(&fields.need("direction")?, &DIRECTIONS)?;
    let description = fields.text("description")?.or(fields.text("ruleName")?).map(str::to_owned);
    let disabled = fields.truth("disabled")?.unwrap_or(false);
    let target = match fields.take("securityProfileGroup") {
        None => None,
        Some(group) => {
            let endpoint = group.text()?.trim_start_matches("//networksecurity.googleapis.com/");
            // The API gives it with a host and a version in front.
            let endpoint = endpoint.find("organizations/").map_or(path(endpoint), |begin| &endpoint[begin..]);
            let name = Some(last_part(endpoint).to_owned());
            Some(FoundTarget { name, ..FoundTarget::of(endpoint, group.place()) })
        }
    };
    if action == Action::Accept && target.is_none() {
        return Err(ImportError::Missing { place: node.place().clone(), field: "securityProfileGroup".to_owned() });
    }
    let sources = sources(&mut fields, network, node.place())?;
    let mut matched = fields.need("match")?.fields()?;
    let mut base = RuleDocument { description, ..RuleDocument::default() };
    for (list, networks) in [("srcIpRanges", &mut base.source), ("destIpRanges", &mut base.destination)] {
        for item in matched.list(list)? {
            networks.push(item.network()?);
        }
    }
    let layer4 = layer4(&mut matched)?;
    // What is left of the match are conditions that no packet shows: labels, names, regions, lists of others.
    let mut conditions = Remarks::default();
    matched.finish(&mut conditions);
    let narrower: Vec<Place> = conditions.iter().map(|remark| remark.place.clone()).collect();
    fields.pass(&["kind", "ruleTupleCount", "ruleName", "enableLogging", "tlsInspect"]);
    fields.finish(remarks);
    if disabled {
        remarks.note(node.place(), format!("left out: rule {priority} is disabled"));
        return Ok(None);
    }
    if !narrower.is_empty() {
        let left_out = action == Action::Accept;
        for place in narrower {
            let does = if left_out { "the rule is left out" } else { "the rule rejects whatever else it asks for" };
            remarks.lost(&place, format!("a policy has no such condition: {does}"));
        }
        if left_out {
            return Ok(None);
        }
        action = Action::Reject;
    }
    base.action = Some(action);
    let rules = layer4.into_iter().map(|(protocol, ports)| {
        let rule = RuleDocument { protocol, destination_ports: Ports(ports), ..base.clone() };
        (direction, rule)
    });
    let directed = rules.collect();
    Ok(Some(Rule { priority, directed, action, sources, target, place: node.place().clone() }))
}

/// Whom a rule is for: machines with these labels, or everything in the network.
fn sources(fields: &mut Fields<'_>, network: &str, place: &Place) -> Result<Vec<FoundSource>, ImportError> {
    let mut sources = Vec::new();
    for list in ["targetSecureTags", "targetServiceAccounts", "targetResources"] {
        for item in fields.list(list)? {
            let id = match item.value() {
                Value::Object(_) => item.fields()?.need("name")?.text()?,
                _ => item.text()?,
            };
            sources.push(FoundSource::of(SourceKind::Tag, path(id), item.place()));
        }
    }
    if sources.is_empty() {
        sources.push(FoundSource::of(SourceKind::Tag, network, place));
    }
    Ok(sources)
}

/// Protocols, and the destination ports that all of them have.
type Layer4 = (Vec<Protocol>, Vec<PortRange>);

/// What a rule asks of layer 4, as the rules that say the same: those without ports are one, and those with ports one for each
/// set of ports, since a rule has its ports for all of its protocols.
fn layer4(matched: &mut Fields<'_>) -> Result<Vec<Layer4>, ImportError> {
    let mut found: Vec<Layer4> = Vec::new();
    for item in matched.list("layer4Configs")? {
        let mut config = item.fields()?;
        let Some(protocol) = protocol(&config.need("ipProtocol")?)? else {
            return Ok(vec![(Vec::new(), Vec::new())]);
        };
        let mut ports = Vec::new();
        for range in config.list("ports")? {
            ports.extend(super::rules::ports(&range)?);
        }
        match found.iter_mut().find(|(_, known)| *known == ports) {
            Some((protocols, _)) => protocols.push(protocol),
            None => found.push((vec![protocol], ports)),
        }
    }
    if found.is_empty() {
        found.push((Vec::new(), Vec::new()));
    }
    Ok(found)
}
