use super::super::fake::FakeMachine;
use super::*;

#[test]
fn names_of_settings_are_written_as_sysctl_takes_them() {
    let key = SysctlKey::new(&["net", "ipv4", "conf", "eth0.7", "rp_filter"]);
    assert_eq!(key.to_string(), "net.ipv4.conf.eth0/7.rp_filter");
    assert_eq!(key.path(), "/proc/sys/net/ipv4/conf/eth0.7/rp_filter");
}

#[test]
fn interfaces_are_those_that_the_kernel_tells_in_this_namespace_and_their_files_tell_the_rest() {
    let fake = FakeMachine::new()
        .interface("vx0", 1450, &[])
        .interface("vx1", 1450, &[])
        .interface("lo", 65536, &["127.0.0.1"])
        .file("/sys/class/net/vx0/uevent", "DEVTYPE=vxlan\nINTERFACE=vx0\nIFINDEX=1\n")
        // Another network namespace has one of the same name and index.
        .file("/sys/class/net/vx1/uevent", "DEVTYPE=vxlan\nINTERFACE=vx1\nIFINDEX=2\n")
        .file("/sys/class/net/vx1/address", "02:11:11:11:11:11\n")
        .file("/sys/class/net/eth9/ifindex", "9\n");
    let interfaces = fake.machine().interfaces();
    let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(names, ["lo", "vx0", "vx1"]);
    assert!(interfaces[0].up && interfaces[0].loopback && !interfaces[1].loopback);
    assert_eq!((interfaces[1].kind.as_str(), interfaces[1].mtu, interfaces[1].in_sys), ("vxlan", 1450, true));
    assert_eq!((interfaces[2].kind.as_str(), interfaces[2].mtu, interfaces[2].in_sys), ("", 1450, false));
    assert_eq!(interfaces[0].addresses, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn the_interfaces_of_this_machine_have_their_mtu_whatever_is_mounted() {
    let interfaces = Machine::new("/no-such-root", Box::new(super::super::kernel::ThisKernel)).interfaces();
    let lo = interfaces.iter().find(|interface| interface.name == "lo").expect("every machine has lo");
    assert!(lo.loopback && lo.mtu > 0 && !lo.in_sys, "{lo:?}");
}

#[test]
fn capabilities_are_bits_and_a_process_without_the_line_has_none() {
    let fake = FakeMachine::new().capabilities(1 << capability::NET_ADMIN);
    let machine = fake.machine();
    assert!(machine.capability(capability::NET_ADMIN));
    assert!(!machine.capability(capability::NET_BIND_SERVICE));
    assert!(!FakeMachine::new().machine().capability(capability::NET_ADMIN));
}

#[test]
fn a_directory_that_is_not_there_yet_comes_to_be_in_the_nearest_that_is() {
    let directory = tempfile::TempDir::new().unwrap();
    let deep = directory.path().join("a/b");
    assert_eq!(Machine::nearest(&deep), directory.path());
    assert_eq!(Machine::nearest(directory.path()), directory.path());
    assert_eq!(Machine::nearest(Path::new("no-such-directory/below")), Path::new("."));
}
