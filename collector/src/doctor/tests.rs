use super::fake::{FakeMachine, settings};
use super::*;

fn names(arguments: &str, fake: &FakeMachine) -> Vec<String> {
    let found = interfaces(&settings(arguments), &fake.machine());
    found.unwrap_or_default().into_iter().map(|interface| interface.name).collect()
}

#[test]
fn the_interfaces_are_those_of_the_addresses_or_those_that_were_named() {
    let fake = FakeMachine::new()
        .interface("eth0", 9001, &["10.0.0.5", "fd00::5"])
        .interface("eth1", 9001, &["fd00::6"])
        .interface("eth2", 9001, &[])
        .interface("lo", 65536, &["127.0.0.1", "::1"]);
    assert_eq!(names("", &fake), ["eth0", "eth1"]);
    assert_eq!(names("--listen 0.0.0.0:4789", &fake), ["eth0"]);
    assert_eq!(names("--listen 127.0.0.1:4789 --listen [fd00::6]:4789", &fake), ["eth1", "lo"]);
    assert_eq!(names("--listen 10.9.9.9:4789", &fake), Vec::<String>::new());
    assert_eq!(names("--interface eth2,lo", &fake), ["eth2", "lo"]);
    assert_eq!(names("--listen packet://eth2", &fake), ["eth2"]);
    assert!(interfaces(&settings("--listen packet://eth7"), &fake.machine()).is_err());
    let error = interfaces(&settings("--interface eth7"), &fake.machine()).unwrap_err();
    assert_eq!(error.to_string(), "there is no interface 'eth7' (expected one of eth0, eth1, eth2, lo)");
}

#[test]
fn every_check_has_something_to_say_about_this_machine() {
    let settings = settings("--watch 0 --api none --listen vxlan://127.0.0.1:4789 --write /tmp");
    let findings = examine(&settings, &Machine::new("/", Box::new(ThisKernel))).unwrap();
    for check in ["port", "capabilities", "receive_buffer", "conntrack", "fragments", "backlog", "cpu", "clock", "disk"]
    {
        assert!(findings.iter().any(|finding| finding.check == check), "{check}: {findings:#?}");
    }
    // Nothing told ends in the middle of a thought.
    assert!(
        findings.iter().all(|finding| finding.severity < Severity::Hint || !finding.mend.is_empty()),
        "{findings:#?}"
    );
}

#[test]
fn fixing_makes_the_settings_that_are_told_and_the_finding_is_gone() {
    let fake = FakeMachine::new()
        .capabilities(0)
        .sysctl("net/core/rmem_max", "212992")
        .interface("eth0", 9001, &["10.0.0.5"])
        .sysctl("net/ipv4/conf/all/rp_filter", "1")
        .sysctl("net/ipv4/conf/eth0/rp_filter", "0");
    let (settings, machine) = (settings("--watch 0 --api none"), fake.machine());
    let problems = |findings: &[Finding]| -> Vec<&'static str> {
        findings.iter().filter(|of| of.severity == Severity::Problem).map(|of| of.check).collect()
    };
    let findings = examine(&settings, &machine).unwrap();
    assert_eq!(problems(&findings), ["receive_buffer", "reverse_path"]);
    let fixes = fix::apply(&machine, &findings);
    let made: Vec<String> = fixes.iter().map(|fix| format!("{}={}", fix.setting, fix.value)).collect();
    assert_eq!(made, ["net.core.rmem_max=67108864", "net.ipv4.conf.eth0.rp_filter=2"]);
    assert_eq!(problems(&examine(&settings, &machine).unwrap()), Vec::<&str>::new());
}
