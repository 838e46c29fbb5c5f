//! Public keys of issuers (RFC 7517), and signatures that they verify.
//!
//! A key verifies by the algorithm of its type and no other, and by none that its own `alg`
//! excludes: an algorithm is never chosen by the token. Keys that can't be used are passed over, as
//! RFC 7517 asks: one set serves programs of many ages.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use quorate_resources::JwtAlgorithm;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;

/// Keys of one set that are looked at.
const KEYS_MAX: usize = 256;

/// A public key with the id by which tokens name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JsonWebKey {
    id: String,
    key: PublicKey,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PublicKey {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The keys of one issuer that can be used.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet(Vec<JsonWebKey>);

impl KeySet {
    /// Reads a set; `None` where it has not the form of one.
    pub(super) fn from_json(set: &Value) -> Option<KeySet> {
        let keys = set.get("keys")?.as_array()?.iter().take(KEYS_MAX);
        Some(KeySet(keys.filter_map(JsonWebKey::from_json).collect()))
    }

    /// Returns the keys of this id: of some issuers there are two, of different types.
    pub(super) fn named(&self, id: &str) -> impl Iterator<Item = &JsonWebKey> {
        self.0.iter().filter(move |key| key.id == id)
    }
}

impl JsonWebKey {
    fn from_json(key: &Value) -> Option<JsonWebKey> {
        let text = |member: &str| key.get(member)?.as_str();
        let bytes = |member: &str| BASE64_URL_SAFE_NO_PAD.decode(text(member)?).ok();
        if key.get("use").is_some_and(|it| it != "sig") {
            return None;
        }
        let operations = key.get("key_ops").and_then(Value::as_array);
        if operations.is_some_and(|it| !it.iter().any(|it| it == "verify")) {
            return None;
        }
        let (key, algorithm) = match (text("kty")?, text("crv")) {
            ("RSA", None) => {
                let modulus = bytes("n")?;
                let zeros = modulus.iter().take_while(|it| **it == 0).count();
                let modulus = modulus[zeros..].to_vec();
                let exponent = bytes("e")?;
                (PublicKey::Rsa { modulus, exponent }, "RS256")
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                (PublicKey::P256([&[4], &*x, &*y].concat()), "ES256")
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x")?;
                if x.len() != 32 {
                    return None;
                }
                (PublicKey::Ed25519(x), "EdDSA")
            }
            _ => return None,
        };
        let meant = text("alg").is_none_or(|it| it == algorithm || fully_specified(it, algorithm));
        let id = text("kid")?.to_owned();
        meant.then_some(JsonWebKey { id, key })
    }

    /// Returns true if the key is for this algorithm and has made the signature.
    pub(super) fn verifies(
        &self,
        algorithm: JwtAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let outcome = match (&self.key, algorithm) {
            (PublicKey::Rsa { modulus, exponent }, JwtAlgorithm::Rs256) => RsaPublicKeyComponents {
                n: modulus,
                e: exponent,
            }
            .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature),
            (PublicKey::P256(point), JwtAlgorithm::Es256) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
            }
            (PublicKey::Ed25519(point), JwtAlgorithm::EdDsa) => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signature)
            }
            _ => return false,
        };
        outcome.is_ok()
    }
}

/// The name of RFC 9864 for what is `EdDSA` in older ones.
fn fully_specified(given: &str, algorithm: &str) -> bool {
    (given, algorithm) == ("Ed25519", "EdDSA")
}
