//! The two hello messages, as they lie in the stream (RFC 5246 section 7.4.1, RFC 8446 section 4.1).

use super::extension::{self, Extensions, is_grease};
use super::reader::{Reader, numbers};
use super::version;

/// The random of a `ServerHello` that asks for another `ClientHello` (RFC 8446 section 4.1.3): SHA-256 of
/// "HelloRetryRequest".
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A `ClientHello`, or the beginning of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientHello<'a> {
    /// The version field; 1.2 for all later ones.
    pub(crate) version: u16,
    /// The cipher suites, two bytes each, as far as they are there.
    pub(crate) ciphers: &'a [u8],
    pub(crate) extensions: Extensions<'a>,
    /// Whether all of it is there and well-formed.
    pub(crate) whole: bool,
}

impl<'a> ClientHello<'a> {
    /// Reads the body of a message, `whole` or cut at the end, as far as it goes; nothing where not even the version is
    /// there.
    pub(crate) fn read(body: &'a [u8], whole: bool) -> Option<Self> {
        let mut reader = Reader::new(body);
        let mut hello = Self { version: reader.u16()?, ciphers: &[], extensions: Extensions::default(), whole: false };
        // Cut in front of its extensions it looks like one without.
        hello.whole = hello.read_lists(&mut reader).is_some() && whole;
        Some(hello)
    }

    fn read_lists(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        reader.bytes(32)?;
        reader.vector8()?;
        let length = usize::from(reader.u16()?);
        self.ciphers = reader.up_to(length);
        reader.vector8()?;
        read_extensions(reader, &mut self.extensions)?;
        (self.ciphers.len() == length && length.is_multiple_of(2)).then_some(())
    }

    /// The highest version that is offered, 0 where none is known.
    pub(crate) fn highest_version(&self) -> u16 {
        let offered = self.extensions.find(extension::SUPPORTED_VERSIONS);
        let listed = offered.and_then(|content| Reader::new(content).vector8());
        let highest = listed.and_then(|list| numbers(list).filter(|version| !is_grease(*version)).max());
        highest.unwrap_or(self.version)
    }
}

/// A `ServerHello`, or the beginning of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerHello<'a> {
    /// The version field; 1.2 for all later ones.
    pub(crate) legacy_version: u16,
    /// The cipher suite that the server chose.
    pub(crate) cipher: Option<u16>,
    pub(crate) extensions: Extensions<'a>,
    /// It is a `HelloRetryRequest`: the client says hello again, and the server answers once more.
    pub(crate) is_retry: bool,
    /// Whether all of it is there and well-formed.
    pub(crate) whole: bool,
}

impl<'a> ServerHello<'a> {
    /// Reads the body of a message, `whole` or cut at the end, as far as it goes; nothing where not even the version is
    /// there.
    pub(crate) fn read(body: &'a [u8], whole: bool) -> Option<Self> {
        let mut reader = Reader::new(body);
        let mut hello = Self {
            legacy_version: reader.u16()?,
            cipher: None,
            extensions: Extensions::default(),
            is_retry: false,
            whole: false,
        };
        // Cut in front of its extensions it looks like one without.
        hello.whole = hello.read_choices(&mut reader).is_some() && whole;
        Some(hello)
    }

    fn read_choices(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        self.is_retry = reader.bytes(32)? == RETRY_RANDOM;
        // Drafts of 1.3 up to the 21st have neither session nor compression.
        let is_early_draft = matches!(self.legacy_version, 0x7f00..=0x7f15);
        if !is_early_draft {
            reader.vector8()?;
        }
        self.cipher = Some(reader.u16()?);
        if !is_early_draft {
            reader.u8()?;
        }
        read_extensions(reader, &mut self.extensions)
    }

    /// The version that both speak from here on, 0 where a cut hello does not tell: 1.3 calls itself 1.2, and corrects
    /// that in an extension.
    pub(crate) fn version(&self) -> u16 {
        match self.extensions.find(extension::SUPPORTED_VERSIONS).and_then(|content| Reader::new(content).u16()) {
            Some(selected) => selected,
            None if self.legacy_version == version::TLS_1_2 && !self.whole => 0,
            None => self.legacy_version,
        }
    }

    /// Whether an earlier session goes on, as far as the hello says so: in 1.3 the server names the key that it took.
    pub(crate) fn resumes(&self) -> bool {
        version::is_1_3(self.version()) && self.extensions.find(extension::PRE_SHARED_KEY).is_some()
    }
}

/// Reads the extensions at the end of a hello, as far as they are there; a hello of old has none.
fn read_extensions<'a>(reader: &mut Reader<'a>, extensions: &mut Extensions<'a>) -> Option<()> {
    if reader.rest().is_empty() {
        return Some(());
    }
    let length = usize::from(reader.u16()?);
    let list = reader.up_to(length);
    *extensions = Extensions::new(list);
    (list.len() == length && extensions.is_whole()).then_some(())
}
