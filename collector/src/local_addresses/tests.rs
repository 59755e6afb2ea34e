use super::*;

const FIB_TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 10.78.0.0
        /24 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.78.0.0/24 2 0 2
        |-- 10.78.0.2
           /32 host LOCAL
        |-- 10.78.0.255
           /32 link BROADCAST
        |-- 10.78.0.9
           /32 host LOCAL
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
";
const IPV6_ROUTE: &str = "\
fd780000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
fd780000000000000000000000000009 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001     eth0
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000003 00000000 00000001     eth0
";
const IF_INET6: &str = "fd780000000000000000000000000002 04 40 00 80     eth0\n";

#[test]
fn addresses_of_interfaces_and_of_balancers_are_local_and_networks_are_not() {
    let v4: Vec<String> = of_fib_trie(FIB_TRIE).map(|address| address.to_string()).collect();
    assert_eq!(v4, ["10.78.0.2", "10.78.0.9", "127.0.0.1"]);
    let v6: Vec<String> =
        of_ipv6_route(IPV6_ROUTE).chain(of_if_inet6(IF_INET6)).map(|address| address.to_string()).collect();
    assert_eq!(v6, ["fd78::9", "fd78::2"]);
}

#[test]
fn a_change_is_told_by_the_generation_and_no_change_is_none() {
    let root = tempfile::TempDir::new().unwrap();
    let directory = root.path().join("proc/net");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("fib_trie"), FIB_TRIE).unwrap();
    let addresses = LocalAddresses::default();
    assert!(addresses.get().is_empty());
    addresses.refresh(root.path());
    assert_eq!((addresses.generation(), addresses.get().len()), (1, 3));
    addresses.refresh(root.path());
    assert_eq!(addresses.generation(), 1);
    fs::write(directory.join("if_inet6"), IF_INET6).unwrap();
    addresses.refresh(root.path());
    assert_eq!(addresses.generation(), 2);
    assert!(addresses.get().contains(&"fd78::2".parse::<IpAddr>().unwrap()));
}

#[test]
fn tables_that_make_no_sense_have_no_addresses() {
    for text in ["", "|-- x\n/32 host LOCAL", "/32 host LOCAL", "a 80", "zz 80 1 2 3", "\u{0}"] {
        assert_eq!(of_fib_trie(text).count() + of_ipv6_route(text).count() + of_if_inet6(text).count(), 0, "{text:?}");
    }
}

#[test]
fn the_watch_knows_this_machines_own_address_and_ends_when_it_is_dropped() {
    let watch = AddressWatch::start().unwrap();
    let addresses = watch.addresses();
    assert!(addresses.get().contains(&IpAddr::from([127, 0, 0, 1])), "{:?}", addresses.get());
    drop(watch);
    assert_eq!(Arc::strong_count(&addresses), 1);
}
