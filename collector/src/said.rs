//! What the program says to people, for tests that look at it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once};

/// Keeps what is written; all clones of one keep it together.
#[derive(Clone, Default)]
pub(crate) struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// All that was written.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `run` gives, and what was said on its thread meanwhile.
pub(crate) fn said_during<T>(run: impl FnOnce() -> T) -> (T, String) {
    // Where nobody listens, a line is noted as unwanted for all threads when it is first come by, and one that comes by it in the very moment in
    // which this thread begins to listen could note that too late. Somebody who always listens leaves no such line.
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| drop(tracing::subscriber::set_global_default(tracing_subscriber::registry())));
    let said = Said::default();
    let writer = said.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let result = tracing::subscriber::with_default(subscriber, run);
    (result, said.text())
}
