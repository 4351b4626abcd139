//! Subjects that are no objects: files, and kinds as a whole.

use std::sync::Arc;

use portreeve_reports::{Finding, Subject, SubjectKey};

use super::Index;
use crate::cluster::feed::Change;
use crate::cluster::problem;
use crate::judge::secrets::EncryptedFile;

/// What is known of one.
#[derive(Debug)]
pub(super) struct Anchor {
    pub(super) problems: Vec<Finding>,
    pub(super) pass: Option<Finding>,
    /// The file as one that sops encrypted.
    pub(super) encrypted: Option<Arc<EncryptedFile>>,
}

impl Anchor {
    /// What could not be read, or that all was.
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        let pass = self.problems.is_empty().then(|| self.pass.clone()).flatten();
        self.problems.iter().cloned().chain(pass)
    }
}

impl Index {
    /// A file was read; `problems` are what of it could not be.
    pub fn file_read(&mut self, path: &str, problems: Vec<Finding>, encrypted: Option<Arc<EncryptedFile>>) -> Change {
        let subject = Subject::File { path: path.to_owned() };
        let key = subject.key();
        if problems.is_empty() {
            self.unread.remove(&key);
        } else {
            self.unread.insert(key.clone());
        }
        self.anchor(key.clone(), Anchor { problems, pass: problem::readable(subject), encrypted });
        Change { subjects: [key].into(), ..Change::default() }
    }

    /// A file is gone.
    pub fn file_gone(&mut self, path: &str) -> Change {
        let key = Subject::File { path: path.to_owned() }.key();
        self.anchors.remove(&key);
        self.unread.remove(&key);
        Change { subjects: [key].into(), ..Change::default() }
    }

    pub(super) fn anchor(&mut self, key: SubjectKey, anchor: Anchor) {
        self.anchors.insert(key, anchor);
    }
}
