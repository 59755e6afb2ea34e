//! Captures of other links than Ethernet, as a mirror has them that sends Ethernet frames: the same packets behind another header.

use std::path::Path;

use vxtap_tests::capture_file::{self, ETHERNET, Record};
use vxtap_tests::captures::Capture;

/// Link types (tcpdump.org, "Link-layer header types").
const NULL: i32 = 0;
const PPP: i32 = 9;
const RAW: [i32; 2] = [12, 101];
const LOOP: i32 = 108;
const SLL: i32 = 113;
const NFLOG: i32 = 239;
const SLL2: i32 = 276;

/// Of NFLOG: the attribute that the packet is in.
const NFLOG_PAYLOAD: u16 = 9;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ARP: [u8; 2] = [0x08, 0x06];

/// `capture` in Ethernet frames, in a file in `directory`; itself where it is in such.
pub(crate) fn in_ethernet(capture: &Capture, directory: &Path) -> Capture {
    if capture.link_type == "ether" {
        return capture.clone();
    }
    // Copies are looked for of IP alone, so what has an EtherType that nobody knows would be told once for each mirror.
    let is_known = |record: &Record| [IPV4, IPV6, ARP].contains(&[record.data[12], record.data[13]]);
    let records: Vec<Record> = capture.records().iter().map(rewrite).filter(is_known).collect();
    let path = directory.join(format!("{}.pcap", capture.name));
    capture_file::write(&path, &records);
    Capture { link_type: "ether".to_owned(), path, ..capture.clone() }
}

fn rewrite(record: &Record) -> Record {
    let (before, ether_type, packet) = packet(record.link_type, &record.data);
    let data = [&[2; 6][..], &[4; 6], &ether_type, packet].concat();
    let header = data.len() - packet.len();
    Record { link_type: ETHERNET, original_len: record.original_len - before + header, data, ..record.clone() }
}

/// How many bytes of `frame` are no packet, what EtherType that has, and the packet.
fn packet(link_type: i32, frame: &[u8]) -> (usize, [u8; 2], &[u8]) {
    if link_type == NFLOG {
        let packet = nflog_payload(frame);
        return (frame.len() - packet.len(), ip_version(packet), packet);
    }
    let header = match link_type {
        NULL | LOOP => 4,
        // Address and control may be left out (RFC 1661, section 6.6).
        PPP if frame.starts_with(&[0xff, 0x03]) => 4,
        PPP => 2,
        SLL => 16,
        SLL2 => 20,
        _ if RAW.contains(&link_type) => 0,
        _ => panic!("link type {link_type} is not known here"),
    };
    let packet = &frame[header..];
    let ether_type = match link_type {
        SLL => [frame[14], frame[15]],
        SLL2 => [frame[0], frame[1]],
        _ => ip_version(packet),
    };
    (header, ether_type, packet)
}

fn ip_version(packet: &[u8]) -> [u8; 2] {
    match packet[0] >> 4 {
        4 => IPV4,
        6 => IPV6,
        _ => panic!("no IP packet: {packet:02x?}"),
    }
}

/// Behind four bytes there are attributes, each with its length and type, in the byte order of who captured, at a multiple of four.
fn nflog_payload(frame: &[u8]) -> &[u8] {
    let mut rest = &frame[4..];
    loop {
        let length = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
        if u16::from_le_bytes([rest[2], rest[3]]) == NFLOG_PAYLOAD {
            return &rest[4..length];
        }
        rest = &rest[length.next_multiple_of(4)..];
    }
}

#[test]
fn a_packet_is_found_behind_the_header_of_each_link() {
    let packet = [0x45, 1, 2, 3];
    let nflog = [&[2, 0, 0, 1][..], &[6, 0, 10, 0, 7, 7, 0, 0], &[8, 0, 9, 0], &packet].concat();
    let cooked_2 = [&[8, 0][..], &[0; 18], &packet].concat();
    let frames = [
        (NULL, [&[2, 0, 0, 0][..], &packet].concat()),
        (LOOP, [&[0, 0, 0, 2][..], &packet].concat()),
        (PPP, [&[0xff, 3, 0, 0x21][..], &packet].concat()),
        (PPP, [&[0, 0x21][..], &packet].concat()),
        (RAW[0], packet.to_vec()),
        (RAW[1], packet.to_vec()),
        (SLL, [&[0; 14][..], &[8, 0], &packet].concat()),
        (SLL2, cooked_2),
        (NFLOG, nflog),
    ];
    for (link_type, data) in frames {
        let record = Record { interface: String::new(), link_type, time_ns: 1, original_len: data.len() + 100, data };
        let rewritten = rewrite(&record);
        assert_eq!(rewritten.data[12..], [8, 0, 0x45, 1, 2, 3], "{link_type}");
        assert_eq!((rewritten.link_type, rewritten.original_len), (ETHERNET, 14 + 4 + 100), "{link_type}");
    }
}
