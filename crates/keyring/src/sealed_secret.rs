//! Secret that is sealed for one place.

use zeroize::Zeroizing;

use crate::{
    ClusterKey, NoRandomness, OpenError,
    derivation::{TAG_BYTES, decrypt_once, derive, encrypt_once, joined, random},
};

/// Bytes of the salt from which a secret's key is derived.
pub const SALT_BYTES: usize = 32;
/// Bytes of a fingerprint.
pub const FINGERPRINT_BYTES: usize = 16;
/// Texts are filled up to a multiple of so many bytes, so that their length tells little.
const BLOCK_BYTES: usize = 32;
/// Byte that follows the text; zeros fill up the rest.
const END: u8 = 0x80;

/// Place of a secret. It opens there and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretPlace<'a> {
    /// Id of the cluster.
    pub cluster: &'a str,
    /// Kind of the resource.
    pub kind: &'a str,
    /// Name of the resource.
    pub name: &'a str,
    /// Field of the resource.
    pub field: &'a str,
    /// Part of the secret that may be shown, which stands in clear beside it.
    pub shown: Option<&'a str>,
}

/// Sealed secret, without the place that it was sealed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    /// Version of the cluster's key.
    pub key_version: u32,
    /// Salt from which its key is derived.
    pub salt: [u8; SALT_BYTES],
    /// Encrypted text, with its tag.
    pub ciphertext: Vec<u8>,
    /// Equal for equal texts at one place under one version of the key.
    pub fingerprint: [u8; FINGERPRINT_BYTES],
}

impl SecretPlace<'_> {
    fn info(&self, key_version: u32) -> Vec<u8> {
        let (is_shown, shown) = match self.shown {
            Some(shown) => (&[1_u8], shown),
            None => (&[0_u8], ""),
        };
        joined(
            "quorate/secret/1",
            &[
                self.cluster.as_bytes(),
                self.kind.as_bytes(),
                self.name.as_bytes(),
                self.field.as_bytes(),
                is_shown,
                shown.as_bytes(),
                &key_version.to_be_bytes(),
            ],
        )
    }
}

impl ClusterKey {
    /// Seals a text for a place.
    pub fn seal(&self, place: SecretPlace<'_>, text: &str) -> Result<SealedSecret, NoRandomness> {
        Ok(self.seal_by(place, text, *random()?))
    }

    pub(crate) fn seal_by(
        &self,
        place: SecretPlace<'_>,
        text: &str,
        salt: [u8; SALT_BYTES],
    ) -> SealedSecret {
        let info = place.info(self.version());
        let key = derive(&*self.bytes, &salt, &info);
        // Room for all, so that no copy of the text is left behind.
        let filled = (text.len() / BLOCK_BYTES + 1) * BLOCK_BYTES;
        let mut ciphertext = Vec::with_capacity(filled + TAG_BYTES);
        ciphertext.extend_from_slice(text.as_bytes());
        ciphertext.push(END);
        ciphertext.resize(filled, 0);
        let tag = encrypt_once(&key, &info, &mut ciphertext);
        ciphertext.extend_from_slice(&tag);
        SealedSecret {
            key_version: self.version(),
            salt,
            ciphertext,
            fingerprint: self.fingerprint(place, text),
        }
    }

    /// Opens a secret that was sealed for this place.
    pub fn open(
        &self,
        place: SecretPlace<'_>,
        sealed: &SealedSecret,
    ) -> Result<Zeroizing<String>, OpenError> {
        if sealed.key_version != self.version() {
            return Err(OpenError::OtherVersion {
                sealed: sealed.key_version,
                held: self.version(),
            });
        }
        let info = place.info(self.version());
        let key = derive(&*self.bytes, &sealed.salt, &info);
        let filled = decrypt_once(&key, &info, &sealed.ciphertext)?;
        let end = filled.iter().rposition(|byte| *byte == END);
        let text = &filled[..end.ok_or(OpenError::Form)?];
        let text = std::str::from_utf8(text).map_err(|_| OpenError::Form)?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Returns the fingerprint that a text has at a place.
    pub fn fingerprint(&self, place: SecretPlace<'_>, text: &str) -> [u8; FINGERPRINT_BYTES] {
        let place = place.info(self.version());
        let text = Zeroizing::new(joined("", &[&place, text.as_bytes()]));
        let mut fingerprint = [0; FINGERPRINT_BYTES];
        fingerprint.copy_from_slice(&self.mac(&text).as_ref()[..FINGERPRINT_BYTES]);
        fingerprint
    }
}
