//! Single values: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.
//!
//! AES-256-GCM. The nonce is 32 bytes wherever sops writes; files of other writers have other lengths. The type is
//! protected by nothing, so it is read as what it is: a hint.

use aes_gcm::AesGcm;
use aes_gcm::aead::consts::{U12, U16, U24, U32};
use aes_gcm::aead::generic_array::{ArrayLength, GenericArray};
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::aes::Aes256;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use super::secret::SecretBytes;
use super::stamp;
use super::tree::Value;

/// Standard base64, which like Go's reader does not mind what the last character has to spare.
pub(crate) const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

const PREFIX: &str = "ENC[AES256_GCM,data:";

/// Bytes of a nonce as it is written.
pub(crate) const NONCE: usize = 32;

/// Bytes of a data key.
pub(crate) const KEY: usize = 32;

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Not the text of an encrypted value.
    Form,
    /// A nonce of a length that nobody writes.
    Nonce,
    /// Altered, moved, or of another key.
    Tag,
    /// A type that does not exist, or a text that is not of its type.
    Type,
}

impl Problem {
    /// In words that name no value.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Form => "is not in the form ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]",
            Self::Nonce => "has an IV of a length that is not read",
            Self::Tag => "does not decrypt: it was changed, moved here from elsewhere, or belongs to another data key",
            Self::Type => "decrypts to something that is not of its type",
        }
    }
}

/// An encrypted value, taken apart.
pub(crate) struct Sealed<'text> {
    data: Vec<u8>,
    pub(crate) iv: Vec<u8>,
    tag: [u8; 16],
    pub(crate) kind: &'text str,
    /// Something stands behind the `]`, which sops ignores.
    pub(crate) trailing: bool,
}

/// A decrypted value, or a comment.
pub(crate) enum Decrypted {
    Value(Value),
    Comment(SecretBytes),
}

/// Whether a text claims to be an encrypted value.
pub(crate) fn looks_sealed(text: &str) -> bool {
    text.starts_with(PREFIX)
}

impl<'text> Sealed<'text> {
    pub(crate) fn parse(text: &'text str) -> Result<Self, Problem> {
        let form = Problem::Form;
        let line = text.split('\n').next().unwrap_or_default();
        let (inside, behind) = line.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once(']')).ok_or(form)?;
        let (data, rest) = inside.split_once(",iv:").ok_or(form)?;
        let (iv, rest) = rest.split_once(",tag:").ok_or(form)?;
        let (tag, kind) = rest.split_once(",type:").ok_or(form)?;
        let decode = |text: &str| BASE64.decode(text).map_err(|_| form);
        let (data, iv, tag) = (decode(data)?, decode(iv)?, decode(tag)?);
        if data.is_empty() || kind.is_empty() {
            return Err(form);
        }
        let trailing = !behind.is_empty() || line.len() < text.len();
        Ok(Self { data, iv, tag: tag.try_into().map_err(|_| form)?, kind, trailing })
    }
}

/// A data key, ready for use.
pub(crate) struct Cipher {
    key: SecretBytes,
    wide: AesGcm<Aes256, U32>,
}

impl Cipher {
    pub(crate) fn new(key: SecretBytes) -> Option<Self> {
        let wide = AesGcm::new_from_slice(key.expose()).ok()?;
        Some(Self { key, wide })
    }

    /// The bytes behind an encrypted value.
    pub(crate) fn open(&self, sealed: Sealed<'_>, aad: &[u8]) -> Result<SecretBytes, Problem> {
        let Sealed { data, iv, tag, .. } = sealed;
        match iv.len() {
            NONCE => open_by(&self.wide, data, &iv, (&tag, aad)),
            12 => open_by(&self.narrow::<U12>()?, data, &iv, (&tag, aad)),
            16 => open_by(&self.narrow::<U16>()?, data, &iv, (&tag, aad)),
            24 => open_by(&self.narrow::<U24>()?, data, &iv, (&tag, aad)),
            _ => Err(Problem::Nonce),
        }
    }

    fn narrow<N: ArrayLength<u8>>(&self) -> Result<AesGcm<Aes256, N>, Problem> {
        AesGcm::new_from_slice(self.key.expose()).map_err(|_| Problem::Tag)
    }

    /// The value behind a text; an empty text stands for itself.
    pub(crate) fn decrypt(&self, text: &str, aad: &[u8]) -> Result<Decrypted, Problem> {
        if text.is_empty() {
            return Ok(Decrypted::Value(Value::Text(SecretBytes::default())));
        }
        let sealed = Sealed::parse(text)?;
        let kind = sealed.kind;
        typed(kind, self.open(sealed, aad)?)
    }

    /// Encrypts bytes under a nonce.
    pub(crate) fn seal(&self, plain: &SecretBytes, kind: &str, iv: &[u8; NONCE], aad: &[u8]) -> Option<String> {
        let mut data = plain.expose().to_vec();
        let tag = self.wide.encrypt_in_place_detached(GenericArray::from_slice(iv), aad, &mut data).ok()?;
        let (data, iv, tag) = (BASE64.encode(data), BASE64.encode(iv), BASE64.encode(tag));
        Some(format!("{PREFIX}{data},iv:{iv},tag:{tag},type:{kind}]"))
    }
}

fn open_by<N: ArrayLength<u8>>(
    cipher: &AesGcm<Aes256, N>,
    mut data: Vec<u8>,
    iv: &[u8],
    (tag, aad): (&[u8; 16], &[u8]),
) -> Result<SecretBytes, Problem> {
    cipher
        .decrypt_in_place_detached(GenericArray::from_slice(iv), aad, &mut data, GenericArray::from_slice(tag))
        .map_err(|_| Problem::Tag)?;
    Ok(SecretBytes::new(data))
}

fn typed(kind: &str, bytes: SecretBytes) -> Result<Decrypted, Problem> {
    let text = || std::str::from_utf8(bytes.expose()).map_err(|_| Problem::Type);
    Ok(Decrypted::Value(match kind {
        "comment" => return Ok(Decrypted::Comment(bytes)),
        // `bytes` was written by none but the first Go versions.
        "str" | "bytes" => Value::Text(bytes),
        "int" => Value::Int(text()?.parse().map_err(|_| Problem::Type)?),
        "float" => Value::Float(stamp::read_float(text()?).ok_or(Problem::Type)?),
        "bool" => Value::Bool(match text()? {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => return Err(Problem::Type),
        }),
        "time" => {
            let time = stamp::rfc3339(text()?).ok_or(Problem::Type)?;
            Value::Time(SecretBytes::new(time.into_bytes()))
        }
        _ => return Err(Problem::Type),
    }))
}

/// The type of a leaf, as it is written.
pub(crate) fn type_of(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Null | Value::List(_) | Value::Map(_) => return None,
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Time(_) => "time",
        Value::Text(_) => "str",
    })
}
