//! The header of the PROXY protocol (HAProxy's `proxy-protocol.txt`) that some balancers put in front of a probe: version 1 is a line of text,
//! version 2 has a signature and a length. Who is said to ask makes no difference here, so it is only taken off.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The longest header that is taken off. One of version 1 has 107 bytes at most; one of version 2 may say more about a TLS connection.
const LONGEST: usize = 2048;
const LONGEST_LINE: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Until the rest of a header is looked for again. Balancers send it whole, so hardly anybody waits.
const AGAIN: Duration = Duration::from_millis(10);

/// Takes such a header off the beginning of `stream`, where there is one; waits for the first bytes no longer than `patience`.
pub(super) async fn take_off(stream: &mut TcpStream, patience: Duration) -> io::Result<()> {
    tokio::time::timeout(patience, taken_off(stream)).await?
}

async fn taken_off(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0; LONGEST];
    loop {
        let there = stream.peek(&mut bytes).await?;
        match Beginning::of(&bytes[..there]) {
            Beginning::Other => return Ok(()),
            Beginning::Header(len) => return stream.read_exact(&mut bytes[..len]).await.map(drop),
            Beginning::Unknown => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    /// A whole header of so many bytes.
    Header(usize),
    /// Anything else.
    Other,
    /// As far as it is there, it may become a header.
    Unknown,
}

impl Beginning {
    fn of(bytes: &[u8]) -> Self {
        match (bytes, bytes.strip_prefix(SIGNATURE)) {
            ([], _) => Self::Other,
            (_, Some([version, _, high, low, ..])) => {
                let len = SIGNATURE.len() + 4 + usize::from(u16::from_be_bytes([*high, *low]));
                if version >> 4 != 2 || len > LONGEST {
                    Self::Other
                } else if len > bytes.len() {
                    Self::Unknown
                } else {
                    Self::Header(len)
                }
            }
            (_, Some(_)) => Self::Unknown,
            _ if bytes.starts_with(b"PROXY ") => {
                let line = &bytes[..bytes.len().min(LONGEST_LINE)];
                match line.windows(2).position(|end| end == b"\r\n") {
                    Some(at) => Self::Header(at + 2),
                    None if line.len() == LONGEST_LINE => Self::Other,
                    None => Self::Unknown,
                }
            }
            _ if SIGNATURE.starts_with(bytes) || b"PROXY ".starts_with(bytes) => Self::Unknown,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_either_version_is_known_by_its_beginning_and_has_a_bound() {
        let two =
            |len: u16, rest: usize| [SIGNATURE, &[0x21, 0x11], &len.to_be_bytes(), &vec![0x47; rest][..]].concat();
        let line = |len: usize| [b"PROXY TCP6 ", vec![b'f'; len - 13].as_slice(), b"\r\n"].concat();
        for (bytes, expected) in [
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 8080\r\nGET / HTTP/1.1\r\n\r\n".to_vec(), Beginning::Header(43)),
            (b"PROXY UNKNOWN\r\n".to_vec(), Beginning::Header(15)),
            (line(107), Beginning::Header(107)),
            (line(108), Beginning::Other),
            (two(12, 12 + 18), Beginning::Header(28)),
            (two(0, 18), Beginning::Header(16)),
            (two(2032, 2032), Beginning::Header(2048)),
            (two(2033, 2033), Beginning::Other),
            (two(65_535, 0), Beginning::Other),
            ([SIGNATURE, &[0x11, 0x11, 0, 12]].concat(), Beginning::Other),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Beginning::Other),
            (b"POST / HTTP/1.1\r\n\r\n".to_vec(), Beginning::Other),
            (b"\r\nGET / HTTP/1.1\r\n\r\n".to_vec(), Beginning::Other),
            (b"\x16\x03\x01\x02".to_vec(), Beginning::Other),
            (Vec::new(), Beginning::Other),
        ] {
            assert_eq!(Beginning::of(&bytes), expected, "{}", bytes.escape_ascii());
            // As far as it is there, every header may still become one.
            if let Beginning::Header(len) = expected {
                for there in 1..len {
                    assert_eq!(Beginning::of(&bytes[..there]), Beginning::Unknown, "{}", bytes[..there].escape_ascii());
                }
            }
        }
    }
}
