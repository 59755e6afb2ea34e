//! The frames of one conversation, with right lengths and checksums.

pub(super) const FLAG_FIN: u8 = 0x01;
pub(super) const FLAG_SYN: u8 = 0x02;
pub(super) const FLAG_PUSH: u8 = 0x08;
pub(super) const FLAG_ACK: u8 = 0x10;
const SEGMENT_BYTES: usize = 1400;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const VXLAN_PORT: u16 = 4789;
/// Type (A), class (IN).
const QUESTION_END: [u8; 5] = [0, 0, 1, 0, 1];

/// Two ends, and what they say to each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conversation {
    number: u32,
    client: ([u8; 4], u16),
    server: ([u8; 4], u16),
    /// First sequence numbers of client and server.
    initial: (u32, u32),
}

impl Conversation {
    /// The conversation `number`; every number has ends of its own.
    pub(super) fn new(number: u32) -> Self {
        let [_, a, b, c] = number.to_be_bytes();
        let server = [172, 16, (number >> 4) as u8 & 15, 1 + (number % 200) as u8];
        let port = 1024 + (u64::from(number) * 7919 % 60_000) as u16;
        let random = mix(number.into());
        Self {
            number,
            client: ([10, a, b, c], port),
            server: (server, if number % 5 == 4 { 53 } else { 80 }),
            initial: (random as u32, (random >> 32) as u32),
        }
    }

    /// A TCP handshake.
    pub(super) fn handshake(&self) -> Vec<Vec<u8>> {
        let (client, server) = (self.initial.0, self.initial.1);
        vec![
            self.segment(true, (0, 0), FLAG_SYN, &[]),
            self.segment(false, (0, 1), FLAG_SYN | FLAG_ACK, &[]),
            self.tcp(true, client.wrapping_add(1), server.wrapping_add(1), FLAG_ACK, &[]),
        ]
    }

    /// A whole HTTP exchange whose response has `body`.
    pub(super) fn http(&self, body: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = self.handshake();
        let number = self.number;
        let request = format!(
            "GET /item/{number}?x=1 HTTP/1.1\r\nHost: shop{}.example.com\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n",
            number % 97
        );
        frames.push(self.segment(true, (1, 1), FLAG_PUSH | FLAG_ACK, request.as_bytes()));
        let mut response =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len())
                .into_bytes();
        response.extend_from_slice(body);
        let asked = 1 + request.len() as u32;
        let answered = 1 + response.len() as u32;
        let mut sent = 1;
        let segments = response.chunks(SEGMENT_BYTES);
        let last = segments.len() - 1;
        for (at, segment) in segments.enumerate() {
            let flags = if at == last { FLAG_PUSH | FLAG_ACK } else { FLAG_ACK };
            frames.push(self.segment(false, (asked, sent), flags, segment));
            sent += segment.len() as u32;
            if at % 2 == 1 {
                frames.push(self.segment(true, (asked, sent), FLAG_ACK, &[]));
            }
        }
        frames.push(self.segment(true, (asked, answered), FLAG_FIN | FLAG_ACK, &[]));
        frames.push(self.segment(false, (asked + 1, answered), FLAG_FIN | FLAG_ACK, &[]));
        frames.push(self.segment(true, (asked + 1, answered + 1), FLAG_ACK, &[]));
        frames
    }

    /// A DNS query and its answer.
    pub(super) fn dns(&self) -> Vec<Vec<u8>> {
        let mut name = Vec::new();
        for label in [format!("h{}", self.number).as_str(), "example", "com"] {
            name.push(label.len() as u8);
            name.extend_from_slice(label.as_bytes());
        }
        let message = |flags: u16, answers: u8| {
            let mut message = (self.number as u16).to_be_bytes().to_vec();
            message.extend_from_slice(&flags.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, answers, 0, 0, 0, 0]);
            message.extend_from_slice(&name);
            message.extend_from_slice(&QUESTION_END);
            message
        };
        let query = message(0x0100, 0);
        let mut answer = message(0x8180, 1);
        // The name by reference, type, class, 60 seconds, an address.
        answer.extend_from_slice(&[0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend_from_slice(&self.server.0);
        vec![self.udp(true, &query), self.udp(false, &answer)]
    }

    /// A TCP frame; `said` is how far client and server have come from their first sequence numbers.
    pub(super) fn segment(&self, from_client: bool, said: (u32, u32), flags: u8, data: &[u8]) -> Vec<u8> {
        let (client, server) = (self.initial.0.wrapping_add(said.0), self.initial.1.wrapping_add(said.1));
        // The first segment acknowledges nothing; the one that answers it begins where its own end begins.
        match (from_client, flags) {
            (true, FLAG_SYN) => self.tcp(true, client, 0, flags, data),
            (false, flags) if flags & FLAG_SYN != 0 => {
                self.tcp(false, self.initial.1, self.initial.0.wrapping_add(1), flags, data)
            }
            (true, _) => self.tcp(true, client, server, flags, data),
            (false, _) => self.tcp(false, server, client, flags, data),
        }
    }

    fn tcp(&self, from_client: bool, sequence: u32, acknowledgement: u32, flags: u8, data: &[u8]) -> Vec<u8> {
        let (from, to) = self.ends(from_client);
        let mut segment = Vec::with_capacity(20 + data.len());
        segment.extend_from_slice(&from.1.to_be_bytes());
        segment.extend_from_slice(&to.1.to_be_bytes());
        segment.extend_from_slice(&sequence.to_be_bytes());
        segment.extend_from_slice(&acknowledgement.to_be_bytes());
        segment.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend_from_slice(data);
        self.frame(from_client, PROTOCOL_TCP, &mut segment, 16)
    }

    fn udp(&self, from_client: bool, data: &[u8]) -> Vec<u8> {
        let (from, to) = self.ends(from_client);
        let mut datagram = udp_header(from.1, to.1, data.len()).to_vec();
        datagram.extend_from_slice(data);
        self.frame(from_client, PROTOCOL_UDP, &mut datagram, 6)
    }

    const fn ends(&self, from_client: bool) -> (([u8; 4], u16), ([u8; 4], u16)) {
        if from_client { (self.client, self.server) } else { (self.server, self.client) }
    }

    /// Puts the checksum into `transport` at `checksum_at`, and headers in front.
    fn frame(&self, from_client: bool, protocol: u8, transport: &mut [u8], checksum_at: usize) -> Vec<u8> {
        let (from, to) = self.ends(from_client);
        let mut pseudo = [0; 12];
        pseudo[0..4].copy_from_slice(&from.0);
        pseudo[4..8].copy_from_slice(&to.0);
        pseudo[9] = protocol;
        pseudo[10..12].copy_from_slice(&(transport.len() as u16).to_be_bytes());
        let checksum = match !add(sum(&pseudo), sum(transport)) {
            // 0 would mean "no checksum" in UDP (RFC 768).
            0 => 0xffff,
            checksum => checksum,
        };
        transport[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
        let (own, other) = if from_client { (1, 2) } else { (2, 1) };
        let mut frame = vec![2, 0, 0, 0, 0, other, 2, 0, 0, 0, 0, own, 8, 0];
        frame.extend_from_slice(&ipv4_header(from.0, to.0, protocol, self.number as u16, transport.len()));
        frame.extend_from_slice(transport);
        frame
    }
}

/// Writes the headers of a mirror in front of the inner frame of conversation `number`: one of four mirror sources, one
/// of four VNIs, a source port chosen by the conversation, no outer UDP checksum.
pub(super) fn write_envelope(number: u32, frame_len: usize, packet: &mut Vec<u8>) {
    let source = [10, 200, 0, 1 + (number % 4) as u8];
    let port = 49_152 + ((number.wrapping_mul(2_654_435_761) >> 18) as u16 & 0x3fff);
    packet.extend_from_slice(&[2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a, 8, 0]);
    packet.extend_from_slice(&ipv4_header(source, [10, 200, 1, 1], PROTOCOL_UDP, number as u16, 16 + frame_len));
    packet.extend_from_slice(&udp_header(port, VXLAN_PORT, 8 + frame_len));
    packet.extend_from_slice(&[8, 0, 0, 0]);
    packet.extend_from_slice(&((100 + number % 4) << 8).to_be_bytes());
}

fn ipv4_header(source: [u8; 4], destination: [u8; 4], protocol: u8, ident: u16, len: usize) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&(20 + len as u16).to_be_bytes());
    header[4..6].copy_from_slice(&ident.to_be_bytes());
    // Don't Fragment; 64 hops.
    header[6] = 0x40;
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&source);
    header[16..20].copy_from_slice(&destination);
    let checksum = !sum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

fn udp_header(source: u16, destination: u16, len: usize) -> [u8; 8] {
    let mut header = [0; 8];
    header[0..2].copy_from_slice(&source.to_be_bytes());
    header[2..4].copy_from_slice(&destination.to_be_bytes());
    header[4..6].copy_from_slice(&(8 + len as u16).to_be_bytes());
    header
}

/// The one's complement sum of `bytes` as 16-bit numbers (RFC 1071); an odd last byte counts as the upper half.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let mut words = bytes.chunks_exact(2);
    let mut total: u64 = words.by_ref().map(|word| u64::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    if let [last] = words.remainder() {
        total += u64::from(*last) << 8;
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

/// Printable bytes, always the same.
pub(super) fn printable(len: u64) -> Vec<u8> {
    (0..len).map(|at| 32 + (mix(at) % 95) as u8).collect()
}

/// A number without visible pattern for each number (the finalizer of SplitMix64).
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
