use super::super::fake::FakeMachine;
use super::*;

#[test]
fn names_of_settings_are_written_as_sysctl_takes_them() {
    let key = SysctlKey::new(&["net", "ipv4", "conf", "eth0.7", "rp_filter"]);
    assert_eq!(key.to_string(), "net.ipv4.conf.eth0/7.rp_filter");
    assert_eq!(key.path(), "/proc/sys/net/ipv4/conf/eth0.7/rp_filter");
}

#[test]
fn interfaces_are_read_from_their_files_with_the_addresses_that_the_kernel_tells() {
    let fake = FakeMachine::new()
        .interface("lo", 65536, &["127.0.0.1"])
        .interface("vx0", 1450, &[])
        .file("/sys/class/net/vx0/uevent", "DEVTYPE=vxlan\nINTERFACE=vx0\nIFINDEX=3\n")
        .file("/sys/class/net/eth9/mtu", "1500\n")
        .file("/sys/class/net/bonding_masters", "");
    let interfaces = fake.machine().interfaces();
    let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(names, ["eth9", "lo", "vx0"]);
    assert!(!interfaces[0].up && interfaces[1].up && interfaces[1].loopback && !interfaces[2].loopback);
    assert_eq!((interfaces[2].kind.as_str(), interfaces[2].mtu), ("vxlan", 1450));
    assert_eq!(interfaces[1].addresses, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
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
