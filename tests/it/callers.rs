//! Who may call a channel, through the balancer and directly, and what an upstream is shown.

use std::{fs, net::Ipv4Addr, time::Duration};

use axum::{Json, Router, http::HeaderMap};
use base64::{Engine, prelude::*};
use quorate_clock::wall_time;
use quorate_testkit::{
    balancer::BalancerProcess, cluster::TestCluster, http, member::MemberProcess,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use reqwest::{Client, Method};
use ring::hmac;
use serde_json::{Value, json};

const SHARED_KEY: &str = "canary-shared-key-of-thirty-two-bytes";

/// An upstream that answers with the headers that it got.
async fn mirror() -> String {
    let app = Router::new().fallback(async |headers: HeaderMap| {
        let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or("?").to_owned();
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)));
        Json(pairs.collect::<std::collections::BTreeMap<_, _>>())
    });
    let address = http::serve(Ipv4Addr::LOCALHOST, app).await;
    format!("http://{address}/")
}

/// One member, with a service behind a channel at `/c` that has this security.
async fn guarded(security: Value) -> TestCluster {
    let cluster = TestCluster::start(1, 500, "http.certificate_proxies = \"127.0.0.1\"").await;
    let service = json!({"name": "mirror", "upstream": mirror().await});
    cluster.put(0, "service", service).await;
    let ann = json!({"name": "ann", "username": "ann", "password": "canary-password"});
    cluster.put(0, "basic_auth", ann).await;
    let login = json!({
        "name": "login", "issuer": "i", "audience": ["orders"], "algorithms": ["HS256"],
        "key": SHARED_KEY,
    });
    cluster.put(0, "jwt", login).await;
    let channel = json!({"name": "c", "path": "/c", "service": "mirror", "security": security});
    cluster.put(0, "http_channel", channel).await;
    cluster
}

fn basic(pair: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

fn token(claims: &Value) -> String {
    let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(&json!({"alg": "HS256"})), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SHARED_KEY.as_bytes());
    let code = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(code))
}

fn soon() -> u64 {
    let now = wall_time().duration_since(std::time::UNIX_EPOCH);
    now.expect("a clock").as_secs() + 300
}

async fn metric(member: &MemberProcess, line: &str) -> Option<String> {
    let url = member.admin_url("/metrics");
    let text = http::body_of(http::client().get(url))
        .await
        .expect("metrics");
    let mut lines = text.lines();
    lines.find_map(|it| it.strip_prefix(line).map(|it| it.trim().to_owned()))
}

/// Test 51: behind the balancer the client's own address counts.
#[tokio::test]
async fn guesser_waits_others_do_not() {
    let cluster = guarded(json!(["basic_auth/ann", "jwt/login"])).await;
    let balancer = BalancerProcess::start(&cluster).await;
    let ask = async |last: u8, pair: &str| {
        let client = http::builder()
            .local_address(Some(Ipv4Addr::new(127, 0, 0, last).into()))
            .timeout(Duration::from_secs(10));
        let client: Client = client.build().expect("a client");
        let request = client
            .get(balancer.at("/c"))
            .header("authorization", basic(pair));
        request.send().await.expect("an answer")
    };
    for n in 0..10 {
        assert_eq!(ask(2, "ann:wrong").await.status(), 401, "{n}");
    }
    let answer = ask(2, "ann:canary-password").await;
    assert_eq!(answer.status(), 429);
    let wait = answer.headers()["retry-after"].to_str().expect("text");
    assert!(
        (1..=6).contains(&wait.parse::<u64>().expect("seconds")),
        "{wait}"
    );
    assert_eq!(ask(3, "ann:canary-password").await.status(), 200);

    let member = &cluster.members[0];
    let failures = r#"quorate_auth_failures_total{face="http",reason="password"}"#;
    assert_eq!(metric(member, failures).await.as_deref(), Some("10"));
    let log = fs::read_to_string(member.log()).expect("a log");
    let lines: Vec<&str> = log
        .lines()
        .filter(|it| it.contains("wrong credentials"))
        .collect();
    assert!(
        lines.len() == 1 && lines[0].contains("127.0.0.2"),
        "{lines:?}"
    );
    assert!(!log.contains("canary"), "a secret is in the log");
}

/// Tests 48 and 49: what a client writes about itself reaches nobody.
// guarantee: SECURITY-31
#[tokio::test]
async fn caller_is_told_and_can_not_be_forged() {
    let cluster = guarded(json!("jwt/login")).await;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
    let authority = authority.expect("an authority");
    let params = CertificateParams::new(["a.partner.example".to_owned()]);
    let mut params = params.expect("a name");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let partner = params.signed_by(&key, &authority).expect("a certificate");
    let shown = format!(":{}:", BASE64_STANDARD.encode(partner.der()));
    let object = json!({
        "name": "partners", "ca": authority.pem(), "names": ["*.partner.example"],
    });
    cluster.put(0, "client_certificate", object).await;
    let channel = json!({
        "name": "d", "path": "/d", "service": "mirror", "security": "client_certificate/partners",
    });
    cluster.put(0, "http_channel", channel).await;
    let balancer = BalancerProcess::start(&cluster).await;
    let ask = async |url: String, headers: &[(&str, &str)]| {
        let answer = http::call(Method::GET, url, headers, "")
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.expect("JSON"))
    };

    let bearer = |claims: Value| format!("Bearer {}", token(&claims));
    let good = bearer(json!({"iss": "i", "aud": "orders", "sub": "bob", "exp": soon()}));
    let sent = [
        ("authorization", good.as_str()),
        ("quorate-caller", "jwt/login/eve"),
    ];
    for url in [balancer.at("/c"), cluster.members[0].http_url("/c")] {
        let (status, seen) = ask(url, &sent).await;
        assert_eq!(
            (status, &seen["quorate-caller"]),
            (200, &json!("jwt/login/bob"))
        );
        assert!(seen.get("authorization").is_none(), "{seen}");
    }
    let other = bearer(json!({"iss": "i", "aud": "other", "sub": "bob", "exp": soon()}));
    let (status, told) = ask(balancer.at("/c"), &[("authorization", &other)]).await;
    assert_eq!(
        (status, &told["zato_env"]["result"]),
        (401, &json!("ZATO_ERROR"))
    );

    // A proxy that the member's settings name is believed, and a client of the balancer is not.
    let sent = [("client-cert", shown.as_str())];
    let (status, seen) = ask(cluster.members[0].http_url("/d"), &sent).await;
    let caller = json!("client_certificate/partners/a.partner.example");
    assert_eq!((status, &seen["quorate-caller"]), (200, &caller));
    assert_eq!(ask(balancer.at("/d"), &sent).await.0, 401);
}

/// Credentials of an upstream arrive there, are shown nowhere, and go nowhere else.
// guarantee: SECURITY-1
#[tokio::test]
async fn credentials_of_service_go_to_its_host_alone() {
    let cluster = TestCluster::start(1, 500, "").await;
    let upstream = mirror().await;
    let service = json!({
        "name": "far", "upstream": upstream, "auth": {"scheme": "bearer"},
        "auth_secret": "canary-token",
    });
    cluster.put(0, "service", service).await;
    let channel = json!({"name": "c", "path": "/c", "service": "far"});
    cluster.put(0, "http_channel", channel).await;
    let member = &cluster.members[0];
    let url = member.http_url("/c");
    let sent = [("authorization", "Bearer of-the-client")];
    let answer = http::call(Method::GET, url, &sent, "")
        .await
        .expect("an answer");
    let seen: Value = answer.json().await.expect("JSON");
    assert_eq!(seen["authorization"], "Bearer canary-token");

    let at = member.admin_url("/v1/config/service/far");
    let shown = http::get_json(&at).await.expect("the service");
    assert!(!shown.to_string().contains("canary"), "{shown}");
    let elsewhere = json!({
        "name": "far", "upstream": mirror().await, "auth": {"scheme": "bearer"},
    });
    let request = http::client().put(&at).body(elsewhere.to_string());
    let (status, told) = http::status_and_text(request).await.expect("an answer");
    assert_eq!(status, 422, "{told}");
    assert!(
        told.contains("auth_secret") && told.contains("upstream"),
        "{told}"
    );
    let same_host = json!({
        "name": "far", "upstream": format!("{upstream}other"), "auth": {"scheme": "bearer"},
    });
    http::put(&at, same_host.to_string())
        .await
        .expect("the secret is kept");
    let log = fs::read_to_string(member.log()).expect("a log");
    assert!(!log.contains("canary"), "a secret is in the log");
}
