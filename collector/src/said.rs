//! What the program says to people, for tests that look at it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

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
    let said = Said::default();
    let writer = said.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let result = tracing::subscriber::with_default(subscriber, run);
    (result, said.text())
}
