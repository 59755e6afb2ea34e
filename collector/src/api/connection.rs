//! One connection of the API: HTTP/1 with bounds on what a client may send and how long it may take.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Sleep;

use crate::follow::{STALL_TIMEOUT, notice_when_gone};

/// The most header lines of a request.
const MAX_HEADERS: usize = 64;

/// What one client may make the API hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// The most bytes of a request head.
    pub(crate) head_bytes: usize,
    /// A request head is read whole within this time, counted from the connection or from the answer before.
    pub(crate) head_timeout: Duration,
    /// An answer of which a client takes nothing for so long is given up.
    pub(crate) stall_timeout: Duration,
}

impl Limits {
    /// What the program runs with.
    pub(super) const DEFAULT: Self = Self {
        connections: 64,
        head_bytes: 16 * 1024,
        head_timeout: Duration::from_secs(10),
        stall_timeout: Duration::from_secs(10),
    };
}

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: application/json\r\ncontent-length: 34\r\n\r\n{\"error\":\"too many connections\"}\r\n";

/// Who is at the other end of a connection; an extension of each of its requests.
#[derive(Clone, Debug)]
pub(super) struct Client {
    address: SocketAddr,
    follows: Arc<AtomicBool>,
    drain: Drain,
}

impl Client {
    /// Its address.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// It takes an answer that goes on as long as the client wants, so it may also pause for longer.
    pub(super) fn follows(&self) {
        self.follows.store(true, Ordering::Relaxed);
    }

    /// Where an answer asks whether all that it gave has been written.
    pub(super) fn drain(&self) -> Drain {
        self.drain.clone()
    }
}

/// Whether what was given of an answer has left for the client. An answer that fails asks first: hyper throws away what it
/// has not written yet when a body fails, and that may be the whole answer, its head too.
#[derive(Clone, Debug, Default)]
pub(super) struct Drain(Arc<AtomicBool>);

impl Drain {
    /// Asks once more, with [`Poll::Pending`] as the body's next answer: hyper then writes.
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// All that was given before [`Drain::ask`] has been written.
    pub(super) fn is_done(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }

    /// hyper flushes a stream when nothing waits to be written to it.
    fn flushed(&self, cx: &Context<'_>) {
        if self.0.swap(false, Ordering::Relaxed) {
            // The body is polled by the task that serves its connection.
            cx.waker().wake_by_ref();
        }
    }
}

/// Serves requests on `stream`, which comes from `address`, until the client leaves, misbehaves, or `stopped` turns true.
pub(crate) async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    notice_when_gone(&stream);
    let client = Client { address, follows: Arc::default(), drain: Drain::default() };
    let (follows, drain) = (Arc::clone(&client.follows), client.drain());
    let router = router.layer(Extension(client));
    let io = TokioIo::new(ImpatientStream { stream, stall_timeout: limits.stall_timeout, follows, stall: None, drain });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes)
        .max_headers(MAX_HEADERS)
        .serve_connection(io, TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { let _ = stopped.wait_for(|stopped| *stopped).await; } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("an API connection ended: {error}");
    }
}

/// Tells a client that there are too many, as far as its socket takes it at once, and closes.
pub(super) fn refuse(stream: &TcpStream) {
    if let Err(error) = stream.try_write(BUSY) {
        tracing::debug!("cannot tell an API client that there are too many connections: {error}");
    }
}

/// A stream on which a write that makes no progress for `stall_timeout` fails.
struct ImpatientStream {
    stream: TcpStream,
    stall_timeout: Duration,
    /// Whether [`STALL_TIMEOUT`] goes instead.
    follows: Arc<AtomicBool>,
    /// Runs while a write waits for the client.
    stall: Option<Pin<Box<Sleep>>>,
    drain: Drain,
}

impl ImpatientStream {
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let timeout = if self.follows.load(Ordering::Relaxed) { STALL_TIMEOUT } else { self.stall_timeout };
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take the answer")))
    }
}

impl AsyncRead for ImpatientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for ImpatientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.drain.flushed(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
