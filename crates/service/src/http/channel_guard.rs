//! Guard of an HTTP channel: the check of its callers.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use quorate_log::RateLimit;
use quorate_resources::{HttpChannel, Kind};
use quorate_state::Catalog;
use subtle::{Choice, ConstantTimeEq};

use super::error_envelope::HttpRefusal;

/// Each request may bring the line about.
static REFUSED: RateLimit = RateLimit::each_second();

/// Check of one channel, as the catalog has it at the time of the request.
#[derive(Debug)]
pub(super) enum ChannelGuard<'c> {
    Open,
    Basic {
        name: &'c str,
        username: &'c str,
        password: &'c str,
    },
    Key {
        name: &'c str,
        header: HeaderName,
        key: &'c str,
    },
    /// The channel's security can't be checked, so nobody gets in.
    Broken(String),
}

impl<'c> ChannelGuard<'c> {
    pub(super) fn from_channel(channel: &'c HttpChannel, catalog: &'c Catalog) -> ChannelGuard<'c> {
        let Some(wanted) = &channel.security else {
            return ChannelGuard::Open;
        };
        let guard = match channel.security_object() {
            Some((Kind::BasicAuth, name)) => ChannelGuard::basic(name, catalog),
            Some((Kind::ApiKey, name)) => ChannelGuard::key(name, catalog),
            _ => None,
        };
        guard.unwrap_or_else(|| {
            ChannelGuard::Broken(format!("security object {wanted:?} can't be used"))
        })
    }

    fn basic(name: &'c str, catalog: &'c Catalog) -> Option<ChannelGuard<'c>> {
        let it = catalog.basic_auth(name)?;
        Some(ChannelGuard::Basic {
            name,
            username: &it.username,
            password: it.password.as_deref()?,
        })
    }

    fn key(name: &'c str, catalog: &'c Catalog) -> Option<ChannelGuard<'c>> {
        let it = catalog.api_key(name)?;
        Some(ChannelGuard::Key {
            name,
            header: it.header.parse().ok()?,
            key: it.key.as_deref()?,
        })
    }

    /// Lets a request through or returns what it lacks. The credentials are removed from its
    /// headers: they are meant for this check, not for the service.
    pub(super) fn check(&self, headers: &mut HeaderMap) -> Result<(), HttpRefusal> {
        match self {
            ChannelGuard::Open => Ok(()),
            ChannelGuard::Broken(why) => {
                if let Some(left_out) = REFUSED.due(why) {
                    tracing::error!(why, left_out, "HTTP channel refuses everybody");
                }
                Err(HttpRefusal::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "this channel's security can't be checked",
                ))
            }
            ChannelGuard::Basic {
                name,
                username,
                password,
            } => {
                let given = headers.remove(header::AUTHORIZATION);
                let (user, secret) = given
                    .as_ref()
                    .and_then(basic_credentials)
                    .unwrap_or_default();
                let good = same(&user, username.as_bytes()) & same(&secret, password.as_bytes());
                if given.is_some() && good.into() {
                    return Ok(());
                }
                Err(unauthorized(
                    given.is_some(),
                    format!("Basic realm=\"{name}\", charset=\"UTF-8\""),
                ))
            }
            ChannelGuard::Key { name, header, key } => {
                let given = headers.remove(header);
                let good = same(
                    given.as_ref().map_or(b"", |given| given.as_bytes()),
                    key.as_bytes(),
                );
                if given.is_some() && good.into() {
                    return Ok(());
                }
                Err(unauthorized(
                    given.is_some(),
                    format!("ApiKey realm=\"{name}\", header=\"{header}\""),
                ))
            }
        }
    }
}

/// Compares in the same time wherever the difference is; a difference in length may show.
fn same(given: &[u8], wanted: &[u8]) -> Choice {
    given.ct_eq(wanted)
}

fn basic_credentials(value: &HeaderValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some((pair[..colon].to_vec(), pair[colon + 1..].to_vec()))
}

fn unauthorized(given: bool, challenge: String) -> HttpRefusal {
    let details = if given {
        "the credentials are not accepted"
    } else {
        "credentials are required"
    };
    let challenge = HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Basic"));
    HttpRefusal::new(StatusCode::UNAUTHORIZED, details).with(header::WWW_AUTHENTICATE, challenge)
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
        let guard = ChannelGuard::Basic {
            name: "n",
            username: "ann",
            password: "a:b",
        };
        let encode = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for (sent, passes) in [
            (encode("ann:a:b"), true),
            (encode("ann:a:b").replace("Basic", "bAsIc"), true),
            (encode("ann:a"), false),
            (encode("Ann:a:b"), false),
            (encode(":a:b"), false),
            (encode("ann"), false),
            (encode(""), false),
            ("Basic".into(), false),
            ("Basic !!!".into(), false),
            ("Bearer x".into(), false),
        ] {
            let mut headers = headers("authorization", &sent);
            let outcome = guard.check(&mut headers);
            assert_eq!(outcome.is_ok(), passes, "{sent}");
            assert!(headers.is_empty());
            if let Err(refusal) = outcome {
                assert_eq!(refusal.status, 401);
                let (name, value) = refusal.header.unwrap();
                assert_eq!(name, header::WWW_AUTHENTICATE);
                assert_eq!(value, "Basic realm=\"n\", charset=\"UTF-8\"");
            }
        }
        assert!(guard.check(&mut HeaderMap::new()).is_err());
    }

    #[test]
    fn a_key_must_be_the_same_and_present() {
        let header: HeaderName = "x-api-key".parse().unwrap();
        let guard = ChannelGuard::Key {
            name: "n",
            header: header.clone(),
            key: "secret",
        };
        assert!(guard.check(&mut headers("x-api-key", "secret")).is_ok());
        assert!(guard.check(&mut headers("x-api-key", "secret2")).is_err());
        assert!(guard.check(&mut HeaderMap::new()).is_err());
        let empty = ChannelGuard::Key {
            name: "n",
            header,
            key: "",
        };
        assert!(
            empty.check(&mut HeaderMap::new()).is_err(),
            "no header is no key, even an empty one"
        );
        assert!(
            ChannelGuard::Broken("x".into())
                .check(&mut HeaderMap::new())
                .is_err()
        );
    }
}
