//! Files by the names that programs read them by: their own, and those that links give them.

use portreeve_reports::Cause;

use super::{Answer, Case};
use crate::image_contract::codes::READABLE;
use crate::layers::tree::{Entry, Node, Path, Tree};

/// Most files of linked folders that are looked at for a question.
const LINKED: usize = 100_000;

/// What is looked for.
pub(super) struct Wanted {
    /// Whether programs read a file of this name.
    pub(super) is_read: fn(&str) -> bool,
    /// Whether they read files in a folder of this name.
    pub(super) is_searched: fn(&str) -> bool,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found<'a> {
    /// Names with the files behind them.
    pub(super) texts: Vec<(String, &'a Entry, String)>,
    /// What keeps these from being all.
    pub(super) unread: Option<Answer>,
    /// Names of linked folders that are still to be looked into.
    folders: Vec<(String, Path)>,
}

/// The texts of all files that programs read by such names. A link is as good as a file, and a linked folder as one.
pub(super) fn named<'a>(case: &Case<'a>, wanted: &Wanted) -> Found<'a> {
    let tree = &case.image.tree;
    let mut found = Found::default();
    for (path, entry) in tree.iter() {
        found.entry(case, wanted, path, entry);
    }
    let mut left = LINKED;
    while let Some((name, folder)) = found.folders.pop() {
        for (path, entry) in tree.below(&folder) {
            if left == 0 {
                let message = format!("linked folders have more than {LINKED} files");
                found.unread = Some(Answer::unknown(&READABLE, Cause::TooLarge, message));
                return found;
            }
            left -= 1;
            let rest = path.strip_prefix(&*folder).unwrap_or(path);
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            found.entry(case, wanted, &[name.as_bytes(), b"/", rest].concat(), entry);
        }
    }
    found
}

impl<'a> Found<'a> {
    /// What is at a path, or at one that leads through a linked folder.
    fn entry(&mut self, case: &Case<'a>, wanted: &Wanted, name: &[u8], entry: &'a Entry) {
        let Ok(name) = std::str::from_utf8(name) else { return };
        match &entry.node {
            Node::File if (wanted.is_read)(name) => match case.content(name, entry) {
                Ok(text) => self.texts.push((name.to_owned(), entry, text)),
                Err(answer) => self.unread = Some(answer),
            },
            Node::Link(_) => self.link(&case.image.tree, wanted, name),
            _ => {}
        }
    }

    fn link(&mut self, tree: &'a Tree, wanted: &Wanted, name: &str) {
        let (is_read, is_searched) = ((wanted.is_read)(name), (wanted.is_searched)(name));
        if !is_read && !is_searched {
            return;
        }
        let unread = |what: &str| Some(Answer::unknown(&READABLE, Cause::Unreadable, format!("/{name} {what}")));
        match tree.get(name) {
            Some((at, entry)) if entry.node == Node::Directory && is_searched => {
                self.folders.push((name.to_owned(), at));
            }
            Some((at, entry)) if entry.node == Node::File && is_read => match entry.content.as_deref() {
                Some(text) => self.texts.push((name.to_owned(), entry, String::from_utf8_lossy(text).into_owned())),
                None => {
                    let at = String::from_utf8_lossy(&at);
                    self.unread = unread(&format!("is a link to /{at}, whose content is not kept"));
                }
            },
            Some(_) => {}
            None => self.unread = unread("is a link to what is not in the image"),
        }
    }
}

#[cfg(test)]
mod tests;
