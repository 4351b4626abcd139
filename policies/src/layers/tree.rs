//! The files of an image: what its layers come to, one over the other (OCI image-spec, layer.md). Links are followed
//! inside the image only, as a runtime does that unpacks it; a name that leads out of it is an oddity.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// Most links on the way to a file (`ELOOP`).
const HOPS: usize = 40;
/// Most links on the way to where a runtime puts a file: containerd follows them itself, and follows more.
const PLACING_HOPS: usize = 255;
/// Most names on the way to a file, those of links included. Placing has a bound for all files together.
const STEPS: usize = 1024;
/// Bytes that an entry costs beside its name.
pub(super) const ENTRY_BYTES: usize = 160;
/// Most oddities of a kind that are told; all are counted.
const TOLD: usize = 100;

/// A path in the image, without a slash in front: its bytes, because names need not be text.
pub type Path = Box<[u8]>;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Link(Path),
    /// A device.
    Device,
    /// A named pipe.
    Pipe,
}

/// A file of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The layer that it is from, 0 is the lowest.
    pub layer: usize,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Bytes of content.
    pub size: u64,
    /// Whether it has file capabilities.
    pub has_capabilities: bool,
    /// What it is.
    pub node: Node,
    /// Its content, where it was kept.
    pub content: Option<Arc<[u8]>>,
}

impl Entry {
    /// Whether this user may do what these bits say (4 read, 2 write, 1 execute), as far as modes tell.
    pub fn lets(&self, (uid, gid): (u64, u64), bits: u32) -> bool {
        let shift = if uid == self.uid { 6 } else { 3 * u32::from(gid == self.gid) };
        uid == 0 || (self.mode >> shift) & bits == bits
    }
}

/// What does not belong into a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// A name that leads out of the image.
    Escape,
    /// A name that begins at the root, which some take for that of the machine.
    Absolute,
    /// A device.
    Device,
    /// A name through more links than a system follows, or through a circle of them.
    Circle,
    /// Another name of a file that no layer has.
    DeadLink,
}

/// The files of an image.
#[derive(Debug, Default)]
pub struct Tree {
    entries: BTreeMap<Path, Entry>,
    layer: usize,
    oddities: Vec<(Oddity, usize, Path)>,
    /// How many there are of each kind. Each kind is told for itself, so that many of one hide none of another.
    odd: BTreeMap<Oddity, usize>,
    /// The folder of the entry before and where it is: most entries are in it, too.
    parent: Option<(Path, Path)>,
    /// Whiteouts of this layer: one that comes again hides nothing more.
    hidden: BTreeSet<Whiteout>,
    /// Bytes of all entries that were ever put here.
    bytes: usize,
    /// Names that were looked up to put them here.
    steps: usize,
}

/// What is above the root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above {
    /// For who unpacks a layer: the machine.
    Escapes,
    /// For who runs in the image: the root.
    IsRoot,
}

/// How far is gone.
#[derive(Clone, Copy)]
struct Most {
    hops: usize,
    steps: usize,
}

const READING: Most = Most { hops: HOPS, steps: STEPS };
const PLACING: Most = Most { hops: PLACING_HOPS, steps: usize::MAX };

/// How a name is hidden.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whiteout {
    /// This path of the layers below.
    One(Path),
    /// Everything of the layers below in this folder.
    Folder(Path),
    /// No path at all.
    Escape,
}

/// The whiteout that a path of a layer is.
pub(super) fn whiteout(path: &[u8]) -> Option<Whiteout> {
    let (folder, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&path[..0], path),
    };
    let hidden = name.strip_prefix(b".wh.")?;
    Some(match hidden {
        b".wh..opq" => Whiteout::Folder(folder.into()),
        // Kept by AUFS for itself.
        hidden if hidden.starts_with(b".wh.") => return None,
        b"" | b"." | b".." => Whiteout::Escape,
        hidden => Whiteout::One(joined(folder, hidden)),
    })
}

impl Tree {
    pub(super) fn begin_layer(&mut self, layer: usize) {
        self.layer = layer;
        self.parent = None;
        self.hidden.clear();
    }

    /// Bytes of all entries that were ever put here, with their names.
    pub(super) fn table_bytes(&self) -> usize {
        self.bytes
    }

    /// Names that were looked up to put all entries here.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Notes what does not belong into a layer.
    pub(super) fn odd(&mut self, oddity: Oddity, name: &[u8]) {
        let count = self.odd.entry(oddity).or_default();
        *count += 1;
        if *count <= TOLD {
            self.oddities.push((oddity, self.layer, name.into()));
        }
    }

    /// Where an entry of this name goes; `None` for the root itself and for what goes nowhere. What leads out of the
    /// image is told, and goes where runtimes put it that do not refuse it: their root is the top.
    pub(super) fn place(&mut self, name: &[u8]) -> Option<Path> {
        if name.starts_with(b"/") {
            self.odd(Oddity::Absolute, name);
        }
        let mut plain: Vec<&[u8]> = Vec::new();
        let mut leads_out = false;
        for component in components(name) {
            match component {
                b".." => {
                    leads_out = true;
                    plain.pop();
                }
                component => plain.push(component),
            }
        }
        if leads_out {
            self.odd(Oddity::Escape, name);
        }
        let (last, folders) = plain.split_last()?;
        let folder = folders.join(&b'/');
        match &self.parent {
            Some((known, at)) if **known == *folder => return Some(joined(at, last)),
            _ => {}
        }
        let (at, escapes) = self.resolve_in(&folder, true, name, leads_out)?;
        // Who comes by the same way out is told, too.
        self.parent = (!escapes).then(|| (folder.into(), at.clone()));
        Some(joined(&at, last))
    }

    /// Where a path leads and whether it led out of the image; what is odd about it is told, unless it is already.
    fn resolve_in(&mut self, path: &[u8], follow_last: bool, name: &[u8], is_told: bool) -> Option<(Path, bool)> {
        let mut steps = 0;
        let mut found = self.walk(path, follow_last, (Above::Escapes, PLACING), &mut steps);
        let odd = found.as_ref().err().copied();
        if odd == Some(Oddity::Escape) {
            found = self.walk(path, follow_last, (Above::IsRoot, PLACING), &mut steps);
        }
        self.steps += steps;
        if let Some(oddity) = odd.filter(|oddity| *oddity != Oddity::Escape || !is_told) {
            self.odd(oddity, name);
        }
        found.ok().map(|at| (at, odd.is_some()))
    }

    /// Lays an entry over what is there.
    pub(super) fn put(&mut self, path: Path, mut entry: Entry) {
        // A folder over a folder is the same folder with other attributes; all else takes its place.
        self.make_way(&path, entry.node != Node::Directory);
        let before = self.entries.get(&path).map(|before| &before.node);
        if matches!(entry.node, Node::Link(_)) || matches!(before, Some(Node::Link(_) | Node::Directory)) {
            self.parent = None;
        }
        entry.layer = self.layer;
        let target = if let Node::Link(target) = &entry.node { target.len() } else { 0 };
        self.bytes += ENTRY_BYTES + path.len() + target;
        self.entries.insert(path, entry);
    }

    pub(super) fn hard_link(&mut self, path: &[u8], target: &[u8], name: &[u8]) {
        let leads_out = components(target).any(|component| component == b"..");
        if leads_out {
            self.odd(Oddity::Escape, name);
        }
        let Some((at, _)) = self.resolve_in(target, false, name, leads_out) else { return };
        match self.entries.get(&at) {
            Some(entry) if entry.node != Node::Directory => self.put(path.into(), entry.clone()),
            _ => self.odd(Oddity::DeadLink, name),
        }
    }

    /// Hides what the layers below have; what is of this layer stays, in whatever order they come.
    pub(super) fn white_out(&mut self, whiteout: Whiteout, name: &[u8]) {
        if self.hidden.contains(&whiteout) {
            return;
        }
        match &whiteout {
            Whiteout::One(path) => {
                self.remove_below(path);
                if self.entries.get(path).is_some_and(|entry| entry.layer < self.layer) {
                    self.entries.remove(path);
                }
            }
            Whiteout::Folder(folder) => self.remove_below(folder),
            Whiteout::Escape => self.odd(Oddity::Escape, name),
        }
        self.parent = None;
        self.bytes += ENTRY_BYTES + name.len();
        self.hidden.insert(whiteout);
    }

    fn remove_below(&mut self, folder: &[u8]) {
        let hidden = self.below(folder).filter(|(_, entry)| entry.layer < self.layer);
        let hidden: Vec<Path> = hidden.map(|(path, _)| path.into()).collect();
        for path in hidden {
            self.entries.remove(&path);
        }
    }

    /// Folders on the way that a layer leaves out are there all the same, and what is no folder gives way to one.
    fn make_way(&mut self, path: &[u8], is_leaf: bool) {
        for at in path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at) {
            let folder = &path[..at];
            self.steps += 1;
            if !self.entries.get(folder).is_some_and(|entry| entry.node == Node::Directory) {
                self.bytes += ENTRY_BYTES + folder.len();
                self.entries.insert(folder.into(), Entry::folder(self.layer));
            }
        }
        if is_leaf && self.entries.get(path).is_some_and(|entry| entry.node == Node::Directory) {
            let gone: Vec<Path> = self.below(path).map(|(path, _)| path.into()).collect();
            for path in gone {
                self.entries.remove(&path);
            }
        }
    }

    /// Everything in a folder, in whatever depth.
    pub fn below(&self, folder: &[u8]) -> impl Iterator<Item = (&[u8], &Entry)> {
        let mut start = folder.to_vec();
        if !start.is_empty() {
            start.push(b'/');
        }
        let mut end = start.clone();
        let until = match end.last_mut() {
            Some(slash) => {
                *slash += 1;
                Bound::Excluded(end.as_slice())
            }
            None => Bound::Unbounded,
        };
        let range = self.entries.range::<[u8], _>((Bound::Included(start.as_slice()), until));
        range.map(|(path, entry)| (&**path, entry)).collect::<Vec<_>>().into_iter()
    }

    /// All files, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.entries.iter().map(|(path, entry)| (&**path, entry))
    }

    /// What is at a path itself.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path.trim_start_matches('/').as_bytes())
    }

    /// The same for a path that need not be text, as the layers have it.
    pub fn entry_bytes(&self, path: &[u8]) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// What a path leads to, and where that is.
    pub fn get(&self, path: &str) -> Option<(Path, &Entry)> {
        self.get_bytes(path.as_bytes())
    }

    /// The same for a path that need not be text.
    pub fn get_bytes(&self, path: &[u8]) -> Option<(Path, &Entry)> {
        let at = self.walk(path, true, (Above::IsRoot, READING), &mut 0).ok()?;
        self.entries.get(&at).map(|entry| (at, entry))
    }

    /// Whether this user can reach what a path leads to and may do so much with it.
    pub fn lets(&self, path: &[u8], user: (u64, u64), bits: u32) -> bool {
        let Some((at, entry)) = self.get_bytes(path) else { return false };
        let folders = at.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &at[..end]);
        entry.lets(user, bits) && folders.filter_map(|folder| self.entries.get(folder)).all(|f| f.lets(user, 1))
    }

    /// What does not belong into a layer, of these kinds: what it is, the layer, the name as written; and how many are
    /// not told, none where none is told.
    pub fn oddities(&self, kinds: &[Oddity]) -> (Vec<&(Oddity, usize, Path)>, usize) {
        let told: Vec<_> = self.oddities.iter().filter(|(oddity, ..)| kinds.contains(oddity)).collect();
        let all: usize = kinds.iter().filter_map(|kind| self.odd.get(kind)).sum();
        let untold = all - told.len();
        (told, untold)
    }

    /// Where a path leads, links on the way followed, the last one only where `follow_last`.
    fn walk(
        &self,
        path: &[u8],
        follow_last: bool,
        (above, most): (Above, Most),
        steps: &mut usize,
    ) -> Result<Path, Oddity> {
        let mut todo: Vec<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
        todo.reverse();
        let mut at: Vec<u8> = Vec::new();
        let mut hops = 0;
        let last_step = steps.saturating_add(most.steps);
        while let Some(component) = todo.pop() {
            *steps += 1;
            if *steps > last_step {
                return Err(Oddity::Circle);
            }
            if component == b".." {
                if at.is_empty() && above == Above::Escapes {
                    return Err(Oddity::Escape);
                }
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            let next = joined(&at, &component);
            match self.entries.get(&next).map(|entry| &entry.node) {
                Some(Node::Link(target)) if follow_last || !todo.is_empty() => {
                    hops += 1;
                    if hops > most.hops {
                        return Err(Oddity::Circle);
                    }
                    if target.starts_with(b"/") {
                        at.clear();
                    }
                    todo.extend(components(target).map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter().rev());
                }
                _ => at = next.into(),
            }
        }
        Ok(at.into())
    }
}

impl Entry {
    /// A folder that no layer describes.
    fn folder(layer: usize) -> Self {
        let node = Node::Directory;
        Self { layer, mode: 0o755, uid: 0, gid: 0, size: 0, has_capabilities: false, node, content: None }
    }
}

/// How deep a name lies.
pub(super) fn depth(name: &[u8]) -> usize {
    components(name).count()
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|component| !component.is_empty() && *component != b".")
}

fn joined(folder: &[u8], name: &[u8]) -> Path {
    if folder.is_empty() { name.into() } else { [folder, b"/", name].concat().into() }
}
