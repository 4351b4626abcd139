//! From tree to tree, with the MAC over all of it.
//!
//! The MAC is SHA-512 over the leaves in document order, without separators; comments and nulls are not in it. The
//! data that is authenticated with a value is the path of its keys, `a:b:`; items of a list share that of the list.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha512};

use super::cipher::{Cipher, Decrypted, Problem, Sealed, type_of};
use super::error::{Error, Kind};
use super::seal::{Nonces, Stash};
use super::secret::SecretBytes;
use super::select::{Rule, Scope, Selection};
use super::tree::{Branch, Comment, Item, Member, Value};

/// What a MAC over encrypted values only begins with, so that it is never one over all values: SHA-256 of `sops`.
const ENCRYPTED_ONLY: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Keys on the way to a value, as they are authenticated.
#[derive(Default)]
struct Path(String);

impl Path {
    fn push(&mut self, key: &str) -> usize {
        let length = self.0.len();
        self.0.push_str(key);
        self.0.push(':');
        length
    }

    fn pop(&mut self, length: usize) {
        self.0.truncate(length);
    }

    fn aad(&self) -> &[u8] {
        if self.0.is_empty() { b":" } else { self.0.as_bytes() }
    }

    /// For a message.
    fn shown(&self) -> String {
        let path = self.0.strip_suffix(':').unwrap_or(&self.0);
        if path.is_empty() { "the top of the document".to_owned() } else { portreeve_reports::source::shown(path) }
    }
}

struct Mac {
    hash: Sha512,
    encrypted_only: bool,
}

impl Mac {
    fn new(selection: &Selection) -> Self {
        let mut hash = Sha512::new();
        if selection.mac_only_encrypted {
            hash.update(ENCRYPTED_ONLY);
        }
        Self { hash, encrypted_only: selection.mac_only_encrypted }
    }

    fn add(&mut self, plain: &SecretBytes, is_encrypted: bool) {
        if is_encrypted || !self.encrypted_only {
            self.hash.update(plain.expose());
        }
    }

    fn finish(self) -> SecretBytes {
        let mut text = String::with_capacity(128);
        for byte in self.hash.finalize() {
            // Writing to a string does not fail.
            let _always = write!(text, "{byte:02X}");
        }
        SecretBytes::new(text.into_bytes())
    }
}

/// The decrypted documents, and the MAC over them.
pub(crate) fn decrypt(
    branches: &[Branch],
    selection: &Selection,
    cipher: &Cipher,
    stash: Option<&mut Stash>,
) -> Result<(Vec<Branch>, SecretBytes), Error> {
    let mut walk = Decrypting { selection, cipher, stash, mac: Mac::new(selection), path: Path::default() };
    let plain = branches.iter().map(|branch| walk.map(branch, selection.top())).collect::<Result<_, _>>()?;
    Ok((plain, walk.mac.finish()))
}

struct Decrypting<'a> {
    selection: &'a Selection,
    cipher: &'a Cipher,
    stash: Option<&'a mut Stash>,
    mac: Mac,
    path: Path,
}

impl Decrypting<'_> {
    fn map(&mut self, members: &[Member], mut scope: Scope) -> Result<Branch, Error> {
        let mut plain = Vec::with_capacity(members.len());
        for member in members {
            plain.push(match member {
                Member::Comment(comment) => Member::Comment(self.comment(comment, &mut scope)),
                Member::Pair(key, value) => {
                    let inner = self.selection.below(&scope, key);
                    let length = self.path.push(key);
                    let value = match self.value(value, inner)? {
                        Decrypted::Value(value) => value,
                        Decrypted::Comment(_) => return Err(self.misplaced()),
                    };
                    self.path.pop(length);
                    Selection::after_value(&mut scope);
                    Member::Pair(key.clone(), value)
                }
            });
        }
        Ok(plain)
    }

    /// A value that says of itself that it is a comment would be left out of the MAC.
    fn misplaced(&self) -> Error {
        Error::new(
            Kind::MacMismatch,
            format!("{}: a value whose type was changed to that of a comment", self.path.shown()),
        )
    }

    fn list(&mut self, items: &[Item], mut scope: Scope) -> Result<Vec<Item>, Error> {
        let mut plain = Vec::with_capacity(items.len());
        for item in items {
            plain.push(match item {
                Item::Comment(comment) => Item::Comment(self.comment(comment, &mut scope)),
                Item::Value(value) => {
                    let value = self.value(value, self.selection.inside(&scope))?;
                    Selection::after_value(&mut scope);
                    match value {
                        Decrypted::Value(value) => Item::Value(value),
                        // An encrypted comment of a list is written as an item.
                        Decrypted::Comment(text) => Item::Comment(Comment { text, inline: false }),
                    }
                }
            });
        }
        Ok(plain)
    }

    /// Comments that do not decrypt were clear when the file was written, as old versions of sops did.
    fn comment(&mut self, comment: &Comment, scope: &mut Scope) -> Comment {
        if !self.selection.comment(scope, comment.text.expose()) {
            return comment.clone();
        }
        let text = std::str::from_utf8(comment.text.expose()).unwrap_or_default();
        match self.decrypt(text) {
            Ok(Decrypted::Comment(text)) => Comment { text, inline: false },
            Ok(Decrypted::Value(value)) => Comment { text: value.leaf_bytes().unwrap_or_default(), inline: false },
            Err(_) => comment.clone(),
        }
    }

    fn value(&mut self, value: &Value, scope: Scope) -> Result<Decrypted, Error> {
        match value {
            Value::Map(members) => self.map(members, scope).map(|members| Decrypted::Value(Value::Map(members))),
            Value::List(items) => self.list(items, scope).map(|items| Decrypted::Value(Value::List(items))),
            Value::Null => Ok(Decrypted::Value(Value::Null)),
            leaf => self.leaf(leaf, &scope),
        }
    }

    fn leaf(&mut self, leaf: &Value, scope: &Scope) -> Result<Decrypted, Error> {
        let is_encrypted = self.selection.is_encrypted(scope);
        let decrypted = match leaf {
            leaf if !is_encrypted => Decrypted::Value(leaf.clone()),
            Value::Text(_) => {
                let text = leaf.as_str().unwrap_or("\u{fffd}");
                self.decrypt(text).map_err(|problem| self.wrong(problem.words()))?
            }
            other => return Err(self.wrong(&format!("is {}, where an encrypted value is expected", other.kind_name()))),
        };
        if let Decrypted::Value(value) = &decrypted
            && let Some(plain) = value.leaf_bytes()
        {
            self.mac.add(&plain, is_encrypted);
        }
        Ok(decrypted)
    }

    fn wrong(&self, problem: &str) -> Error {
        Error::new(Kind::Value, format!("{}: the value {problem}", self.path.shown()))
    }

    fn decrypt(&mut self, text: &str) -> Result<Decrypted, Problem> {
        let decrypted = self.cipher.decrypt(text, self.path.aad())?;
        if let Some(stash) = self.stash.as_deref_mut()
            && !text.is_empty()
        {
            let sealed = Sealed::parse(text)?;
            match &decrypted {
                Decrypted::Comment(plain) => stash.keep((self.path.aad(), "comment"), plain, &sealed.iv),
                Decrypted::Value(value) => {
                    if let (Some(plain), Some(kind)) = (value.leaf_bytes(), type_of(value)) {
                        stash.keep((self.path.aad(), kind), &plain, &sealed.iv);
                    }
                }
            }
        }
        Ok(decrypted)
    }
}

/// The encrypted documents, and the MAC over them.
pub(crate) fn encrypt(
    branches: &[Branch],
    selection: &Selection,
    cipher: &Cipher,
    nonces: &mut Nonces<'_>,
) -> Result<(Vec<Branch>, SecretBytes), Error> {
    let mut walk = Encrypting { selection, cipher, nonces, mac: Mac::new(selection), path: Path::default() };
    let sealed = branches.iter().map(|branch| walk.map(branch, selection.top())).collect::<Result<_, _>>()?;
    Ok((sealed, walk.mac.finish()))
}

struct Encrypting<'a, 'random> {
    selection: &'a Selection,
    cipher: &'a Cipher,
    nonces: &'a mut Nonces<'random>,
    mac: Mac,
    path: Path,
}

impl Encrypting<'_, '_> {
    fn map(&mut self, members: &[Member], mut scope: Scope) -> Result<Branch, Error> {
        let mut sealed = Vec::with_capacity(members.len());
        for member in members {
            sealed.push(match member {
                Member::Comment(comment) => {
                    let text = self.comment(comment, &mut scope)?.unwrap_or_else(|| comment.text.clone());
                    Member::Comment(Comment { text, inline: comment.inline })
                }
                Member::Pair(key, value) => {
                    let inner = self.selection.below(&scope, key);
                    let length = self.path.push(key);
                    let value = self.value(value, inner)?;
                    self.path.pop(length);
                    Selection::after_value(&mut scope);
                    Member::Pair(key.clone(), value)
                }
            });
        }
        Ok(sealed)
    }

    fn list(&mut self, items: &[Item], mut scope: Scope) -> Result<Vec<Item>, Error> {
        let mut sealed = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Comment(comment) => match self.comment(comment, &mut scope)? {
                    // It would be read back as an empty item.
                    Some(text) if text.is_empty() => {}
                    Some(text) => sealed.push(Item::Value(Value::Text(text))),
                    None => sealed.push(item.clone()),
                },
                Item::Value(value) => {
                    let value = self.value(value, self.selection.inside(&scope))?;
                    Selection::after_value(&mut scope);
                    sealed.push(Item::Value(value));
                }
            }
        }
        Ok(sealed)
    }

    /// The encrypted comment; `None` for one that stays clear.
    fn comment(&mut self, comment: &Comment, scope: &mut Scope) -> Result<Option<SecretBytes>, Error> {
        if !self.selection.comment(scope, comment.text.expose()) {
            return Ok(None);
        }
        let sealed = self.seal(&comment.text, "comment")?;
        if matches!(self.selection.rule(), Rule::UnencryptedCommentRegex(_)) {
            let mut after = self.selection.top();
            self.selection.comment(&mut after, sealed.expose());
            if !self.selection.is_encrypted(&after) {
                let message =
                    "unencrypted_comment_regex matches encrypted comments too, so that the file could not be read";
                return Err(Error::new(Kind::Rule, message));
            }
        }
        Ok(Some(sealed))
    }

    fn value(&mut self, value: &Value, scope: Scope) -> Result<Value, Error> {
        let leaf = match value {
            Value::Map(members) => return self.map(members, scope).map(Value::Map),
            Value::List(items) => return self.list(items, scope).map(Value::List),
            leaf => leaf,
        };
        let (Some(plain), Some(kind)) = (leaf.leaf_bytes(), type_of(leaf)) else { return Ok(Value::Null) };
        let is_encrypted = self.selection.is_encrypted(&scope);
        self.mac.add(&plain, is_encrypted);
        if is_encrypted { self.seal(&plain, kind).map(Value::Text) } else { Ok(leaf.clone()) }
    }

    fn seal(&mut self, plain: &SecretBytes, kind: &str) -> Result<SecretBytes, Error> {
        if plain.is_empty() {
            return Ok(SecretBytes::default());
        }
        let iv = self.nonces.next(self.path.aad(), kind, plain)?;
        let sealed = self.cipher.seal(plain, kind, &iv, self.path.aad());
        let sealed = sealed.ok_or_else(|| Error::new(Kind::Unwritable, format!("{}: too long", self.path.shown())))?;
        Ok(SecretBytes::new(sealed.into_bytes()))
    }
}
