//! Alerts in clear (RFC 8446 section 6).

use super::super::Side;
use crate::json::JsonObject;

/// An alert and who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) from_client: bool,
    is_fatal: bool,
    code: u8,
}

impl Alert {
    /// Reads the payload of an alert's record; an encrypted one is longer.
    pub(crate) fn read(payload: [u8; 2], from: Side, client: Side) -> Option<Self> {
        let [level @ 1..=2, code] = payload else {
            return None;
        };
        Some(Self { from_client: from == client, is_fatal: level == 2, code })
    }

    /// Whether the connection is over: it is fatal, or `close_notify`.
    pub(crate) const fn ends(self) -> bool {
        self.is_fatal || self.code == 0
    }

    pub(crate) fn write(self, json: &mut JsonObject<'_>) {
        json.object("alert", |json| {
            json.text("from", if self.from_client { "client" } else { "server" });
            json.text("level", if self.is_fatal { "fatal" } else { "warning" });
            json.number("code", self.code);
            if let Some(description) = description(self.code) {
                json.text("description", description);
            }
        });
    }
}

/// IANA, "TLS Alerts".
const fn description(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return None,
    })
}
