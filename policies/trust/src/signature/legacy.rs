//! What cosign v2 writes beside a signature, as annotations, put together to the bundle that the same signature would
//! have today: one verifier for both.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sigstore_types::bundle::{
    CertificateContent, InclusionPromise, LogId, PublicKeyIdentifier, Rfc3161Timestamp, TimestampVerificationData,
    TransparencyLogEntry, VerificationMaterial, VerificationMaterialContent,
};
use sigstore_types::{
    Bundle, CanonicalizedBody, DerCertificate, KindVersion, LogIndex, LogKeyId, MediaType, SignatureContent,
    SignedTimestamp, TimestampToken,
};

use super::clipped;
use crate::strict_json;

/// Annotation of the signer's certificate, PEM.
pub(crate) const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// Annotation of the entry in the transparency log, JSON.
pub(crate) const LOG: &str = "dev.sigstore.cosign/bundle";
/// Annotation of the timestamp, JSON.
pub(crate) const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

type Annotations = BTreeMap<String, String>;

/// An annotation that is there and not empty.
pub(crate) fn annotation<'layer>(annotations: &'layer Annotations, name: &str) -> Option<&'layer str> {
    annotations.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// The bundle of a v2 layer. The chain annotation is not read: intermediates come from the trust root, and what a
/// registry says about a root counts for nothing. `v0.1` is the format of entries with a promise (SET) only, `v0.3`
/// that of bundles without an entry.
pub(super) fn bundle(annotations: &Annotations, content: SignatureContent) -> Result<Bundle, String> {
    let entry = annotation(annotations, LOG).map(log_entry).transpose()?;
    let timestamp = annotation(annotations, TIMESTAMP).map(timestamp).transpose()?;
    let signer = match annotation(annotations, CERTIFICATE) {
        Some(pem) => VerificationMaterialContent::Certificate(CertificateContent::new(
            DerCertificate::from_pem(pem).map_err(|error| format!("annotation {CERTIFICATE}: {error}"))?,
        )),
        None => VerificationMaterialContent::PublicKey(PublicKeyIdentifier::new("")),
    };
    let version = if entry.is_some() { MediaType::Bundle0_1 } else { MediaType::Bundle0_3 };
    let material = VerificationMaterial::new(signer)
        .with_tlog_entries(entry.into_iter().collect())
        .with_timestamp_verification_data(TimestampVerificationData::new(timestamp.into_iter().collect()));
    Ok(Bundle::new(version, material, content))
}

/// cosign specs/SIGNATURE_SPEC.md, "dev.sigstore.cosign/bundle".
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RekorBundle {
    signed_entry_timestamp: SignedTimestamp,
    payload: RekorPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RekorPayload {
    body: String,
    integrated_time: i64,
    log_index: u64,
    #[serde(rename = "logID")]
    log_id: String,
}

fn log_entry(text: &str) -> Result<TransparencyLogEntry, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("annotation {LOG}: {}", clipped(&error.to_string()));
    let value = strict_json::parse(text.as_bytes()).map_err(|error| wrong(&error))?;
    let RekorBundle { signed_entry_timestamp, payload } =
        serde_json::from_value(value).map_err(|error| wrong(&error))?;
    let body = STANDARD.decode(&payload.body).map_err(|error| wrong(&error))?;
    let kind = kind_of(&body).map_err(|error| wrong(&error))?;
    let log_index = LogIndex::new(payload.log_index).map_err(|error| wrong(&error))?;
    let log_id = LogId::new(LogKeyId::new(hex(&payload.log_id).ok_or_else(|| wrong(&"logID is not hexadecimal"))?));
    let integrated = jiff::Timestamp::from_second(payload.integrated_time).map_err(|error| wrong(&error))?;
    Ok(TransparencyLogEntry::new(log_index, log_id, kind, CanonicalizedBody::new(body))
        .with_integrated_time(integrated)
        .with_inclusion_promise(InclusionPromise::new(signed_entry_timestamp)))
}

/// The kind stands in the body that the log has signed.
fn kind_of(body: &[u8]) -> Result<KindVersion, String> {
    let body = strict_json::parse(body).map_err(|error| error.to_string())?;
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = json!({"kind": text("kind"), "version": text("apiVersion")});
    serde_json::from_value(kind).map_err(|error| error.to_string())
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

fn timestamp(text: &str) -> Result<Rfc3161Timestamp, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("annotation {TIMESTAMP}: {error}");
    let value = strict_json::parse(text.as_bytes()).map_err(|error| wrong(&error))?;
    let token = value.get("SignedRFC3161Timestamp").and_then(Value::as_str).ok_or_else(|| wrong(&"no timestamp"))?;
    Ok(Rfc3161Timestamp::new(TimestampToken::from_base64(token).map_err(|error| wrong(&error))?))
}
