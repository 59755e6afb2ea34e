//! What a pcapng section of this collector says of itself, in a file and in a live stream alike.

use vxtap_analyzers::{Encapsulation, StreamId, StreamKey};
use vxtap_capfile::LinkType;
use vxtap_capfile::pcapng::{InterfaceDescription, SectionHeader};

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

/// Appends the description of the interface that stands for a mirror stream. VNI and source are in it for programs to read: the index of a
/// capture does.
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
            format!("inner frames of a mirror stream: vni={vni}{around} source={source}{named}{encapsulation}")
        }
        Some(StreamKey { interface: Some(interface), .. }) => format!("frames that came by {interface} in no tunnel"),
        Some(_) => "frames of a capture file that were in no tunnel".into(),
        None => "inner frames of the mirror streams that were too many to tell apart".into(),
    };
    let name = streams.name(stream);
    let link_type = LinkType(streams.link(stream).type_number());
    InterfaceDescription { name: &name, description: &description, link_type }.append_to(out);
}
