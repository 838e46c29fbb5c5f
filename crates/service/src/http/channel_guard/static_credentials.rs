//! Credentials that are the same in each request: a user name and password, or a key.
//!
//! They are compared in the same time wherever the difference is; one in length may show.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use quorate_resources::Kind;
use subtle::{Choice, ConstantTimeEq};

use super::caller::{Caller, CheckFailure};

/// Check by a `basic_auth`.
pub(super) struct PasswordCheck<'c> {
    pub name: &'c str,
    pub username: &'c str,
    pub password: &'c str,
}

/// Check by an `api_key`.
pub(super) struct KeyCheck<'c> {
    pub name: &'c str,
    pub header: HeaderName,
    pub key: &'c str,
}

impl PasswordCheck<'_> {
    pub(super) fn challenge(&self) -> String {
        format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.name)
    }

    pub(super) fn check(&self, headers: &HeaderMap) -> Result<Caller, CheckFailure> {
        let given = headers.get(header::AUTHORIZATION).and_then(of_basic);
        let given = given.ok_or(CheckFailure::Missing)?;
        let (user, secret) = credentials(given).unwrap_or_default();
        let good = same(&user, self.username.as_bytes()) & same(&secret, self.password.as_bytes());
        if good.into() {
            return Ok(Caller::of_object(Kind::BasicAuth, self.name));
        }
        Err(CheckFailure::Wrong("password"))
    }
}

impl KeyCheck<'_> {
    pub(super) fn challenge(&self) -> String {
        format!("ApiKey realm=\"{}\", header=\"{}\"", self.name, self.header)
    }

    pub(super) fn check(&self, headers: &HeaderMap) -> Result<Caller, CheckFailure> {
        // No header is no key, even an empty one.
        let given = headers.get(&self.header).ok_or(CheckFailure::Missing)?;
        if same(given.as_bytes(), self.key.as_bytes()).into() {
            return Ok(Caller::of_object(Kind::ApiKey, self.name));
        }
        Err(CheckFailure::Wrong("key"))
    }
}

fn same(given: &[u8], wanted: &[u8]) -> Choice {
    given.ct_eq(wanted)
}

/// Returns what stands behind `Basic`; of another scheme nothing, which is no guess.
fn of_basic(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let (scheme, encoded) = text.split_once(' ').unwrap_or((text, ""));
    scheme.eq_ignore_ascii_case("basic").then_some(encoded)
}

fn credentials(encoded: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let pair = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some((pair[..colon].to_vec(), pair[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn basic_auth_takes_the_right_pair_only() {
        let check = PasswordCheck {
            name: "n",
            username: "ann",
            password: "a:b",
        };
        assert_eq!(check.challenge(), "Basic realm=\"n\", charset=\"UTF-8\"");
        let encode = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        let caller = Ok(Caller::of_object(Kind::BasicAuth, "n"));
        let wrong = || Err(CheckFailure::Wrong("password"));
        for (sent, outcome) in [
            (encode("ann:a:b").replace("Basic", "bAsIc"), caller),
            (encode("ann:a"), wrong()),
            (encode("Ann:a:b"), wrong()),
            (encode(":a:b"), wrong()),
            (encode("ann"), wrong()),
            (encode(""), wrong()),
            ("Basic".into(), wrong()),
            ("Basic !!!".into(), wrong()),
            ("Bearer x".into(), Err(CheckFailure::Missing)),
        ] {
            assert_eq!(
                check.check(&headers("authorization", &sent)),
                outcome,
                "{sent}"
            );
        }
        let missing = check.check(&HeaderMap::new());
        assert_eq!(missing, Err(CheckFailure::Missing));
    }

    /// Test 50: wrong by one byte at any place.
    #[test]
    fn one_wrong_byte_anywhere_is_refused() {
        let good = "a-key-of-some-length";
        let header: HeaderName = "x-api-key".parse().unwrap();
        let key = KeyCheck {
            name: "n",
            header,
            key: good,
        };
        assert!(key.check(&headers("x-api-key", good)).is_ok());
        let password = PasswordCheck {
            name: "n",
            username: "ann",
            password: good,
        };
        for place in 0..good.len() {
            for bit in 0..7 {
                let mut bytes = good.as_bytes().to_vec();
                bytes[place] ^= 1 << bit;
                let pair = [b"ann:".as_slice(), &bytes].concat();
                let sent = format!("Basic {}", BASE64_STANDARD.encode(pair));
                let outcome = password.check(&headers("authorization", &sent));
                assert_eq!(
                    outcome,
                    Err(CheckFailure::Wrong("password")),
                    "{place} {bit}"
                );
                let Ok(value) = HeaderValue::from_bytes(&bytes) else {
                    continue;
                };
                let mut sent = HeaderMap::new();
                sent.insert("x-api-key", value);
                assert_eq!(key.check(&sent), Err(CheckFailure::Wrong("key")));
            }
        }
        for sent in ["", "a-key", "a-key-of-some-length-and-more"] {
            assert!(key.check(&headers("x-api-key", sent)).is_err(), "{sent}");
        }
    }

    #[test]
    fn absent_key_is_not_an_empty_one() {
        let empty = KeyCheck {
            name: "n",
            header: "x-api-key".parse().unwrap(),
            key: "",
        };
        assert_eq!(empty.check(&HeaderMap::new()), Err(CheckFailure::Missing));
    }
}
