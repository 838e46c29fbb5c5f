//! Check by a `jwt`: a token that an issuer has signed (RFC 7519).
//!
//! Verified by hand over ring, and not by the crate jsonwebtoken: of its two ready backends one
//! brings a second stack of cryptography and the other RSA in a form with an open advisory
//! (RUSTSEC-2023-0071), and what is left of it beside a provider of our own is less than this file.
//! The vectors of RFC 7515 and RFC 8037 are among the tests.

use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use quorate_clock::wall_time;
use quorate_resources::{Jwt, Kind};
use ring::hmac;
use serde_json::{Map, Value};

use super::{
    caller::{Caller, CheckFailure},
    json_web_key::KeySet,
    jwks_cache::JwksCache,
    signed_token::SignedToken,
};

/// Longest subject that a caller is named by, and longest value of a claim that a service gets.
const VALUE_BYTES_MAX: usize = 1024;

/// Check by a `jwt`.
pub(super) struct JwtCheck<'c> {
    pub rules: &'c Jwt,
    pub header: HeaderName,
    pub keys: KeySource<'c>,
}

/// Where the keys of an object are.
pub(super) enum KeySource<'c> {
    /// The key of HS256, which never stands beside others.
    Shared(&'c str),
    /// A set in the object itself.
    Set(&'c Value),
    /// The URL of a set.
    Url(&'c str),
}

impl JwtCheck<'_> {
    pub(super) fn challenge(&self) -> String {
        format!("Bearer realm=\"{}\"", self.rules.name)
    }

    /// Returns the caller that a request's token names.
    pub(super) async fn check(
        &self,
        headers: &HeaderMap,
        jwks: &JwksCache,
    ) -> Result<Caller, CheckFailure> {
        let text = self.token(headers)?;
        let token = SignedToken::parse(text, &self.rules.algorithms).map_err(|error| {
            tracing::debug!(object = self.rules.name, %error, "a token is refused");
            CheckFailure::Wrong("token_form")
        })?;
        let claims = token.claims().ok_or(CheckFailure::Wrong("token_form"))?;
        // Not believed yet, but enough to leave another issuer's token to its own object, and the
        // keys of this one alone.
        if claims.get("iss").and_then(Value::as_str) != Some(&self.rules.issuer) {
            return Err(CheckFailure::Wrong("token_issuer"));
        }
        self.verify(&token, jwks).await?;
        self.caller(&claims)
    }

    fn token<'r>(&self, headers: &'r HeaderMap) -> Result<&'r str, CheckFailure> {
        let value = headers.get(&self.header).ok_or(CheckFailure::Missing)?;
        let value = value.to_str();
        let text = value.map_err(|_| CheckFailure::Wrong("token_form"))?;
        match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
            // Another scheme is another object's business.
            _ if self.header == header::AUTHORIZATION => Err(CheckFailure::Missing),
            _ => Ok(text),
        }
    }

    async fn verify(&self, token: &SignedToken<'_>, jwks: &JwksCache) -> Result<(), CheckFailure> {
        let is_good = |keys: &KeySet, id: &str| {
            keys.named(id)
                .any(|key| key.verifies(token.algorithm, token.message, &token.signature))
        };
        const WRONG: CheckFailure = CheckFailure::Wrong("token_signature");
        let id = || token.key_id.as_deref().ok_or(WRONG);
        let good = match &self.keys {
            KeySource::Shared(key) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
                hmac::verify(&key, token.message, &token.signature).is_ok()
            }
            KeySource::Set(set) => {
                let keys = KeySet::from_json(set).unwrap_or_default();
                is_good(&keys, id()?)
            }
            KeySource::Url(url) => {
                let keys = jwks.keys(url, id()?).await;
                let keys = keys.map_err(|error| CheckFailure::Unavailable(error.to_string()))?;
                is_good(&keys, id()?)
            }
        };
        good.then_some(()).ok_or(WRONG)
    }

    /// Returns the caller, if the claims are what the object asks for.
    fn caller(&self, claims: &Map<String, Value>) -> Result<Caller, CheckFailure> {
        let now = wall_time().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.check_times(claims, now.as_secs_f64())?;
        let audiences = match claims.get("aud") {
            Some(Value::Array(list)) => list.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let wanted = &self.rules.audience;
        let is_ours = |it: &Value| {
            it.as_str()
                .is_some_and(|it| wanted.iter().any(|ours| ours == it))
        };
        if !audiences.iter().any(is_ours) {
            return Err(CheckFailure::Wrong("token_audience"));
        }
        let mut required = self.rules.required_claims.iter();
        if !required.all(|(name, wanted)| has_claim(name, claims.get(name), wanted)) {
            return Err(CheckFailure::Wrong("token_claims"));
        }
        let name = &self.rules.name;
        let mut caller = match claims.get("sub") {
            None => Caller::of_object(Kind::Jwt, name),
            Some(Value::String(subject)) if subject.len() <= VALUE_BYTES_MAX => {
                Caller::with_subject(Kind::Jwt, name, subject)
            }
            Some(_) => return Err(CheckFailure::Wrong("token_claims")),
        };
        for claim in &self.rules.forward_claims {
            if let Some((name, value)) = claims.get(claim).and_then(|it| forwarded(claim, it)) {
                caller = caller.with_header(name, value);
            }
        }
        Ok(caller)
    }

    fn check_times(&self, claims: &Map<String, Value>, now: f64) -> Result<(), CheckFailure> {
        const FORM: CheckFailure = CheckFailure::Wrong("token_form");
        let leeway = self.rules.leeway_s as f64;
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(it) => it.as_f64().map(Some).ok_or(FORM),
        };
        // One without an end would be good for ever.
        let until = time("exp")?.ok_or(FORM)?;
        if now >= until + leeway {
            return Err(CheckFailure::Wrong("token_expired"));
        }
        let begins = [time("nbf")?, time("iat")?];
        if begins.into_iter().flatten().any(|from| from > now + leeway) {
            return Err(CheckFailure::Wrong("token_early"));
        }
        Ok(())
    }
}

/// Returns true if a claim is what is wanted, or one of it; a list must have it, and a scope
/// (RFC 8693, 4.2) among its words.
fn has_claim(name: &str, given: Option<&Value>, wanted: &Value) -> bool {
    let is_it = |wanted: &Value| match (given, wanted) {
        (Some(Value::Array(list)), _) => list.contains(wanted),
        (Some(Value::String(words)), Value::String(word)) if name == "scope" => {
            words.split(' ').any(|it| it == word)
        }
        (Some(given), _) => given == wanted,
        (None, _) => false,
    };
    match wanted {
        Value::Array(any) => any.iter().any(is_it),
        one => is_it(one),
    }
}

/// Returns the header that tells a service of a claim; one that is too long for it is left out.
fn forwarded(claim: &str, value: &Value) -> Option<(HeaderName, HeaderValue)> {
    // CGI can't tell `_` from `-`.
    let name = format!("quorate-claim-{}", claim.replace('_', "-"));
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let fits = text.len() <= VALUE_BYTES_MAX;
    let name = HeaderName::try_from(name).ok()?;
    fits.then(|| (name, crate::headers::to_header_value(&text)))
}

#[cfg(test)]
mod tests;
