//! Patterns of repositories and namespaces: what they match, which of two is more specific, and whether two overlap.

use std::borrow::Cow;
use std::fmt;

use portreeve_policies::image::{HUB_NAMES, Repository, registry_name};

/// A pattern of `host/path`: `*` stands for any part of one component, a component `**` for one or more components.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImagePattern(String);

/// How narrow a pattern is; the greater wins. Compared field by field: an exact name before any pattern, then the
/// number of components without a wildcard, then patterns without `**`, then the number of written characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Specificity {
    exact: bool,
    literal_components: usize,
    fixed_depth: bool,
    literal_characters: usize,
}

/// A text that is not a pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{text}' is not a pattern: {reason}")]
pub struct InvalidPattern {
    text: String,
    reason: Cow<'static, str>,
}

/// Longest pattern accepted, in bytes: as long as an image reference may be.
const MAX_LENGTH: usize = 512;

fn invalid(text: &str, reason: impl Into<Cow<'static, str>>) -> InvalidPattern {
    InvalidPattern { text: text.chars().take(100).collect(), reason: reason.into() }
}

/// Why no reference has such a name, where that is so: a rule that matches nothing is no rule. References have each
/// registry by one name, and Docker Hub's images have their `library/`.
fn matches_nothing(text: &str) -> Option<Cow<'static, str>> {
    let (host, path) = text.split_once('/')?;
    if host.contains('*') {
        let is_of_hub = host.ends_with(".docker.io") && HUB_NAMES.iter().any(|name| overlap_characters(host, name));
        return match host.strip_suffix(":443") {
            Some(name) => Some(format!("references do not keep the port 443; write {name}/{path}").into()),
            None => {
                is_of_hub.then(|| format!("references have Docker Hub as docker.io; write docker.io/{path}").into())
            }
        };
    }
    match registry_name(host) {
        None => Some("its registry host is not a lower-case name or address with an optional port".into()),
        Some(name) if name != host => {
            Some(format!("references have this registry as {name}; write {name}/{path}").into())
        }
        Some("docker.io") if path != "**" && !path.contains('/') => {
            Some(format!("references have such images in library/; write docker.io/library/{path}").into())
        }
        Some(_) => None,
    }
}

impl ImagePattern {
    /// Checks the form.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(invalid(text, "it is empty or longer than 512 bytes"));
        }
        let first = text.split('/').next().unwrap_or_default();
        if text.contains('@') || text.rsplit('/').next().is_some_and(|last| last != first && last.contains(':')) {
            return Err(invalid(text, "rules name repositories, without tag and digest"));
        }
        if !first.contains(['.', ':', '*']) && first != "localhost" {
            return Err(invalid(text, "it has no registry host; write docker.io/library/busybox, not busybox"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/:*[]".contains(&byte)) {
            return Err(invalid(text, "repositories are lower-case letters, digits, '.', '_', '-', '/' and wildcards"));
        }
        for component in text.split('/') {
            if component.is_empty() {
                return Err(invalid(text, "a component is empty"));
            }
            if component != "**" && component.contains("**") {
                return Err(invalid(text, "'**' must be a whole component"));
            }
        }
        if text != "**" && !text.contains('/') {
            return Err(invalid(text, "it has no path after the host; write quay.io/** for a whole registry"));
        }
        if let Some(reason) = matches_nothing(text) {
            return Err(invalid(text, reason));
        }
        Ok(Self(text.to_owned()))
    }

    /// The pattern that matches every repository.
    pub(crate) fn everything() -> Self {
        Self("**".into())
    }

    pub(crate) fn matches(&self, repository: &Repository) -> bool {
        overlap_components(&self.0, &repository.to_string())
    }

    /// Whether some repository matches both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        overlap_components(&self.0, &other.0)
    }

    pub(crate) fn specificity(&self) -> Specificity {
        Specificity::of(&self.0)
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Specificity {
    fn of(text: &str) -> Self {
        Self {
            exact: !text.contains('*'),
            literal_components: text.split('/').filter(|component| !component.contains('*')).count(),
            fixed_depth: !text.split('/').any(|component| component == "**"),
            literal_characters: text.chars().filter(|character| *character != '*').count(),
        }
    }
}

/// A pattern of namespace names: `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamespacePattern(String);

impl NamespacePattern {
    /// Checks the form (RFC 1123 labels, and `*`).
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'*');
        if !(1..=63).contains(&text.len()) || !text.bytes().all(allowed) {
            return Err(invalid(text, "namespaces are 1 to 63 lower-case letters, digits and '-', and '*' for any"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Every namespace.
    pub(crate) fn everything() -> Self {
        Self("*".into())
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.0 == "*"
    }

    /// Whether a namespace is meant.
    pub fn matches(&self, namespace: &str) -> bool {
        overlap_characters(&self.0, namespace)
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        overlap_characters(&self.0, &other.0)
    }

    pub(crate) fn specificity(&self) -> Specificity {
        Specificity::of(&self.0)
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether two patterns have a text in common; with a text as one of them, whether the other matches it.
fn overlap_components(left: &str, right: &str) -> bool {
    let meets = |left: &&str, right: &&str| overlap_characters(left, right);
    overlap(&components(left), &components(right), |component| *component == "**", meets)
}

/// `**` is one component of any name, and then any number of them.
fn components(text: &str) -> Vec<&str> {
    text.split('/').flat_map(|component| if component == "**" { vec!["*", "**"] } else { vec![component] }).collect()
}

fn overlap_characters(left: &str, right: &str) -> bool {
    left == right || overlap(left.as_bytes(), right.as_bytes(), |byte| *byte == b'*', |left, right| left == right)
}

/// Whether two sequences can be the same one, where an item that `is_any` stands for any number of items. Marks all
/// pairs of positions that can be reached together: the product of the lengths in time, whatever the wildcards.
fn overlap<T>(left: &[T], right: &[T], is_any: impl Fn(&T) -> bool, meets: impl Fn(&T, &T) -> bool) -> bool {
    let width = right.len() + 1;
    let mut reached = vec![false; (left.len() + 1) * width];
    reached[0] = true;
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            if !reached[i * width + j] {
                continue;
            }
            let (a, b) = (left.get(i), right.get(j));
            let (any_a, any_b) = (a.is_some_and(&is_any), b.is_some_and(&is_any));
            if any_a || (any_b && a.is_some()) {
                reached[(i + 1) * width + j] = true;
            }
            if any_b || (any_a && b.is_some()) {
                reached[i * width + j + 1] = true;
            }
            if let (Some(a), Some(b)) = (a, b)
                && meets(a, b)
            {
                reached[(i + 1) * width + j + 1] = true;
            }
        }
    }
    reached[left.len() * width + right.len()]
}

#[cfg(test)]
mod tests {
    use portreeve_policies::image::ImageReference;
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, reference: &str) -> bool {
        ImagePattern::parse(pattern).unwrap().matches(&ImageReference::parse(reference).unwrap().repository)
    }

    #[test]
    fn one_star_stays_in_its_component_and_two_cross_components() {
        assert!(matches("quay.io/nebari/**", "quay.io/nebari/a/b/c"));
        assert!(matches("quay.io/nebari/*", "quay.io/nebari/hub"));
        assert!(!matches("quay.io/nebari/*", "quay.io/nebari/a/b"));
        assert!(!matches("quay.io/nebari/**", "quay.io/nebari-evil/hub"));
        assert!(!matches("quay.io/nebari/**", "quay.io/nebari"));
        assert!(matches("quay.io/**/hub", "quay.io/a/b/hub"));
        assert!(!matches("quay.io/**/hub", "quay.io/hub"));
        assert!(matches("*.corp.example/**", "eu.corp.example/x"));
        assert!(!matches("*.corp.example/**", "evil.io/eu.corp.example/x"));
        assert!(matches("docker.io/library/busybox", "busybox"));
        assert!(matches("127.0.0.1:5000/demo/jupyter-*", "127.0.0.1:5000/demo/jupyter-lab"));
        assert!(matches("**", "busybox"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_pattern() {
        for text in [
            "",
            "busybox",
            "library/busybox",
            "quay.io",
            "quay.io/a:1",
            "quay.io/a@sha256:1",
            "quay.io/a**",
            "quay.io//a",
            "quay.io/A",
            "quay.io/a b",
            &"a.b/".repeat(200),
        ] {
            assert!(ImagePattern::parse(text).is_err(), "{text:?} was accepted");
        }
        for text in ["", "Prod", "a_b", &"a".repeat(64)] {
            assert!(NamespacePattern::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn what_no_reference_is_named_by_is_refused_with_what_to_write() {
        for (text, advice) in [
            ("quay.io:443/bad/**", "write quay.io/bad/**"),
            ("index.docker.io/**", "write docker.io/**"),
            ("registry-1.docker.io:443/a/*", "write docker.io/a/*"),
            ("*.docker.io/**", "write docker.io/**"),
            ("*.corp.example:443/**", "write *.corp.example/**"),
            ("docker.io/nginx", "write docker.io/library/nginx"),
            ("docker.io/*", "write docker.io/library/*"),
            ("quay.io:0443/**", "registry host"),
            ("quay.io./**", "registry host"),
        ] {
            let error = ImagePattern::parse(text).unwrap_err().to_string();
            assert!(error.contains(advice), "{error}");
        }
        for text in
            ["registry:443/**", "quay.io:4430/**", "docker.io/**", "*.io/**", "localhost/a", "[::1]:5000/*", "*/x"]
        {
            ImagePattern::parse(text).unwrap();
        }
        assert!(matches("registry:443/**", "registry:443/app"));
    }

    #[test]
    fn an_exact_name_is_more_specific_than_any_pattern() {
        let order = [
            "**",
            "quay.io/**",
            "quay.io/*",
            "quay.io/nebari/**",
            "quay.io/nebari/*",
            "quay.io/nebari/hub-*",
            "quay.io/nebari/hub-a",
        ];
        for pair in order.windows(2) {
            let [left, right] = [pair[0], pair[1]].map(|text| ImagePattern::parse(text).unwrap().specificity());
            assert!(left < right, "{} is not below {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn many_wildcards_cost_no_more_than_the_product_of_the_lengths() {
        let pattern = format!("a.b/{}x", "*a".repeat(250));
        assert!(!matches(&pattern, &format!("a.b/{}", "a".repeat(250))));
    }

    proptest! {
        #[test]
        fn patterns_that_match_one_name_overlap(name in "[ab]{1,3}(/[ab]{1,3}){1,3}", stars in any::<(u8, u8)>()) {
            let text = format!("h.io/{name}");
            let star = |bits: u8| -> String {
                let parts: Vec<&str> = text.split('/').enumerate()
                    .map(|(index, part)| match (bits >> (2 * (index % 4))) & 3 { 1 => "*", 2 => "**", _ => part })
                    .collect();
                parts.join("/")
            };
            let [left, right] = [star(stars.0), star(stars.1)].map(|text| ImagePattern::parse(&text).unwrap());
            let repository = ImageReference::parse(&text).unwrap().repository;
            prop_assert!(left.matches(&repository) && right.matches(&repository));
            prop_assert!(left.overlaps(&right) && right.overlaps(&left));
        }
    }
}
