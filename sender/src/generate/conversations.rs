//! Many conversations at a time, each at its own place of its script; a finished one makes place for a new one.

use vxtap_wire::{IpVersion, SteerHash, TcpFlags, protocol};

use super::address::ends;
use super::frame::{Ends, Payload, Segment};
use super::random::Random;
use super::script::{Library, Script, Step};
use super::{GenerateSettings, dns, http, tls};
use crate::batch::{ENOUGH_BYTES, HEADROOM, MAX_FRAMES, Slot, Source};
use crate::error::SendError;

/// Scripts of each kind: enough that no two conversations near each other are alike.
const HTTP_SCRIPTS: usize = 96;
const TLS_SCRIPTS: usize = 48;
const DNS_SCRIPTS: usize = 256;
/// Of 100 conversations.
const HTTP_SHARE: u32 = 45;
const TLS_SHARE: u32 = 25;

/// Longest frame that a script makes, with room to spare.
const LONGEST_FRAME: usize = 1536;
/// Maximum segment size 1360, selective acknowledgement, window scale 7 (RFC 9293, RFC 2018, RFC 7323).
const SYN_OPTIONS: &[u8] = &[2, 4, 0x05, 0x50, 1, 1, 4, 2, 1, 3, 3, 7];
const SYN_WINDOW: u16 = 64_240;
/// Shifted by the window scale: as much as before.
const WINDOW: u16 = 502;
/// A lost segment comes again after so many more frames of its connection.
const RETRANSMIT_AFTER: u8 = 3;

/// A conversation at some place of its script.
#[derive(Clone, Copy, Debug)]
struct Conversation {
    ends: Ends,
    flow: u32,
    port: u16,
    /// The server's and the client's initial sequence number, or the message identifier.
    initial: [u32; 2],
    /// The server's and the client's next IPv4 identification.
    ident: [u16; 2],
    stamped: bool,
    next: u32,
    end: u32,
    /// A step that its successor has overtaken.
    overtaken: Option<u32>,
    /// A step to be sent again, and after how many frames.
    again: Option<(u32, u8)>,
}

impl Conversation {
    const fn is_over(&self) -> bool {
        self.next == self.end && self.overtaken.is_none() && self.again.is_none()
    }
}

/// Frames of conversations.
pub(super) struct Conversations {
    library: Library,
    live: Vec<Conversation>,
    random: Random,
    /// Conversations begun.
    begun: u64,
    frames_left: u64,
    mix: Mix,
    buffer: Vec<u8>,
}

/// What is decided anew for each conversation or frame.
#[derive(Clone, Copy)]
struct Mix {
    ipv6_percent: u8,
    retransmit_percent: u8,
    reorder_percent: u8,
    hash: SteerHash,
    ports: u32,
}

impl Conversations {
    pub(super) fn new(settings: &GenerateSettings, ports: u32) -> Self {
        let mut random = Random::new(settings.seed);
        let mut library = Library::default();
        (0..HTTP_SCRIPTS).for_each(|_| http::add(&mut library, &mut random));
        (0..TLS_SCRIPTS).for_each(|_| tls::add(&mut library, &mut random));
        (0..DNS_SCRIPTS).for_each(|_| dns::add(&mut library, &mut random));
        let mix = Mix {
            ipv6_percent: settings.ipv6_percent,
            retransmit_percent: settings.retransmit_percent,
            reorder_percent: settings.reorder_percent,
            hash: SteerHash::new(settings.transmit.port_seed),
            ports,
        };
        let live = (0..u64::from(settings.flows)).map(|number| mix.begin(&library, &mut random, number)).collect();
        Self {
            library,
            live,
            random,
            begun: u64::from(settings.flows),
            frames_left: settings.packets.unwrap_or(u64::MAX),
            mix,
            buffer: vec![0; ENOUGH_BYTES + HEADROOM + LONGEST_FRAME],
        }
    }
}

impl Source for Conversations {
    fn fill(&mut self, slots: &mut Vec<Slot>) -> Result<(), SendError> {
        let Self { library, live, random, mix, .. } = self;
        let mut used = 0;
        while slots.len() < MAX_FRAMES && used < ENOUGH_BYTES && self.frames_left > 0 {
            self.frames_left -= 1;
            let chosen = random.below(live.len() as u32) as usize;
            let conversation = &mut live[chosen];
            let step = library.step(mix.next_step(library, random, conversation));
            used += HEADROOM;
            let len = write(&mut self.buffer[used..], conversation, step, library);
            let Conversation { flow, port, .. } = *conversation;
            slots.push(Slot { offset: used, frame_len: len as u32, flow, port, ..Slot::default() });
            used += len;
            if conversation.is_over() {
                *conversation = mix.begin(library, random, self.begun);
                self.begun += 1;
            }
        }
        Ok(())
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

impl Mix {
    /// The conversation that `number` begins.
    fn begin(&self, library: &Library, random: &mut Random, number: u64) -> Conversation {
        let script = pick_script(library.scripts(), random);
        let version = if random.percent(self.ipv6_percent) { IpVersion::V6 } else { IpVersion::V4 };
        let ends = ends(number, version, script.protocol, script.server_port);
        let flow = self.hash.hash(&ends.five_tuple());
        let (initial, ident) = (random.next(), random.next());
        Conversation {
            ends,
            flow,
            port: (flow % self.ports) as u16,
            initial: [(initial >> 32) as u32, initial as u32],
            ident: [(ident >> 16) as u16, ident as u16],
            stamped: script.stamped,
            next: script.first,
            end: script.end,
            overtaken: None,
            again: None,
        }
    }

    /// The step that comes next, the script's order disturbed by the shares of overtaking and repeating.
    #[inline]
    fn next_step(self, library: &Library, random: &mut Random, conversation: &mut Conversation) -> u32 {
        if let Some(step) = conversation.overtaken.take() {
            return step;
        }
        if let Some((step, after)) = &mut conversation.again {
            if *after == 0 || conversation.next == conversation.end {
                let step = *step;
                conversation.again = None;
                return step;
            }
            *after -= 1;
        }
        let index = conversation.next;
        conversation.next += 1;
        let step = library.step(index);
        let is_segment = step.flags != 0 && step.payload_len > 0;
        if is_segment && conversation.next < conversation.end && random.percent(self.reorder_percent) {
            let successor = library.step(conversation.next);
            if successor.payload_len > 0 && successor.to_server == step.to_server {
                conversation.overtaken = Some(index);
                conversation.next += 1;
                return index + 1;
            }
        }
        if is_segment && conversation.again.is_none() && random.percent(self.retransmit_percent) {
            conversation.again = Some((index, RETRANSMIT_AFTER));
        }
        index
    }
}

fn pick_script(scripts: &[Script], random: &mut Random) -> Script {
    let (first, count) = match random.below(100) {
        0..HTTP_SHARE => (0, HTTP_SCRIPTS),
        share if share < HTTP_SHARE + TLS_SHARE => (HTTP_SCRIPTS, TLS_SCRIPTS),
        _ => (HTTP_SCRIPTS + TLS_SCRIPTS, DNS_SCRIPTS),
    };
    scripts[first + random.below(count as u32) as usize]
}

/// Writes the frame of `step` to the beginning of `buffer` and gives its length.
#[inline]
fn write(buffer: &mut [u8], conversation: &mut Conversation, step: &Step, library: &Library) -> usize {
    let Conversation { ends, initial, ident, stamped, .. } = conversation;
    let (own, other) = (usize::from(step.to_server), usize::from(!step.to_server));
    ident[own] = ident[own].wrapping_add(1);
    let mut data = Payload { bytes: library.payload(step), sum: step.payload_sum };
    if ends.protocol() == protocol::TCP {
        let syn = step.flags & TcpFlags::SYN != 0;
        let segment = Segment {
            sequence: initial[own].wrapping_add(step.sequence),
            acknowledgement: if step.flags & TcpFlags::ACK == 0 {
                0
            } else {
                initial[other].wrapping_add(step.acknowledgement)
            },
            flags: step.flags,
            window: if syn { SYN_WINDOW } else { WINDOW },
            options: if syn { SYN_OPTIONS } else { &[] },
        };
        let len = ends.frame_len(segment.options.len(), data.bytes.len());
        ends.write_tcp(&mut buffer[..len], step.to_server, ident[own], &segment, data);
        return len;
    }
    let len = ends.frame_len(0, data.bytes.len());
    let stamp = initial[0] as u16;
    if *stamped {
        // The script has 0 there.
        data.sum = super::frame::add(data.sum, stamp);
    }
    ends.write_udp(&mut buffer[..len], step.to_server, ident[own], data);
    if *stamped {
        let at = len - data.bytes.len();
        buffer[at..at + 2].copy_from_slice(&stamp.to_be_bytes());
    }
    len
}

#[cfg(test)]
mod tests;
