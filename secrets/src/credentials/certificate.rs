//! X.509 certificates in PEM: the first, and what it is issued by as far as that comes along.

use jiff::Timestamp;
use portreeve_reports::Cause;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Expiry;

/// The most blocks of PEM of one text that are read: more than the bundles of all public authorities have.
const MAX_BLOCKS: usize = 512;

/// The life of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) valid_from: Option<Timestamp>,
    pub(super) expires: Expiry,
    pub(super) count: usize,
}

/// Whether a text has a certificate at all.
pub(super) fn is_in(text: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    text.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// The life of the chain of certificates in a text. It ends with the first to expire of the leaf and the certificates
/// that issue it; certificates that issue themselves are trusted for being known, and clients do not read their dates.
pub(super) fn chain(text: &[u8]) -> Chain {
    let mut chain = Chain { valid_from: None, expires: Expiry::Never, count: 0 };
    for (index, pem) in Pem::iter_from_buffer(text).enumerate() {
        if index == MAX_BLOCKS {
            return unknown(Cause::TooLarge, "there are more certificates in the value than are read");
        }
        let Ok(pem) = pem else { return unreadable("it is not PEM that can be read") };
        if pem.label != "CERTIFICATE" {
            continue;
        }
        let Ok((_, certificate)) = X509Certificate::from_der(&pem.contents) else {
            return unreadable("it is not an X.509 certificate that can be read");
        };
        chain.add(&certificate);
    }
    if chain.count == 0 { unreadable("there is no PEM certificate in it") } else { chain }
}

fn unreadable(why: &'static str) -> Chain {
    unknown(Cause::Unreadable, why)
}

fn unknown(cause: Cause, why: &'static str) -> Chain {
    Chain { valid_from: None, expires: Expiry::Unknown(cause, why), count: 0 }
}

impl Chain {
    fn add(&mut self, certificate: &X509Certificate<'_>) {
        self.count += 1;
        let is_leaf = self.count == 1;
        if !is_leaf && certificate.subject() == certificate.issuer() {
            return;
        }
        let validity = certificate.validity();
        let (from, until) = (clamped(validity.not_before.timestamp()), clamped(validity.not_after.timestamp()));
        self.valid_from = if is_leaf { Some(from) } else { self.valid_from.max(Some(from)) };
        self.expires = match self.expires {
            Expiry::At(before) => Expiry::At(before.min(until)),
            _ => Expiry::At(until),
        };
    }
}

/// Seconds since 1970 as a time; what is beyond the calendar is its end.
pub(super) fn clamped(seconds: i64) -> Timestamp {
    let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(seconds).unwrap_or(end)
}
