//! Which images a pattern of kubelet's `matchImages` is for: `*.dkr.ecr.*.amazonaws.com`, `registry.example:5000/team`.

/// A host with a glob in each of its parts, a port, and what paths begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<String>,
    port: Option<String>,
    path: String,
}

impl Pattern {
    /// Reads a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(256).collect();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:*?/".contains(c);
        if text.len() > 1024 || !text.chars().all(is_plain) {
            return Err(format!(
                "'{shown}' is no pattern of images: a host, in whose parts '*' and '?' stand for other characters, then a \
                 port and a path"
            ));
        }
        let (host, path) = split(text);
        let (name, port) = named(host);
        if name.is_empty() || port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
            return Err(format!("'{shown}' is no pattern of images: it has no host, or a port that is no number"));
        }
        if path.contains(['*', '?']) {
            return Err(format!("'{shown}' is no pattern of images: '*' and '?' stand in hosts only"));
        }
        let parts = name.split('.').map(str::to_ascii_lowercase).collect();
        Ok(Self { parts, port: port.map(str::to_owned), path: path.to_owned() })
    }

    /// Whether an image, as host and repository, is meant. As in kubelet each part of a host stands for one part, a
    /// port for itself, none for none, and a path for all that begins with it.
    pub(super) fn matches(&self, image: &str) -> bool {
        let (host, path) = split(image);
        let (name, port) = named(host);
        let parts: Vec<&str> = name.split('.').collect();
        parts.len() == self.parts.len()
            && port == self.port.as_deref()
            && path.starts_with(&self.path)
            && self.parts.iter().zip(parts).all(|(glob, part)| is_match(glob.as_bytes(), part.as_bytes()))
    }
}

/// Host and path, which begins with its slash.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find('/').unwrap_or(text.len()))
}

fn named(host: &str) -> (&str, Option<&str>) {
    host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port)))
}

/// A glob and a text, in time of at most their product.
fn is_match(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where the last star stands, and what it has taken up to.
    let mut star = None;
    while read < text.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || *wanted == text[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                (at, read) = (place + 1, taken + 1);
            }
        }
    }
    glob[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_kubelet() {
        let cases = [
            ("*.dkr.ecr.*.amazonaws.com", "123.dkr.ecr.eu-west-1.amazonaws.com/app", true),
            ("*.dkr.ecr.*.amazonaws.com", "123.dkr.ecr.amazonaws.com/app", false),
            ("*.dkr.ecr.*.amazonaws.com", "a.123.dkr.ecr.eu-west-1.amazonaws.com/app", false),
            ("*.dkr.ecr.*.amazonaws.com", "123.dkr.ecr.eu-west-1.amazonaws.com.evil.io/app", false),
            ("*.io", "registry.k8s.io/pause", false),
            ("*.*.io", "registry.k8s.io/pause", true),
            ("gcr.io/project", "gcr.io/project/app", true),
            ("gcr.io/project", "gcr.io/project-2/app", true),
            ("gcr.io/project", "gcr.io/other", false),
            ("gcr.io", "gcr.io", true),
            ("gcr.io/", "gcr.io", false),
            ("*.registry.io:8080/path", "foo.registry.io:8080/path/x", true),
            ("*.registry.io:8080/path", "foo.registry.io/path/x", false),
            ("registry.io", "registry.io:8080/path", false),
            ("k8s-*-x?.io", "k8s-a-b-x1.io/a", true),
            ("k8s-*-x?.io", "k8s-a-b-x.io/a", false),
            ("*", "localhost/a", true),
            ("*", "a.b/a", false),
        ];
        for (pattern, image, expected) in cases {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(image), expected, "{pattern} {image}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "/a", "a.io:x", "a.io:", "https://a.io", "a.io/*", "[ab].io", "a\\.io", "a io", "me@a.io"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_glob_of_many_stars_takes_no_long_time() {
        let glob = "*a".repeat(200) + "b";
        assert!(!Pattern::parse(&glob).unwrap().matches(&"a".repeat(5000)));
    }
}
