//! Certificates of servers on loopback.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::OrFail;

/// A certificate authority that lives as long as its test.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Certified {
    /// The certificate, PEM.
    pub certificate: String,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// The private key, PEM.
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "tests");
        let key = KeyPair::generate().or_fail("a key");
        let certificate = params.self_signed(&key).or_fail("a CA certificate");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }
}

impl Authority {
    /// The certificate of the authority, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A new certificate for a server on loopback.
    pub fn loopback(&self) -> Certified {
        let key = KeyPair::generate().or_fail("a key");
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = CertificateParams::new(names).or_fail("the names of a server");
        let certificate = params.signed_by(&key, &self.issuer).or_fail("a serving certificate");
        Certified { certificate: certificate.pem(), der: certificate.der().to_vec(), key: key.serialize_pem() }
    }
}
