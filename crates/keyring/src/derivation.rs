//! Derivation of keys that are used once, and encryption under them.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{NoRandomness, OpenError};

/// Bytes of an authentication tag.
pub(crate) const TAG_BYTES: usize = 16;

/// Derives 32 bytes by HKDF-SHA256 (RFC 5869).
pub(crate) fn derive(material: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    let info = [info];
    Salt::new(HKDF_SHA256, salt)
        .extract(material)
        .expand(&info, HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *derived))
        .expect("invariant: 32 bytes are what HKDF-SHA256 gives in one block");
    derived
}

/// Encrypts in place under a key that is used for nothing else, and returns the tag.
pub(crate) fn encrypt_once(key: &[u8; 32], info: &[u8], text: &mut [u8]) -> [u8; TAG_BYTES] {
    let tag = cipher(key)
        .seal_in_place_separate_tag(zero_nonce(), Aad::from(info), text)
        .expect("invariant: a secret is shorter than what AES-GCM takes");
    let mut bytes = [0; TAG_BYTES];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// Decrypts what [`encrypt_once`] encrypted.
pub(crate) fn decrypt_once(
    key: &[u8; 32],
    info: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let length = sealed.len().checked_sub(TAG_BYTES).ok_or(OpenError::Form)?;
    let (text, tag) = sealed.split_at(length);
    let tag: [u8; TAG_BYTES] = tag.try_into().map_err(|_| OpenError::Form)?;
    let mut text = Zeroizing::new(text.to_vec());
    cipher(key)
        .open_in_place_separate_tag(
            zero_nonce(),
            Aad::from(info),
            Tag::from(tag),
            &mut text,
            0..,
        )
        .map_err(|_| OpenError::NotGenuine)?;
    Ok(text)
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, key);
    LessSafeKey::new(key.expect("invariant: AES-256 takes 32 bytes"))
}

/// Returns the nonce of a key that is used once.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Joins parts so that no two lists of parts give the same bytes.
pub(crate) fn joined(purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::with_capacity(64);
    for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    all
}

/// Returns random bytes of the system.
pub(crate) fn random() -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new()
        .fill(&mut *bytes)
        .map_err(|_| NoRandomness)?;
    Ok(bytes)
}
