//! What is wrong with keeping captures now: each kind of trouble from when it shows until it is known to be over.

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The directory, its lock or its list is not to be had.
    Directory,
    /// The list cannot be written.
    List,
    /// The link to the newest file cannot be set.
    Link,
    /// A new file cannot be taken into the list.
    Tracking,
    /// A file cannot be looked at.
    Look,
    /// A file cannot be deleted.
    Deletion,
    /// Nobody says how much is free.
    Space,
    /// A file could not be compressed.
    Compression,
    /// A file of a killed collector could not be made whole.
    Torn,
    /// The last hook failed.
    Hook,
}

/// Troubles that are not over, one of each kind; the one that came last is at the end.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    present: Vec<Present>,
}

#[derive(Debug)]
struct Present {
    trouble: Trouble,
    /// The file without which the trouble is over.
    file: Option<String>,
    text: String,
}

impl Troubles {
    /// There is `trouble`, as `text` says.
    pub(super) fn begin(&mut self, trouble: Trouble, text: String) {
        self.end(trouble);
        self.present.push(Present { trouble, file: None, text });
    }

    /// There is `trouble` with `file`, over at the latest when that is gone.
    pub(super) fn begin_with(&mut self, file: &str, trouble: Trouble, text: String) {
        self.end(trouble);
        self.present.push(Present { trouble, file: Some(file.to_owned()), text });
    }

    /// There is no such trouble any more.
    pub(super) fn end(&mut self, trouble: Trouble) {
        self.present.retain(|present| present.trouble != trouble);
    }

    /// `file` is not kept any more.
    pub(super) fn forget(&mut self, file: &str) {
        self.present.retain(|present| present.file.as_deref() != Some(file));
    }

    /// What the one that came last is.
    pub(super) fn last(&self) -> Option<&str> {
        self.present.last().map(|present| present.text.as_str())
    }
}
