//! Private keys and age identities: whether a passphrase or a device guards them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How a private key is kept, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guard {
    /// It names a device that has it.
    Device,
    /// A passphrase protects it.
    Passphrase,
    /// It cannot be read, and so not told.
    Unreadable,
    /// Whoever reads it has it.
    Plain,
}

/// The private keys in PEM of a text, which often have company (a certificate, the parameters of a curve): how the worst
/// of them is kept; `None` when there is none. One pass, however the text is made.
pub(super) fn private_key(text: &str) -> Option<Guard> {
    let mut rest = text;
    std::iter::from_fn(|| {
        let (_, block) = rest.split_once("-----BEGIN ")?;
        let (label, block) = block.split_once("-----")?;
        // A block that does not end does not hide what begins in it.
        let (body, _) = block.split_once("-----")?;
        rest = block;
        Some(guard(label, body))
    })
    .flatten()
    .max()
}

/// How the key of a block is kept; `None` when the block is none.
fn guard(label: &str, body: &str) -> Option<Guard> {
    match label {
        "OPENSSH PRIVATE KEY" => Some(openssh(body).unwrap_or(Guard::Unreadable)),
        "ENCRYPTED PRIVATE KEY" => Some(Guard::Passphrase),
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "DSA PRIVATE KEY" => {
            Some(if body.contains("Proc-Type: 4,ENCRYPTED") { Guard::Passphrase } else { Guard::Plain })
        }
        _ => None,
    }
}

/// OpenSSH's own format (PROTOCOL.key): a magic word, the name of the cipher, the name of the key derivation.
fn openssh(body: &str) -> Option<Guard> {
    let compact: String = body.chars().filter(|character| !character.is_whitespace()).collect();
    let bytes = STANDARD.decode(compact).ok()?;
    let (cipher, rest) = string(bytes.strip_prefix(b"openssh-key-v1\0")?)?;
    let (derivation, _) = string(rest)?;
    Some(if cipher == b"none" || derivation == b"none" { Guard::Plain } else { Guard::Passphrase })
}

/// A string of the SSH wire format, and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// The age identities of a text: how many, and how the worst of them is kept.
pub(super) fn age_identities(text: &str) -> Option<(usize, Guard)> {
    let guards: Vec<Guard> = text.lines().filter_map(|line| age_identity(line.trim())).collect();
    let worst = if guards.contains(&Guard::Plain) { Guard::Plain } else { Guard::Device };
    (!guards.is_empty()).then_some((guards.len(), worst))
}

fn age_identity(line: &str) -> Option<Guard> {
    /// Longer than any identity: those of post-quantum keys have some hundred characters.
    const LONGEST: usize = 4_096;
    let word = line.get(..line.len().min(LONGEST))?.to_ascii_uppercase();
    let is_bech32 = |data: &str| data.len() >= 38 && data.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let has = |prefix: &str| word.strip_prefix(prefix).is_some_and(is_bech32);
    if has("AGE-SECRET-KEY-PQ-1") || has("AGE-SECRET-KEY-1") {
        return Some(Guard::Plain);
    }
    let plugin = word.strip_prefix("AGE-PLUGIN-")?;
    plugin.rsplit_once("-1").is_some_and(|(name, _)| !name.is_empty()).then_some(Guard::Device)
}
