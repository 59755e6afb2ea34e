//! The keys of the terminal, read by a thread of their own.
//!
//! Reading them can take for ever: crossterm waits for the rest of an escape sequence that never comes (Alt-[ begins one). The
//! session must not.

use std::fs::File;
use std::io::{self, IsTerminal as _, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::jobs::has_terminal;
use crate::session::Input;

/// Events that may wait for the session; when it does not take them the reading waits.
const QUEUE: usize = 64;
/// How often to look whether the size of the terminal changed, which no descriptor of ours tells.
const RESIZE_CHECK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long crossterm may wait for an event that should be there. With no time at all it does not even look (`use-dev-tty`, which
/// we need: without it a key that comes together with a new size is forgotten until the next one).
const READY: Duration = Duration::from_millis(1);
/// How often to look whether the terminal is ours again.
const BACKGROUND_CHECK: Duration = Duration::from_millis(100);
/// How long leaving waits for the thread; one that waits for the rest of an escape sequence ends with the next key.
const FAREWELL: Duration = Duration::from_millis(250);

/// The thread's other end.
pub(crate) struct Keyboard {
    events: Option<Receiver<io::Result<Event>>>,
    /// Nothing is ever written to it: its end tells the thread to stop.
    leave: Option<PipeWriter>,
    /// Nothing is ever sent on it: it hangs up when the thread ends.
    ended: Receiver<()>,
}

impl Keyboard {
    /// Starts reading the terminal of this process.
    pub(crate) fn start() -> io::Result<Self> {
        let terminal = if io::stdin().is_terminal() { None } else { Some(File::open("/dev/tty")?) };
        let (left, leave) = io::pipe()?;
        let (sender, events) = sync_channel(QUEUE);
        let (alive, ended) = sync_channel(0);
        std::thread::Builder::new().name("tui-keyboard".into()).spawn(move || {
            let _alive: SyncSender<()> = alive;
            let stdin = io::stdin();
            let terminal = terminal.as_ref().map_or_else(|| stdin.as_fd(), AsFd::as_fd);
            if let Err(error) = read(terminal, left.as_fd(), &sender) {
                // If nobody listens any more nobody needs to know.
                let _ = sender.send(Err(error));
            }
        })?;
        Ok(Self { events: Some(events), leave: Some(leave), ended })
    }
}

impl Input for Keyboard {
    fn next(&mut self, timeout: Duration) -> io::Result<Option<Event>> {
        let gone = || io::Error::other("its reader ended");
        match self.events.as_ref().ok_or_else(gone)?.recv_timeout(timeout) {
            Ok(event) => event.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        (self.events, self.leave) = (None, None);
        // The outcome is the same either way: the thread ended, or ends later.
        let _ = self.ended.recv_timeout(FAREWELL);
    }
}

/// The thread: passes events on until nobody wants them.
fn read(terminal: BorrowedFd<'_>, left: BorrowedFd<'_>, events: &SyncSender<io::Result<Event>>) -> io::Result<()> {
    loop {
        let mut descriptors =
            [PollFd::from_borrowed_fd(terminal, PollFlags::IN), PollFd::from_borrowed_fd(left, PollFlags::IN)];
        match poll(&mut descriptors, Some(&RESIZE_CHECK)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [happened, left] = descriptors.map(|descriptor| descriptor.revents());
        if !left.is_empty() {
            return Ok(());
        }
        if happened.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has hung up"));
        }
        // What is typed while another job has the terminal is for that one. `poll` does not wait while it is unread.
        if !has_terminal(terminal) {
            std::thread::sleep(BACKGROUND_CHECK);
            continue;
        }
        while event::poll(READY)? {
            if events.send(Ok(event::read()?)).is_err() {
                return Ok(());
            }
        }
    }
}
