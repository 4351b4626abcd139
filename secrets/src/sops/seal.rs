//! Nonces: fresh ones, and those of values that an edit left alone.

use std::collections::{HashMap, VecDeque};

use sha2::{Digest as _, Sha256};

use super::cipher::NONCE;
use super::error::Error;
use super::secret::SecretBytes;

/// Where random bytes come from: the operating system, at the edge.
pub trait Random {
    /// Fills all of the bytes.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error>;
}

/// The nonces of a document by what they encrypted and where, so that a value that stays has the same ciphertext and
/// a change of one value is a change of one line.
///
/// A nonce is given out once: equal items of a list do not become equal ciphertexts, as they do in sops.
#[derive(Clone, Default)]
pub(crate) struct Stash(HashMap<[u8; 32], VecDeque<[u8; NONCE]>>);

impl Stash {
    fn slot(aad: &[u8], kind: &str, plain: &SecretBytes) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [aad, kind.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(plain.expose());
        hash.finalize().into()
    }

    pub(crate) fn keep(&mut self, (aad, kind): (&[u8], &str), plain: &SecretBytes, iv: &[u8]) {
        if let Ok(iv) = <[u8; NONCE]>::try_from(iv) {
            let slot = self.0.entry(Self::slot(aad, kind, plain)).or_default();
            if !slot.contains(&iv) {
                slot.push_back(iv);
            }
        }
    }

    fn reuse(&mut self, aad: &[u8], kind: &str, plain: &SecretBytes) -> Option<[u8; NONCE]> {
        self.0.get_mut(&Self::slot(aad, kind, plain))?.pop_front()
    }
}

/// Gives a nonce for each value.
pub(crate) struct Nonces<'a> {
    pub(crate) stash: Stash,
    pub(crate) random: &'a mut dyn Random,
}

impl Nonces<'_> {
    pub(crate) fn next(&mut self, aad: &[u8], kind: &str, plain: &SecretBytes) -> Result<[u8; NONCE], Error> {
        match self.stash.reuse(aad, kind, plain) {
            Some(iv) => Ok(iv),
            None => self.fresh(),
        }
    }

    pub(crate) fn fresh(&mut self) -> Result<[u8; NONCE], Error> {
        let mut iv = [0; NONCE];
        self.random.fill(&mut iv)?;
        Ok(iv)
    }
}
