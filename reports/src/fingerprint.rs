//! The stable identity of a finding: the same in CI and cluster, across pod names, lines and wording.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::subject::Subject;

/// Version of the recipe below; a change of the recipe is a change of this number.
const VERSION: &str = "portreeve-fingerprint-v1";

/// SHA-256 over source, code, check, subject identity, container and item key, each length-prefixed; 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

/// A text that is not 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 lower-case hexadecimal digits")]
pub struct InvalidFingerprint;

impl Fingerprint {
    /// The fingerprint of a question about a subject. `item` is the stable key of the item inside the subject
    /// (an environment variable's name, a volume's name), empty where the subject itself is asked about.
    pub fn of(source: &str, code: &str, check: &str, subject: &Subject, item: &str) -> Self {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        [VERSION, source, code, check].into_iter().for_each(&mut part);
        subject.identity_parts().into_iter().for_each(&mut part);
        part(subject.container().unwrap_or_default());
        part(item);
        Self(hex(&hash.finalize()))
    }

    /// A fingerprint that was stored or sent.
    pub fn parse(text: &str) -> Result<Self, InvalidFingerprint> {
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.len() == 64 && text.bytes().all(hexadecimal) {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidFingerprint),
        }
    }

    /// Lower-case hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = InvalidFingerprint;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::{ObjectRef, Owner};

    fn hub(name: &str, container: Option<&str>) -> Subject {
        Subject::Object(ObjectRef {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: "jhub".into(),
            name: name.into(),
            container: container.map(str::to_owned),
            owner: Some(Owner { group: "apps".into(), kind: "Deployment".into(), name: "hub".into() }),
        })
    }

    fn of(subject: &Subject, item: &str) -> String {
        Fingerprint::of("builtin", "C-0016", "", subject, item).as_str().to_owned()
    }

    /// People's baselines and stores hold these: a change here needs a new `VERSION` and a migration.
    #[test]
    fn fingerprints_of_version_1_never_change() {
        let image = Subject::Image { repository: "quay.io/nebari/hub".into(), reference: "x".into(), digest: None };
        let subjects = [
            hub("hub-5d-x1", Some("hub")),
            image,
            Subject::File { path: "k8s/hub.yaml".into() },
            Subject::Credential {
                class: "tls-certificate".into(),
                holder: "jhub/Secret/tls".into(),
                key: "tls.crt".into(),
            },
            Subject::Component { platform: "prod".into(), component: "keycloak".into() },
        ];
        let lines: Vec<String> =
            subjects.iter().map(|subject| format!("{} {}", subject.type_name(), of(subject, "TOKEN"))).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        object adab46b47b44b366473c601c144e4571eb046b7800563ea3da8e0fa3f81ef840
        image 830d759a29c7e812f7d22ccbb1f13548809cbc3117836d532d6f49698dfce78f
        file bd398a0511fd21dacd3cbb1e62a2d4e34265eb6089ff8229350ff87e673751ff
        credential 5d6c616920f0f64654df06993734fd486f30d25efb6a9a64187c9f37027e5e92
        component 61fdbf84d0a248a5679cc8cd2395e68c94980f12f05586ad5590ba25e85e0100
        ");
    }

    #[test]
    fn pod_names_do_not_count_and_containers_and_items_do() {
        assert_eq!(of(&hub("hub-5d-x1", None), ""), of(&hub("hub-5d-x2", None), ""));
        assert_ne!(of(&hub("hub-5d-x1", None), ""), of(&hub("hub-5d-x1", Some("hub")), ""));
        assert_ne!(of(&hub("hub-5d-x1", None), ""), of(&hub("hub-5d-x1", None), "TOKEN"));
    }

    #[test]
    fn moving_a_character_across_a_border_changes_the_fingerprint() {
        let subject = Subject::File { path: "a".into() };
        let left = Fingerprint::of("builtin", "C-0016", "ab", &subject, "c");
        let right = Fingerprint::of("builtin", "C-0016", "a", &subject, "bc");
        assert_ne!(left, right);
    }

    #[test]
    fn a_stored_fingerprint_reads_back_and_garbage_does_not() {
        let made = of(&hub("hub", None), "");
        assert_eq!(Fingerprint::parse(&made).unwrap().as_str(), made);
        assert!(Fingerprint::parse(&made.to_uppercase()).is_err());
        assert!(serde_json::from_str::<Fingerprint>("\"abc\"").is_err());
    }
}
