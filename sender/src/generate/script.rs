//! What is said in a conversation: the frames in order, without addresses, ports and starting sequence numbers.
//!
//! Scripts are written once before the run; each conversation of the run plays one of them with ends of its own.

use vxtap_wire::TcpFlags;

use super::frame::{PUSH, sum};

/// Most payload bytes of one TCP segment: frames then fit VXLAN over IPv6 on a path of 1500 bytes.
const SEGMENT_BYTES: usize = 1360;
/// A receiver acknowledges every second segment at the latest (RFC 9293 section 3.8.6.3).
const SEGMENTS_PER_ACK: usize = 2;

/// One frame of a conversation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) to_server: bool,
    /// TCP flags; 0 for UDP.
    pub(super) flags: u8,
    /// From the sender's initial sequence number.
    pub(super) sequence: u32,
    /// From the receiver's initial sequence number.
    pub(super) acknowledgement: u32,
    payload: u32,
    pub(super) payload_len: u16,
    pub(super) payload_sum: u16,
}

/// One conversation without its ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) protocol: u8,
    pub(super) server_port: u16,
    pub(super) first: u32,
    pub(super) end: u32,
    /// Whether payloads begin with a number that each conversation sets for itself (a DNS message identifier).
    pub(super) stamped: bool,
}

/// All scripts of a run, and their bytes.
#[derive(Debug, Default)]
pub(super) struct Library {
    bytes: Vec<u8>,
    steps: Vec<Step>,
    scripts: Vec<Script>,
}

impl Library {
    pub(super) fn scripts(&self) -> &[Script] {
        &self.scripts
    }

    #[inline]
    pub(super) fn step(&self, index: u32) -> &Step {
        &self.steps[index as usize]
    }

    #[inline]
    pub(super) fn payload(&self, step: &Step) -> &[u8] {
        &self.bytes[step.payload as usize..step.payload as usize + usize::from(step.payload_len)]
    }

    /// Adds a script for the UDP messages of `write`, of which each begins with a number to set.
    pub(super) fn add_udp(&mut self, server_port: u16, messages: &[(bool, Vec<u8>)]) {
        let first = self.steps.len() as u32;
        for (to_server, message) in messages {
            let step = self.put(message);
            self.steps.push(Step { to_server: *to_server, ..step });
        }
        let end = self.steps.len() as u32;
        let protocol = vxtap_wire::protocol::UDP;
        self.scripts.push(Script { protocol, server_port, first, end, stamped: true });
    }

    /// Adds a script for a TCP connection that says what `talk` lets its ends say.
    pub(super) fn add_tcp(&mut self, server_port: u16, talk: impl FnOnce(&mut Connection<'_>)) {
        let first = self.steps.len() as u32;
        let mut connection = Connection { library: self, sent: [0; 2] };
        connection.open();
        talk(&mut connection);
        let end = self.steps.len() as u32;
        let protocol = vxtap_wire::protocol::TCP;
        self.scripts.push(Script { protocol, server_port, first, end, stamped: false });
    }

    /// Keeps `payload`, and gives a step that has it and nothing else.
    fn put(&mut self, payload: &[u8]) -> Step {
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(payload);
        Step {
            to_server: true,
            flags: 0,
            sequence: 0,
            acknowledgement: 0,
            payload: at,
            payload_len: payload.len() as u16,
            payload_sum: sum(payload),
        }
    }
}

/// A TCP connection being written.
pub(super) struct Connection<'a> {
    library: &'a mut Library,
    /// Sequence numbers used by the server and by the client.
    sent: [u32; 2],
}

impl Connection<'_> {
    fn open(&mut self) {
        self.step(true, TcpFlags::SYN, &[]);
        self.step(false, TcpFlags::SYN | TcpFlags::ACK, &[]);
        self.step(true, TcpFlags::ACK, &[]);
    }

    /// One end says `bytes`, in as many segments as it takes; the other acknowledges.
    pub(super) fn say(&mut self, to_server: bool, bytes: &[u8]) {
        let segments = bytes.len().div_ceil(SEGMENT_BYTES);
        for (index, segment) in bytes.chunks(SEGMENT_BYTES).enumerate() {
            let last = index + 1 == segments;
            self.step(to_server, if last { PUSH } else { TcpFlags::ACK }, segment);
            if index % SEGMENTS_PER_ACK == 1 && !last {
                self.acknowledge(!to_server);
            }
        }
    }

    /// One end acknowledges all that it got.
    pub(super) fn acknowledge(&mut self, to_server: bool) {
        self.step(to_server, TcpFlags::ACK, &[]);
    }

    /// One end closes, the other follows.
    pub(super) fn close(&mut self, client_first: bool) {
        self.step(client_first, TcpFlags::FIN | TcpFlags::ACK, &[]);
        self.step(!client_first, TcpFlags::FIN | TcpFlags::ACK, &[]);
        self.acknowledge(client_first);
    }

    /// One end gives up.
    pub(super) fn reset(&mut self, by_client: bool) {
        self.step(by_client, TcpFlags::RST | TcpFlags::ACK, &[]);
    }

    fn step(&mut self, to_server: bool, flags: u8, payload: &[u8]) {
        let (own, other) = (usize::from(to_server), usize::from(!to_server));
        let step = Step {
            to_server,
            flags,
            sequence: self.sent[own],
            acknowledgement: self.sent[other],
            ..self.library.put(payload)
        };
        self.library.steps.push(step);
        // SYN and FIN take a sequence number each (RFC 9293 section 3.4).
        let control = u32::from(flags & (TcpFlags::SYN | TcpFlags::FIN) != 0);
        self.sent[own] += payload.len() as u32 + control;
    }
}
