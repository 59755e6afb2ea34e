use super::*;
use crate::generate::FrameSize;
use crate::target::Target;
use clap::CommandFactory as _;

fn parse(line: &str) -> Result<Arguments, String> {
    Arguments::try_parse_from(std::iter::once("vxtap-sender").chain(line.split(' '))).map_err(|e| e.to_string())
}

fn generate(line: &str) -> GenerateSettings {
    match parse(&format!("generate --to ::1 --vni 7 {line}")).unwrap().command {
        Command::Generate(arguments) => arguments.settings().unwrap(),
        other => panic!("not generate: {other:?}"),
    }
}

fn capture(line: &str) -> CaptureSettings {
    match parse(&format!("capture --to ::1 --vni 7 {line}")).unwrap().command {
        Command::Capture(arguments) => match arguments.settings().unwrap() {
            Capture::ToOneTarget(settings) => settings,
            Capture::ByPolicy(_) => panic!("by a policy"),
        },
        other => panic!("not capture: {other:?}"),
    }
}

#[test]
fn a_capture_sends_trains_of_all_that_crosses_its_interfaces_unless_told_otherwise() {
    let settings = capture("eth0 eth1");
    assert_eq!((settings.interfaces, settings.way), (vec!["eth0".to_owned(), "eth1".to_owned()], Way::Both));
    assert_eq!((settings.transmit.method, settings.ring_bytes, settings.duration), (Method::Trains, 32 << 20, None));
    assert!(settings.filter.is_none() && settings.services.is_empty());
    let settings = capture(
        "eth0 --filter tcp --direction in --never 192.0.2.1:80 --never [::1]:81 --ring 5 --seconds 2 --tunnel wg0=192.0.2.3,::3",
    );
    assert_eq!(settings.filter.map(|filter| filter.text().to_owned()).as_deref(), Some("tcp"));
    assert_eq!(
        (settings.way, settings.ring_bytes, settings.duration),
        (Way::In, 5 << 20, Some(Duration::from_secs(2)))
    );
    assert_eq!(settings.tunnels, ["wg0=192.0.2.3,::3".parse().unwrap()]);
    assert_eq!(settings.services, ["192.0.2.1:80".parse().unwrap(), "[::1]:81".parse().unwrap()]);
}

#[test]
fn a_capture_by_a_policy_names_no_interface_unless_it_is_told_to() {
    let line =
        "capture --policy p.toml --tag web --tag db --direction out --control 127.0.0.1:1 --ring 3 --tunnel tun0=none";
    let Command::Capture(arguments) = parse(line).unwrap().command else { panic!("not capture") };
    let Capture::ByPolicy(settings) = arguments.settings().unwrap() else { panic!("not by a policy") };
    assert_eq!(
        (settings.mirror.policy, settings.interfaces.len(), settings.tags),
        ("p.toml".into(), 0, vec!["web".into(), "db".into()])
    );
    assert_eq!((settings.way, settings.ring_bytes, settings.mirror.method), (Way::Out, 3 << 20, Method::Trains));
    assert_eq!(settings.mirror.control.unwrap().address.port(), 1);
    assert_eq!(settings.tunnels, ["tun0=none".parse().unwrap()]);
}

fn replay(line: &str) -> ReplaySettings {
    match parse(&format!("replay a.pcap --to ::1 --vni 7 {line}")).unwrap().command {
        Command::Replay(arguments) => match arguments.settings().unwrap() {
            Replay::ToOneTarget(settings) => settings,
            Replay::ByPolicy(_) => panic!("by a policy"),
        },
        other => panic!("not replay: {other:?}"),
    }
}

#[test]
fn the_command_line_contradicts_itself_nowhere() {
    Arguments::command().debug_assert();
}

#[test]
fn flags_left_out_are_the_library_defaults() {
    let target: Target = "::1".parse().unwrap();
    let transmit = TransmitSettings::new(target, Vni::new(7).unwrap());
    assert_eq!(generate("--seed 1"), GenerateSettings::new(transmit.clone()));
    assert_eq!(replay("--loops 1"), ReplaySettings::new(transmit, vec!["a.pcap".into()]));
}

#[test]
fn each_flag_arrives_in_its_setting() {
    let settings = generate(
        "--flows 5 --size imix --seed 9 --ipv6 3 --seconds 1.5 --packets 8 --mbps 2.5 \
         --packet-length 128 --source-ports 4 --source-port-base 50000 --port-seed 11 --no-udp-checksum --transmit single",
    );
    assert_eq!((settings.flows, settings.size, settings.seed), (5, Some(FrameSize::Imix), 9));
    assert_eq!(settings.ipv6_percent, 3);
    let conversations = generate("--retransmit 4 --reorder 6");
    assert_eq!((conversations.retransmit_percent, conversations.reorder_percent), (4, 6));
    assert_eq!((settings.duration, settings.packets), (Some(Duration::from_millis(1500)), Some(8)));
    assert_eq!(settings.rate, Rate::BitsPerSecond(NonZeroU64::new(2_500_000).unwrap()));
    let transmit = settings.transmit;
    assert_eq!((transmit.packet_length, transmit.source_ports, transmit.source_port_base), (Some(128), 4, 50_000));
    assert_eq!((transmit.port_seed, transmit.udp_checksum, transmit.method), (11, false, Method::Single));
}

#[test]
fn geneve_goes_to_its_own_port_unless_another_is_named() {
    for (line, to) in [
        ("--port-seed 0", "[::1]:4789"),
        ("--encapsulation vxlan", "[::1]:4789"),
        ("--encapsulation geneve", "[::1]:6081"),
    ] {
        let settings = [generate(line).transmit, replay(line).transmit, capture(&format!("eth0 {line}")).transmit];
        for transmit in settings {
            assert_eq!(transmit.target.to_string(), to, "{line}");
            assert_eq!(transmit.encapsulation == Encapsulation::Geneve, line.contains("geneve"));
        }
    }
    let line = "generate --to 192.0.2.1:7 --vni 1 --encapsulation geneve";
    let Command::Generate(arguments) = parse(line).unwrap().command else { panic!("not generate") };
    assert_eq!(arguments.settings().unwrap().transmit.target.to_string(), "192.0.2.1:7");
}

#[test]
fn a_replay_has_its_own_timing_a_factor_or_a_rate() {
    let original = |speed, max_gap| Timing::Original { speed, max_gap };
    assert_eq!(replay("--speed 2").timing, original(2.0, None));
    assert_eq!(replay("--max-gap 0.5").timing, original(1.0, Some(Duration::from_millis(500))));
    assert_eq!(replay("--top-speed").timing, Timing::Rate(Rate::TopSpeed));
    assert_eq!(replay("--pps 10").timing, Timing::Rate(Rate::PacketsPerSecond(NonZeroU64::new(10).unwrap())));
}

#[test]
fn a_replay_by_a_policy_has_its_flags_and_no_target_of_its_own() {
    let line = "replay a.pcap --policy p.toml --direction-by 10.0.0.1,02:00:00:00:00:01 --interface eth0 --top-speed \
                --control 127.0.0.1:9790 --control-token 0123456789abcdef --resolve-interval 5 --source-ports 3";
    let line: Vec<&str> = line.split_whitespace().collect();
    let Command::Replay(arguments) = parse(&line.join(" ")).unwrap().command else { panic!("not replay") };
    let Replay::ByPolicy(settings) = arguments.settings().unwrap() else { panic!("not by a policy") };
    let FileMirrorSettings { mirror, files, timing, own, interface, .. } = settings;
    assert_eq!((mirror.policy, files), ("p.toml".into(), vec!["a.pcap".into()]));
    assert_eq!((own.len(), interface.as_deref(), mirror.source_ports), (2, Some("eth0"), 3));
    assert_eq!((timing, mirror.method), (Timing::Rate(Rate::TopSpeed), Method::Trains));
    assert_eq!(mirror.resolve_interval, Duration::from_secs(5));
    let control = mirror.control.unwrap();
    assert_eq!((control.address.port(), control.token.as_deref()), (9790, Some("0123456789abcdef")));
}

#[test]
fn wrong_values_and_two_timings_are_refused_with_what_was_expected() {
    for (line, expected) in [
        ("replay --to ::1 --vni 1", "<FILE>"),
        ("replay a.pcap --vni 1", "--to"),
        ("replay a.pcap --to ::1", "--vni"),
        ("replay a.pcap --to ::1 --vni 16777216", "0 to 16777215"),
        ("replay a.pcap --to ::1:x --vni 1", "HOST[:PORT]"),
        ("replay a.pcap --to ::1 --vni 1 --pps 5 --top-speed", "cannot be used with"),
        ("replay a.pcap --to ::1 --vni 1 --speed 0", "greater than 0"),
        ("replay a.pcap --to ::1 --vni 1 --speed nan", "greater than 0"),
        ("replay a.pcap --to ::1 --vni 1 --policy p.toml", "cannot be used with"),
        ("replay a.pcap --policy p.toml --packet-length 100", "cannot be used with"),
        ("replay a.pcap --policy p.toml --encapsulation geneve", "cannot be used with"),
        ("generate --to ::1 --vni 1 --encapsulation gre", "[possible values: vxlan, geneve]"),
        ("replay a.pcap --to ::1 --vni 1 --control 127.0.0.1:1", "cannot be used with"),
        ("replay a.pcap --policy p.toml --direction-by host", "expected for example"),
        ("replay a.pcap --policy p.toml --control 127.0.0.1:1 --control-token short", "16 to 256"),
        ("capture --to ::1 --vni 1", "<INTERFACE>"),
        ("capture eth0", "--to"),
        ("capture --policy p.toml --filter tcp", "cannot be used with"),
        ("capture eth0 --to ::1 --vni 1 --tag web", "cannot be used with"),
        ("capture eth0 --to ::1 --vni 1 --filter tcpp", "capture filter, character 1"),
        ("capture eth0 --to ::1 --vni 1 --direction up", "[possible values: in, out, both]"),
        ("capture eth0 --to ::1 --vni 1 --never here", "expected an address and a port"),
        ("capture eth0 --to ::1 --vni 1 --ring 4096", "expected a whole number from 1 to 2047"),
        ("capture eth0 --to ::1 --vni 1 --tunnel wg0=here", "expected DEVICE=ADDRESS"),
        ("generate --to ::1 --vni 1 --speed 2", "unexpected argument"),
        ("generate --to ::1 --vni 1 --size 63", "64 to 9216"),
        ("generate --to ::1 --vni 1 --flows 0", "expected a whole number from 1 to 1000000"),
        ("generate --to ::1 --vni 1 --pps 0", "expected a whole number from 1 to"),
        ("generate --to ::1 --vni 1 --packet-length 0", "expected a whole number from 1 to"),
        ("generate --to ::1 --vni 1 --pps 10k", "expected a whole number from 1 to"),
        ("generate --to ::1 --vni 1 --packets 1e6", "expected a whole number from 0 to"),
        ("generate --to ::1 --vni 1 --ipv6 30%", "expected a whole number from 0 to 100"),
        ("generate --to ::1 --vni 1 --size imix --retransmit 5", "cannot be used with"),
        ("generate --to ::1 --vni 1 --size 64 --reorder 5", "cannot be used with"),
        ("replay a.pcap --policy p.toml --control 9790", "such as 127.0.0.1:9790"),
        ("generate --to ::1 --vni 1 --source-ports 257", "expected a whole number from 1 to 256"),
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.contains(expected), "{line}: {error}");
    }
}
