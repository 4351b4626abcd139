//! What was recorded, with one bit another.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Every leaf of a JSON document, by its path.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            leaves(value, &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| leaves(item, &format!("{path}/{index}"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

pub(crate) fn flipped(bytes: &[u8], index: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[index] ^= 1;
    bytes
}

/// The text with one bit another: in each byte of what base64 stands for, or in each character; of long ones in some
/// 200, evenly spread.
pub(crate) fn changed(text: &str) -> Vec<String> {
    match STANDARD.decode(text) {
        Ok(bytes) if bytes.len() > 8 => (0..bytes.len())
            .step_by((bytes.len() / 200).max(1))
            .map(|index| STANDARD.encode(flipped(&bytes, index)))
            .collect(),
        _ => (0..text.len())
            .step_by((text.len() / 200).max(1))
            .filter_map(|index| String::from_utf8(flipped(text.as_bytes(), index)).ok())
            .collect(),
    }
}

/// A timestamp with one bit another in each byte of what its authority signed, and of the signature. Around that are
/// versions, status and names of algorithms that say nothing of the time (RFC 5652, section 5.1).
fn changed_timestamp(token: &str) -> Vec<String> {
    let bytes = STANDARD.decode(token).unwrap();
    let response = parts(&bytes, 0..bytes.len());
    let signed_data = parts(&bytes, parts(&bytes, parts(&bytes, response[0].clone())[1].clone())[1].clone())[0].clone();
    let signed_data = parts(&bytes, signed_data);
    let info = parts(&bytes, parts(&bytes, signed_data[2].clone())[1].clone())[0].clone();
    let signers = signed_data.last().unwrap().clone();
    let signer = parts(&bytes, parts(&bytes, signers)[0].clone());
    let (attributes, signature) = (signer[3].clone(), signer[5].clone());
    let regions = [info, attributes, signature];
    assert!(regions.iter().map(ExactSizeIterator::len).sum::<usize>() > 300, "{regions:?}");
    regions.into_iter().flatten().map(|index| STANDARD.encode(flipped(&bytes, index))).collect()
}

/// Where the contents of the DER values in a range are.
fn parts(bytes: &[u8], range: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let (length, header) = match bytes[at + 1] {
            short @ 0..0x80 => (usize::from(short), 2),
            long => {
                let count = usize::from(long & 0x7f);
                let digits = &bytes[at + 2..at + 2 + count];
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), 2 + count)
            }
        };
        found.push(at + header..at + header + length);
        at += header + length;
    }
    found
}

/// What may be changed without changing what is proved: hints that nothing reads.
const UNREAD: &[&str] = &["/verificationMaterial/publicKey/hint", "/dsseEnvelope/signatures/0/keyid"];

fn forgeries(path: &str, text: &str) -> Vec<String> {
    if UNREAD.contains(&path) {
        return Vec::new();
    }
    if path.ends_with("/signedTimestamp") {
        return changed_timestamp(text);
    }
    // The newline at the end of a checkpoint belongs to none of its lines.
    let is_newline = |forged: &String| path.ends_with("/envelope") && forged.trim_end() == text.trim_end();
    changed(text).into_iter().filter(|forged| !is_newline(forged)).collect()
}

pub(crate) fn forged_annotations(name: &str, text: &str) -> Vec<String> {
    if name.ends_with("/certificate") {
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let pem = |body: String| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        return changed(&body).into_iter().map(pem).collect();
    }
    let Ok(document @ Value::Object(_)) = serde_json::from_str::<Value>(text) else { return changed(text) };
    let mut paths = Vec::new();
    leaves(&document, "", &mut paths);
    let mut forged = Vec::new();
    for path in paths {
        let values: Vec<Value> = match document.pointer(&path).unwrap() {
            Value::String(token) if path.ends_with("Timestamp") && name.ends_with("timestamp") => {
                changed_timestamp(token).into_iter().map(Value::from).collect()
            }
            Value::String(text) => changed(text).into_iter().map(Value::from).collect(),
            number => vec![json!(number.as_i64().unwrap() + 1)],
        };
        for value in values {
            let mut document = document.clone();
            *document.pointer_mut(&path).unwrap() = value;
            forged.push(document.to_string());
        }
    }
    forged
}

/// A bundle with one bit another, each with the path of the leaf that it is in.
pub(crate) fn forged_bundles(bundle: &[u8]) -> Vec<(String, Vec<u8>)> {
    let document: Value = serde_json::from_slice(bundle).unwrap();
    let mut paths = Vec::new();
    leaves(&document, "", &mut paths);
    let mut forged = Vec::new();
    for path in paths {
        let Some(text) = document.pointer(&path).and_then(Value::as_str) else { continue };
        for text in forgeries(&path, text) {
            let mut document = document.clone();
            *document.pointer_mut(&path).unwrap() = json!(text);
            forged.push((format!("{path} = {text:?}"), serde_json::to_vec(&document).unwrap()));
        }
    }
    forged
}
