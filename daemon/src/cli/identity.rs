//! The flags that name a keyless identity, as cosign has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use portreeve_trust::identity::{Identity, TextMatch};

use super::Failure;

/// The flags that say who: what is said by a key instead. A trusted root is for both.
pub(super) const WHO: [&str; 4] = [
    "certificate_identity",
    "certificate_identity_regexp",
    "certificate_oidc_issuer",
    "certificate_oidc_issuer_regexp",
];

/// Whose certificate counts, and by whose word.
#[derive(Debug, Args)]
#[group(id = "identity", multiple = true)]
pub(super) struct IdentityArgs {
    /// Subject of the certificate that the image must be signed with: an e-mail address or a URI.
    #[arg(long, value_name = "SUBJECT", conflicts_with = "certificate_identity_regexp")]
    certificate_identity: Option<String>,
    /// The same as a regular expression, which must match the whole subject.
    #[arg(long, value_name = "REGEXP")]
    certificate_identity_regexp: Option<String>,
    /// OIDC issuer that vouched for the subject.
    #[arg(long, value_name = "URL", conflicts_with = "certificate_oidc_issuer_regexp")]
    certificate_oidc_issuer: Option<String>,
    /// The same as a regular expression, which must match the whole URL.
    #[arg(long, value_name = "REGEXP")]
    certificate_oidc_issuer_regexp: Option<String>,
    /// Trusted root (trusted_root.json) for certificates, log entries and timestamps. Default for identities: the
    /// embedded one of sigstore's public-good instance.
    #[arg(long, value_name = "FILE")]
    pub(super) trusted_root: Option<PathBuf>,
}

impl IdentityArgs {
    /// The identity; `None` without one, an error with half of one.
    pub(super) fn identity(&self) -> Result<Option<Identity>, Failure> {
        let subject = text_match(
            ("--certificate-identity", self.certificate_identity.as_deref()),
            ("--certificate-identity-regexp", self.certificate_identity_regexp.as_deref()),
        )?;
        let issuer = text_match(
            ("--certificate-oidc-issuer", self.certificate_oidc_issuer.as_deref()),
            ("--certificate-oidc-issuer-regexp", self.certificate_oidc_issuer_regexp.as_deref()),
        )?;
        match (subject, issuer) {
            (Some(subject), Some(issuer)) => Ok(Some(Identity { issuer, subject, claims: BTreeMap::new() })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Failure::usage(
                "--certificate-oidc-issuer is missing: a subject means nothing without who vouched for it",
            )),
            (None, Some(_)) => Err(Failure::usage(
                "--certificate-identity is missing: an issuer vouches for everybody who signs in there",
            )),
        }
    }
}

fn text_match(exact: (&str, Option<&str>), pattern: (&str, Option<&str>)) -> Result<Option<TextMatch>, Failure> {
    let wrong = |flag: &str, error: String| Failure::usage(format!("{flag}: {error}"));
    match (exact.1, pattern.1) {
        (Some(text), _) => TextMatch::exact(text).map(Some).map_err(|error| wrong(exact.0, error)),
        (None, Some(text)) => TextMatch::pattern(text).map(Some).map_err(|error| wrong(pattern.0, error)),
        (None, None) => Ok(None),
    }
}
