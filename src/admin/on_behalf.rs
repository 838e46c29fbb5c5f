//! `Quorate-On-Behalf`: the word of a member for whom it passes a request on, or that it asks for
//! itself.
//!
//! The caller's token stays with the member that was asked. The header says who the caller is and
//! is signed with the voucher key, which the members alone have: it is in the replicated state.
//! The signature binds method, path with query, and time ([`WINDOW_MS`]). The receiver looks up what
//! the principal may do by itself. The body isn't bound: who can read and change what goes between
//! members, on a network without TLS, can do more than that.
//!
//! Form: `1 TIME PRINCIPAL SIGNATURE`; the principal is `member`, `host` (someone from whom nothing
//! can be taken), or `identity/NAME/TOKEN`.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use http::{HeaderName, HeaderValue, Method};
use quorate_state::VoucherKey;
use sha2::Sha256;

use super::caller::{Caller, CallerProof};

/// The header.
pub(super) const ON_BEHALF: HeaderName = HeaderName::from_static("quorate-on-behalf");

/// The time for which an assertion counts, on either side: members' clocks differ.
const WINDOW_MS: u64 = 30_000;

/// Keeps these signatures apart from any others with the key.
const DOMAIN: &str = "quorate on-behalf 1";

/// The principal that a member vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum VouchedPrincipal {
    /// The member itself.
    #[default]
    Member,
    /// Someone from whom nothing can be taken: the host's administrator, or anyone at a member that
    /// asks nobody.
    Host,
    /// An identity, by a token.
    Identity { identity: Arc<str>, token: Arc<str> },
}

impl VouchedPrincipal {
    /// Returns the principal that a caller of this member is.
    pub(super) fn of_caller(caller: &Caller) -> VouchedPrincipal {
        match (caller.proof, caller.actor()) {
            (CallerProof::NotAsked, _) => VouchedPrincipal::Host,
            (_, Some(actor)) if actor.unrestricted => VouchedPrincipal::Host,
            (_, Some(actor)) => VouchedPrincipal::Identity {
                identity: actor.identity.clone(),
                token: actor.token.clone(),
            },
            (_, None) => VouchedPrincipal::Member,
        }
    }

    fn text(&self) -> String {
        match self {
            VouchedPrincipal::Member => "member".into(),
            VouchedPrincipal::Host => "host".into(),
            VouchedPrincipal::Identity { identity, token } => {
                format!("identity/{identity}/{token}")
            }
        }
    }

    fn parse(text: &str) -> Option<VouchedPrincipal> {
        match text {
            "member" => Some(VouchedPrincipal::Member),
            "host" => Some(VouchedPrincipal::Host),
            other => {
                let (identity, token) = other.strip_prefix("identity/")?.split_once('/')?;
                Some(VouchedPrincipal::Identity {
                    identity: identity.into(),
                    token: token.into(),
                })
            }
        }
    }
}

/// Signs the header for a request.
pub(super) fn sign(
    key: &VoucherKey,
    principal: &VouchedPrincipal,
    method: &Method,
    path_and_query: &str,
    now_ms: u64,
) -> Option<HeaderValue> {
    let principal = principal.text();
    let mac = mac(key, &principal, method, path_and_query, now_ms);
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    let mut value = HeaderValue::try_from(format!("1 {now_ms} {principal} {signature}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns whom the header vouches for, if it is of this request and of now.
pub(super) fn verify(
    key: &VoucherKey,
    value: &HeaderValue,
    method: &Method,
    path_and_query: &str,
    now_ms: u64,
) -> Option<VouchedPrincipal> {
    let mut parts = value.to_str().ok()?.split(' ');
    let (version, time) = (parts.next()?, parts.next()?);
    let (principal, signature) = (parts.next()?, parts.next()?);
    if version != "1" || parts.next().is_some() {
        return None;
    }
    let signed_ms: u64 = time.parse().ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    // In constant time.
    mac(key, principal, method, path_and_query, signed_ms)
        .verify_slice(&signature)
        .ok()?;
    let is_recent = signed_ms.abs_diff(now_ms) <= WINDOW_MS;
    VouchedPrincipal::parse(principal).filter(|_| is_recent)
}

fn mac(
    key: &VoucherKey,
    principal: &str,
    method: &Method,
    path_and_query: &str,
    time_ms: u64,
) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.bytes()).expect("invariant: any length is a key");
    // No part has a line break in it.
    let signed = format!("{DOMAIN}\n{method}\n{path_and_query}\n{time_ms}\n{principal}");
    mac.update(signed.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use quorate_resources::Kind;
    use quorate_state::{Command, Machine};

    use super::*;

    /// A key, as the state has it.
    fn key(byte: u8) -> VoucherKey {
        let mut machine = Machine::default();
        let create = Command::CreateVoucherKey(VoucherKey::from([byte; 32]));
        machine.apply(1, 1, 1, &create);
        machine.state().access().voucher_key().unwrap().clone()
    }

    /// Nobody becomes more by being passed on.
    #[test]
    fn caller_is_passed_on_as_who_he_is() {
        let principal = |caller: &Caller| VouchedPrincipal::of_caller(caller);
        assert_eq!(principal(&Caller::member()), VouchedPrincipal::Member);
        assert_eq!(principal(&Caller::anyone()), VouchedPrincipal::Host);
        let host = Caller::unrestricted("local", CallerProof::LocalSocket, 1);
        assert_eq!(principal(&host), VouchedPrincipal::Host);
        let mut machine = Machine::default();
        let put = Command::PutResource {
            kind: Kind::Identity,
            name: "root".into(),
            spec: r#"{"name": "root", "roles": ["admin"]}"#.into(),
            precondition: None,
        };
        machine.apply(1, 1, 1, &put);
        let seen = ("10.0.0.1", 1);
        let root = Caller::of_token(machine.state(), "root", "aaaaaaaa", None, seen).unwrap();
        let token = VouchedPrincipal::Identity {
            identity: "root".into(),
            token: "aaaaaaaa".into(),
        };
        assert_eq!(principal(&root), token);
    }

    // guarantee: ACCESS-5
    #[test]
    fn word_of_member_is_bound_to_request_and_time() {
        let ann = VouchedPrincipal::Identity {
            identity: "ann".into(),
            token: "aaaaaaaa".into(),
        };
        let now = 1_000_000;
        for principal in [VouchedPrincipal::Member, VouchedPrincipal::Host, ann] {
            let value = sign(&key(1), &principal, &Method::POST, "/v1/a?b=c", now).unwrap();
            let verified =
                |key, method: Method, path, now_ms| verify(&key, &value, &method, path, now_ms);
            for at in [now, now + WINDOW_MS, now - WINDOW_MS] {
                let told = verified(key(1), Method::POST, "/v1/a?b=c", at);
                assert_eq!(told.as_ref(), Some(&principal));
            }
            for refused in [
                verified(key(2), Method::POST, "/v1/a?b=c", now),
                verified(key(1), Method::PUT, "/v1/a?b=c", now),
                verified(key(1), Method::POST, "/v1/a", now),
                verified(key(1), Method::POST, "/v1/a?b=c", now + WINDOW_MS + 1),
                verified(key(1), Method::POST, "/v1/a?b=c", now - WINDOW_MS - 1),
            ] {
                assert_eq!(refused, None);
            }
            let text = value.to_str().unwrap();
            let forged = [
                text.replacen(&now.to_string(), "1000001", 1),
                text.replacen("member", "host", 1).replacen("ann", "bob", 1),
                format!("{text} x"),
                text.replacen("1 ", "2 ", 1),
            ];
            for forged in forged.into_iter().filter(|it| it != text) {
                let value = HeaderValue::try_from(&forged).unwrap();
                let told = verify(&key(1), &value, &Method::POST, "/v1/a?b=c", now);
                assert_eq!(told, None, "{forged}");
            }
        }
    }
}
