//! What a pcapng section of this collector says of itself, in a file and in a live stream alike.

use std::net::IpAddr;

use vxtap_analyzers::{Encapsulation, StreamId, StreamKey};
use vxtap_capfile::LinkType;
use vxtap_capfile::pcapng::{InterfaceDescription, SectionHeader};
use vxtap_wire::Link;
use vxtap_wire::envelope::MAX_LAYERS;
use vxtap_wire::geneve::{Balancer, BalancerCloud, Cookie, GoogleCookie, MirrorDirection};
use vxtap_wire::vxlan::Vni;

use crate::streams::StreamRegistry;

/// The operating system, as a section header names it.
pub(crate) fn operating_system() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", std::env::consts::OS, release.trim())
}

/// Appends the block that begins a section.
pub(crate) fn begin(os: &str, out: &mut Vec<u8>) {
    SectionHeader {
        hardware: std::env::consts::ARCH,
        os,
        application: concat!("vxtap-collector ", env!("CARGO_PKG_VERSION")),
    }
    .append_to(out);
}

/// How the description of an interface begins that stands for a mirror stream; words follow.
const OF_STREAM: &str = "inner frames of a mirror stream: ";

/// Appends the description of the interface that stands for a mirror stream. VNI and source are in it for programs to read: the index of a
/// capture does, and [`stream_of`], which has all that makes the stream.
pub(crate) fn describe(streams: &StreamRegistry, stream: StreamId, out: &mut Vec<u8>) {
    let description = match streams.key(stream) {
        Some(key @ StreamKey { vni: Some(vni), source: Some(source), .. }) => {
            let names = streams.names(stream);
            let names = [("network", names.network), ("vni_name", names.vni), ("source_name", names.source)];
            let named = names.into_iter().filter_map(|(what, name)| Some(format!(" {what}={}", name?)));
            let around: Vec<_> = key.around.as_slice().iter().map(ToString::to_string).collect();
            let around = if around.is_empty() { String::new() } else { format!(" around={}", around.join(",")) };
            let encapsulation = match key.encapsulation {
                Encapsulation::Vxlan => String::new(),
                other => format!(" encapsulation={}", other.as_str()),
            };
            let named = named.collect::<String>();
            let (cookie, direction) = (cookie_word(key.cookie), key.direction.map(MirrorDirection::as_str));
            let direction = direction.map(|direction| format!(" direction={direction}")).unwrap_or_default();
            format!("{OF_STREAM}vni={vni}{around} source={source}{named}{encapsulation}{cookie}{direction}")
        }
        Some(StreamKey { interface: Some(interface), .. }) => format!("frames that came by {interface} in no tunnel"),
        Some(_) => "frames of a capture file that were in no tunnel".into(),
        None => "inner frames of the mirror streams that were too many to tell apart".into(),
    };
    let name = streams.name(stream);
    let link_type = LinkType(streams.link(stream).type_number());
    InterfaceDescription { name: &name, description: &description, link_type }.append_to(out);
}

/// What a cloud says of where the frames are from, as a word.
fn cookie_word(cookie: Cookie) -> String {
    match cookie {
        Cookie::None => String::new(),
        Cookie::Balancer(Balancer { cloud, endpoint, attachment }) => {
            format!(" endpoint={}:{endpoint:x}:{attachment:x}", cloud.as_str())
        }
        Cookie::Google(GoogleCookie { network, endpoint, profile }) => {
            format!(" google={network:x}:{:x}:{profile:x}", u128::from_be_bytes(endpoint))
        }
    }
}

/// The mirror stream that an interface with this description stands for, whose frames begin with `link`; `None` for any other text than
/// [`describe`] writes. Names are left out: what a stream is called, configuration says.
pub(crate) fn stream_of(description: &str, link: Link) -> Option<StreamKey> {
    let mut key = StreamKey { encapsulation: Encapsulation::Vxlan, link, ..StreamKey::PLAIN };
    for word in description.strip_prefix(OF_STREAM)?.split(' ') {
        match word.split_once('=')? {
            ("vni", vni) => key.vni = Some(vni_in(vni)?),
            ("around", vnis) => {
                for vni in vnis.split(',') {
                    key.around.push(vni_in(vni)?);
                }
                // The stream's own is one of the layers.
                (key.around.as_slice().len() < MAX_LAYERS).then_some(())?;
            }
            ("source", source) => key.source = Some(source.parse::<IpAddr>().ok()?),
            ("encapsulation", "geneve") => key.encapsulation = Encapsulation::Geneve,
            ("encapsulation", "vxlan-gpe") => key.encapsulation = Encapsulation::VxlanGpe,
            ("endpoint", words) => {
                let mut words = words.split(':');
                let cloud = words.next()?;
                let cloud =
                    [BalancerCloud::Aws, BalancerCloud::Tencent].into_iter().find(|one| one.as_str() == cloud)?;
                let mut number = || u64::from_str_radix(words.next()?, 16).ok();
                key.cookie = Cookie::Balancer(Balancer { cloud, endpoint: number()?, attachment: number()? });
            }
            ("google", words) => {
                let mut words = words.split(':');
                let network = u32::from_str_radix(words.next()?, 16).ok().filter(|network| *network < 1 << 28)?;
                let endpoint = u128::from_str_radix(words.next()?, 16).ok()?.to_be_bytes();
                let profile = u64::from_str_radix(words.next()?, 16).ok()?;
                key.cookie = Cookie::Google(GoogleCookie { network, endpoint, profile });
            }
            ("direction", direction) => {
                let directions = [MirrorDirection::Ingress, MirrorDirection::Egress];
                key.direction = Some(directions.into_iter().find(|one| one.as_str() == direction)?);
            }
            ("network" | "vni_name" | "source_name", _) => {}
            _ => return None,
        }
    }
    (key.vni.is_some() && key.source.is_some()).then_some(key)
}

fn vni_in(text: &str) -> Option<Vni> {
    Vni::new(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use vxtap_capfile::CaptureReader;
    use vxtap_capfile::pcapng::PacketHeader;
    use vxtap_wire::envelope::Vnis;

    use super::*;
    use crate::networks::{NamedNetwork, Networks};

    /// What a reader finds in a section with an interface for `key`: its link and its description.
    fn described(key: StreamKey) -> (Link, String) {
        let named = NamedNetwork { name: "blue".into(), streams: "vni 7".parse().unwrap() };
        let streams = StreamRegistry::new().with_networks(Networks::new(&[named]));
        let mut section = Vec::new();
        begin("test", &mut section);
        describe(&streams, streams.intern(&key), &mut section);
        PacketHeader { interface: 0, time_ns: 1, wire_len: 1 }.append_to(&mut section, b"x");
        let found = Arc::new(Mutex::new(None));
        let of_reader = Arc::clone(&found);
        let mut reader = CaptureReader::from_reader(std::io::Cursor::new(section), "test").unwrap();
        reader.interpret_descriptions(Arc::new(move |link_type, description| {
            *of_reader.lock().unwrap() = Some((Link::of_type(link_type.0).unwrap(), description.to_owned()));
            9
        }));
        assert_eq!(reader.next_record().unwrap().unwrap().origin, 9);
        found.lock().unwrap().take().unwrap()
    }

    #[test]
    fn a_stream_is_what_the_description_of_its_interface_says() {
        let vni = |vni| Vni::new(vni).unwrap();
        let plain = StreamKey::vxlan("10.0.0.7".parse().unwrap(), vni(7));
        let mut around = Vnis::NONE;
        for one in [0, 12, 13] {
            around.push(vni(one));
        }
        let cloud = BalancerCloud::Tencent;
        let balancer = Cookie::Balancer(Balancer { cloud, endpoint: u64::MAX, attachment: 5 });
        let google = Cookie::Google(GoogleCookie { network: 0xfff_ffff, endpoint: [0xfe; 16], profile: 1 });
        for key in [
            plain,
            StreamKey { source: Some("2001:db8::1".parse().unwrap()), around, ..plain },
            StreamKey { encapsulation: Encapsulation::VxlanGpe, link: Link::Ip, ..plain },
            StreamKey { encapsulation: Encapsulation::Geneve, cookie: balancer, vni: Some(Vni::ZERO), ..plain },
            StreamKey {
                encapsulation: Encapsulation::Geneve,
                cookie: google,
                direction: Some(MirrorDirection::Egress),
                ..plain
            },
        ] {
            let (link, description) = described(key);
            assert_eq!(stream_of(&description, link), Some(key), "{description}");
        }
        for no_tunnel in [StreamKey::PLAIN, StreamKey { link: Link::Ip, ..StreamKey::PLAIN }] {
            let (link, description) = described(no_tunnel);
            assert_eq!(stream_of(&description, link), None, "{description}");
        }
    }

    #[test]
    fn any_other_description_stands_for_no_stream() {
        let good = "vni=7 source=10.0.0.7";
        assert!(stream_of(&format!("{OF_STREAM}{good}"), Link::Ethernet).is_some());
        for words in [
            "",
            "vni=7",
            "source=10.0.0.7",
            "vni=16777216 source=10.0.0.7",
            "vni=-1 source=10.0.0.7",
            "vni=7 source=10.0.0.7 around=1,2,3,4",
            "vni=7 source=10.0.0.7 around=",
            "vni=7 source=10.0.0.7 encapsulation=gre",
            "vni=7 source=10.0.0.7 google=10000000:0:0",
            "vni=7 source=10.0.0.7 endpoint=aws:1",
            "vni=7 source=10.0.0.7 direction=up",
            "vni=7 source=10.0.0.7 more=1",
            "vni=7  source=10.0.0.7",
            "vni=7 source=10.0.0.7\u{1b}[2J",
        ] {
            assert_eq!(stream_of(&format!("{OF_STREAM}{words}"), Link::Ethernet), None, "{words}");
        }
        assert_eq!(stream_of(good, Link::Ethernet), None);
    }
}
