//! Versions of the protocol.

pub(crate) const SSL_3_0: u16 = 0x0300;
pub(crate) const TLS_1_2: u16 = 0x0303;
pub(crate) const TLS_1_3: u16 = 0x0304;

/// Whether a number is that of 1.3, or of one of its drafts (0x7f in front).
pub(crate) const fn is_1_3(version: u16) -> bool {
    version == TLS_1_3 || version >> 8 == 0x7f
}

/// The name as EVE has it.
pub(crate) fn name(version: u16) -> String {
    let known = match version {
        0 => "UNDETERMINED",
        0x0002 | 0x0200 => "SSLv2",
        SSL_3_0 => "SSLv3",
        0x0301 => "TLSv1",
        0x0302 => "TLS 1.1",
        TLS_1_2 => "TLS 1.2",
        TLS_1_3 => "TLS 1.3",
        0x7f00..=0x7fff => return format!("TLS 1.3 draft-{:02}", version & 0xff),
        _ => return format!("0x{version:04x}"),
    };
    known.to_owned()
}
