//! Security objects, and how channels name them.

use super::*;

pub(super) fn jwt() -> Value {
    json!({
        "name": "login", "issuer": "https://login.example", "audience": ["orders"],
        "jwks_url": "https://login.example/keys",
    })
}

pub(super) fn certificate() -> Value {
    let ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    json!({"name": "partners", "ca": ca, "names": ["*.partner.example", "urn:partner:7"]})
}

pub(super) fn hmac() -> Value {
    json!({"name": "hooks", "header": "X-Hub-Signature-256", "secret": "sixteen bytes ok"})
}

fn shared() -> Value {
    json!({
        "name": "login", "issuer": "i", "audience": ["a"], "algorithms": ["HS256"],
        "key": "thirty-two bytes are what it needs",
    })
}

#[test]
fn security_objects_read_back() {
    let keys = json!({"keys": [{"kid": "1", "kty": "OKP", "crv": "Ed25519", "x": "AA"}]});
    let mut inline = with(jwt(), "jwks", keys);
    inline.as_object_mut().unwrap().remove("jwks_url");
    let claims = json!({"scope": "orders", "level": [1, 2], "robot": true});
    for (kind, spec) in [
        (Kind::Jwt, with(jwt(), "required_claims", claims)),
        (
            Kind::Jwt,
            with(jwt(), "forward_claims", json!(["sub", "scope"])),
        ),
        (Kind::Jwt, shared()),
        (Kind::Jwt, inline),
        (Kind::ClientCertificate, certificate()),
        (Kind::Hmac, hmac()),
        (Kind::Hmac, with(hmac(), "timestamp_header", "X-Time")),
        (
            Kind::HttpChannel,
            with(
                http_channel(),
                "security",
                json!(["jwt/login", "hmac/hooks"]),
            ),
        ),
        (
            Kind::HttpChannel,
            with(
                http_channel(),
                "security_all",
                json!(["client_certificate/partners"]),
            ),
        ),
        (
            Kind::HttpChannel,
            with(
                http_channel(),
                "rate_limit",
                json!({"per": "source", "requests": 5}),
            ),
        ),
    ] {
        reads_back(kind, spec);
    }
}

#[test]
fn channel_names_each_object_as_reference() {
    let spec = with(
        http_channel(),
        "security",
        json!(["jwt/login", "hmac/hooks"]),
    );
    let spec = with(spec, "security_all", json!(["client_certificate/partners"]));
    let channel = Resource::parse(Kind::HttpChannel, &spec).unwrap();
    let named: Vec<(&str, Kind, &str)> = channel
        .references()
        .iter()
        .map(|it| (it.field, it.kind, it.name))
        .collect();
    assert_eq!(
        named,
        [
            ("security", Kind::Jwt, "login"),
            ("security", Kind::Hmac, "hooks"),
            ("security_all", Kind::ClientCertificate, "partners"),
            ("service", Kind::Service, "orders"),
        ]
    );
}

#[test]
fn bad_security_of_channels() {
    let h = Kind::HttpChannel;
    for (field, value, at, says) in [
        ("security", json!("login"), "security", "must be KIND/NAME"),
        (
            "security",
            json!("service/a"),
            "security",
            "must be KIND/NAME",
        ),
        ("security", json!([]), "security", "1 to 8"),
        (
            "security",
            json!(["jwt/a", "a"]),
            "security[1]",
            "must be KIND/NAME",
        ),
        (
            "security",
            json!(["jwt/a", "jwt/a"]),
            "security[1]",
            "twice",
        ),
        ("security_all", json!("jwt/a"), "security_all", "a list"),
        (
            "rate_limit",
            json!({}),
            "rate_limit.requests",
            "is required",
        ),
        (
            "rate_limit",
            json!({"requests": 0}),
            "rate_limit.requests",
            "from 1",
        ),
        ("rate_limit", json!(7), "rate_limit", "an object"),
    ] {
        let spec = with(http_channel(), field, value);
        let all = errors(h, spec.clone());
        let found = all
            .iter()
            .any(|(it, _, problem)| it == at && problem.contains(says));
        assert!(found, "{spec}: {all:?}");
    }
    let spec = with(http_channel(), "security", json!(["jwt/a"]));
    let spec = with(spec, "security_all", json!(["jwt/a"]));
    refused(h, spec, "security_all", "already");
}

#[test]
fn bad_tokens_certificates_and_signatures() {
    let key = |key: Value| json!({"keys": [key]});
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    for (value, says) in [
        (json!({}), "1 to 32 keys"),
        (
            key(json!({"kty": "OKP", "crv": "Ed25519", "x": x})),
            "a `kid`",
        ),
        (
            key(json!({"kid": "1", "kty": "OKP", "crv": "Ed25519", "x": x, "d": x})),
            "public keys alone",
        ),
        (
            key(json!({"kid": "1", "kty": "oct", "k": x})),
            "public keys alone",
        ),
        (
            key(json!({"kid": "1", "kty": "EC", "crv": "P-521"})),
            "P-256",
        ),
    ] {
        let mut spec = with(jwt(), "jwks", value);
        spec.as_object_mut().unwrap().remove("jwks_url");
        refused(Kind::Jwt, spec.clone(), "jwks", says);
        let text = format!("{:?}", errors(Kind::Jwt, spec));
        assert!(
            !text.contains(x),
            "what may be a private key is quoted: {text}"
        );
    }
    for (field, value, says) in [
        ("jwks_url", json!("http://login.example/keys"), "https://"),
        ("algorithms", json!(["none"]), "RS256"),
        ("algorithms", json!(["RS256", "HS256"]), "two objects"),
        ("algorithms", json!([]), "a list"),
        ("algorithms", json!("RS256"), "a list"),
        (
            "key",
            json!("a key of thirty-two bytes or more"),
            "algorithms: [HS256]",
        ),
        ("audience", json!("orders"), "a list"),
        ("audience", json!([]), "1 to 32"),
        ("leeway_s", json!(601), "from 0 to 600"),
        ("required_claims", json!({"a": {}}), "a text, a number"),
        ("required_claims", json!({"a": []}), "a text, a number"),
    ] {
        refused(Kind::Jwt, with(jwt(), field, value), field, says);
    }
    assert!(Resource::parse(Kind::Jwt, &with(jwt(), "jwks_url", "http://[::1]:8/k")).is_ok());
    refused(
        Kind::Jwt,
        with(shared(), "key", "short"),
        "key",
        "32 to 1024",
    );
    refused(
        Kind::Jwt,
        with(shared(), "jwks_url", "https://a"),
        "jwks_url",
        "not for HS256",
    );
    let neither = {
        let mut spec = jwt();
        spec.as_object_mut().unwrap().remove("jwks_url");
        spec
    };
    refused(Kind::Jwt, neither, "jwks_url", "exactly one of");
    refused(
        Kind::ClientCertificate,
        with(certificate(), "names", json!(["*"])),
        "names[0]",
        "a DNS name",
    );
    refused(
        Kind::ClientCertificate,
        with(certificate(), "ca", "x"),
        "ca",
        "PEM",
    );
    refused(
        Kind::Hmac,
        with(hmac(), "secret", "short"),
        "secret",
        "16 to 1024",
    );
    refused(
        Kind::Hmac,
        with(hmac(), "algorithm", "md5"),
        "algorithm",
        "sha256",
    );
}

#[test]
fn shared_key_alone_is_kept_and_needed() {
    let read = |spec: Value| Resource::parse(Kind::Jwt, &spec).unwrap();
    assert!(read(shared()).keeps_its_secret() && !read(shared()).may_lack_its_secret());
    assert!(!read(jwt()).keeps_its_secret() && read(jwt()).may_lack_its_secret());
}
