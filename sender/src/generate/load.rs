//! Frames of given sizes on many flows in both directions: load, with as little work for each frame as can be.

use vxtap_wire::{IpVersion, SteerHash, TcpFlags, protocol};

use super::address::ends;
use super::frame::{Ends, PUSH, Payload, Segment, add, sum};
use super::random::Random;
use super::{FrameSize, GenerateSettings};
use crate::batch::{HEADROOM, Slot, Source};
use crate::error::SendError;

/// Simple IMIX: 7 of 64 bytes, 4 of 570, 1 of 1518.
const IMIX: &[u16] = &[64, 64, 570, 64, 64, 570, 64, 570, 64, 64, 570, 1518];
/// Each payload begins with the frame's number, so that no two frames are alike.
const NUMBER_BYTES: usize = 8;
/// Frames of one size fill their trains without a deep batch, and a small one stays in the cache.
const FRAMES_AT_A_TIME: usize = 1024;
const BYTES_AT_A_TIME: usize = 1 << 20;
/// The discard service (RFC 863): nobody looks for a protocol in what goes there.
const SERVER_PORT: u16 = 9;
const WINDOW: u16 = 64_240;

#[derive(Clone, Copy, Debug)]
struct Flow {
    ends: Ends,
    flow: u32,
    port: u16,
    ident: u16,
    /// The server's and the client's next sequence number.
    sequence: [u32; 2],
}

/// Frames of given sizes.
pub(super) struct Load {
    flows: Vec<Flow>,
    next_flow: usize,
    /// Whether flows with an even index send to their server in this round.
    even_to_server: bool,
    sizes: &'static [u16],
    one_size: u16,
    random: Random,
    number: u64,
    frames_left: u64,
    /// What payloads are made of; the first bytes are 0.
    filler: Vec<u8>,
    /// The sum over the filler's first so many bytes, for each length that occurs.
    sums: Vec<(u16, u16)>,
    buffer: Vec<u8>,
}

impl Load {
    pub(super) fn new(settings: &GenerateSettings, size: FrameSize, ports: u32) -> Self {
        let mut random = Random::new(settings.seed);
        let (sizes, one_size): (&[u16], u16) = match size {
            FrameSize::Bytes(bytes) => (&[], bytes),
            FrameSize::Imix => (IMIX, 0),
        };
        let all = if sizes.is_empty() { std::slice::from_ref(&one_size) } else { sizes };
        let smallest = usize::from(all.iter().copied().min().unwrap_or_default());
        let largest = usize::from(all.iter().copied().max().unwrap_or_default());
        let hash = SteerHash::new(settings.transmit.port_seed);
        let flows: Vec<_> = (0..u64::from(settings.flows))
            .map(|number| {
                let version = if random.percent(settings.ipv6_percent) { IpVersion::V6 } else { IpVersion::V4 };
                let tcp = ends(number, version, protocol::TCP, SERVER_PORT);
                // Every other flow is TCP, where its headers leave room for data.
                let ends = if number.is_multiple_of(2) && tcp.frame_len(0, 1) <= smallest {
                    tcp
                } else {
                    ends(number, version, protocol::UDP, SERVER_PORT)
                };
                let flow = hash.hash(&ends.five_tuple());
                let initial = random.next();
                let sequence = [(initial >> 32) as u32, initial as u32];
                Flow { ends, flow, port: (flow % ports) as u16, ident: initial as u16, sequence }
            })
            .collect();
        let mut filler = vec![0; largest];
        random.fill(&mut filler[NUMBER_BYTES..]);
        let mut sums: Vec<(u16, u16)> = Vec::new();
        for (flow, size) in flows.iter().flat_map(|flow| all.iter().map(move |size| (flow, *size))) {
            let len = size - flow.ends.frame_len(0, 0) as u16;
            if !sums.iter().any(|(known, _)| *known == len) {
                sums.push((len, sum(&filler[..usize::from(len)])));
            }
        }
        Self {
            flows,
            next_flow: 0,
            even_to_server: true,
            sizes,
            one_size,
            random,
            number: 0,
            frames_left: settings.packets.unwrap_or(u64::MAX),
            filler,
            sums,
            buffer: vec![0; BYTES_AT_A_TIME + HEADROOM + largest],
        }
    }
}

impl Source for Load {
    fn fill(&mut self, slots: &mut Vec<Slot>) -> Result<(), SendError> {
        let mut used = 0;
        while slots.len() < FRAMES_AT_A_TIME && used < BYTES_AT_A_TIME && self.frames_left > 0 {
            self.frames_left -= 1;
            self.number += 1;
            let size = if self.sizes.is_empty() {
                self.one_size
            } else {
                self.sizes[self.random.below(self.sizes.len() as u32) as usize]
            };
            let to_server = self.even_to_server == (self.next_flow.is_multiple_of(2));
            let flow = &mut self.flows[self.next_flow];
            self.next_flow += 1;
            let len = usize::from(size);
            used += HEADROOM;
            write(&mut self.buffer[used..used + len], flow, to_server, self.number, &self.filler, &self.sums);
            let Flow { flow, port, .. } = *flow;
            slots.push(Slot { offset: used, frame_len: len as u32, flow, port, ..Slot::default() });
            used += len;
            if self.next_flow == self.flows.len() {
                self.next_flow = 0;
                self.even_to_server = !self.even_to_server;
            }
        }
        Ok(())
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

/// Writes frame `number` of a run, which fills `frame`.
#[inline]
fn write(frame: &mut [u8], flow: &mut Flow, to_server: bool, number: u64, filler: &[u8], sums: &[(u16, u16)]) {
    let len = frame.len() - flow.ends.frame_len(0, 0);
    let filler_sum = sums.iter().find(|(known, _)| usize::from(*known) == len).map_or(0, |(_, sum)| *sum);
    // As many of the number's lower bytes as there is room for, in whole 16-bit words.
    let number = number.to_be_bytes();
    let number = &number[NUMBER_BYTES - (len.min(NUMBER_BYTES) & !1)..];
    let data = Payload { bytes: &filler[..len], sum: add(filler_sum, sum(number)) };
    flow.ident = flow.ident.wrapping_add(1);
    if flow.ends.protocol() == protocol::TCP {
        let (own, other) = (usize::from(to_server), usize::from(!to_server));
        let (sequence, acknowledgement) = (flow.sequence[own], flow.sequence[other]);
        flow.sequence[own] = sequence.wrapping_add(len as u32);
        let flags = if len > 0 { PUSH } else { TcpFlags::ACK };
        let segment = Segment { sequence, acknowledgement, flags, window: WINDOW, options: &[] };
        flow.ends.write_tcp(frame, to_server, flow.ident, &segment, data);
    } else {
        flow.ends.write_udp(frame, to_server, flow.ident, data);
    }
    let at = frame.len() - len;
    frame[at..at + number.len()].copy_from_slice(number);
}

#[cfg(test)]
mod tests;
