//! Private keys as cosign encrypts them: JSON with scrypt parameters, salt, nonce and a NaCl secret box
//! (github.com/secure-systems-lab/go-securesystemslib, package encrypted).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::SigningKeyError;

/// log2 of the costs that cosign writes. Nothing else is tried: the cost is the file's to choose, and at `2^17` a
/// derivation takes 128 MiB.
const COSTS: [u8; 3] = [15, 16, 17];

#[derive(Deserialize)]
struct Encrypted {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Cost,
    salt: String,
}

#[derive(Deserialize)]
struct Cost {
    #[serde(rename = "N")]
    n: u64,
    r: u64,
    p: u64,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Decrypts the PKCS#8 key.
pub(super) fn open(json: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, SigningKeyError> {
    let malformed = SigningKeyError::Malformed;
    let Encrypted { kdf, cipher, ciphertext } = serde_json::from_slice(json).map_err(|_| malformed("it is no JSON"))?;
    if kdf.name != "scrypt" || cipher.name != "nacl/secretbox" {
        return Err(malformed("scrypt and nacl/secretbox are needed"));
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| malformed("a field is not base64"));
    let nonce: [u8; 24] = decode(&cipher.nonce)?.try_into().map_err(|_| malformed("the nonce is not 24 bytes"))?;
    let key = derive(&kdf.params, &decode(&kdf.salt)?, password)?;
    let opened = XSalsa20Poly1305::new(Key::from_slice(key.as_slice()))
        .decrypt(Nonce::from_slice(&nonce), decode(&ciphertext)?.as_slice());
    opened.map(Zeroizing::new).map_err(|_| SigningKeyError::WrongPassword)
}

fn derive(cost: &Cost, salt: &[u8], password: &[u8]) -> Result<Zeroizing<[u8; 32]>, SigningKeyError> {
    let known = COSTS.into_iter().find(|log| cost.n == 1 << log && cost.r == 8 && cost.p == 1);
    let log = known.ok_or(SigningKeyError::Malformed("its scrypt cost is none that cosign uses"))?;
    let params = scrypt::Params::new(log, 8, 1, 32).map_err(|_| SigningKeyError::Malformed("scrypt parameters"))?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(password, salt, &params, key.as_mut_slice())
        .map_err(|_| SigningKeyError::Malformed("scrypt parameters"))?;
    Ok(key)
}
