//! The protocols over TCP: one arm for each.

use crate::protocols::dns::DnsStream;
use crate::protocols::http1::Http1;
use crate::protocols::http2::Http2;
use crate::protocols::mysql::MySql;
use crate::protocols::postgresql::PostgreSql;
use crate::protocols::redis::Redis;
use crate::protocols::ssh::Ssh;
use crate::protocols::tls::Tls;
use crate::protocols::{Context, Guess, Next, Opening, Protocol, Side, StreamProtocol};

/// Declares the enum and the calls through it: `Arm(type)`, in the order in which they are asked whether a stream is theirs.
macro_rules! stream_analysers {
    ($($arm:ident($analyser:ty)),+ $(,)?) => {
        /// The analyser of a stream.
        #[derive(Debug)]
        pub(super) enum StreamAnalyser {
            $($arm(Box<$analyser>)),+
        }

        impl StreamAnalyser {
            /// A fresh analyser of `protocol`, if there is one.
            pub(super) fn of(protocol: Protocol) -> Option<Self> {
                $(if protocol == <$analyser>::PROTOCOL {
                    return Some(Self::$arm(Box::default()));
                })+
                None
            }

            /// A fresh analyser of the first protocol that a stream with this opening is of; or whether more bytes may tell.
            pub(super) fn recognise(opening: &Opening<'_>) -> Result<Self, Guess> {
                let mut guess = Guess::No;
                $(match <$analyser>::recognise(opening) {
                    Guess::Yes => return Ok(Self::$arm(Box::default())),
                    Guess::Perhaps => guess = Guess::Perhaps,
                    Guess::No => {}
                })+
                Err(guess)
            }

            /// Who of the two is the client, where `opening` says so.
            pub(super) fn client(&self, opening: &Opening<'_>) -> Option<Side> {
                match self {
                    $(Self::$arm(_) => <$analyser>::client(opening)),+
                }
            }

            pub(super) fn protocol(&self) -> Protocol {
                match self {
                    $(Self::$arm(_) => <$analyser>::PROTOCOL),+
                }
            }

            pub(super) fn data(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> Next {
                match self {
                    $(Self::$arm(analyser) => analyser.data(from, bytes, cx)),+
                }
            }

            #[inline]
            pub(super) fn passes(&mut self, from: Side, bytes: &[u8]) -> bool {
                match self {
                    $(Self::$arm(analyser) => analyser.passes(from, bytes)),+
                }
            }

            pub(super) fn gap(&mut self, from: Side, bytes: u64, cx: &mut Context<'_>) -> Next {
                match self {
                    $(Self::$arm(analyser) => analyser.gap(from, bytes, cx)),+
                }
            }

            pub(super) fn end(&mut self, from: Side, cx: &mut Context<'_>) {
                match self {
                    $(Self::$arm(analyser) => analyser.end(from, cx)),+
                }
            }

            /// Bytes that it keeps besides itself.
            #[inline]
            pub(super) fn kept(&self) -> usize {
                match self {
                    $(Self::$arm(analyser) => analyser.kept()),+
                }
            }

            pub(super) fn unused(&self) -> usize {
                match self {
                    $(Self::$arm(analyser) => analyser.unused()),+
                }
            }
        }
    };
}

stream_analysers! {
    Http1(Http1),
    Tls(Tls),
    Http2(Http2),
    Ssh(Ssh),
    MySql(MySql),
    PostgreSql(PostgreSql),
    Dns(DnsStream),
    Redis(Redis),
}
