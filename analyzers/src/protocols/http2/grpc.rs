//! gRPC: what it adds to a stream of HTTP/2. Messages are counted, not looked at.

use super::fields::{HeaderFields, Name};
use crate::json::JsonObject;
use crate::protocols::Side;
use crate::protocols::http_event::{clip, number};

/// One call.
#[derive(Debug, Default)]
pub(super) struct Grpc {
    /// `/package.Service/Method`.
    path: Vec<u8>,
    status: Option<u64>,
    message: Vec<u8>,
    /// By [`Side::index`].
    messages: [Messages; 2],
}

/// The messages of one side: a byte for compression, four for the length, and so many bytes, again and again.
#[derive(Debug, Default)]
struct Messages {
    count: u64,
    prefix: [u8; 5],
    filled: usize,
    left: u64,
    /// Bytes are missing: where messages begin is not known.
    lost: bool,
}

impl Grpc {
    pub(super) fn new(path: Option<&[u8]>) -> Self {
        Self { path: clip(path.unwrap_or_default()).to_vec(), ..Self::default() }
    }

    /// Takes what the server says at the end, or at once where the call fails.
    pub(super) fn outcome(&mut self, fields: &HeaderFields) {
        self.status = self.status.or_else(|| fields.get(Name::GrpcStatus).and_then(number));
        if let Some(message) = fields.get(Name::GrpcMessage) {
            self.message = message.to_vec();
        }
    }

    pub(super) fn data(&mut self, from: Side, bytes: &[u8]) {
        self.messages[from.index()].read(bytes);
    }

    pub(super) fn gap(&mut self, from: Side, bytes: u64) {
        let messages = &mut self.messages[from.index()];
        match messages.left.checked_sub(bytes) {
            Some(left) => messages.left = left,
            None => messages.lost = true,
        }
    }

    /// Frames of that side may be missing, and where messages begin is not known then.
    pub(super) fn lose(&mut self, from: Side) {
        self.messages[from.index()].lost = true;
    }

    /// Memory that this takes, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.path.len() + self.message.len()
    }

    pub(super) fn write(&self, client: Side, json: &mut JsonObject<'_>) {
        json.object("grpc", |json| {
            let mut parts = self.path.strip_prefix(b"/").unwrap_or_default().rsplitn(2, |byte| *byte == b'/');
            if let (Some(method), Some(service)) = (parts.next(), parts.next()) {
                json.text("service", service);
                json.text("method", method);
            }
            if let Some(status) = self.status {
                json.number("status", status);
            }
            if !self.message.is_empty() {
                json.text("message", &self.message);
            }
            json.number("request_messages", self.messages[client.index()].count);
            json.number("response_messages", self.messages[client.other().index()].count);
        });
    }
}

impl Messages {
    fn read(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.lost {
            let used;
            if self.left > 0 {
                used = usize::try_from(self.left).map_or(rest.len(), |left| left.min(rest.len()));
                self.left -= used as u64;
            } else {
                used = rest.len().min(self.prefix.len() - self.filled);
                self.prefix[self.filled..self.filled + used].copy_from_slice(&rest[..used]);
                self.filled += used;
                if self.filled == self.prefix.len() {
                    let [_, length @ ..] = self.prefix;
                    self.left = u64::from(u32::from_be_bytes(length));
                    self.filled = 0;
                    self.count += 1;
                }
            }
            rest = &rest[used..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Messages;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let bytes = b"\0\0\0\0\x03abc\0\0\0\0\0\x01\0\0\0\x01x";
        for size in 1..=bytes.len() {
            let mut messages = Messages::default();
            bytes.chunks(size).for_each(|piece| messages.read(piece));
            assert_eq!((messages.count, messages.left, messages.filled), (3, 0, 0), "pieces of {size}");
        }
    }
}
