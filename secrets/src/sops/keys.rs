//! age keys: who can open a document.
//!
//! Only X25519 keys are taken. Others are refused by their kind, so that nobody believes that a key was added.

use std::io::{Read as _, Write as _};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::x25519;
use hmac::{Hmac, Mac as _};
use secrecy::ExposeSecret as _;
use sha2::Sha256;

use super::cipher::KEY;
use super::error::{Error, Kind};
use super::secret::SecretBytes;

/// Somebody who can open a document: an X25519 public key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recipient(String);

impl Recipient {
    /// Reads a public key, `age1…`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let not_yet =
            |what: &str| Error::new(Kind::NotYet, format!("{what} are not supported yet; use an age1… X25519 key"));
        if text.starts_with("AGE-SECRET-KEY-") || text.starts_with("AGE-PLUGIN-") {
            return Err(Error::new(Kind::Key, "a recipient is a public key (age1…); this is a private one"));
        }
        if text.starts_with("ssh-") {
            return Err(not_yet("ssh keys as recipients"));
        }
        if text.starts_with("age1pq1") {
            return Err(not_yet("post-quantum recipients (age1pq1…)"));
        }
        if text.strip_prefix("age1").is_some_and(|rest| rest.contains('1')) {
            return Err(not_yet("recipients of age plug-ins"));
        }
        match text.parse::<x25519::Recipient>() {
            Ok(recipient) => Ok(Self(recipient.to_string())),
            Err(_) => Err(Error::new(
                Kind::Key,
                format!("'{}' is not an age recipient: those read age1…", portreeve_reports::source::shown(text)),
            )),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Private keys. There is no way to print them.
#[derive(Clone, Default)]
pub struct Identities(Vec<x25519::Identity>);

impl Identities {
    /// Reads identities, one a line (or, as sops does, between blanks); `#` begins a comment.
    /// `origin` names the source in messages.
    pub fn add(&mut self, text: &str, origin: &str) -> Result<(), Error> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for (number, word) in lines.flat_map(str::split_whitespace).enumerate() {
            let wrong = |kind, what: &str| Error::new(kind, format!("{origin}: identity {}: {what}", number + 1));
            let identity = word.parse::<x25519::Identity>().map_err(|_| {
                if word.starts_with("AGE-PLUGIN-") {
                    wrong(Kind::NotYet, "age plug-ins are not supported yet")
                } else if word.starts_with("AGE-SECRET-KEY-PQ-") {
                    wrong(Kind::NotYet, "post-quantum identities are not supported yet")
                } else {
                    wrong(Kind::Key, "not an age identity: those read AGE-SECRET-KEY-1…")
                }
            })?;
            self.0.push(identity);
        }
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A keyed hash that only holders of the first identity can compute.
    pub(crate) fn keyed(&self) -> Option<Hmac<Sha256>> {
        let text = self.0.first()?.to_string();
        Hmac::new_from_slice(text.expose_secret().as_bytes()).ok()
    }

    /// The public keys, for messages.
    pub fn recipients(&self) -> Vec<Recipient> {
        self.0.iter().map(|identity| Recipient(identity.to_public().to_string())).collect()
    }
}

/// The public key of an identity.
pub fn public_key_of(identity: &str) -> Option<Recipient> {
    identity.trim().parse::<x25519::Identity>().ok().map(|identity| Recipient(identity.to_public().to_string()))
}

/// The data key, encrypted to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stanza {
    pub(crate) recipient: String,
    /// An armored age file.
    pub(crate) sealed: String,
}

/// The data key, by the first identity that opens one of the stanzas. Stanzas that name a key that is held go first.
pub(crate) fn unwrap(stanzas: &[Stanza], identities: &Identities) -> Result<SecretBytes, Error> {
    let held: Vec<String> = identities.0.iter().map(|identity| identity.to_public().to_string()).collect();
    let (named, others): (Vec<_>, Vec<_>) = stanzas.iter().partition(|stanza| held.contains(&stanza.recipient));
    for stanza in named.into_iter().chain(others) {
        if let Some(key) = open(stanza, identities) {
            return Ok(key);
        }
    }
    let names = |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let recipients = stanzas.iter().map(|stanza| portreeve_reports::source::shown(&stanza.recipient)).collect();
    Err(Error::new(
        Kind::NoIdentity,
        format!(
            "no identity opens the data key. The document is for {}; at hand are {}. Name the file of one \
             that does in secrets.identities of the configuration; commands of `portreeve secrets` also take SOPS_AGE_KEY, \
             SOPS_AGE_KEY_FILE and sops/age/keys.txt of the user's configuration folder",
            names(recipients),
            names(held),
        ),
    ))
}

fn open(stanza: &Stanza, identities: &Identities) -> Option<SecretBytes> {
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(stanza.sealed.as_bytes())).ok()?;
    let list = identities.0.iter().map(|identity| identity as &dyn age::Identity);
    let mut key = Vec::with_capacity(KEY + 1);
    decryptor.decrypt(list).ok()?.take(KEY as u64 + 1).read_to_end(&mut key).ok()?;
    let key = SecretBytes::new(key);
    (key.expose().len() == KEY).then_some(key)
}

/// Encrypts the data key to each recipient. The randomness is that of the age library.
pub(crate) fn wrap(key: &SecretBytes, recipients: &[Recipient]) -> Result<Vec<Stanza>, Error> {
    recipients.iter().map(|recipient| seal(key, recipient)).collect()
}

fn seal(key: &SecretBytes, recipient: &Recipient) -> Result<Stanza, Error> {
    let failed = || Error::new(Kind::Key, format!("the data key could not be encrypted to {}", recipient.0));
    let public: x25519::Recipient = recipient.0.parse().map_err(|_| failed())?;
    let written = || -> Option<Vec<u8>> {
        let one: &dyn age::Recipient = &public;
        let encryptor = age::Encryptor::with_recipients(std::iter::once(one)).ok()?;
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).ok()?;
        let mut writer = encryptor.wrap_output(armor).ok()?;
        writer.write_all(key.expose()).ok()?;
        writer.finish().ok()?.finish().ok()
    };
    let sealed = written().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(failed)?;
    Ok(Stanza { recipient: recipient.0.clone(), sealed })
}
