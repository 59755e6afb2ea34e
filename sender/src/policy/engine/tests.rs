//! Decisions on packets and policies written by hand.

mod literal;

use std::net::IpAddr;
use std::sync::Arc;

use vxtap_wire::FrameView;

use super::*;
use crate::policy::PolicyFile;
use crate::policy::testing::{Packet, packet_of, packet_with};
use Direction::{Inbound, Outbound};

/// A policy of one source `eth*` and one target, with what `text` says.
fn policy(text: &str) -> Arc<Policy> {
    let text = format!(
        "{text}\n[[source]]\nname = \"here\"\ninterfaces = [\"eth*\"]\n[[target]]\nname = \"there\"\naddress = \"192.0.2.7\"\n"
    );
    match PolicyFile::parse("policy.toml", &text) {
        Ok(file) => Arc::new(file.policy),
        Err(error) => panic!("{error}"),
    }
}

fn eth0() -> Interface {
    Interface { name: "eth0".into(), ..Interface::default() }
}

fn decider(text: &str) -> Decider {
    Decider::new(Arc::new(Engine::new(&policy(text), &eth0()).unwrap()), Arc::default())
}

/// The name of the session that mirrors `packet`.
fn session(decider: &mut Decider, packet: &Packet, now: u32) -> Option<String> {
    let bytes = packet.bytes();
    match decider.decide(packet.direction, &FrameView::parse_outermost(&bytes), now) {
        Decision::Mirror(mirror) => Some(decider.engine().policy().sessions[mirror.session].name.clone()),
        Decision::Pass(_) => None,
    }
}

const EVERYTHING: &str = "[[session]]\nname = \"all\"\nsource = \"here\"\ntarget = \"there\"\n";

#[test]
fn a_filter_is_about_the_outermost_packet() {
    let mut decider = decider(
        "[[filter]]\nname = \"gre\"\ninbound = [{ action = \"accept\", protocol = \"gre\", source = \"10.0.0.0/8\" }]\n\
         [[session]]\nname = \"tunnels\"\nsource = \"here\"\ntarget = \"there\"\nfilter = \"gre\"\n",
    );
    let mut frame = packet_of(Inbound, 47, ("10.0.0.1", 0), ("10.0.0.2", 0)).bytes();
    // GRE with IPv4 inside, of TCP between other addresses.
    frame.truncate(34);
    let inside = packet_of(Inbound, 6, ("203.0.113.1", 1), ("203.0.113.2", 2)).bytes();
    frame.extend([0, 0, 0x08, 0x00]);
    frame.extend(&inside[14..]);
    let total = (frame.len() as u16 - 14).to_be_bytes();
    frame[16..18].copy_from_slice(&total);
    let view = FrameView::parse_outermost(&frame);
    assert!(matches!(decider.decide(Inbound, &view, 0), Decision::Mirror(_)));
}

#[test]
fn sources_are_selected_by_name_address_subnet_and_tag() {
    let source = |text: &str| {
        let text = format!(
            "[[source]]\nname = \"s\"\n{text}\n[[target]]\nname = \"t\"\naddress = \"192.0.2.7\"\n\
             [[session]]\nname = \"x\"\nsource = \"s\"\ntarget = \"t\""
        );
        PolicyFile::parse("p", &text).unwrap().policy.sources[0].clone()
    };
    let interface = Interface {
        name: "ens5".into(),
        addresses: vec!["10.1.2.3".parse().unwrap(), "fe80::5".parse().unwrap()],
        loopback: false,
        tags: vec!["web".into()],
    };
    for (text, selects) in [
        ("interfaces = \"ens5\"", true),
        ("interfaces = [\"eth0\", \"ens*\"]", true),
        ("interfaces = \"ens\"", false),
        ("addresses = \"10.1.2.3\"", true),
        ("addresses = \"10.1.2.4\"", false),
        ("subnets = [\"10.1.2.0/24\", \"fd00::/8\"]", true),
        ("subnets = \"10.1.3.0/24\"", false),
        ("tags = [\"db\", \"web\"]", true),
        ("tags = \"db\"", false),
        ("interfaces = \"lo\"\ntags = \"web\"", true),
    ] {
        assert_eq!(source(text).selects(&interface), selects, "{text}");
    }
    // A tag of the host does not select loopback.
    let loopback = Interface { name: "lo".into(), loopback: true, ..interface };
    assert!(!source("tags = \"web\"").selects(&loopback));
    assert!(source("interfaces = \"lo\"").selects(&loopback));
}

#[test]
fn two_sources_that_bring_one_number_to_an_interface_are_refused_there() {
    let text = "[[source]]\nname = \"other\"\nsubnets = [\"10.0.0.0/8\"]\n\
         [[session]]\nname = \"a\"\nnumber = 1\nsource = \"here\"\ntarget = \"there\"\n\
         [[session]]\nname = \"b\"\nnumber = 1\nsource = \"other\"\ntarget = \"there\"\n";
    let policy = policy(text);
    assert!(Engine::new(&policy, &eth0()).is_ok());
    let both = Interface { addresses: vec!["10.0.0.9".parse().unwrap()], ..eth0() };
    let clash = Engine::new(&policy, &both).unwrap_err();
    assert!(clash.to_string().contains("'a' and 'b' both have number 1"), "{clash}");
}

#[test]
fn an_interface_of_no_source_is_idle_and_so_is_one_whose_sessions_are_off() {
    let on = policy(EVERYTHING);
    assert!(Engine::new(&on, &Interface { name: "wlan0".into(), ..Interface::default() }).unwrap().is_idle());
    assert!(!Engine::new(&on, &eth0()).unwrap().is_idle());
    let mut off = Policy::clone(&on);
    assert!(off.set_enabled("all", false) && !off.set_enabled("none", false));
    assert!(Engine::new(&Arc::new(off), &eth0()).unwrap().is_idle());
}

/// Our own target, tunnel socket and health check.
fn own() -> Arc<OwnTraffic> {
    let mut own = OwnTraffic::default();
    assert!(own.add_target("192.0.2.7:4789".parse().unwrap()));
    assert!(own.add_target("[2001:db8::7]:4789".parse().unwrap()));
    assert!(own.add_sockets("10.0.0.1".parse::<IpAddr>().unwrap(), 50_000..=50_003));
    assert!(own.add_health("192.0.2.7:8080".parse().unwrap()));
    Arc::new(own)
}

/// An ICMP error about `packet`, which went out.
fn error_about(packet: &Packet) -> Vec<u8> {
    let quoted = packet.bytes()[14..].to_vec();
    let v6 = packet.bytes()[12] == 0x86;
    let (protocol, ends) = if v6 { (58, ("2001:db8::7", "2001:db8::1")) } else { (1, ("192.0.2.7", "10.0.0.1")) };
    let mut frame = packet_of(Inbound, protocol, (ends.0, 0), (ends.1, 0)).bytes();
    let header = if v6 { 54 } else { 34 };
    frame.truncate(header);
    frame.extend(if v6 { [1, 4, 0, 0, 0, 0, 0, 0] } else { [3, 3, 0, 0, 0, 0, 0, 0] });
    frame.extend(quoted);
    let length = (frame.len() - if v6 { 54 } else { 14 }) as u16;
    let at = if v6 { 18 } else { 16 };
    frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
    frame
}

#[test]
fn tunnels_health_checks_and_errors_about_tunnels_are_never_mirrored() {
    let mut decider = decider(EVERYTHING);
    decider.set_own_traffic(own());
    let tunnel = packet_of(Outbound, 17, ("10.0.0.1", 50_001), ("192.0.2.7", 4789));
    let tunnel6 = packet_of(Outbound, 17, ("2001:db8::1", 777), ("2001:db8::7", 4789));
    for (packet, mirrored) in [
        (tunnel, false),
        (tunnel6, false),
        // The same, as a collector on this host has it.
        (packet_of(Inbound, 17, ("10.0.0.9", 1), ("192.0.2.7", 4789)), false),
        (packet_of(Inbound, 17, ("192.0.2.7", 4789), ("10.0.0.1", 9)), false),
        // A load balancer on this host changed the destination.
        (packet_of(Outbound, 17, ("10.0.0.1", 50_003), ("10.9.9.9", 4789)), false),
        (packet_of(Outbound, 17, ("10.0.0.1", 50_004), ("10.9.9.9", 4789)), true),
        (packet_of(Outbound, 6, ("10.0.0.1", 50_001), ("192.0.2.7", 4789)), true),
        (packet_of(Outbound, 6, ("10.0.0.1", 40_000), ("192.0.2.7", 8080)), false),
        (packet_of(Outbound, 17, ("10.0.0.1", 40_000), ("192.0.2.8", 4789)), true),
        (packet_of(Outbound, 17, ("10.0.0.1", 40_000), ("192.0.2.7", 4790)), true),
    ] {
        assert_eq!(session(&mut decider, &packet, 0).is_some(), mirrored, "{packet:?}");
    }
    for (packet, mirrored) in
        [(tunnel, false), (tunnel6, false), (packet_of(Outbound, 17, ("10.0.0.1", 1), ("192.0.2.7", 53)), true)]
    {
        let frame = error_about(&packet);
        let decision = decider.decide(Inbound, &FrameView::parse_outermost(&frame), 0);
        assert_eq!(matches!(decision, Decision::Mirror(_)), mirrored, "{packet:?}");
        if !mirrored {
            assert_eq!(decision, Decision::Pass(Pass::Never(Excluded::Own)));
        }
    }
}

#[test]
fn the_loop_guard_has_an_override() {
    let mut decider = decider(&format!("[never]\nown = false\n{EVERYTHING}"));
    decider.set_own_traffic(own());
    let tunnel = packet_of(Outbound, 17, ("10.0.0.1", 50_001), ("192.0.2.7", 4789));
    assert!(session(&mut decider, &tunnel, 0).is_some());
}

#[test]
fn sampling_takes_whole_flows_in_both_directions_and_about_the_share() {
    let mut decider = decider(&format!("{EVERYTHING}sample = 0.25\n"));
    let mut taken = 0;
    for port in 0..4000_u16 {
        let there = packet_of(Outbound, 6, ("10.0.0.1", 10_000 + port), ("203.0.113.5", 443));
        let back = packet_of(Inbound, 6, ("203.0.113.5", 443), ("10.0.0.1", 10_000 + port));
        let mirrored = session(&mut decider, &there, 0).is_some();
        assert_eq!(session(&mut decider, &back, 0).is_some(), mirrored);
        taken += usize::from(mirrored);
    }
    assert!((850..1150).contains(&taken), "{taken}");
}

#[test]
fn what_a_session_does_not_sample_goes_to_no_other_session() {
    let text = "[[session]]\nname = \"first\"\nnumber = 1\nsource = \"here\"\ntarget = \"there\"\nsample = 0.000001\n\
         [[session]]\nname = \"second\"\nnumber = 2\nsource = \"here\"\ntarget = \"there\"\n";
    let mut decider = decider(text);
    let packet = packet_of(Outbound, 6, ("10.0.0.1", 10_000), ("203.0.113.5", 443));
    let bytes = packet.bytes();
    let trace = decider.explain(Outbound, &FrameView::parse_outermost(&bytes), 0);
    assert_eq!(trace.decision, Decision::Pass(Pass::Sampled(0)));
    assert!(trace.steps[0].sampled_out && trace.steps.len() == 1);
}

#[test]
fn a_sampled_share_is_spread_over_all_members_of_a_target_by_weight() {
    let text = "[[session]]\nname = \"s\"\nsource = \"here\"\ntarget = \"both\"\nsample = 0.1\n\
         [[target]]\nname = \"both\"\nmember = [{ address = \"192.0.2.1\", weight = 3 }, { address = \"192.0.2.2\" }]\n";
    let policy = policy(text);
    let target = policy.targets.iter().find(|target| target.name == "both").unwrap();
    let mut decider = Decider::new(Arc::new(Engine::new(&policy, &eth0()).unwrap()), Arc::default());
    let mut members = [0_usize; 2];
    for flow in 0..40_000_u32 {
        let address = format!("203.0.{}.{}", flow >> 8 & 255, flow & 255);
        let packet = packet_of(Outbound, 6, ("10.0.0.1", 1000 + (flow >> 8) as u16), (&address, 443));
        let bytes = packet.bytes();
        if let Decision::Mirror(mirror) = decider.decide(Outbound, &FrameView::parse_outermost(&bytes), 0) {
            members[target.pick(mirror.flow_hash)] += 1;
        }
    }
    let (first, second) = (members[0] as f64, members[1] as f64);
    assert!(first + second > 3_500.0 && first + second < 4_500.0, "{members:?}");
    assert!((2.4..3.6).contains(&(first / second)), "{members:?}");
}

/// Rules for flows that are opened here, to port 443, and for none that are opened from outside.
const FLOWS: &str = "[semantics]\nscope = \"flow\"\nflow_timeout = 60\nflow_max = 8\n\
     [[filter]]\nname = \"f\"\noutbound = [{ action = \"accept\", protocol = \"tcp\", destination_ports = 443 }]\n\
     [[session]]\nname = \"s\"\nsource = \"here\"\ntarget = \"there\"\nfilter = \"f\"\n";

#[test]
fn a_flow_is_decided_about_by_who_opened_it_and_goes_on_so_in_both_directions() {
    let mut decider = decider(FLOWS);
    let (here, there) = (("10.0.0.1", 50_000), ("203.0.113.5", 443));
    for (packet, mirrored) in [
        (packet_with(Outbound, 6, here, there, 0x02), true),
        (packet_with(Inbound, 6, there, here, 0x12), true),
        (packet_with(Outbound, 6, here, there, 0x10), true),
        // Opened from outside to our port 443: rules for inbound packets are asked, and there is none.
        (packet_with(Inbound, 6, there, ("10.0.0.1", 443), 0x02), false),
        (packet_with(Outbound, 6, ("10.0.0.1", 443), there, 0x12), false),
    ] {
        assert_eq!(session(&mut decider, &packet, 0).is_some(), mirrored, "{packet:?}");
    }
    // Its opening was not seen, but the answer tells who opened it.
    let mut late = super::tests::decider(FLOWS);
    assert!(session(&mut late, &packet_with(Inbound, 6, there, here, 0x12), 0).is_some());
    assert_eq!(late.flow_counts(), FlowCounts { opened: 1, evicted: 0 });
}

#[test]
fn a_flow_is_forgotten_after_silence_and_decided_anew_when_it_is_opened_anew() {
    let mut decider = decider(FLOWS);
    let (here, there) = (("10.0.0.1", 443), ("203.0.113.5", 443));
    assert!(session(&mut decider, &packet_with(Outbound, 6, here, there, 0x10), 0).is_some());
    assert!(session(&mut decider, &packet_with(Inbound, 6, there, here, 0x10), 60).is_some());
    // 61 seconds of silence: the next packet is the first.
    assert!(session(&mut decider, &packet_with(Inbound, 6, there, here, 0x10), 121).is_none());
    assert!(session(&mut decider, &packet_with(Outbound, 6, here, there, 0x02), 122).is_some());
    // A clock that is set back makes no flow old.
    assert!(session(&mut decider, &packet_with(Inbound, 6, there, here, 0x10), 5).is_some());
    assert_eq!(decider.flow_counts(), FlowCounts { opened: 3, evicted: 0 });
}

#[test]
fn the_table_of_flows_is_bounded_and_the_longest_silent_one_goes() {
    let mut decider = decider(FLOWS);
    for port in 0..8 {
        session(
            &mut decider,
            &packet_with(Outbound, 6, ("10.0.0.1", 1000 + port), ("203.0.113.5", 443), 0x10),
            u32::from(port),
        );
    }
    assert_eq!(decider.flow_counts(), FlowCounts { opened: 8, evicted: 0 });
    session(&mut decider, &packet_with(Outbound, 6, ("10.0.0.1", 2000), ("203.0.113.5", 443), 0x10), 9);
    assert_eq!(decider.flow_counts(), FlowCounts { opened: 9, evicted: 1 });
    // The first one is gone: its other direction is taken for its opening.
    let back = packet_with(Inbound, 6, ("203.0.113.5", 443), ("10.0.0.1", 1000), 0x10);
    assert!(session(&mut decider, &back, 10).is_none());
    let back = packet_with(Inbound, 6, ("203.0.113.5", 443), ("10.0.0.1", 1003), 0x10);
    assert!(session(&mut decider, &back, 10).is_some());
}

#[test]
fn a_fragment_has_no_ports_that_a_rule_could_ask_for() {
    let mut decider = decider(
        "[[filter]]\nname = \"f\"\ninbound = [{ action = \"reject\", protocol = \"udp\", destination_ports = \"0-65535\" },\n\
         { action = \"accept\", protocol = \"udp\" }]\n\
         [[session]]\nname = \"s\"\nsource = \"here\"\ntarget = \"there\"\nfilter = \"f\"\n",
    );
    let whole = packet_of(Inbound, 17, ("10.0.0.1", 0), ("10.0.0.2", 0));
    assert!(session(&mut decider, &whole, 0).is_none());
    let mut bytes = whole.bytes();
    bytes[20] = 0x20;
    let view = FrameView::parse_outermost(&bytes);
    let trace = decider.explain(Inbound, &view, 0);
    assert!(matches!(trace.decision, Decision::Mirror(_)));
    assert_eq!(trace.steps[0].passed_over[0].because, Mismatch::NoPorts);
}
