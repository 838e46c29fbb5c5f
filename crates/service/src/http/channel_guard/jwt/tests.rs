//! Test 48: tokens that are good, and all the others.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;
use quorate_platform::egress::EgressPolicy;
use quorate_resources::{JwtAlgorithm, Resource};
use serde_json::json;

use super::*;
use crate::{
    http::channel_guard::signed_token::TOKEN_BYTES_MAX,
    testing::tokens::{base64url as b64, key_set, signed, signer},
    upstream::UpstreamClients,
};

const HS256_KEY: &str = "a shared key of thirty-two bytes!";

/// The payload of the examples of RFC 7515, appendix A.
const RFC_CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn now() -> u64 {
    wall_time().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({
        "iss": "https://login.example", "aud": ["other", "orders"], "sub": "ann",
        "exp": now() + 300, "scope": "read orders", "level": 3,
    })
}

fn with(mut json: Value, member: &str, value: impl Into<Value>) -> Value {
    json[member] = value.into();
    json
}

fn without(mut json: Value, member: &str) -> Value {
    json.as_object_mut().unwrap().remove(member);
    json
}

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "1", "typ": "JWT"})
}

fn shared(header: &Value, claims: &Value, key: &[u8]) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let code = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", b64(code))
}

/// An object with its keys in itself.
fn rules(more: Value) -> Jwt {
    let mut spec = json!({
        "name": "login", "issuer": "https://login.example", "audience": ["orders"],
        "jwks": key_set(),
    });
    let fields = spec.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    match Resource::parse(Kind::Jwt, &spec).unwrap() {
        Resource::Jwt(it) => Jwt::clone(&it),
        _ => unreachable!("it was asked for"),
    }
}

fn shared_rules() -> Jwt {
    let spec = json!({
        "name": "login", "issuer": "https://login.example", "audience": ["orders"],
        "algorithms": ["HS256"], "key": HS256_KEY,
    });
    match Resource::parse(Kind::Jwt, &spec).unwrap() {
        Resource::Jwt(it) => Jwt::clone(&it),
        _ => unreachable!("it was asked for"),
    }
}

async fn ask(rules: &Jwt, token: &str) -> Result<Caller, CheckFailure> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    headers.insert(header::AUTHORIZATION, value);
    let check = JwtCheck {
        rules,
        header: rules.header.parse().unwrap(),
        keys: match (&rules.key, &rules.jwks) {
            (Some(key), _) => KeySource::Shared(key),
            (None, Some(set)) => KeySource::Set(set),
            (None, None) => KeySource::Url(rules.jwks_url.as_deref().unwrap()),
        },
    };
    let jwks = JwksCache::new(UpstreamClients::new(EgressPolicy::default()).shared());
    check.check(&headers, &jwks).await
}

fn wrong(why: &'static str) -> Result<Caller, CheckFailure> {
    Err(CheckFailure::Wrong(why))
}

#[test]
fn vectors_of_the_rfcs_verify() {
    let rsa = json!({"kid": "r", "kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"});
    let ec = json!({"kid": "e", "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let okp = json!({"kid": "o", "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let keys = KeySet::from_json(&json!({"keys": [rsa, ec, okp]})).unwrap();
    let all = [
        JwtAlgorithm::Rs256,
        JwtAlgorithm::Es256,
        JwtAlgorithm::EdDsa,
    ];
    for (text, id) in [
        // RFC 7515, A.2 and A.3; RFC 8037, A.4.
        (format!("eyJhbGciOiJSUzI1NiJ9.{RFC_CLAIMS}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"), "r"),
        (format!("eyJhbGciOiJFUzI1NiJ9.{RFC_CLAIMS}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"), "e"),
        ("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg".to_owned(), "o"),
    ] {
        let token = SignedToken::parse(&text, &all).unwrap();
        let key = keys.named(id).next().unwrap();
        assert!(key.verifies(token.algorithm, token.message, &token.signature), "{id}");
        // Neither another key nor the same one by another algorithm.
        let others = ["r", "e", "o"].into_iter().filter(|it| *it != id);
        for other in others.flat_map(|it| keys.named(it)) {
            assert!(!other.verifies(token.algorithm, token.message, &token.signature));
        }
        for algorithm in all.into_iter().filter(|it| *it != token.algorithm) {
            assert!(!key.verifies(algorithm, token.message, &token.signature));
        }
    }
    // RFC 7515, A.1.
    let text = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{RFC_CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    let token = SignedToken::parse(&text, &[JwtAlgorithm::Hs256]).unwrap();
    let key = BASE64_URL_SAFE_NO_PAD
        .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
        .unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    assert!(hmac::verify(&key, token.message, &token.signature).is_ok());
    assert_eq!(token.claims().unwrap()["iss"], "joe");
}

#[tokio::test]
async fn good_token_names_caller_and_claims() {
    let rules = rules(json!({
        "required_claims": {"scope": "orders", "level": [2, 3]},
        "forward_claims": ["scope", "level", "not_there"],
    }));
    let caller = ask(&rules, &signed(&header(), &claims())).await.unwrap();
    assert_eq!(caller.name(), "jwt/login/ann");
    let mut headers = HeaderMap::new();
    caller.describe(&mut headers);
    assert_eq!(headers["quorate-caller"], "jwt/login/ann");
    assert_eq!(headers["quorate-claim-scope"], "read orders");
    assert_eq!(headers["quorate-claim-level"], "3");
    assert_eq!(headers.len(), 3);
    // A subject that would look like another caller's name.
    let token = signed(&header(), &with(claims(), "sub", "x, basic_auth/ann"));
    let caller = ask(&rules, &token).await.unwrap();
    assert_eq!(caller.name(), "jwt/login/x%2C%20basic_auth%2Fann");
    let caller = ask(&rules, &signed(&header(), &without(claims(), "sub"))).await;
    assert_eq!(caller.unwrap().name(), "jwt/login");
    let token = shared(&json!({"alg": "HS256"}), &claims(), HS256_KEY.as_bytes());
    assert!(ask(&shared_rules(), &token).await.is_ok());
}

#[tokio::test]
async fn wrong_claims_are_refused() {
    let rules = rules(json!({"required_claims": {"scope": "orders"}}));
    for (claims, why) in [
        (
            with(claims(), "iss", "https://login.example/"),
            "token_issuer",
        ),
        (without(claims(), "iss"), "token_issuer"),
        (with(claims(), "aud", "order"), "token_audience"),
        (with(claims(), "aud", json!([])), "token_audience"),
        (
            with(claims(), "aud", json!({"orders": 1})),
            "token_audience",
        ),
        (without(claims(), "aud"), "token_audience"),
        (with(claims(), "exp", now() - 61), "token_expired"),
        (with(claims(), "exp", "tomorrow"), "token_form"),
        (without(claims(), "exp"), "token_form"),
        (with(claims(), "nbf", now() + 70), "token_early"),
        (with(claims(), "iat", now() + 70), "token_early"),
        (with(claims(), "scope", "orders2 read"), "token_claims"),
        (without(claims(), "scope"), "token_claims"),
        (with(claims(), "sub", 7), "token_claims"),
        (with(claims(), "sub", "x".repeat(2000)), "token_claims"),
        (json!([]), "token_form"),
    ] {
        let outcome = ask(&rules, &signed(&header(), &claims)).await;
        assert_eq!(outcome, wrong(why), "{claims}");
    }
    // Clocks may differ by a minute.
    for claims in [
        with(claims(), "exp", now() - 50),
        with(claims(), "nbf", now() + 50),
        with(claims(), "aud", "orders"),
        with(claims(), "scope", json!(["read", "orders"])),
    ] {
        let outcome = ask(&rules, &signed(&header(), &claims)).await;
        assert!(outcome.is_ok(), "{claims}: {outcome:?}");
    }
}

// guarantee: SECURITY-31
#[tokio::test]
async fn token_never_chooses_how_it_is_verified() {
    let rules = rules(json!({}));
    let x = &key_set()["keys"][0]["x"];
    let public = BASE64_URL_SAFE_NO_PAD.decode(x.as_str().unwrap()).unwrap();
    let unsigned = |alg: &str| {
        let header = json!({"alg": alg, "kid": "1"});
        format!("{}.{}.", b64(header.to_string()), b64(claims().to_string()))
    };
    let hs256 = json!({"alg": "HS256", "kid": "1"});
    let long = with(claims(), "more", "x".repeat(1 << 20));
    for (token, why) in [
        (unsigned("none"), "token_form"),
        (unsigned("None"), "token_form"),
        (unsigned(""), "token_form"),
        (unsigned("EdDSA"), "token_signature"),
        // The public key taken for a shared one, in each of its forms.
        (shared(&hs256, &claims(), &public), "token_form"),
        (
            shared(&hs256, &claims(), x.as_str().unwrap().as_bytes()),
            "token_form",
        ),
        (
            shared(&with(header(), "alg", "RS256"), &claims(), &public),
            "token_signature",
        ),
        (
            signed(&with(header(), "alg", "ES256"), &claims()),
            "token_signature",
        ),
        (
            signed(&with(header(), "alg", "EdDSA "), &claims()),
            "token_form",
        ),
        (
            signed(&with(header(), "alg", json!(["EdDSA"])), &claims()),
            "token_form",
        ),
        (signed(&without(header(), "alg"), &claims()), "token_form"),
        (
            signed(&with(header(), "kid", "2"), &claims()),
            "token_signature",
        ),
        (
            signed(&without(header(), "kid"), &claims()),
            "token_signature",
        ),
        (
            signed(&with(header(), "jku", "https://evil.example"), &claims()),
            "token_form",
        ),
        (
            signed(&with(header(), "x5u", "https://evil.example"), &claims()),
            "token_form",
        ),
        (
            signed(
                &with(header(), "jwk", key_set()["keys"][0].clone()),
                &claims(),
            ),
            "token_form",
        ),
        (
            signed(&with(header(), "x5c", json!([])), &claims()),
            "token_form",
        ),
        (
            signed(&with(header(), "crit", json!(["exp"])), &claims()),
            "token_form",
        ),
        (
            signed(&with(header(), "typ", "dpop+jwt"), &claims()),
            "token_form",
        ),
        (signed(&json!([]), &claims()), "token_form"),
        (signed(&header(), &long), "token_form"),
    ] {
        assert!(token.len() > TOKEN_BYTES_MAX || token.len() < 2000);
        assert_eq!(ask(&rules, &token).await, wrong(why), "{:.200}", token);
    }
    let twice = b64(br#"{"alg":"none","alg":"EdDSA","kid":"1"}"#);
    let message = format!("{twice}.{}", b64(claims().to_string()));
    let token = format!("{message}.{}", b64(signer().sign(message.as_bytes())));
    assert_eq!(ask(&rules, &token).await, wrong("token_form"));
    // And the other way round: a shared key is no public one.
    let token = signed(&header(), &claims());
    assert_eq!(ask(&shared_rules(), &token).await, wrong("token_form"));
    let token = shared(&json!({"alg": "HS256"}), &claims(), b"another key");
    assert_eq!(ask(&shared_rules(), &token).await, wrong("token_signature"));
}

#[test]
fn unusable_keys_are_passed_over() {
    let good = key_set()["keys"][0].clone();
    for key in [
        with(good.clone(), "use", "enc"),
        with(good.clone(), "key_ops", json!(["encrypt"])),
        with(good.clone(), "alg", "ES256"),
        with(good.clone(), "x", "AAAA"),
        with(good.clone(), "x", "not base64!"),
        with(good.clone(), "crv", "X25519"),
        without(good.clone(), "kid"),
        json!({"kid": "1", "kty": "oct", "k": b64(HS256_KEY)}),
        json!({"kid": "1", "kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RS512"}),
        json!("1"),
    ] {
        let set = KeySet::from_json(&json!({"keys": [key, good]})).unwrap();
        assert_eq!(set.named("1").count(), 1, "{key}");
    }
    assert!(KeySet::from_json(&json!({})).is_none());
    assert!(KeySet::from_json(&json!({"keys": {}})).is_none());
    let small = json!({"kid": "1", "kty": "RSA", "n": "AQAB", "e": "AQAB"});
    let set = KeySet::from_json(&json!({"keys": [small]})).unwrap();
    let key = set.named("1").next().unwrap();
    assert!(
        !key.verifies(JwtAlgorithm::Rs256, b"", b""),
        "a key of 24 bits"
    );
}

#[tokio::test]
async fn another_scheme_or_no_header_is_missing() {
    let check = |header: &str| rules(json!({"header": header}));
    let jwks = JwksCache::new(UpstreamClients::new(EgressPolicy::default()).shared());
    let token = signed(&header(), &claims());
    for (name, sent, outcome) in [
        (
            "authorization",
            format!("Basic {token}"),
            Some(CheckFailure::Missing),
        ),
        ("authorization", token.clone(), Some(CheckFailure::Missing)),
        ("authorization", format!("bearer  {token}"), None),
        ("x-token", token.clone(), None),
        ("x-token", format!("Bearer {token}"), None),
        ("x-other", token, Some(CheckFailure::Missing)),
    ] {
        let rules = check(if name == "authorization" {
            name
        } else {
            "x-token"
        });
        let check = JwtCheck {
            header: rules.header.parse().unwrap(),
            keys: KeySource::Set(rules.jwks.as_ref().unwrap()),
            rules: &rules,
        };
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(&sent).unwrap());
        assert_eq!(
            check.check(&headers, &jwks).await.err(),
            outcome,
            "{name} {sent:.10}"
        );
    }
}

proptest! {
    /// Test 65 for tokens: whatever comes, nothing panics, and nothing passes but what was signed.
    #[test]
    fn changed_tokens_never_pass(place in 0..2000_usize, byte in any::<u8>(), cut in 0..400_usize) {
        let good = signed(&header(), &json!({"iss": "i"}));
        let keys = KeySet::from_json(&key_set()).unwrap();
        let passes = |text: &str| {
            SignedToken::parse(text, &[JwtAlgorithm::EdDsa]).is_ok_and(|token| {
                let id = token.key_id.as_deref().unwrap_or_default();
                keys.named(id).any(|key| {
                    key.verifies(token.algorithm, token.message, &token.signature)
                })
            })
        };
        prop_assert!(passes(&good));
        let mut bytes = good.clone().into_bytes();
        let place = place % bytes.len();
        bytes[place] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert_eq!(passes(&text), text == good);
        }
        let short = &good[..cut.min(good.len())];
        prop_assert_eq!(passes(short), short == good);
    }

    #[test]
    fn any_text_is_parsed_without_panic(text in ".{0,300}", header in "\\PC{0,80}") {
        let all = [JwtAlgorithm::Rs256, JwtAlgorithm::EdDsa, JwtAlgorithm::Hs256];
        let _ = SignedToken::parse(&text, &all).map(|token| token.claims());
        let made = format!("{}.{}.{}", b64(&header), b64(&text), b64(&text));
        let _ = SignedToken::parse(&made, &all).map(|token| token.claims());
    }
}
