//! Mending what is safe to mend.

use serde::Serialize;

use super::finding::{Finding, Fix, Severity};
use super::machine::Machine;

/// What `--fix` did, or tried to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The kernel setting, as `sysctl` names it.
    pub setting: String,
    /// What it is now to be.
    pub value: String,
    /// What it was.
    pub was: Option<u64>,
    /// Why it stayed as it was.
    pub error: Option<String>,
}

/// Makes the kernel settings that `findings` ask for, each once: hints and problems alike.
pub(super) fn apply(machine: &Machine, findings: &[Finding]) -> Vec<Applied> {
    let worth = findings.iter().filter(|finding| finding.severity >= Severity::Hint);
    let mut wanted: Vec<&Fix> = Vec::new();
    for fix in worth.flat_map(|finding| &finding.mend).filter_map(|mend| mend.fix.as_ref()) {
        // Where two findings ask for different values of one setting, the first is what the next look begins with.
        if !wanted.iter().any(|earlier| earlier.key == fix.key) {
            wanted.push(fix);
        }
    }
    wanted.into_iter().map(|fix| set(machine, fix)).collect()
}

fn set(machine: &Machine, Fix { key, value }: &Fix) -> Applied {
    let was = machine.sysctl(key);
    let error = machine.set_sysctl(key, value).err().map(|error| error.to_string());
    Applied { setting: key.to_string(), value: value.clone(), was, error }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeMachine;
    use super::super::machine::SysctlKey;
    use super::*;

    fn key() -> SysctlKey {
        SysctlKey::new(&["net", "core", "rmem_max"])
    }

    #[test]
    fn each_setting_is_made_once_and_tells_what_it_was() {
        let fake = FakeMachine::new().file("/proc/sys/net/core/rmem_max", "212992\n");
        let machine = fake.machine();
        let finding = Finding::problem("a", "b").mend("do this").mend_sysctl(key(), "500");
        let good = Finding::good("a", "b").mend_sysctl(SysctlKey::new(&["no", "such"]), "1");
        let applied = apply(&machine, &[finding.clone(), finding, good]);
        let expected =
            Applied { setting: "net.core.rmem_max".into(), value: "500".into(), was: Some(212_992), error: None };
        assert_eq!(applied, [expected]);
        assert_eq!(machine.sysctl(&key()), Some(500));
    }

    #[test]
    fn a_setting_that_cannot_be_made_says_why_and_is_not_invented() {
        let fake = FakeMachine::new();
        let applied = apply(&fake.machine(), &[Finding::hint("a", "b").mend_sysctl(key(), "500")]);
        assert!(applied[0].error.as_ref().is_some_and(|error| error.contains("No such file")), "{applied:?}");
        assert_eq!(fake.machine().sysctl(&key()), None);
    }
}
