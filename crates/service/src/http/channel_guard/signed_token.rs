//! Token in the compact form of RFC 7515, taken apart but not believed.
//!
//! Nothing in its header chooses how it is verified: the algorithm must be among those that the
//! object lists, and a header that brings a key, or says where one is (`jwk`, `jku`, `x5c`, `x5u`),
//! is refused, as is one with `crit`, of which no extension is known here.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use quorate_resources::{JwtAlgorithm, json};
use serde_json::Value;

/// Longest token: more than any header of a request has room for by default.
pub(super) const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Members of a header that would let a token choose its own key, or change what it means.
const REFUSED_MEMBERS: [&str; 6] = ["crit", "jku", "jwk", "x5c", "x5u", "zip"];

/// Why a text is no token that could be verified.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum TokenError {
    #[error("it has {0} bytes, more than {TOKEN_BYTES_MAX}")]
    TooLong(usize),
    #[error("it has not three parts of base64url")]
    Parts,
    #[error("its header is no JSON object")]
    Header,
    #[error("its header has {0:?}")]
    Member(&'static str),
    #[error("its type is not JWT")]
    Type,
    #[error("it is signed by no algorithm that is listed")]
    Algorithm,
}

/// A token whose signature is still to be verified.
#[derive(Debug)]
pub(super) struct SignedToken<'t> {
    pub algorithm: JwtAlgorithm,
    pub key_id: Option<String>,
    /// What is signed.
    pub message: &'t [u8],
    pub signature: Vec<u8>,
    claims: &'t str,
}

impl<'t> SignedToken<'t> {
    pub(super) fn parse(
        text: &'t str,
        algorithms: &[JwtAlgorithm],
    ) -> Result<SignedToken<'t>, TokenError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong(text.len()));
        }
        let (message, signature) = text.rsplit_once('.').ok_or(TokenError::Parts)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Parts)?;
        if claims.contains('.') {
            return Err(TokenError::Parts);
        }
        let decode = |part| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        let header = decode(header).ok_or(TokenError::Parts)?;
        let signature = decode(signature).ok_or(TokenError::Parts)?;
        let header = json::parse(&header).map_err(|_| TokenError::Header)?;
        let header = header.as_object().ok_or(TokenError::Header)?;
        let mut refused = REFUSED_MEMBERS.into_iter();
        if let Some(member) = refused.find(|it| header.contains_key(*it)) {
            return Err(TokenError::Member(member));
        }
        let is_jwt = |it: &str| {
            let it = it.to_ascii_lowercase();
            matches!(
                it.strip_prefix("application/").unwrap_or(&it),
                "jwt" | "at+jwt"
            )
        };
        if !header
            .get("typ")
            .is_none_or(|it| it.as_str().is_some_and(is_jwt))
        {
            return Err(TokenError::Type);
        }
        let named = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithms.iter().find(|it| named == Some(name(**it)));
        Ok(SignedToken {
            algorithm: *algorithm.ok_or(TokenError::Algorithm)?,
            key_id: header.get("kid").and_then(Value::as_str).map(str::to_owned),
            message: message.as_bytes(),
            signature,
            claims,
        })
    }

    /// Reads the claims, which are worth nothing before the signature is verified.
    pub(super) fn claims(&self) -> Option<serde_json::Map<String, Value>> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(self.claims).ok()?;
        match json::parse(&bytes).ok()? {
            Value::Object(claims) => Some(claims),
            _ => None,
        }
    }
}

fn name(algorithm: JwtAlgorithm) -> &'static str {
    match algorithm {
        JwtAlgorithm::Rs256 => "RS256",
        JwtAlgorithm::Es256 => "ES256",
        JwtAlgorithm::EdDsa => "EdDSA",
        JwtAlgorithm::Hs256 => "HS256",
    }
}
