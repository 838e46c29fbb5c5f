//! Credentials and TLS of upstreams.

use super::*;

fn with_auth(auth: Value, secret: &str) -> Value {
    let far = with(service(), "upstream", "https://127.0.0.1:8080/orders");
    with(with(far, "auth", auth), "auth_secret", secret)
}

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

#[test]
fn credentials_of_each_scheme_read_back() {
    let certificate = json!({"scheme": "certificate", "certificate": PEM});
    for (auth, secret) in [
        (json!({"scheme": "bearer"}), "t0ken"),
        (json!({"scheme": "basic", "username": "me"}), "p w"),
        (json!({"scheme": "header", "header": "X-Key"}), "k3y"),
        (certificate, KEY),
    ] {
        let spec = with_auth(auth, secret);
        reads_back(Kind::Service, spec.clone());
        let shown = format!("{:?}", Resource::parse(Kind::Service, &spec).unwrap());
        assert!(!shown.contains(secret), "{shown}");
    }
    let tls = json!({"ca": PEM, "server_name": "inner.example"});
    let far = with(service(), "upstream", "https://partner.example/");
    reads_back(Kind::Service, with(far, "tls", tls.clone()));
    // A URL without TLS would pass them over.
    let open = json!(["https://partner.example/", "http://partner.example/"]);
    let open = with(service(), "upstream", open);
    refused(Kind::Service, with(open, "tls", tls), "tls", "https://");
    let shown = json!({"scheme": "certificate", "certificate": PEM});
    let open = with(with_auth(shown, KEY), "upstream", "http://partner.example/");
    refused(Kind::Service, open, "auth.scheme", "https://");
}

#[test]
fn fields_that_do_not_fit_are_refused() {
    let s = Kind::Service;
    for (auth, secret, field, says) in [
        (
            json!({"scheme": "basic"}),
            "x",
            "auth.username",
            "required for the scheme basic",
        ),
        (
            json!({"scheme": "bearer", "username": "u"}),
            "x",
            "auth.username",
            "scheme basic alone",
        ),
        (
            json!({"scheme": "header"}),
            "x",
            "auth.header",
            "required for the scheme header",
        ),
        (
            json!({"scheme": "certificate", "certificate": PEM}),
            "hunter2",
            "auth_secret",
            "private key",
        ),
        (
            json!({"scheme": "certificate"}),
            KEY,
            "auth.certificate",
            "required",
        ),
        (
            json!({"scheme": "bearer"}),
            "hunter2\nx",
            "auth_secret",
            "visible ASCII",
        ),
        (json!({"scheme": "digest"}), "x", "auth.scheme", "bearer"),
    ] {
        refused(s, with_auth(auth.clone(), secret), field, says);
        let text = format!("{:?}", errors(s, with_auth(auth, secret)));
        assert!(!text.contains("hunter2"), "{text}");
    }
    refused(
        s,
        with(service(), "auth_secret", "hunter2"),
        "auth_secret",
        "not there",
    );
    let code = json!({"name": "a", "builtin": "ping", "tls": {}});
    refused(s, code, "tls", "alone");
}

// guarantee: SECURITY-1
#[test]
fn kept_secret_stays_with_host() {
    let read = |spec: &Value| Resource::parse(Kind::Service, spec).unwrap();
    let auth = json!({"scheme": "bearer"});
    let before = with_auth(auth, "t0ken");
    let changed = |field: &str, value: Value| {
        let now = with(before.clone(), field, value);
        read(&now).changed_target_fields(&read(&before))
    };
    let same_host = json!("https://127.0.0.1:8080/other");
    assert!(changed("upstream", same_host).is_empty());
    assert!(changed("timeout_ms", json!(1)).is_empty());
    for other in [
        json!("https://127.0.0.1:8081/orders"),
        json!("http://127.0.0.1:8080/orders"),
        json!("https://evil.example:8080/orders"),
        json!(["https://127.0.0.1:8080/orders", "http://evil.example/"]),
    ] {
        assert_eq!(changed("upstream", other), ["upstream"]);
    }
    assert_eq!(changed("tls", json!({"ca": PEM})), ["tls"]);
    let header = json!({"scheme": "header", "header": "X-Log-Me"});
    assert_eq!(changed("auth", header), ["auth"]);
}

#[test]
fn credentials_in_clear_are_warned_of() {
    let auth = || json!({"scheme": "bearer"});
    let warning = |url: &str, spec: Value| {
        let spec = with(spec, "upstream", url);
        Resource::parse(Kind::Service, &spec).unwrap().warning(None)
    };
    let open = warning("http://partner.example/", with_auth(auth(), "t0ken"));
    assert!(open.unwrap().contains("https"));
    for url in ["https://partner.example/", "http://localhost:1/"] {
        assert_eq!(warning(url, with_auth(auth(), "t0ken")), None);
    }
    assert_eq!(warning("http://partner.example/", service()), None);
}
