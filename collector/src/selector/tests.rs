use proptest::prelude::*;

use vxtap_wire::geneve::{Balancer, BalancerCloud, GoogleCookie};

use super::*;

fn origin(vni: u32, source: &str) -> Origin {
    Origin {
        encapsulation: Encapsulation::Vxlan,
        source: Some(source.parse().unwrap()),
        vni: Vni::new(vni),
        endpoint: None,
    }
}

fn matches(selector: &str, vni: u32, source: &str) -> bool {
    selector.parse::<Selector>().unwrap().matches(&origin(vni, source))
}

#[test]
fn a_selector_takes_what_fits_in_everything_that_it_says() {
    for (selector, vni, source, fits) in [
        ("all", 1, "10.0.0.7", true),
        ("vxlan", 1, "10.0.0.7", true),
        ("vni 1", 1, "10.0.0.7", true),
        ("vni 100-199,4242", 4242, "10.0.0.7", true),
        ("vni 100-199,4242", 199, "::1", true),
        ("vni 100-199,4242", 200, "10.0.0.7", false),
        ("from 10.0.0.0/8,fd00::/8", 5, "10.255.0.1", true),
        ("from 10.0.0.0/8,fd00::/8", 5, "fdff::1", true),
        ("from 10.0.0.0/8,fd00::/8", 5, "11.0.0.1", false),
        ("vni 5 from 10.0.0.7", 5, "10.0.0.7", true),
        ("vni 5 from 10.0.0.7", 5, "10.0.0.8", false),
        ("from 10.0.0.7 vni 5", 6, "10.0.0.7", false),
        ("from 10.9.9.9/8", 6, "10.0.0.7", true),
        ("vni 4242 (web) from 10.0.0.7 (gateway)", 4242, "10.0.0.7", true),
        ("vni 5 endpoint 0x1", 5, "10.0.0.7", false),
    ] {
        assert_eq!(matches(selector, vni, source), fits, "{selector}: vni {vni} from {source}");
    }
}

#[test]
fn an_ipv4_source_in_ipv6_as_sockets_for_both_show_it_is_that_ipv4_source() {
    for (selector, source, fits) in [
        ("from ::ffff:10.0.0.7", "10.0.0.7", true),
        ("from ::ffff:10.0.0.7", "10.0.0.8", false),
        ("from ::ffff:10.0.0.0/104", "10.1.2.3", true),
        ("from ::ffff:10.0.0.0/104", "11.1.2.3", false),
        ("from ::ffff:0:0/96", "192.0.2.1", true),
        ("from ::ffff:0:0/95", "192.0.2.1", false),
        ("from ::/0", "fd00::1", true),
    ] {
        assert_eq!(matches(selector, 5, source), fits, "{selector}: {source}");
    }
    let selector: Selector = "vni 5 from ::ffff:10.0.0.7".parse().unwrap();
    assert_eq!(selector.to_string(), "vni 5 from 10.0.0.7");
}

#[test]
fn an_endpoint_is_the_one_of_a_clouds_cookie_whichever_cloud() {
    let key = |cookie| StreamKey { encapsulation: Encapsulation::Geneve, cookie, ..StreamKey::PLAIN };
    let balancer = |endpoint| Cookie::Balancer(Balancer { cloud: BalancerCloud::Aws, endpoint, attachment: 5 });
    let google = Cookie::Google(GoogleCookie { network: 3, endpoint: 0x1a2b_u128.to_be_bytes(), profile: 4 });
    for (cookie, fits) in [
        (balancer(0x1a2b), true),
        (google, true),
        (balancer(0x1a2c), false),
        (balancer(0), false),
        (Cookie::None, false),
    ] {
        let origin = Origin::from(&key(cookie));
        for selector in ["endpoint 0x1a2b", "endpoint 6699,7"] {
            assert_eq!(selector.parse::<Selector>().unwrap().matches(&origin), fits, "{cookie:?}: {selector}");
        }
    }
}

#[test]
fn what_is_no_selector_is_refused_with_what_was_expected() {
    for (text, told) in [
        ("", "expected 'all'"),
        ("all vni 5", "'all': expected"),
        ("vni", "'vni' wants VNIs behind it"),
        ("vni 16777216", "'16777216' is no VNI: expected a number from 0 to 16777215"),
        ("vni 9-5", "'9-5' is no VNI"),
        ("vni 1,,2", "'' is no VNI"),
        ("from 10.0.0.0/33", "'10.0.0.0/33' is no address"),
        ("from", "'from' wants addresses behind it"),
        ("gre", "'gre': expected"),
        ("endpoint", "'endpoint' wants numbers behind it"),
        ("endpoint 0", "'0' is no endpoint: expected a number other than 0"),
        ("endpoint 0x", "'0x' is no endpoint"),
        ("endpoint 0x+1", "'0x+1' is no endpoint"),
        ("endpoint aws", "'aws' is no endpoint"),
        ("vxlan vxlan", "two encapsulations"),
        ("\u{1b}[2J", "'\\u{1b}[2J'"),
    ] {
        let error = text.parse::<Selector>().unwrap_err().to_string();
        assert!(error.contains(told), "{text:?}: {error}");
    }
    let long = format!("vni {}", vec!["1"; 300].join(","));
    assert!(long.parse::<Selector>().unwrap_err().to_string().contains("at most 256"));
}

#[test]
fn one_origin_is_known_as_one() {
    for (selector, one) in [
        ("vxlan vni 7 from 10.0.0.7", true),
        ("vni 7 from 10.0.0.7", false),
        ("vxlan vni 7-8 from 10.0.0.7", false),
        ("vxlan vni 7 from 10.0.0.0/24", false),
        ("vxlan vni 7", false),
        ("geneve vni 0 from 10.0.0.7 endpoint 0x1", true),
        ("geneve vni 0 from 10.0.0.7 endpoint 1,2", false),
        ("geneve endpoint 0x1", false),
    ] {
        assert_eq!(selector.parse::<Selector>().unwrap().origin().is_some(), one, "{selector}");
    }
    for encapsulation in Encapsulation::TUNNELS {
        let one = Origin { encapsulation: *encapsulation, ..origin(7, "10.0.0.7") };
        assert_eq!(Selector::of(&one).to_string().parse::<Selector>().unwrap().origin(), Some(one));
    }
    let by = Origin { endpoint: Some(Endpoint::new(0xabc)), ..origin(0, "10.0.0.7") };
    assert_eq!(Selector::of(&by).to_string(), "vxlan vni 0 from 10.0.0.7 endpoint 0xabc");
    assert_eq!(Selector::of(&by).to_string().parse::<Selector>().unwrap().origin(), Some(by));
    let one = origin(7, "fd00::1");
    assert_eq!(Selector::of(&one).origin(), Some(one));
    assert_eq!(Selector::of(&one).to_string(), "vxlan vni 7 from fd00::1");
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(
        tunnel: bool,
        vnis in proptest::collection::vec((0..=Vni::MAX, 0..=Vni::MAX), 0..4),
        sources in proptest::collection::vec((any::<IpAddr>(), 0_u8..=32), 0..4),
        endpoints in proptest::collection::vec(1_u128.., 0..4),
    ) {
        let vnis = vnis.into_iter().map(|(a, b)| VniRange { first: a.min(b), last: a.max(b) }).collect();
        let sources = sources.into_iter().map(|(ip, bits)| IpNet::new(ip, bits).unwrap().trunc()).collect();
        let endpoints = endpoints.into_iter().map(Endpoint::new).collect();
        let selector = Selector::new(tunnel.then_some(Encapsulation::Vxlan), vnis, sources).by(endpoints);
        prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        if let Err(error) = text.parse::<Selector>() {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }
}
