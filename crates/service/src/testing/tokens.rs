//! Tokens signed by a key of a test's own.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

pub(crate) fn base64url(text: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// The key that signs.
pub(crate) fn signer() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

/// The set with its public half, of `kid` 1.
pub(crate) fn key_set() -> Value {
    let x = base64url(signer().public_key().as_ref());
    json!({"keys": [{"kid": "1", "kty": "OKP", "crv": "Ed25519", "x": x}]})
}

/// A token with this header and these claims.
pub(crate) fn signed(header: &Value, claims: &Value) -> String {
    let header = base64url(header.to_string());
    let message = format!("{header}.{}", base64url(claims.to_string()));
    let signature = signer().sign(message.as_bytes());
    format!("{message}.{}", base64url(signature))
}
