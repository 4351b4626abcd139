//! Whose certificate counts: the issuer and the subject that a certificate authority vouched for, and what else it says
//! about the build that asked for it (fulcio `docs/oid-info.md`).

use std::collections::BTreeMap;
use std::fmt;

use regex::{Regex, RegexBuilder};
use sigstore_crypto::{CertificateInfo, FulcioCiClaims};

/// Longest expression read, in bytes.
const MAX_EXPRESSION: usize = 1000;
/// Largest compiled expression, in bytes.
const MAX_COMPILED: usize = 1 << 20;

/// What a text must be: one text, or any that an expression describes as a whole.
#[derive(Clone)]
pub enum TextMatch {
    /// This text.
    Exact(String),
    /// What the expression describes from its first to its last character. The expression as written, and compiled.
    Pattern(String, Regex),
}

impl TextMatch {
    /// One text, which is not empty.
    pub fn exact(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty and would match nobody".to_owned());
        }
        Ok(Self::Exact(text.to_owned()))
    }

    /// An expression (syntax of the Rust crate `regex`, close to RE2), which must match as a whole: it is anchored as
    /// `^(?:…)$`. One that matches whatever certificates have (any
    /// address and any URI) is refused.
    pub fn pattern(expression: &str) -> Result<Self, String> {
        if expression.len() > MAX_EXPRESSION {
            return Err(format!("it is longer than {MAX_EXPRESSION} characters"));
        }
        // On its own first: `a)|(b` must not end the group that anchors it.
        let compile = |text: &str| RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
        let compiled = compile(expression).and_then(|_| compile(&format!("^(?:{expression})$")));
        let regex = compiled.map_err(|error| format!("it is no regular expression: {}", last_line(&error)))?;
        if expression.is_empty() {
            return Err("it is empty and would match nobody".to_owned());
        }
        let matches = |texts: &[&str]| texts.iter().all(|text| regex.is_match(text));
        if matches(&["https://a.example/b", "a@b.example"]) {
            return Err("it matches every address and every URI; say whose word counts".to_owned());
        }
        if matches(&["https://a.example/b", "https://token.other.example:8443/c/d?e=f"]) {
            return Err("it matches URIs of every host; say whose word counts".to_owned());
        }
        Ok(Self::Pattern(expression.to_owned(), regex))
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Pattern(_, regex) => regex.is_match(text),
        }
    }

    /// What it is and how it is written, for the digest of a policy.
    pub(crate) fn written(&self) -> (&'static str, &str) {
        match self {
            Self::Exact(text) => ("exact", text),
            Self::Pattern(expression, _) => ("pattern", expression),
        }
    }
}

/// The crate explains over several lines; the last one says what is wrong.
fn last_line(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl PartialEq for TextMatch {
    fn eq(&self, other: &Self) -> bool {
        self.written() == other.written()
    }
}

impl Eq for TextMatch {}

impl fmt::Debug for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, text) = self.written();
        write!(f, "{kind} {text:?}")
    }
}

/// An identity that an authority accepts: issuer and subject, always both, and claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The OIDC issuer that the certificate authority asked.
    pub issuer: TextMatch,
    /// The subject alternative name of the certificate: an e-mail address or a URI.
    pub subject: TextMatch,
    /// Claims that must read exactly so.
    pub claims: BTreeMap<Claim, String>,
}

/// A claim of a certificate about the build that asked for it, by the name that sigstore's tools give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim(usize);

type Read = fn(&FulcioCiClaims) -> Option<&str>;

/// Names and where they are read. `sourceRepositoryOwner` and `sourceRepository` are those URIs without their host,
/// which is the issuer's.
const CLAIMS: &[(&str, Read)] = &[
    ("buildConfigDigest", |claims| claims.build_config_digest.as_deref()),
    ("buildConfigURI", |claims| claims.build_config_uri.as_deref()),
    ("buildSignerDigest", |claims| claims.build_signer_digest.as_deref()),
    ("buildSignerURI", |claims| claims.build_signer_uri.as_deref()),
    ("buildTrigger", |claims| claims.build_trigger.as_deref()),
    ("deploymentEnvironment", |claims| claims.deployment_environment.as_deref()),
    ("runInvocationURI", |claims| claims.run_invocation_uri.as_deref()),
    ("runnerEnvironment", |claims| claims.runner_environment.as_deref()),
    ("sourceRepository", |claims| path_of(claims.source_repository_uri.as_deref())),
    ("sourceRepositoryDigest", |claims| claims.source_repository_digest.as_deref()),
    ("sourceRepositoryIdentifier", |claims| claims.source_repository_identifier.as_deref()),
    ("sourceRepositoryOwner", |claims| path_of(claims.source_repository_owner_uri.as_deref())),
    ("sourceRepositoryOwnerIdentifier", |claims| claims.source_repository_owner_identifier.as_deref()),
    ("sourceRepositoryOwnerURI", |claims| claims.source_repository_owner_uri.as_deref()),
    ("sourceRepositoryRef", |claims| claims.source_repository_ref.as_deref()),
    ("sourceRepositoryURI", |claims| claims.source_repository_uri.as_deref()),
    ("sourceRepositoryVisibilityAtSigning", |claims| claims.source_repository_visibility_at_signing.as_deref()),
    ("tokenSubject", |claims| claims.token_subject.as_deref()),
];

fn path_of(uri: Option<&str>) -> Option<&str> {
    uri?.strip_prefix("https://")?.split_once('/').map(|(_, path)| path)
}

impl Claim {
    /// The claim of a name.
    pub fn parse(name: &str) -> Option<Self> {
        CLAIMS.iter().position(|(known, _)| *known == name).map(Self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        CLAIMS[self.0].0
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CLAIMS.iter().map(|(name, _)| *name)
    }

    fn read(self, claims: &FulcioCiClaims) -> Option<&str> {
        CLAIMS[self.0].1(claims)
    }
}

/// Who signed, as the certificate has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Signer {
    pub(crate) subject: String,
    pub(crate) issuer: String,
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (issuer {})", self.subject, self.issuer)
    }
}

impl Signer {
    /// Who a certificate is about; an error when it does not say.
    pub(crate) fn of(certificate: &CertificateInfo) -> Result<Self, String> {
        let subject = certificate.identity.as_ref().map(|identity| identity.as_str().to_owned());
        let subject = subject.ok_or("the certificate has no e-mail address or URI as subject")?;
        let issuer = certificate.issuer.clone().ok_or("the certificate does not say which issuer vouched for it")?;
        Ok(Self { subject, issuer })
    }
}

impl Identity {
    /// Why a certificate's owner is not whom this names; nothing when it is.
    pub(crate) fn differs_from(&self, signer: &Signer, certificate: &CertificateInfo) -> Option<String> {
        let halves = [("issuer", &self.issuer, &signer.issuer), ("subject", &self.subject, &signer.subject)];
        if let Some((half, wanted, _)) = halves.into_iter().find(|(_, wanted, is)| !wanted.matches(is)) {
            let how = if matches!(wanted, TextMatch::Exact(_)) { "be" } else { "match" };
            return Some(format!("signed by {signer}, whose {half} must {how} '{}'", wanted.written().1));
        }
        self.claims.iter().find_map(|(claim, wanted)| {
            let (is, name) = (claim.read(&certificate.ci_claims), claim.name());
            (is != Some(wanted)).then(|| match is {
                Some(is) => format!("signed by {signer}, whose claim {name} is '{is}', not '{wanted}'"),
                None => format!("signed by {signer}, without the claim {name}: '{wanted}'"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_as_a_whole_whatever_is_in_it() {
        let pattern = |text: &str| TextMatch::pattern(text).unwrap();
        assert!(pattern("https://a/.+").matches("https://a/b"));
        assert!(!pattern("https://a/.+").matches("xhttps://a/b"));
        assert!(!pattern("a|b").matches("ab") && pattern("a|b").matches("b"));
        assert!(!pattern("a").matches("a\nb") && !pattern("a").matches("a\n"));
        assert!(!pattern("(?m)a").matches("a\nb"), "a flag must not move the anchors");
    }

    #[test]
    fn an_expression_that_is_none_or_matches_everything_is_refused() {
        for refused in [
            ".*",
            ".+",
            "..+",
            ".{5,}",
            ".+@.+|https://.+",
            ".*|a",
            "(?s).*",
            "[",
            "a)|(?:b",
            "a{1000}{1000}",
            &"a".repeat(MAX_EXPRESSION + 1),
        ] {
            assert!(TextMatch::pattern(refused).is_err(), "{refused}");
        }
        assert!(TextMatch::pattern(&"a".repeat(MAX_EXPRESSION)).is_ok());
        assert!(TextMatch::exact("").is_err());
    }

    #[test]
    fn claims_have_the_names_of_sigstore_and_nothing_else_does() {
        for name in Claim::names() {
            assert_eq!(Claim::parse(name).map(Claim::name), Some(name));
        }
        assert_eq!(Claim::parse("sourcerepositoryowner"), None);
        assert_eq!(path_of(Some("https://github.com/nebari-dev")), Some("nebari-dev"));
        assert_eq!(path_of(Some("http://github.com/nebari-dev")), None);
    }
}
