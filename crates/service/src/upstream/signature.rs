//! `Quorate-Signature`, by which a service knows that a call comes from this cluster.
//!
//! Without it a service has to believe anyone who reaches it: one that remembers the greatest
//! `Quorate-Epoch`, to refuse copies of the past, could be sent a number by a stranger after which
//! it refuses every true message. The signature is an HMAC-SHA256 over all that matters, by a key
//! that both know; `docs/http.md` has the recipe by which it is checked. The body is in it, and is
//! therefore there before the call.

use std::{fmt::Write as _, sync::Arc, time::UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use quorate_clock::wall_time;
use quorate_resources::ApiKey;
use sha2::{Digest, Sha256};

use crate::headers::CID;

/// Name of the header.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("quorate-signature");

/// Signer of one service's calls.
pub(super) enum CallSigner {
    /// Calls are not signed.
    None,
    /// Signed by this key.
    Key(Arc<ApiKey>),
    /// Signed by a key of this name that isn't there: nothing is called.
    MissingKey(String),
}

/// Reason why a call can't be signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignatureError {
    #[error("there is no api_key/{0}, by which it is signed")]
    MissingKey(String),
    #[error(
        "api_key/{0}, by which it is signed, is sealed, and this member can't open it: see `quorate secret status`"
    )]
    SealedKey(String),
    #[error("its body was to be passed on while it comes, and it is to be signed now")]
    NoBody,
    #[error(transparent)]
    Header(#[from] http::header::InvalidHeaderValue),
}

impl CallSigner {
    pub(super) fn is_someone(&self) -> bool {
        !matches!(self, CallSigner::None)
    }

    /// Signs a request. `body` is `None` where it is passed on while it comes.
    pub(super) fn sign<B>(
        &self,
        request: &mut Request<B>,
        body: Option<&Bytes>,
    ) -> Result<(), SignatureError> {
        let key = match self {
            CallSigner::None => return Ok(()),
            CallSigner::Key(key) => key
                .key
                .as_deref()
                .ok_or_else(|| SignatureError::SealedKey(key.name.clone()))?,
            CallSigner::MissingKey(name) => {
                return Err(SignatureError::MissingKey(name.clone()));
            }
        };
        let Some(body) = body else {
            return Err(SignatureError::NoBody);
        };
        let at = wall_time().duration_since(UNIX_EPOCH).unwrap_or_default();
        let value = value(key, at.as_secs(), request, body);
        let value = HeaderValue::try_from(value)?;
        request.headers_mut().insert(SIGNATURE, value);
        Ok(())
    }
}

fn value<B>(key: &str, at: u64, request: &Request<B>, body: &Bytes) -> String {
    let body = hex(&Sha256::digest(body));
    let target = request.uri().path_and_query();
    let target = target.map_or("/", |it| it.as_str());
    let mut text =
        format!("quorate-1\n{at}\n{}\n{target}\n{body}\n", request.method()).into_bytes();
    for (name, value) in signed(request.headers()) {
        text.extend_from_slice(name.as_str().as_bytes());
        text.push(b':');
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    let code = hmac(key.as_bytes(), &text);
    format!("t={at},body={body},v1={}", hex(&code))
}

/// Returns the headers that tell where a call comes from, by their names.
fn signed(headers: &HeaderMap) -> Vec<(&HeaderName, &HeaderValue)> {
    let is_signed = |name: &HeaderName| {
        (name.as_str().starts_with("quorate-") && name != SIGNATURE) || name == CID
    };
    let mut signed: Vec<_> = headers.iter().filter(|(name, _)| is_signed(name)).collect();
    // Headers of one name stay in their order.
    signed.sort_by_key(|(name, _)| name.as_str());
    signed
}

/// Computes RFC 2104.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    Hmac::<Sha256>::new_from_slice(key)
        .expect("invariant: a key of any length will do")
        .chain_update(text)
        .finalize()
        .into_bytes()
        .into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, cases 1, 2 and 6.
    #[test]
    fn the_code_is_that_of_the_rfc() {
        for (key, text, code) in [
            (
                vec![0x0b; 20],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&hmac(&key, text)), code);
        }
    }

    // guarantee: SECURITY-7
    #[test]
    fn any_signed_part_changed_in_transit_changes_signature() {
        let request = |method: &str, uri: &str, epoch: &str| {
            Request::builder()
                .method(method)
                .uri(uri)
                .header("quorate-epoch", epoch)
                .header("x-zato-cid", "K1")
                .header("quorate-channel", "orders")
                .header("accept", "*/*")
                .body(())
                .unwrap()
        };
        let good = request("POST", "http://one.example/a?b=1", "7");
        let body = Bytes::from_static(b"hello");
        let signed = value("k", 1_790_000_000, &good, &body);
        // By Python's hmac, over the text that docs/http.md describes.
        assert_eq!(signed, EXPECTED);
        let mut again = good.clone();
        again
            .headers_mut()
            .insert(SIGNATURE, HeaderValue::from_static("forged"));
        again
            .headers_mut()
            .insert("accept", HeaderValue::from_static("text/html"));
        assert_eq!(value("k", 1_790_000_000, &again, &body), signed);
        for (key, at, request, body) in [
            ("K", 1_790_000_000, good.clone(), &body),
            ("k", 1_790_000_001, good.clone(), &body),
            ("k", 1_790_000_000, good.clone(), &Bytes::new()),
            (
                "k",
                1_790_000_000,
                request("PUT", "http://one.example/a?b=1", "7"),
                &body,
            ),
            (
                "k",
                1_790_000_000,
                request("POST", "http://one.example/a?b=2", "7"),
                &body,
            ),
            (
                "k",
                1_790_000_000,
                request("POST", "http://one.example/a?b=1", "8"),
                &body,
            ),
        ] {
            let code = |text: &str| text.rsplit_once("v1=").unwrap().1.to_owned();
            assert_ne!(code(&value(key, at, &request, body)), code(&signed));
        }
    }

    const EXPECTED: &str = "t=1790000000,body=2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824,\
         v1=886f22125f733b6e40963fc8d8329ad7e65a2685e2be1ad5078996347934932f";
}
