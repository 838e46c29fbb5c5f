//! Sealed secrets as resources have them: bytes in base64.

use base64::{Engine, prelude::BASE64_STANDARD};
use quorate_keyring::{OpenError, SealedSecret};
use quorate_resources::SealedText;

pub(crate) fn to_text(sealed: &SealedSecret, shown: Option<String>) -> SealedText {
    SealedText {
        key_version: sealed.key_version,
        salt: BASE64_STANDARD.encode(sealed.salt),
        ciphertext: BASE64_STANDARD.encode(&sealed.ciphertext),
        fingerprint: BASE64_STANDARD.encode(sealed.fingerprint),
        shown,
    }
}

pub(crate) fn from_text(text: &SealedText) -> Result<SealedSecret, OpenError> {
    let bytes = |it: &str| BASE64_STANDARD.decode(it).map_err(|_| OpenError::Form);
    let array = |it: Vec<u8>| it.try_into().map_err(|_| OpenError::Form);
    let fingerprint = bytes(&text.fingerprint)?;
    Ok(SealedSecret {
        key_version: text.key_version,
        salt: array(bytes(&text.salt)?)?,
        ciphertext: bytes(&text.ciphertext)?,
        fingerprint: fingerprint.try_into().map_err(|_| OpenError::Form)?,
    })
}
