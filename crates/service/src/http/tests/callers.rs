//! Who is let in, as whom, and how often.

use quorate_clock::wall_time;
use ring::hmac;

use super::*;
use crate::testing::{
    tokens::{key_set, signed},
    upstream::{TestUpstream, UpstreamBehavior, ok},
};

/// A listener with one more channel, at `/c`, which the service `obey` handles.
async fn listener(limits: ClientLimits, fields: serde_json::Value) -> RunningListener {
    let mut running = RunningListener::start(limits).await;
    running.group.put(
        Kind::Hmac,
        "hooks",
        json!({"header": "X-Signature", "secret": SECRET}),
    );
    let mut spec = json!({"path": "/c", "service": "obey"});
    let more = fields.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(more);
    running.group.put(Kind::HttpChannel, "c", spec);
    running
}

const SECRET: &str = "sixteen bytes and more";

/// A GET of the channel with these headers.
fn call(headers: &[(&str, &str)]) -> String {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("GET /c HTTP/1.1\r\nhost: h\r\n{headers}\r\n")
}

fn header<'a>(seen: &'a serde_json::Value, name: &str) -> Vec<&'a str> {
    let headers = seen["headers"].as_array().unwrap().iter();
    let start = format!("{name}: ");
    headers
        .filter_map(|it| it.as_str()?.strip_prefix(&start))
        .collect()
}

fn details(answer: &RawAnswer) -> String {
    let json = answer.json();
    assert_eq!(json["zato_env"]["result"], "ZATO_ERROR");
    json["zato_env"]["details"].as_str().unwrap().to_owned()
}

/// Test 48, whole: keys come from the issuer, and the service learns who calls.
// guarantee: SECURITY-31
#[tokio::test]
async fn token_of_issuer_opens_and_names_caller() {
    let keys = ok(&key_set().to_string());
    let issuer = TestUpstream::start("issuer", UpstreamBehavior::Answers(keys)).await;
    let mut running = RunningListener::start(quick()).await;
    running.group.put(
        Kind::Jwt,
        "login",
        json!({"issuer": "i", "audience": ["orders"], "jwks_url": issuer.url("/keys")}),
    );
    let spec =
        json!({"path": "/c", "service": "obey", "security": ["jwt/login", "basic_auth/ann"]});
    running.group.put(Kind::HttpChannel, "c", spec);
    let now = wall_time().duration_since(std::time::UNIX_EPOCH).unwrap();
    let claims = json!({"iss": "i", "aud": "orders", "sub": "bob", "exp": now.as_secs() + 60});
    let token = signed(&json!({"alg": "EdDSA", "kid": "1"}), &claims);
    let bearer = format!("Bearer {token}");
    for _ in 0..3 {
        let sent = [
            ("authorization", bearer.as_str()),
            ("quorate-caller", "forged"),
        ];
        let answer = running.ask(call(&sent)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = answer.json();
        assert_eq!(header(&seen, "quorate-caller"), ["jwt/login/bob"]);
        assert!(header(&seen, "authorization").is_empty());
    }
    assert_eq!(issuer.count(), 1);
    let sent = [("authorization", "Basic YW5uOnNlY3JldA==")];
    let seen = running.ask(call(&sent)).await.json();
    assert_eq!(header(&seen, "quorate-caller"), ["basic_auth/ann"]);
    let answer = running
        .ask(call(&[("authorization", "Bearer a.b.c")]))
        .await;
    assert_eq!(
        (answer.status, &*details(&answer)),
        (401, "the credentials are not accepted")
    );
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.contains("Bearer realm=\"login\"") && challenge.contains("Basic "));
}

#[tokio::test]
async fn issuer_that_is_down_is_no_401() {
    let issuer = TestUpstream::start("issuer", UpstreamBehavior::HangsUp).await;
    let mut running = RunningListener::start(quick()).await;
    running.group.put(
        Kind::Jwt,
        "login",
        json!({"issuer": "i", "audience": ["orders"], "jwks_url": issuer.url("/keys")}),
    );
    let spec = json!({"path": "/c", "service": "obey", "security": "jwt/login"});
    running.group.put(Kind::HttpChannel, "c", spec);
    let token = signed(&json!({"alg": "EdDSA", "kid": "1"}), &json!({"iss": "i"}));
    let bearer = format!("Bearer {token}");
    let answer = running.ask(call(&[("authorization", &bearer)])).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!details(&answer).contains("127.0.0.1"));
}

fn signature(body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let code = hmac::sign(&key, body.as_bytes());
    code.as_ref().iter().map(|it| format!("{it:02x}")).collect()
}

#[tokio::test]
async fn signed_body_is_read_whole_and_passed_on() {
    let fields = json!({"security": "hmac/hooks", "max_body_bytes": 100});
    let running = listener(quick(), fields).await;
    let post = |body: &str, signature: &str| {
        format!(
            "POST /c HTTP/1.1\r\nhost: h\r\nx-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let answer = running.ask(post("the body", &signature("the body"))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = answer.json();
    assert_eq!(seen["body"], "the body");
    assert_eq!(header(&seen, "quorate-caller"), ["hmac/hooks"]);
    let chunked = format!(
        "POST /c HTTP/1.1\r\nhost: h\r\nx-signature: {}\r\ntransfer-encoding: chunked\r\n\r\n3\r\nthe\r\n5\r\n body\r\n0\r\n\r\n",
        signature("the body")
    );
    assert_eq!(running.ask(chunked).await.json()["body"], "the body");
    let answer = running.ask(post("the bodY", &signature("the body"))).await;
    assert_eq!(answer.status, 401);
    let long = "x".repeat(101);
    assert_eq!(
        running.ask(post(&long, &signature(&long))).await.status,
        413
    );
    // Without a signature the body isn't even asked for.
    let expecting =
        "POST /c HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 8\r\n\r\n";
    let answer = running.ask(expecting).await;
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[tokio::test]
async fn signed_body_goes_on_to_upstreams() {
    let upstream = TestUpstream::start("up", UpstreamBehavior::SaysItsName).await;
    let mut running = listener(quick(), json!({"security": "hmac/hooks"})).await;
    running
        .group
        .service("far", json!({"upstream": upstream.url("/in")}));
    let spec = json!({"path": "/far", "service": "far", "security": "hmac/hooks"});
    running.group.put(Kind::HttpChannel, "far", spec);
    let request = format!(
        "POST /far HTTP/1.1\r\nhost: h\r\nx-signature: {}\r\ncontent-length: 8\r\n\r\nthe body",
        signature("the body")
    );
    assert_eq!(running.ask(request).await.body, "up");
    let arrived = upstream.last();
    assert!(arrived.ends_with("\r\n\r\nthe body"), "{arrived}");
    assert!(
        arrived.contains("quorate-caller: hmac/hooks\r\n"),
        "{arrived}"
    );
}

#[tokio::test]
async fn calls_beyond_rate_are_answered_429() {
    let limit = json!({"per": "source", "requests": 2, "window_s": 600});
    let running = listener(quick(), json!({"rate_limit": limit})).await;
    let from = |address| call(&[("x-forwarded-for", address)]);
    for _ in 0..2 {
        assert_eq!(running.ask(from("192.0.2.1")).await.status, 200);
    }
    let answer = running.ask(from("192.0.2.1")).await;
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((290..=300).contains(&wait), "{wait}");
    assert!(details(&answer).contains("too often"));
    assert_eq!(running.ask(from("192.0.2.2")).await.status, 200);
    assert_eq!(
        running.ask(get("/echo")).await.status,
        200,
        "another channel"
    );
}

#[tokio::test]
async fn rate_counts_callers_or_whole_channel() {
    let limit = json!({"requests": 1, "window_s": 600});
    let fields = json!({"rate_limit": limit, "security": ["basic_auth/ann", "api_key/key"]});
    let running = listener(quick(), fields).await;
    let ann = call(&[("authorization", "Basic YW5uOnNlY3JldA==")]);
    let key = call(&[("x-api-key", "k3y")]);
    assert_eq!(running.ask(&ann).await.status, 200);
    assert_eq!(running.ask(&ann).await.status, 429);
    assert_eq!(
        running.ask(&key).await.status,
        200,
        "another caller from the same address"
    );

    let limit = json!({"per": "channel", "requests": 2, "window_s": 600, "burst": 1});
    let running = listener(quick(), json!({"rate_limit": limit})).await;
    let from = |address| call(&[("x-forwarded-for", address)]);
    assert_eq!(running.ask(from("192.0.2.1")).await.status, 200);
    assert_eq!(running.ask(from("192.0.2.2")).await.status, 429);
}

/// Test 51, at one member.
#[tokio::test]
async fn eleventh_wrong_password_is_refused_unchecked() {
    let running = listener(quick(), json!({"security": "basic_auth/ann"})).await;
    let ask = async |from: &str, pair: &str| {
        let sent = [("x-forwarded-for", from), ("authorization", pair)];
        running.ask(call(&sent)).await
    };
    let (good, bad) = ("Basic YW5uOnNlY3JldA==", "Basic YW5uOndyb25n");
    for n in 0..10 {
        let guess = ask("192.0.2.1", bad).await;
        assert_eq!(guess.status, 401, "{n}");
        // Nothing was guessed.
        let without = running.ask(call(&[("x-forwarded-for", "192.0.2.9")])).await;
        assert_eq!(without.status, 401);
    }
    for pair in [bad, good] {
        let answer = ask("192.0.2.1", pair).await;
        assert_eq!(answer.status, 429, "{answer:?}");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=6).contains(&wait), "{wait}");
    }
    for other in ["192.0.2.2", "192.0.2.9", "2001:db8::1"] {
        assert_eq!(ask(other, good).await.status, 200, "{other}");
    }
    // Who says himself that he is somebody else is believed by nobody.
    let running = {
        let limits = ClientLimits {
            trusted_proxies: Vec::new(),
            ..quick()
        };
        listener(limits, json!({"security": "basic_auth/ann"})).await
    };
    for n in 0..10 {
        let from = format!("192.0.2.{n}");
        let sent = [("x-forwarded-for", &*from), ("authorization", bad)];
        assert_eq!(running.ask(call(&sent)).await.status, 401);
    }
    let sent = [("x-forwarded-for", "192.0.2.77"), ("authorization", good)];
    assert_eq!(running.ask(call(&sent)).await.status, 429);
}

/// Test 49, through a proxy and without one.
// guarantee: SECURITY-31
#[tokio::test]
async fn client_certificate_is_told_by_trusted_proxy() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair,
    };
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(["a.partner.example".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let der = params.signed_by(&key, &authority).unwrap();
    let shown = format!(":{}:", BASE64_STANDARD.encode(der.der()));
    let start = async |limits| {
        let mut running = RunningListener::start(limits).await;
        running.group.put(
            Kind::ClientCertificate,
            "partners",
            json!({"ca": authority.pem(), "names": ["*.partner.example"]}),
        );
        let spec =
            json!({"path": "/c", "service": "obey", "security": "client_certificate/partners"});
        running.group.put(Kind::HttpChannel, "c", spec);
        running
    };
    let named = ClientLimits {
        certificate_proxies: quick().trusted_proxies,
        ..quick()
    };
    let running = start(named).await;
    let answer = running.ask(call(&[("client-cert", &shown)])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = answer.json();
    let caller = "client_certificate/partners/a.partner.example";
    assert_eq!(header(&seen, "quorate-caller"), [caller]);
    assert!(header(&seen, "client-cert").is_empty());
    assert_eq!(running.ask(call(&[])).await.status, 401);

    // Who is trusted for addresses is not for certificates.
    let running = start(quick()).await;
    let sent = [("client-cert", &*shown)];
    assert_eq!(running.ask(call(&sent)).await.status, 401);
    let limits = ClientLimits {
        trusted_proxies: Vec::new(),
        ..quick()
    };
    let running = start(limits).await;
    assert_eq!(running.ask(call(&sent)).await.status, 401);
    let open = format!("GET /obey/1 HTTP/1.1\r\nhost: h\r\nclient-cert: {shown}\r\n\r\n");
    let seen = running.ask(open).await.json();
    assert!(
        header(&seen, "client-cert").is_empty(),
        "a forged one reaches a service"
    );
}
