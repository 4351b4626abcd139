//! A document from its bytes to its plaintext, and back.

use jiff::Timestamp;

use super::cipher::{Cipher, Decrypted, KEY as KEY_BYTES, Sealed};
use super::error::{Error, Kind};
use super::keys::{self, Identities, Recipient};
use super::metadata::{self, Metadata};
use super::seal::{Nonces, Random, Stash};
use super::secret::SecretBytes;
use super::select::Selection;
use super::tree::{Branch, Member, Value, find};
use super::{same, walk, yaml};

/// What says which kind of object a map is.
const TYPE: [&str; 2] = ["apiVersion", "kind"];
/// The key whose maps become part of the map that it is in.
const MERGE: &str = "<<";

/// An encrypted document.
pub struct Document {
    pub(super) branches: Vec<Branch>,
    pub(super) metadata: Metadata,
}

/// How a new document is encrypted.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Who can open it.
    pub recipients: Vec<Recipient>,
    /// What is encrypted.
    pub selection: Selection,
}

/// The plaintext of a document. It can be given out as YAML or in parts, and is overwritten when dropped.
#[derive(Clone, PartialEq)]
pub struct Plain {
    pub(super) branches: Vec<Branch>,
}

/// A document whose MAC was right: its plaintext, and what is needed to encrypt it again.
pub struct Opened<'document> {
    document: &'document Document,
    plain: Plain,
    key: SecretBytes,
    stash: Stash,
}

impl Document {
    /// Reads an encrypted YAML file. Nothing is decrypted.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut branches = yaml::read(bytes)?;
        let mut block = None;
        for (number, branch) in branches.iter_mut().enumerate() {
            let at = branch.iter().position(|member| matches!(member, Member::Pair(key, _) if key == metadata::KEY));
            // Every document carries a copy of the block; the first one is read.
            let taken = at.map(|at| branch.remove(at));
            if let (0, Some(Member::Pair(_, value))) = (number, taken) {
                block = Some(value);
            }
        }
        let metadata = match block {
            Some(Value::Map(block)) => Metadata::read(&block)?,
            Some(other) => {
                let message = format!("the sops block is {}, not a map", other.kind_name());
                return Err(Error::new(Kind::NotEncrypted, message));
            }
            // As sops does; that it is empty matters where it is to be encrypted.
            None if branches.is_empty() => return Err(Error::new(Kind::NotEncrypted, "the file is empty")),
            None => return Err(Error::new(Kind::NotEncrypted, "there is no sops block: the file is not encrypted")),
        };
        Ok(Self { branches, metadata })
    }

    /// Decrypts it: the data key by one of the identities, all values, and then the MAC, before anything is given out.
    pub fn decrypt(&self, identities: &Identities) -> Result<Plain, Error> {
        let key = self.data_key(identities)?;
        self.checked(key, None).map(|(plain, _)| plain)
    }

    /// As [`Document::decrypt`], keeping what is needed to encrypt it again.
    pub fn open(&self, identities: &Identities) -> Result<Opened<'_>, Error> {
        let mut stash = Stash::default();
        let (plain, key) = self.checked(self.data_key(identities)?, Some(&mut stash))?;
        Ok(Opened { document: self, plain, key, stash })
    }

    fn data_key(&self, identities: &Identities) -> Result<SecretBytes, Error> {
        if self.metadata.age.is_empty() {
            let kinds: Vec<_> = self.metadata.foreign.iter().map(|(kind, _)| kind.as_str()).collect();
            let message = format!("the data key is kept by {} only; this version opens age keys", kinds.join(", "));
            return Err(Error::new(Kind::NotYet, message));
        }
        keys::unwrap(&self.metadata.age, identities)
    }

    fn checked(&self, key: SecretBytes, stash: Option<&mut Stash>) -> Result<(Plain, SecretBytes), Error> {
        let selection = &self.metadata.selection;
        let cipher =
            Cipher::new(key.clone()).ok_or_else(|| Error::new(Kind::Key, "the data key is not of 32 bytes"))?;
        if self.metadata.mac.is_empty() {
            return Err(Error::new(Kind::MacMissing, "the MAC is missing: nothing says that the document is whole"));
        }
        let (branches, mac) = walk::decrypt(&self.branches, selection, &cipher, stash)?;
        let mismatch =
            |what: &str| Error::new(Kind::MacMismatch, format!("{what}: the document was changed without its key"));
        let stored = cipher.decrypt(&self.metadata.mac, self.metadata.last_modified.as_bytes());
        let Ok(Decrypted::Value(Value::Text(stored))) = stored else {
            return Err(mismatch("the MAC does not decrypt (lastmodified is part of it)"));
        };
        if !equal(stored.expose(), mac.expose()) {
            return Err(mismatch("the MAC is not that of the document"));
        }
        Ok((Plain { branches }, key))
    }

    /// Encrypts plaintext under a new data key.
    pub fn encrypt(plain: &Plain, recipe: &Recipe, now: Timestamp, random: &mut dyn Random) -> Result<Self, Error> {
        if recipe.recipients.is_empty() {
            return Err(Error::new(Kind::Key, "no recipients: name at least one age1… key"));
        }
        refuse_block(plain)?;
        let key = new_key(random)?;
        let metadata = Metadata {
            age: keys::wrap(&key, &recipe.recipients)?,
            foreign: Vec::new(),
            last_modified: String::new(),
            mac: String::new(),
            selection: recipe.selection.clone(),
        };
        let mut nonces = Nonces { stash: Stash::default(), random };
        sealed(plain, key, metadata, now, &mut nonces)
    }

    /// The file.
    pub fn to_yaml(&self) -> Result<Vec<u8>, Error> {
        let block = self.metadata.write();
        let with_block = |branch: &Branch| {
            let mut branch = branch.clone();
            branch.push(Member::Pair(metadata::KEY.to_owned(), block.clone()));
            branch
        };
        let branches: Vec<Branch> = self.branches.iter().map(with_block).collect();
        Ok(yaml::emit(&branches)?.expose().to_vec())
    }

    /// Who can open it.
    pub fn recipients(&self) -> Vec<&str> {
        self.metadata.age.iter().map(|stanza| stanza.recipient.as_str()).collect()
    }

    /// What is encrypted in it.
    pub fn selection(&self) -> &Selection {
        &self.metadata.selection
    }

    /// When it was encrypted last, in RFC 3339.
    pub fn last_modified(&self) -> &str {
        &self.metadata.last_modified
    }

    /// Kinds of keys, other than age, that can open it too.
    pub fn foreign_keys(&self) -> Vec<&str> {
        self.metadata.foreign.iter().map(|(kind, _)| kind.as_str()).collect()
    }

    /// Whether it may be a Kubernetes object, decrypted or as it stands: a plain map says neither kind nor apiVersion.
    /// What a merge key brings is not known here: kubectl and others resolve it.
    pub fn is_manifest(&self) -> bool {
        self.branches.iter().any(is_manifest)
    }

    /// Whether the kind or the apiVersion of a document is encrypted: what it is only its plaintext tells.
    pub fn hides_kind(&self) -> bool {
        let is_sealed = |value: &Value| value.as_str().is_some_and(super::cipher::looks_sealed);
        let hides = |branch: &Branch| TYPE.iter().any(|key| find(branch, key).is_some_and(is_sealed));
        self.branches.iter().any(hides)
    }

    /// The number of values that have something behind their `]`.
    pub(super) fn trailing(&self) -> usize {
        self.branches.iter().map(|branch| trailing_in(branch)).sum()
    }
}

impl Opened<'_> {
    /// The plaintext.
    pub fn plain(&self) -> &Plain {
        &self.plain
    }

    /// Encrypts other plaintext under the same data key. Values that did not change keep their ciphertext.
    pub fn seal(&self, plain: &Plain, now: Timestamp, random: &mut dyn Random) -> Result<Document, Error> {
        refuse_block(plain)?;
        let metadata = self.document.metadata.clone();
        let mut nonces = Nonces { stash: self.stash.clone(), random };
        sealed(plain, self.key.clone(), metadata, now, &mut nonces)
    }

    /// Encrypts the same plaintext under a new data key, every value with a new nonce.
    pub fn rotate(self, now: Timestamp, random: &mut dyn Random) -> Result<Document, Error> {
        let old = &self.document.metadata;
        if let Some((kind, _)) = old.foreign.first() {
            let message = format!("a new data key cannot be given to the {kind} key yet; rotate this file with sops");
            return Err(Error::new(Kind::NotYet, message));
        }
        let recipients: Vec<Recipient> =
            old.age.iter().map(|stanza| Recipient::parse(&stanza.recipient)).collect::<Result<_, _>>()?;
        let key = new_key(random)?;
        let metadata = Metadata { age: keys::wrap(&key, &recipients)?, ..old.clone() };
        let mut nonces = Nonces { stash: Stash::default(), random };
        sealed(&self.plain, key, metadata, now, &mut nonces)
    }
}

impl Plain {
    /// Reads plaintext YAML.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let branches = yaml::read(bytes)?;
        if branches.is_empty() {
            return Err(Error::new(Kind::Empty, "the file is empty"));
        }
        Ok(Self { branches })
    }

    /// Whether two documents say the same: the same values in their order, and the same texts of comments. Where a
    /// comment stands is not asked: behind the dash of an item YAML has no place for some of them.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        same::values(&self.branches, &other.branches)
            && same::comments(&self.branches) == same::comments(&other.branches)
    }

    /// Whether all that may be applied of it are Secrets.
    pub fn is_of_secrets(&self) -> bool {
        let says = |branch: &Branch, key, word| find(branch, key).and_then(Value::as_str) == Some(word);
        let is_secret = |branch: &Branch| says(branch, "apiVersion", "v1") && says(branch, "kind", "Secret");
        let mut manifests = self.branches.iter().filter(|branch| is_manifest(branch));
        manifests.all(|branch| is_secret(branch) && find(branch, MERGE).is_none())
    }

    /// Whether it has a `sops` key at the top, as encrypted files have.
    pub fn has_block(&self) -> bool {
        self.branches.iter().any(|branch| find(branch, metadata::KEY).is_some())
    }

    /// The YAML of it, as sops writes it.
    pub fn to_yaml(&self) -> Result<SecretBytes, Error> {
        yaml::emit(&self.branches)
    }
}

fn is_manifest(branch: &Branch) -> bool {
    TYPE.iter().chain([&MERGE]).any(|key| find(branch, key).is_some())
}

fn refuse_block(plain: &Plain) -> Result<(), Error> {
    if plain.has_block() {
        let message = "there is a key 'sops' at the top: the file is encrypted already, or uses a name that sops needs";
        return Err(Error::new(Kind::AlreadyEncrypted, message));
    }
    Ok(())
}

fn new_key(random: &mut dyn Random) -> Result<SecretBytes, Error> {
    let mut key = vec![0; KEY_BYTES];
    random.fill(&mut key)?;
    Ok(SecretBytes::new(key))
}

fn sealed(
    plain: &Plain,
    key: SecretBytes,
    mut metadata: Metadata,
    now: Timestamp,
    nonces: &mut Nonces<'_>,
) -> Result<Document, Error> {
    let cipher = Cipher::new(key).ok_or_else(|| Error::new(Kind::Key, "the data key is not of 32 bytes"))?;
    let (branches, mac) = walk::encrypt(&plain.branches, &metadata.selection, &cipher, nonces)?;
    metadata.last_modified = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let iv = nonces.fresh()?;
    let mac = cipher.seal(&mac, "str", &iv, metadata.last_modified.as_bytes());
    metadata.mac = mac.ok_or_else(|| Error::new(Kind::Unwritable, "the MAC could not be encrypted"))?;
    Ok(Document { branches, metadata })
}

/// In a time that does not tell where two texts differ.
fn equal(one: &[u8], two: &[u8]) -> bool {
    one.len() == two.len() && one.iter().zip(two).fold(0, |all, (one, two)| all | (one ^ two)) == 0
}

fn trailing_in(members: &[Member]) -> usize {
    let of_value = |value: &Value| count_trailing(value);
    members.iter().map(|member| if let Member::Pair(_, value) = member { of_value(value) } else { 0 }).sum()
}

fn count_trailing(value: &Value) -> usize {
    match value {
        Value::Map(members) => trailing_in(members),
        Value::List(items) => super::tree::values(items).map(count_trailing).sum(),
        leaf => {
            let sealed = leaf.as_str().filter(|text| super::cipher::looks_sealed(text)).map(Sealed::parse);
            usize::from(sealed.is_some_and(|sealed| sealed.is_ok_and(|sealed| sealed.trailing)))
        }
    }
}
