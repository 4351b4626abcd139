//! Credentials: what an object holds, how long it lives, and the findings about it.
//!
//! Two steps, so that a value never has to be kept: [`inspect()`] turns the data of an object into [`Credential`]s, which
//! say everything but the value; [`rules`] judges those at a time. What is kept of a Secret is [`redacted()`].
//! [`in_text`] and [`in_file`] tell where credentials stand in what is no object, as the files of an image.
//!
//! The value of a credential is in nothing that this module returns. Names inside a value (registry hosts, users of a
//! kubeconfig) are, where they are made of the plain characters of such names.

mod certificate;
mod inspect;
mod jwt;
mod keys;
mod kubeconfig;
mod registry;
pub mod rules;
#[cfg(test)]
mod tests;
mod text;

use jiff::{SignedDuration, Timestamp};
use portreeve_reports::{Cause, Location, ObjectRef, Owner, Subject};

pub use inspect::{Values, holds_credentials, inspect, redacted};
pub use text::{InText, in_file, in_text};

/// What a credential is: a closed set, used as a metric label and in fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// A Secret that the API server fills with a token of a service account.
    ServiceAccountToken,
    /// A JSON Web Token in data.
    Jwt,
    /// An X.509 certificate.
    TlsCertificate,
    /// A password or token for a registry.
    RegistryCredential,
    /// A user of a kubeconfig.
    Kubeconfig,
    /// A token that lets a node join.
    BootstrapToken,
    /// A password.
    BasicAuth,
    /// An SSH key, or a PEM private key where none should be.
    PrivateKey,
    /// An age identity.
    AgeIdentity,
    /// A token that is being asked for.
    TokenRequest,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 10] = [
        Self::ServiceAccountToken,
        Self::Jwt,
        Self::TlsCertificate,
        Self::RegistryCredential,
        Self::Kubeconfig,
        Self::BootstrapToken,
        Self::BasicAuth,
        Self::PrivateKey,
        Self::AgeIdentity,
        Self::TokenRequest,
    ];

    /// The word used in every format and in the fingerprint.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccountToken => "service-account-token",
            Self::Jwt => "jwt",
            Self::TlsCertificate => "tls-certificate",
            Self::RegistryCredential => "registry-credential",
            Self::Kubeconfig => "kubeconfig",
            Self::BootstrapToken => "bootstrap-token",
            Self::BasicAuth => "basic-auth",
            Self::PrivateKey => "private-key",
            Self::AgeIdentity => "age-identity",
            Self::TokenRequest => "token-request",
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Until when a credential is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Until then.
    At(Timestamp),
    /// Until somebody changes it.
    Never,
    /// It could not be told; the sentence says why.
    Unknown(Cause, &'static str),
    /// Looking at it ended in a bug of ours.
    Broken,
}

/// What is known of a credential's life beside its dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Its dates say how long it lives.
    Dated,
    /// It is made to be short-lived, whether or not its expiry can be seen.
    ShortLived,
    /// It is protected by something else: a passphrase, a device.
    Guarded,
}

/// One credential, without its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Credential {
    /// What it is.
    pub class: Class,
    /// The object that holds it.
    pub holder: ObjectRef,
    /// The team that owns the object, from its labels.
    pub team: Option<String>,
    /// Key of the data, with the place inside it where one value holds several: `config.users[ci].token`.
    pub key: String,
    /// Where it stands.
    pub place: Location,
    /// When it was made, as far as it says.
    pub issued: Option<Timestamp>,
    /// Before when nobody accepts it.
    pub valid_from: Option<Timestamp>,
    /// Until when it is good.
    pub expires: Expiry,
    /// What else is known of its life.
    pub nature: Nature,
    /// What was seen, never a value.
    pub facts: Vec<(&'static str, String)>,
}

impl Credential {
    /// Class, holder and key: the identity of its findings.
    pub fn subject(&self) -> Subject {
        let holder = ObjectRef { container: None, ..self.holder.clone() }.display();
        Subject::Credential { class: self.class.as_str().to_owned(), holder, key: self.key.clone() }
    }

    /// Whether it stands for something that was not looked at, and so hides what else may be there.
    pub fn is_stand_in(&self) -> bool {
        matches!(self.expires, Expiry::Unknown(Cause::TooLarge, _) | Expiry::Broken)
    }

    /// What controls the object that holds it.
    pub fn owner(&self) -> Option<&Owner> {
        self.holder.owner.as_ref()
    }

    /// When it ends, where that is known.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self.expires {
            Expiry::At(expires) => Some(expires),
            Expiry::Never | Expiry::Unknown(..) | Expiry::Broken => None,
        }
    }

    /// How long it lives; from now on where it does not say since when.
    fn lifetime(&self, now: Timestamp) -> Option<SignedDuration> {
        self.expires_at().map(|expires| expires.duration_since(self.issued.or(self.valid_from).unwrap_or(now)))
    }

    /// How long before its expiry it is said to be near: a third of its life at most, so that what is made to live for
    /// an hour is not near its end all the time.
    fn warns_from(&self, limits: &Limits) -> Option<Timestamp> {
        let expires = self.expires_at()?;
        let third = self.issued.or(self.valid_from).map(|start| expires.duration_since(start) / 3);
        let before = third.map_or(limits.warn_before, |third| limits.warn_before.min(third.max(SignedDuration::ZERO)));
        Some(expires.checked_sub(before).unwrap_or(Timestamp::MIN))
    }

    /// The next time at which time alone changes a verdict.
    pub fn next_change(&self, now: Timestamp, limits: &Limits) -> Option<Timestamp> {
        [self.valid_from, self.warns_from(limits), self.expires_at()]
            .into_iter()
            .flatten()
            .filter(|time| *time > now)
            .min()
    }
}

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest life of a token.
    pub max_token_lifetime: SignedDuration,
    /// How long before its expiry a credential is said to be near it.
    pub warn_before: SignedDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_token_lifetime: SignedDuration::from_hours(24), warn_before: SignedDuration::from_hours(14 * 24) }
    }
}
