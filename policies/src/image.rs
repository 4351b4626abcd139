//! Image references, normalized as the container runtimes do.

use std::fmt;
use std::sync::Arc;

use portreeve_reports::source::shown;
use serde::{Deserialize, Serialize};

/// `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Arc<str>);

/// A text that is not a SHA-256 digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{}' is not a digest: sha256: and 64 lower-case hex digits are needed", shown(.0))]
pub struct InvalidDigest(String);

impl Digest {
    /// Checks the form (OCI image-spec, descriptor.md, "Digests").
    pub fn parse(text: &str) -> Result<Self, InvalidDigest> {
        match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && hex.bytes().all(is_lower_hex) => Ok(Self(text.into())),
            _ => Err(InvalidDigest(text.chars().take(100).collect())),
        }
    }

    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(portreeve_reports::digest::sha256(bytes).into())
    }

    /// With the algorithm: `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the algorithm.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.as_ref().to_owned()
    }
}

/// `host/path`, the identity of an image across tags and digests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Repository {
    /// Registry host with its port: `docker.io`, `127.0.0.1:5000`.
    pub host: Arc<str>,
    /// Path on the registry: `library/busybox`.
    pub path: Arc<str>,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

/// A reference as a Pod writes it, normalized: `busybox` is `docker.io/library/busybox:latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    /// Host and path.
    pub repository: Repository,
    /// The tag as written; `None` when there is none.
    pub tag: Option<Arc<str>>,
    /// The digest as written.
    pub digest: Option<Digest>,
}

/// A text that is not an image reference.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{}' is not an image reference: {reason}", shown(text))]
pub struct InvalidReference {
    text: String,
    reason: &'static str,
}

impl ImageReference {
    /// Longest reference accepted, in bytes. Names are at most 255 (distribution spec), tags 128, digests 71.
    pub const MAX_LENGTH: usize = 512;

    /// Parses and normalizes (grammar and docker.io defaults of github.com/distribution/reference). Stricter than
    /// that grammar in two things, so that one image has one identity: hosts are lower-case, digests are SHA-256.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |reason| InvalidReference { text: text.chars().take(Self::MAX_LENGTH).collect(), reason };
        if text.is_empty() || text.len() > Self::MAX_LENGTH {
            return Err(invalid("it is empty or longer than 512 bytes"));
        }
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err(invalid("64 hex digits are an image id, not a name"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(Digest::parse(digest).map_err(|_| invalid("its digest is not sha256: and 64 hex digits"))?))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("its tag has other characters than letters, digits, '_', '.' and '-'"));
        }
        let (host, path) = split_host(name);
        if !is_host(host) {
            return Err(invalid("its registry host is not a lower-case name or address with an optional port"));
        }
        if !is_path(&path) || path.len() > 255 {
            return Err(invalid("its repository is not lower-case path components after an optional host"));
        }
        let repository = Repository { host: host.into(), path: path.into() };
        Ok(Self { repository, tag: tag.map(Into::into), digest })
    }

    /// The tag to ask a registry for when there is no digest.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// The same image pinned to a digest; a written tag is kept (`name:tag@digest`).
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        match (&self.tag, &self.digest) {
            (Some(tag), _) => write!(f, ":{tag}")?,
            (None, None) => f.write_str(":latest")?,
            (None, Some(_)) => {}
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// Other names of Docker Hub.
pub const HUB_NAMES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// The first component is a host when it has a dot, a port or a capital or is `localhost`; all else is on Docker Hub.
/// All names of one registry are one: a rule about it must not depend on how an image writes it.
fn split_host(name: &str) -> (&str, String) {
    match name.split_once('/') {
        Some((first, rest)) if is_host_like(first) => {
            let host = one_name(first);
            let path = if host == "docker.io" && !rest.contains('/') { format!("library/{rest}") } else { rest.into() };
            (host, path)
        }
        Some(_) => ("docker.io", name.to_owned()),
        None => ("docker.io", format!("library/{name}")),
    }
}

/// The name that references have a registry by, whichever of its names they write; `None` for what is no host with an
/// optional port. What is written without this name matches no reference.
pub fn registry_name(host: &str) -> Option<&str> {
    (is_host_like(host) && is_host(host)).then(|| one_name(host))
}

/// Without the port that https has anyway, unless what is left is no host to those who read it.
fn one_name(host: &str) -> &str {
    match host.strip_suffix(":443").filter(|name| is_host_like(name)).unwrap_or(host) {
        name if HUB_NAMES.contains(&name) => "docker.io",
        name => name,
    }
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().enumerate().all(|(index, byte)| word(byte) || (index > 0 && matches!(byte, b'.' | b'-')))
}

fn is_host_like(first: &str) -> bool {
    first == "localhost" || first.bytes().any(|byte| matches!(byte, b'.' | b':') || byte.is_ascii_uppercase())
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    // A zero in front would be another name of the same registry.
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0') && port.parse::<u16>().is_ok()
    };
    let is_name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => is_address(address),
        None => name.split('.').all(is_host_component),
    };
    is_name && port.is_none_or(is_port)
}

/// An IPv6 address as a URL has it between brackets.
fn is_address(address: &str) -> bool {
    address.bytes().all(|byte| is_lower_hex(byte) || byte == b':') && address.parse::<std::net::Ipv6Addr>().is_ok()
}

fn is_host_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// Lower-case letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    let separators_hold = component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'));
    alphanumeric(first) && alphanumeric(last) && separators_hold
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn display(text: &str) -> String {
        ImageReference::parse(text).unwrap().to_string()
    }

    #[test]
    fn short_names_are_docker_hub_names() {
        assert_eq!(display("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(display("bitnami/git"), "docker.io/bitnami/git:latest");
        assert_eq!(display("docker.io/busybox:1.36"), "docker.io/library/busybox:1.36");
        for host in ["index.docker.io", "registry-1.docker.io", "docker.io:443", "registry-1.docker.io:443"] {
            assert_eq!(display(&format!("{host}/a/b")), "docker.io/a/b:latest");
        }
    }

    #[test]
    fn the_port_that_https_has_anyway_is_no_other_registry() {
        assert_eq!(display("quay.io:443/bad/x:1"), "quay.io/bad/x:1");
        assert_eq!(display("quay.io:4430/bad/x:1"), "quay.io:4430/bad/x:1");
        assert_eq!(display("[::1]:443/x"), "[::1]/x:latest");
        assert_eq!(display("localhost:443/x"), "localhost/x:latest");
        // Without its port it would be a path on Docker Hub.
        assert_eq!(display("registry:443/app:1"), "registry:443/app:1");
    }

    #[test]
    fn a_registry_has_one_name() {
        for (name, one) in [
            ("quay.io", Some("quay.io")),
            ("quay.io:443", Some("quay.io")),
            ("registry:443", Some("registry:443")),
            ("index.docker.io:443", Some("docker.io")),
            ("quay.io:0443", None),
            ("quay.io.", None),
            ("registry", None),
        ] {
            assert_eq!(registry_name(name), one, "{name}");
        }
    }

    #[test]
    fn hosts_ports_tags_and_digests_are_kept() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(display("127.0.0.1:5000/demo/app:1"), "127.0.0.1:5000/demo/app:1");
        assert_eq!(display(&format!("quay.io/n/h:2@{digest}")), format!("quay.io/n/h:2@{digest}"));
        assert_eq!(display(&format!("quay.io/n/h@{digest}")), format!("quay.io/n/h@{digest}"));
        assert_eq!(display("localhost/x"), "localhost/x:latest");
    }

    #[test]
    fn what_a_registry_would_refuse_is_refused() {
        for text in [
            "",
            "UPPER/case",
            "a//b",
            "/a",
            "a/",
            "a b",
            "q.io/a:tag:tag",
            "q.io/a:-x",
            "a@sha256:12",
            "q.io/a._b",
            "q.io:99999/a",
            "q.io:0443/a",
            "a@md5:d41d8cd98f00b204e9800998ecf8427e",
            "q.io/..",
            "q.io/a\u{1b}[0m",
            "q.io/a___b",
        ] {
            assert!(ImageReference::parse(text).is_err(), "{text:?} was accepted");
        }
        assert!(ImageReference::parse(&"a".repeat(600)).is_err());
    }

    #[test]
    fn what_is_no_name_is_refused_for_what_it_is() {
        let id = "a".repeat(64);
        assert!(ImageReference::parse(&id).unwrap_err().to_string().contains("image id"));
        assert!(ImageReference::parse(&format!("library/{id}")).is_ok());
        assert!(ImageReference::parse("Quay.io/a").unwrap_err().to_string().contains("lower-case name"));
    }

    #[test]
    fn addresses_are_hosts() {
        assert_eq!(display("[fd00::1]:5000/a"), "[fd00::1]:5000/a:latest");
        assert_eq!(display("10.0.0.1/a"), "10.0.0.1/a:latest");
        assert_eq!(display("localhost:5000"), "docker.io/library/localhost:5000");
    }

    fn reference() -> impl Strategy<Value = String> {
        let host = prop_oneof![
            Just(String::new()),
            Just("localhost/".to_owned()),
            Just("[::1]:5000/".to_owned()),
            Just("registry:443/".to_owned()),
            Just("quay.io:443/".to_owned()),
            "[a-z0-9]{1,5}(-[a-z0-9]{1,3})?[.][a-z]{2,4}(:[1-9][0-9]{0,3})?/",
        ];
        let path = "[a-z0-9]{1,8}((_|__|[.]|-{1,3})[a-z0-9]{1,4})?(/[a-z0-9]{1,8}){0,2}";
        let tag = prop_oneof![Just(String::new()), "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,10})"];
        let digest = prop_oneof![Just(String::new()), "(@sha256:[0-9a-f]{64})"];
        (host, path, tag, digest).prop_map(|(host, path, tag, digest)| format!("{host}{path}{tag}{digest}"))
    }

    proptest! {
        #[test]
        fn what_is_displayed_is_parsed_as_the_same(text in reference()) {
            let reference = ImageReference::parse(&text).unwrap();
            let again = ImageReference::parse(&reference.to_string()).unwrap();
            prop_assert_eq!(again.to_string(), reference.to_string());
            prop_assert_eq!(&again.repository, &reference.repository);
            prop_assert_eq!(again.tag_or_latest(), reference.tag_or_latest());
            prop_assert_eq!(&again.digest, &reference.digest);
            if reference.tag.is_some() || reference.digest.is_some() {
                prop_assert_eq!(again, reference);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[a-zA-Z0-9:/@.\\[\\]_-]{0,60}") {
            if let Ok(reference) = ImageReference::parse(&text) {
                prop_assert!(ImageReference::parse(&reference.to_string()).is_ok());
            }
        }
    }
}
