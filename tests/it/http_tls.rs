//! The services' port over TLS, of a whole member.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Client, tls::TlsInfo};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;

type TestAuthority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> TestAuthority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

/// Writes a new certificate for `localhost` and its key.
fn write_pair(authority: &TestAuthority, folder: &Path) {
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let (cert_file, key_file) = (folder.join("http.pem"), folder.join("http.key"));
    fs::write(cert_file, certificate.pem()).expect("a file");
    fs::write(&key_file, key.serialize_pem()).expect("a file");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(key_file, private).expect("a mode");
}

/// A client that trusts the authority and keeps no connection for longer than a request.
fn client(authority: &TestAuthority) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let built = http::builder()
        .tls_backend_preconfigured(config)
        .tls_info(true)
        .timeout(Duration::from_secs(10))
        .build();
    built.expect("a client")
}

async fn shown(client: &Client, url: &str) -> Vec<u8> {
    let answer = client.get(url).send().await.expect("an answer");
    let info = answer.extensions().get::<TlsInfo>();
    let certificate = info.and_then(TlsInfo::peer_certificate);
    certificate.expect("a certificate").to_vec()
}

/// Test 19: a certificate that is replaced under load fails no request; bad files change nothing.
#[tokio::test]
async fn replaced_http_certificate_fails_no_request() {
    let (authority, folder) = (authority(), tempfile::tempdir().expect("a folder"));
    write_pair(&authority, folder.path());
    let file = |name: &str| folder.path().join(name);
    let extra = format!(
        "http.tls.cert = {:?}\nhttp.tls.key = {:?}",
        file("http.pem"),
        file("http.key")
    );
    let cluster = TestCluster::start(1, 500, &extra).await;
    cluster
        .put(0, "service", json!({"name": "echo-it", "builtin": "echo"}))
        .await;
    let channel = json!({"name": "c", "path": "/c", "service": "echo-it"});
    cluster.put(0, "http_channel", channel).await;
    let member = &cluster.members[0];
    let url = format!("https://localhost:{}/c", member.http);
    let client = client(&authority);
    let first = shown(&client, &url).await;

    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, done) = (stop.clone(), done.clone());
            let (client, url) = (client.clone(), url.clone());
            tokio::spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match client.get(&url).send().await {
                        Ok(answer) if answer.status() == 200 => {
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        other => failed.push(format!("{other:?}")),
                    }
                }
                failed
            })
        })
        .collect();
    for _ in 0..3 {
        let before = shown(&client, &url).await;
        write_pair(&authority, folder.path());
        member.signal(Signal::SIGHUP);
        eventually("the new certificate", SOON, || async {
            let now = shown(&client, &url).await;
            (now != before)
                .then_some(())
                .ok_or("the old one".to_owned())
        })
        .await;
    }
    let good = shown(&client, &url).await;
    assert_ne!(good, first);
    fs::write(file("http.pem"), "-----BEGIN CERTIFICATE-----").expect("a file");
    member.signal(Signal::SIGHUP);
    eventually("a line about the bad file", SOON, || async {
        let log = fs::read_to_string(member.log()).map_err(|error| error.to_string())?;
        let told = log.contains("certificates stay as they were") && log.contains("http.pem");
        told.then_some(()).ok_or(log)
    })
    .await;
    assert_eq!(shown(&client, &url).await, good);
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        assert_eq!(caller.await.expect("a task"), Vec::<String>::new());
    }
    assert!(done.load(Ordering::SeqCst) > 20);
}
