//! Why a capture file cannot be opened, or not be read further.

use std::{fmt, io};

use thiserror::Error;

/// A capture file that cannot be read at all.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The system does not open it.
    #[error("cannot open capture file '{file}': {source}")]
    Open {
        /// Name as given.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system opens it but does not read it.
    #[error("cannot read capture file '{file}': {source}")]
    Read {
        /// Name as given.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Too short for the header of any capture file.
    #[error("'{file}' is not a capture file: it has only {length} bytes")]
    TooShort {
        /// Name as given.
        file: String,
        /// Its length in bytes.
        length: usize,
    },
    /// Compressed in a way that is not unpacked here.
    #[error("'{file}' is compressed with {method}: unpack it first")]
    Compressed {
        /// Name as given.
        file: String,
        /// The method's name.
        method: &'static str,
    },
    /// Something else.
    #[error("'{file}' is not a capture file: it begins with {begins:02x?} (expected pcap or pcapng)")]
    UnknownFormat {
        /// Name as given.
        file: String,
        /// Its first bytes.
        begins: [u8; 4],
    },
    /// A version of the format that nobody wrote yet when this was made.
    #[error("'{file}' has {format} version {version}, which is not known")]
    UnknownVersion {
        /// Name as given.
        file: String,
        /// `pcap`.
        format: &'static str,
        /// Major version.
        version: u16,
    },
}

/// A capture file that cannot be read further. Every record before this place was delivered.
#[derive(Debug)]
pub struct ReadError {
    /// Name as given.
    pub file: String,
    /// Number of the record that would have come, from 1.
    pub record: u64,
    /// Where in the file it begins, in bytes; of a compressed file, where in what was packed.
    pub offset: u64,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, record, offset, fault } = self;
        write!(f, "capture file '{file}' cannot be read beyond record {record} at byte {offset}: {fault}")
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::Io(error) | Fault::Packed(error) => Some(error),
            _ => None,
        }
    }
}

/// What is wrong at one place of a capture file.
#[derive(Debug, Error)]
pub enum Fault {
    /// The file ends inside a record or block.
    #[error("the file ends after {present} of {needed} bytes")]
    Cut {
        /// Bytes that the record or block has, as far as known.
        needed: usize,
        /// Bytes that there are.
        present: usize,
    },
    /// A length beyond what any writer writes.
    #[error("{what} of {length} bytes (at most {limit})")]
    TooLong {
        /// `a frame` or `a block`.
        what: &'static str,
        /// The length that the file says.
        length: u64,
        /// The bound.
        limit: usize,
    },
    /// A record or block that contradicts itself.
    #[error("{0}")]
    Damaged(&'static str),
    /// A packet that says it came from an interface that the section does not describe.
    #[error("a packet of interface {interface}, but only {described} are described")]
    UnknownInterface {
        /// The interface's number.
        interface: u32,
        /// How many there are.
        described: usize,
    },
    /// What is compressed cannot be unpacked further: it is cut or damaged.
    #[error("it cannot be unpacked: {0}")]
    Packed(io::Error),
    /// The system does not read further.
    #[error("{0}")]
    Io(#[from] io::Error),
}
