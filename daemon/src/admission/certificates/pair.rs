//! A CA, a serving certificate and its key: made, and read back from a Secret that others may have edited.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use portreeve_reports::digest::hex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use secrecy::{ExposeSecret as _, SecretString};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

/// How long a certificate is valid.
pub(super) const LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Keys of the Secret.
pub(super) const CERTIFICATE: &str = "tls.crt";
pub(super) const KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";
const NEXT: [&str; 3] = ["next-ca.crt", "next-tls.crt", "next-tls.key"];
const PREVIOUS: &str = "previous-ca.crt";

/// A serving certificate with the CA that signed it.
#[derive(Clone)]
pub(super) struct Pair {
    authority: String,
    certificate: String,
    key: SecretString,
    pub(super) expires: Timestamp,
    pub(super) names: Vec<String>,
}

/// What the Secret holds, as far as it can be used.
#[derive(Clone, Default)]
pub(super) struct Held {
    pub(super) current: Option<Pair>,
    pub(super) next: Option<Pair>,
    /// The CA of the certificate before the current one.
    pub(super) previous: Option<String>,
}

impl Pair {
    /// A new one. Its beginning is in the past and its end not before that of its predecessor, so that neither a
    /// reader whose clock is behind nor a clock of ours that was set back makes it useless.
    pub(super) fn make(names: &[String], now: Timestamp, predecessor: Option<&Self>) -> Result<Self, rcgen::Error> {
        let expires = now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
        let expires = predecessor.map_or(expires, |pair| pair.expires.max(expires));
        let mut authority = params(Vec::new(), expires)?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority_key = KeyPair::generate()?;
        // No two authorities have the same name: a reader finds the one that signed.
        let id = hex(authority_key.public_key_raw().get(1..9).unwrap_or_default());
        authority.distinguished_name.push(DnType::CommonName, format!("portreeve webhook CA {id}"));
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let mut serving = params(names.to_vec(), expires)?;
        serving.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        serving.distinguished_name.push(DnType::CommonName, "portreeve webhook");
        let key = KeyPair::generate()?;
        let certificate = serving.signed_by(&key, &Issuer::new(authority, authority_key))?;
        Ok(Self {
            authority: authority_pem,
            certificate: certificate.pem(),
            key: key.serialize_pem().into(),
            expires,
            names: sorted(names.to_vec()),
        })
    }

    /// The three parts, when they belong together.
    fn read(data: &BTreeMap<String, ByteString>, keys: [&str; 3]) -> Option<Self> {
        let [authority, certificate, key] = keys.map(|key| text(data, key));
        let (authority, certificate, key) = (authority?, certificate?, key?);
        let (authority_pem, certificate_pem) = (one_pem(&authority)?, one_pem(&certificate)?);
        let (issuer, serving) = (authority_pem.parse_x509().ok()?, certificate_pem.parse_x509().ok()?);
        let key_pair = KeyPair::from_pem(&key).ok()?;
        let is_whole = serving.issuer() == issuer.subject()
            && serving.public_key().raw == rcgen::PublicKeyData::subject_public_key_info(&key_pair);
        let expires = Timestamp::from_second(serving.validity().not_after.timestamp()).ok()?;
        let names = names(&serving);
        is_whole.then(|| Self { authority, certificate, key: key.into(), expires, names })
    }

    fn write(&self, data: &mut BTreeMap<String, ByteString>, keys: [&str; 3]) {
        let parts = [self.authority.as_str(), self.certificate.as_str(), self.key.expose_secret()];
        for (key, part) in keys.into_iter().zip(parts) {
            data.insert(key.to_owned(), ByteString(part.as_bytes().to_vec()));
        }
    }
}

impl Held {
    /// Reads the Secret's data; what does not belong together is not there.
    pub(super) fn read(data: Option<&BTreeMap<String, ByteString>>) -> Self {
        let Some(data) = data else { return Self::default() };
        let previous = text(data, PREVIOUS).filter(|pem| one_pem(pem).is_some_and(|pem| pem.parse_x509().is_ok()));
        Self { current: Pair::read(data, [AUTHORITY, CERTIFICATE, KEY]), next: Pair::read(data, NEXT), previous }
    }

    /// The data to write.
    pub(super) fn data(&self) -> BTreeMap<String, ByteString> {
        let mut data = BTreeMap::new();
        if let Some(current) = &self.current {
            current.write(&mut data, [AUTHORITY, CERTIFICATE, KEY]);
        }
        if let Some(next) = &self.next {
            next.write(&mut data, NEXT);
        }
        if let Some(previous) = &self.previous {
            data.insert(PREVIOUS.to_owned(), ByteString(previous.as_bytes().to_vec()));
        }
        data
    }

    /// All CAs that must be trusted now, PEM.
    pub(super) fn bundle(&self) -> String {
        let pairs = [&self.current, &self.next].into_iter().flatten().map(|pair| pair.authority.as_str());
        pairs.chain(self.previous.as_deref()).collect()
    }

    pub(super) fn made(self, pair: Pair) -> Self {
        Self { current: Some(pair), next: None, ..self }
    }

    pub(super) fn staged(self, pair: Pair) -> Self {
        Self { next: Some(pair), ..self }
    }

    pub(super) fn promoted(self) -> Self {
        Self { previous: self.current.map(|current| current.authority), current: self.next, next: None }
    }

    pub(super) fn retired(self) -> Self {
        Self { previous: None, ..self }
    }
}

/// When a certificate chain's first certificate expires.
pub(in crate::admission) fn expiry(chain: &[u8]) -> Option<Timestamp> {
    let pem = Pem::iter_from_buffer(chain).next()?.ok()?;
    Timestamp::from_second(pem.parse_x509().ok()?.validity().not_after.timestamp()).ok()
}

pub(super) fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn params(names: Vec<String>, expires: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let seconds = u64::try_from(expires.as_second()).unwrap_or(0);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    Ok(params)
}

fn text(data: &BTreeMap<String, ByteString>, key: &str) -> Option<String> {
    String::from_utf8(data.get(key)?.0.clone()).ok()
}

/// The certificate of a text that holds exactly one.
fn one_pem(text: &str) -> Option<Pem> {
    let mut blocks = Pem::iter_from_buffer(text.as_bytes());
    let first = blocks.next()?.ok()?;
    blocks.next().is_none().then_some(first)
}

/// The names that a certificate is for, sorted.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    sorted(extension.value.general_names.iter().filter_map(name).collect())
}
