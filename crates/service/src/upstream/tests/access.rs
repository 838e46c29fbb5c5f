//! Credentials and TLS of calls.

use quorate_resources::{AuthScheme, UpstreamAuth};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::*;

fn auth(scheme: AuthScheme) -> UpstreamAuth {
    UpstreamAuth {
        scheme,
        username: (scheme == AuthScheme::Basic).then(|| "me".into()),
        header: (scheme == AuthScheme::Header).then(|| "X-Key".into()),
        certificate: None,
    }
}

fn upstream(service: &Service) -> HttpUpstream {
    let clients = UpstreamClients::new(EgressPolicy::default());
    HttpUpstream::new(service, &Catalog::default(), &clients)
}

#[tokio::test]
async fn credentials_replace_what_client_sent() {
    let server = Server::start("a", UpstreamBehavior::SaysItsName).await;
    for (scheme, arrives, other) in [
        (
            AuthScheme::Bearer,
            "authorization: Bearer s3cret",
            "x-key: client",
        ),
        (
            AuthScheme::Basic,
            "authorization: Basic bWU6czNjcmV0",
            "x-key: client",
        ),
        (AuthScheme::Header, "x-key: s3cret", "authorization: client"),
    ] {
        let service = Service {
            auth: Some(auth(scheme)),
            auth_secret: Some("s3cret".into()),
            ..resource(&[server.url("/")])
        };
        let mut request = call(Method::POST);
        for name in ["authorization", "x-key"] {
            request
                .headers
                .append(name, HeaderValue::from_static("client"));
            request
                .headers
                .append(name, HeaderValue::from_static("client"));
        }
        called(&upstream(&service), request).await.unwrap();
        let arrived = server.last();
        assert_eq!(
            arrived.matches("s3cret").count() + arrived.matches("bWU6").count(),
            1
        );
        assert!(arrived.contains(&format!("{arrives}\r\n")), "{arrived}");
        assert!(arrived.contains(&format!("{other}\r\n")), "{arrived}");
        assert_eq!(arrived.matches(": client").count(), 2, "{arrived}");
    }
}

#[tokio::test]
async fn nothing_is_sent_without_its_credentials() {
    let server = Server::start("a", UpstreamBehavior::SaysItsName).await;
    let with = |scheme, secret: Option<&str>| Service {
        auth: Some(auth(scheme)),
        auth_secret: secret.map(str::to_owned),
        ..resource(&[server.url("/")])
    };
    let nameless = Service {
        auth: Some(UpstreamAuth {
            username: None,
            ..auth(AuthScheme::Basic)
        }),
        ..with(AuthScheme::Basic, Some("s3cret"))
    };
    for service in [
        with(AuthScheme::Bearer, None),
        with(AuthScheme::Bearer, Some("s3cret\nx: y")),
        with(AuthScheme::Certificate, Some("s3cret")),
        nameless,
    ] {
        let error = called(&upstream(&service), call(Method::POST)).await;
        let Err(ServiceError::NotRun(told)) = error else {
            panic!("{service:?}: {error:?}")
        };
        assert!(told.contains("auth") && !told.contains("s3cret"), "{told}");
    }
    assert_eq!(server.count(), 0);
}

type TestAuthority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> TestAuthority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, in PEM.
fn issued(by: &TestAuthority, name: &str, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Answers over TLS to clients with a certificate of this authority; returns the port.
fn serve(authority: &TestAuthority) -> u16 {
    let (certificate, key) = issued(
        authority,
        "inner.example",
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                stream.write_all(&ok("known")).unwrap();
            }
        }
    });
    port
}

#[tokio::test]
async fn own_authority_name_and_certificate_are_used() {
    let ours = authority();
    let port = serve(&ours);
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    let (certificate, key) = issued(&ours, "caller", client.clone());
    let (stranger, strangers_key) = issued(&authority(), "caller", client);
    let service = |ca: Option<&str>, name: Option<&str>, shown: Option<(&str, &str)>| Service {
        tls: Some(UpstreamTls {
            ca: ca.map(str::to_owned),
            server_name: name.map(str::to_owned),
        }),
        auth: shown.map(|(certificate, _)| UpstreamAuth {
            certificate: Some(certificate.to_owned()),
            ..auth(AuthScheme::Certificate)
        }),
        auth_secret: shown.map(|(_, key)| key.to_owned()),
        ..resource(&[format!("https://127.0.0.1:{port}/")])
    };
    let (ca, name) = (ours.pem(), "inner.example");
    let good = Some((&*certificate, &*key));
    let reply = called(
        &upstream(&service(Some(&ca), Some(name), good)),
        call(Method::GET),
    )
    .await;
    assert_eq!(reply.unwrap().body, "known");
    for bad in [
        service(None, Some(name), good),
        service(Some(&ca), None, good),
        service(Some(&ca), Some("other.example"), good),
        service(Some(&ca), Some(name), None),
        service(Some(&ca), Some(name), Some((&stranger, &strangers_key))),
        service(Some(&ca), Some(name), Some((&certificate, &strangers_key))),
    ] {
        let outcome = called(&upstream(&bad), call(Method::GET)).await;
        assert!(outcome.is_err(), "{bad:?}: {outcome:?}");
    }
}
