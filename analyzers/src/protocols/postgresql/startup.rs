//! The first message of a client, which has no type: a startup, or a request for encryption or cancellation.

use crate::json::JsonObject;
use crate::protocols::Guess;
use crate::protocols::framing::Measure;

const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// The longest startup that servers take (`MAX_STARTUP_PACKET_LENGTH`).
const LENGTH_MAX: u32 = 10_000;

/// The most bytes of a startup that are looked at.
const WANTED: usize = 1024;

/// The most parameters that are told, and the most bytes of each.
const PARAMETERS_MAX: usize = 16;
const VALUE_MAX: usize = 128;

/// A setting and its value.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: Box<[u8]>,
    pub(super) value: Box<[u8]>,
}

/// What a client wants first.
#[derive(Debug)]
pub(super) enum Startup {
    /// TLS.
    Tls,
    /// Encryption by GSSAPI.
    Gss,
    /// Another connection's statement is to be ended.
    Cancel { process_id: u32 },
    /// A session of protocol version 3.
    Session { version: (u16, u16), user: Box<[u8]>, others: Vec<Parameter> },
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn is_code(code: u32) -> bool {
    matches!(code, CANCEL | TLS | GSS) || code >> 16 == 3
}

impl Startup {
    /// Memory that its text takes, in bytes.
    pub(super) fn size(&self) -> usize {
        let Self::Session { user, others, .. } = self else { return 0 };
        let text = |it: &Parameter| it.name.len() + it.value.len();
        user.len() + others.iter().map(text).sum::<usize>() + others.capacity() * size_of::<Parameter>()
    }

    /// Whether one begins here.
    pub(super) fn begins(bytes: &[u8]) -> Guess {
        match (bytes.first(), word(bytes, 0), word(bytes, 4)) {
            (Some(&first), ..) if first != 0 => Guess::No,
            (_, Some(length), _) if !(8..=LENGTH_MAX).contains(&length) => Guess::No,
            (_, Some(length), Some(code)) => {
                // The requests have their fixed lengths; a startup names a user.
                let fits = match code {
                    TLS | GSS => length == 8,
                    CANCEL => (16..=268).contains(&length),
                    _ => code >> 16 == 3 && code & 0xffff <= 2 && length > 8,
                };
                if fits { Guess::Yes } else { Guess::No }
            }
            _ => Guess::Perhaps,
        }
    }

    pub(super) fn measure(bytes: &[u8]) -> Measure {
        match (word(bytes, 0), word(bytes, 4)) {
            (Some(length), Some(code)) if (8..=LENGTH_MAX).contains(&length) && is_code(code) => {
                Measure::Message { length: u64::from(length), wanted: WANTED }
            }
            (None, _) | (Some(_), None) => Measure::Unknown,
            _ => Measure::Nonsense,
        }
    }

    /// Reads what is there.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let code = word(bytes, 4)?;
        match code {
            TLS => return Some(Self::Tls),
            GSS => return Some(Self::Gss),
            CANCEL => return Some(Self::Cancel { process_id: word(bytes, 8)? }),
            _ => {}
        }
        // What stands behind the last zero byte has no end: it is cut.
        let mut texts = bytes.get(8..)?.split_inclusive(|byte| *byte == 0).map_while(|text| text.strip_suffix(b"\0"));
        let (mut user, mut others) = (Box::default(), Vec::new());
        while let (Some(name), Some(value)) = (texts.next().filter(|name| !name.is_empty()), texts.next()) {
            let value: Box<[u8]> = value.get(..VALUE_MAX).unwrap_or(value).into();
            if name == b"user" {
                user = value;
            } else if others.len() < PARAMETERS_MAX {
                others.push(Parameter { name: name.get(..VALUE_MAX).unwrap_or(name).into(), value });
            }
        }
        Some(Self::Session { version: ((code >> 16) as u16, code as u16), user, others })
    }

    /// The members of `request`.
    pub(super) fn members(&self, json: &mut JsonObject<'_>) {
        match self {
            Self::Tls => json.text("message", "SSL Request"),
            Self::Gss => json.text("message", "gssenc_request"),
            Self::Cancel { process_id } => {
                json.text("message", "cancel_request");
                json.number("process_id", *process_id);
            }
            Self::Session { version, user, others } => {
                json.text("protocol_version", format!("{}.{}", version.0, version.1));
                json.object("startup_parameters", |json| {
                    if !user.is_empty() {
                        json.text("user", user);
                    }
                    if !others.is_empty() {
                        json.array("optional_parameters", |items| {
                            for Parameter { name, value } in others {
                                items.object(|json| json.text_by(name, value));
                            }
                        });
                    }
                });
            }
        }
    }
}
