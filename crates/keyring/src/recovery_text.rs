//! Recovery key as a text that a person can keep: `qr1_`, the key, and a check against slips.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::{KEY_BYTES, SealKey};

const PREFIX: &str = "qr1_";
/// Bytes of the check.
const CHECK_BYTES: usize = 3;

/// Error: a text that is no recovery key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not a recovery key, or a character of it is wrong: it begins with qr1_ and has 51 characters in all"
)]
pub struct BadRecoveryText;

/// Writes the private key of a pair as a text.
pub fn recovery_key_to_text(key: &SealKey) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES + CHECK_BYTES));
    bytes.extend_from_slice(&*key.to_bytes());
    let check = check(&bytes);
    bytes.extend_from_slice(&check);
    let encoded = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(&*bytes));
    Zeroizing::new(format!("{PREFIX}{}", &*encoded))
}

/// Reads such a text; space around it doesn't matter.
pub fn recovery_key_from_text(text: &str) -> Result<SealKey, BadRecoveryText> {
    let encoded = text.trim().strip_prefix(PREFIX).ok_or(BadRecoveryText)?;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded);
    let bytes = Zeroizing::new(bytes.map_err(|_| BadRecoveryText)?);
    let (key, given) = bytes.split_at_checked(KEY_BYTES).ok_or(BadRecoveryText)?;
    let key: &[u8; KEY_BYTES] = key.try_into().map_err(|_| BadRecoveryText)?;
    if given != check(key) {
        return Err(BadRecoveryText);
    }
    Ok(SealKey::from_bytes(key))
}

fn check(key: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest(&SHA256, key).as_ref()[..CHECK_BYTES]);
    check
}
