//! The policy of a command line: every image, and the authorities that were named there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pattern::{ImagePattern, NamespacePattern};
use super::{Basis, ImagePolicy, Mode, NoMatch, Rule};
use crate::authority::{Authorities, Authority, Demand, KeyTrust, KeylessTrust, Trust};
use crate::identity::Identity;
use crate::key::{KeyError, TrustedKey};
use crate::root::{EmbeddedRoot, TrustRoot, TrustRootError};

/// Authorities as `verify` is given them. Log entries and timestamps of signatures by keys are checked where there is a
/// trust root, and are not asked for; those of identities are asked for.
#[derive(Debug, Default)]
pub struct Given {
    /// Public keys, PEM, by the names of their files.
    pub keys: BTreeMap<String, Vec<u8>>,
    /// An identity that may have signed.
    pub identity: Option<Identity>,
    /// A `trusted_root.json` and the name of its file. Without one, identities are checked against the embedded root of
    /// sigstore's public-good instance.
    pub trust_root: Option<(String, Vec<u8>)>,
}

/// Why authorities make no policy.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAuthorities {
    /// Nobody to trust.
    #[error("no key and no identity was given; an image cannot be verified without somebody to trust")]
    Nobody,
    /// A key that cannot be used.
    #[error("key '{name}' cannot be used")]
    Key {
        /// Its file.
        name: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A trust root that cannot be used.
    #[error("trust root '{name}' cannot be used")]
    TrustRoot {
        /// Its file.
        name: String,
        /// What is wrong with it.
        source: TrustRootError,
    },
    /// A trust root that cannot certify identities.
    #[error("trust root '{name}' {lacks}, and signatures by an identity need it")]
    Lacks {
        /// Its file.
        name: String,
        /// What is not there.
        lacks: &'static str,
    },
    /// More signatures wanted than there are authorities.
    #[error("a threshold of {threshold} cannot be met by {distinct} different {}", if *distinct == 1 { "authority" } else { "authorities" })]
    Threshold {
        /// What was asked for.
        threshold: usize,
        /// How many different authorities there are.
        distinct: usize,
    },
}

impl ImagePolicy {
    /// The policy of `verify --key` and `--certificate-identity`: every image, `threshold` of these authorities.
    pub fn given(given: Given, threshold: usize) -> Result<Self, InvalidAuthorities> {
        let authorities = Authorities::new(threshold, given.authorities()?);
        if authorities.list().is_empty() {
            return Err(InvalidAuthorities::Nobody);
        }
        let distinct = authorities.distinct();
        if threshold == 0 || threshold > distinct {
            return Err(InvalidAuthorities::Threshold { threshold, distinct });
        }
        let rule = Rule {
            name: "authorities given".into(),
            images: vec![ImagePattern::everything()],
            namespaces: vec![NamespacePattern::everything()],
            mode: Mode::Enforce,
            basis: Basis::Authorities(authorities),
            attestations: Vec::new(),
        };
        Ok(Self::new(Mode::Enforce, NoMatch::Deny, vec![rule]))
    }
}

impl Given {
    fn authorities(self) -> Result<Vec<Authority>, InvalidAuthorities> {
        let root = self.trust_root.map(|(name, bytes)| match TrustRoot::from_json(&bytes) {
            Ok(root) => Ok((name, Arc::new(root))),
            Err(source) => Err(InvalidAuthorities::TrustRoot { name, source }),
        });
        let root = root.transpose()?;
        let mut list = Vec::new();
        for (name, bytes) in self.keys {
            let key = TrustedKey::from_pem(&bytes)
                .map_err(|source| InvalidAuthorities::Key { name: name.clone(), source })?;
            let trust = KeyTrust {
                key: key.into(),
                not_before: None,
                not_after: None,
                log: Demand::Optional,
                root: root.as_ref().map(|(_, root)| Arc::clone(root)),
            };
            list.push(Authority { name, required: false, trust: Trust::Key(trust) });
        }
        if let Some(identity) = self.identity {
            list.push(certified(identity, root)?);
        }
        Ok(list)
    }
}

fn certified(identity: Identity, root: Option<(String, Arc<TrustRoot>)>) -> Result<Authority, InvalidAuthorities> {
    let embedded = || match TrustRoot::embedded(EmbeddedRoot::Sigstore) {
        Ok(root) => Ok(("embedded".to_owned(), Arc::new(root))),
        Err(source) => Err(InvalidAuthorities::TrustRoot { name: "embedded".into(), source }),
    };
    let (name, root) = root.map_or_else(embedded, Ok)?;
    let (log, sct) = (Demand::Required, Demand::Required);
    if let Some(lacks) = root.lacks(log, sct) {
        return Err(InvalidAuthorities::Lacks { name, lacks });
    }
    let (_, subject) = identity.subject.written();
    let name = format!("identity {subject}");
    Ok(Authority { name, required: false, trust: Trust::Keyless(KeylessTrust { identity, root, log, sct }) })
}
