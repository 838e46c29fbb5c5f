//! Pair of keys of one member, or of whoever can restore the cluster's secrets.

use std::fmt;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::{
    NoRandomness, OpenError,
    derivation::{decrypt_once, derive, encrypt_once, joined, random},
};

/// Bytes of either key of a pair.
pub const KEY_BYTES: usize = 32;

/// First byte of a box: its form.
const BOX_FORM: u8 = 1;

/// Private X25519 key, with the public one. Its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct SealKey {
    private: StaticSecret,
    public: PublicSealKey,
}

/// Public X25519 key, for which boxes are made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicSealKey(pub [u8; KEY_BYTES]);

impl SealKey {
    /// Makes a new pair.
    pub fn generate() -> Result<SealKey, NoRandomness> {
        let private = random()?;
        Ok(SealKey::from_bytes(&private))
    }

    /// Takes a pair up again from its private key.
    pub fn from_bytes(private: &[u8; KEY_BYTES]) -> SealKey {
        let private = StaticSecret::from(*private);
        let public = PublicSealKey(PublicKey::from(&private).to_bytes());
        SealKey { private, public }
    }

    /// Returns the private key, to be kept where only its owner can read it.
    pub fn to_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new(self.private.to_bytes())
    }

    /// Returns the public key.
    pub fn public(&self) -> PublicSealKey {
        self.public
    }

    /// Opens a box that was made for this pair, under the same `info`.
    pub(crate) fn open_box(
        &self,
        info: &[u8],
        boxed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (form, rest) = boxed.split_first().ok_or(OpenError::Form)?;
        let (ephemeral, sealed) = rest.split_at_checked(KEY_BYTES).ok_or(OpenError::Form)?;
        let ephemeral: [u8; KEY_BYTES] = ephemeral.try_into().map_err(|_| OpenError::Form)?;
        if *form != BOX_FORM {
            return Err(OpenError::Form);
        }
        let ephemeral = PublicSealKey(ephemeral);
        let key = agreed_key(&self.private, ephemeral, ephemeral, self.public, info)
            .ok_or(OpenError::NotGenuine)?;
        decrypt_once(&key, info, sealed)
    }
}

impl PublicSealKey {
    /// Puts `text` into a box that only the owner of the private key can open; `None` where this
    /// is no key that anything can be kept secret for.
    pub(crate) fn make_box(
        &self,
        info: &[u8],
        text: &[u8],
        ephemeral: &SealKey,
    ) -> Option<Vec<u8>> {
        let key = agreed_key(&ephemeral.private, *self, ephemeral.public, *self, info)?;
        let mut boxed = vec![BOX_FORM];
        boxed.extend_from_slice(&ephemeral.public.0);
        let start = boxed.len();
        boxed.extend_from_slice(text);
        let tag = encrypt_once(&key, info, &mut boxed[start..]);
        boxed.extend_from_slice(&tag);
        Some(boxed)
    }
}

/// Agrees on the key of one box. Both public keys count, so that a box is of this pair alone. A
/// point of low order, with which everybody agrees on the same, gives none.
fn agreed_key(
    own: &StaticSecret,
    other: PublicSealKey,
    ephemeral: PublicSealKey,
    recipient: PublicSealKey,
    info: &[u8],
) -> Option<Zeroizing<[u8; 32]>> {
    let shared = own.diffie_hellman(&PublicKey::from(other.0));
    if !shared.was_contributory() {
        return None;
    }
    let keys = joined("quorate/box/1", &[&ephemeral.0, &recipient.0]);
    Some(derive(shared.as_bytes(), &keys, info))
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey")
            .field("private", &"(hidden)")
            .field("public", &self.public)
            .finish()
    }
}

impl fmt::Debug for PublicSealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
