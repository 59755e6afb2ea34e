//! Whether packets' times are right.

use super::{Check, Examination, Finding};

const NAME: &str = "clock";
/// Clock sources that take a trip out of the CPU for each read.
const SLOW_SOURCES: [&str; 4] = ["acpi_pm", "hpet", "jiffies", "xen"];

/// See the module.
pub(super) struct Clock;

impl Check for Clock {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let mut findings = vec![match at.machine.kernel.clock() {
            Err(error) => Finding::unknown(NAME, format!("cannot ask the kernel: {error}")),
            Ok(state) if state.synchronised => {
                Finding::good(NAME, format!("synchronised, {} ms off at the most", state.error_bound.as_millis()))
            }
            Ok(_) => Finding::hint(NAME, "not synchronised")
                .costs(
                    "Captures and events of several machines cannot be put into one order, and files get wrong names.",
                )
                .mend("timedatectl set-ntp true"),
        }];
        let directory = "/sys/devices/system/clocksource/clocksource0";
        let current = at.machine.read(&format!("{directory}/current_clocksource")).unwrap_or_default();
        if SLOW_SOURCES.contains(&&*current) {
            let finding = Finding::hint(NAME, format!("read from {current}"))
                .costs("Each look at the clock takes a microsecond or more instead of some 20 ns.");
            let available = at.machine.read(&format!("{directory}/available_clocksource")).unwrap_or_default();
            let better = available.split_whitespace().find(|source| !SLOW_SOURCES.contains(source));
            findings.push(match better {
                Some(better) => finding.mend(format!("echo {better} > {directory}/current_clocksource")),
                None => finding.mend_by("this machine offers no faster one", ""),
            });
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;
    use crate::receive::ClockState;

    fn machine(synchronised: bool) -> FakeMachine {
        let state = ClockState { synchronised, error_bound: Duration::from_millis(3) };
        FakeMachine::new().kernel(|kernel| kernel.clock = Some(state))
    }

    #[test]
    fn a_clock_that_follows_no_other_is_told_of() {
        only(&machine(true).look(&Clock, ""), Severity::Good);
        assert_eq!(only(&machine(false).look(&Clock, ""), Severity::Hint).1, ["timedatectl set-ntp true"]);
        only(&FakeMachine::new().look(&Clock, ""), Severity::Unknown);
    }

    #[test]
    fn a_slow_clock_source_is_told_of_with_a_faster_one_where_there_is_one() {
        let place = "/sys/devices/system/clocksource/clocksource0";
        let slow = machine(true).file(&format!("{place}/current_clocksource"), "xen\n");
        let slow = slow.file(&format!("{place}/available_clocksource"), "xen tsc hpet acpi_pm\n");
        let findings = slow.look(&Clock, "");
        let mend = only(&findings[1..], Severity::Hint).1;
        assert_eq!(mend, [format!("echo tsc > {place}/current_clocksource")]);
        let only_slow = slow.file(&format!("{place}/available_clocksource"), "xen hpet\n");
        assert_eq!(only(&only_slow.look(&Clock, "")[1..], Severity::Hint).1, Vec::<String>::new());
    }
}
