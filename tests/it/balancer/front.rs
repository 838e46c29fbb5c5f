//! TLS at the front: a certificate that is exchanged under load, and halves of one.

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

use quorate_testkit::ports;
use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client};

use super::{
    fake::{Cluster, Fake},
    rig::{folder, set, until},
};

/// A certificate for this host that trusts itself, and its key.
struct CertificatePair {
    cert: String,
    key: String,
}

impl CertificatePair {
    fn new() -> CertificatePair {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap().pem();
        let key = key.serialize_pem();
        CertificatePair { cert, key }
    }

    fn write(&self, dir: &Path) {
        write(&dir.join("cert.pem"), &self.cert, 0o644);
        write(&dir.join("key.pem"), &self.key, 0o600);
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A client that trusts these alone and makes each request on a connection of its own: on one that
/// is kept, a request can meet its close.
fn client(trusted: &[&CertificatePair]) -> Client {
    let certs = trusted.iter().map(|it| it.cert.as_bytes());
    let certs = certs.map(|pem| Certificate::from_pem(pem).unwrap());
    quorate_platform::http_client::builder()
        .tls_certs_only(certs.collect::<Vec<_>>())
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

async fn answers(client: &Client, url: &str) -> bool {
    let answer = client.get(url).send().await;
    answer.is_ok_and(|it| it.status() == 200)
}

// Test 20, the front.
// guarantee: SECURITY-44
#[tokio::test(flavor = "multi_thread")]
async fn certificate_changes_without_a_failed_request() {
    let cluster = Cluster::default();
    let member = Fake::start(&cluster, 1);
    cluster.join(&member);
    let dir = folder(&[&member]);
    let (first, second) = (CertificatePair::new(), CertificatePair::new());
    first.write(dir.path());
    let port = ports::free();
    let table = "\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    let config = dir.path().join("balancer.toml");
    let plain = fs::read_to_string(&config).unwrap();
    let bind = plain.lines().find(|it| it.starts_with("bind")).unwrap();
    let text = plain.replace(bind, &format!("bind = \"127.0.0.1:{port}\""));
    fs::write(&config, format!("{text}{table}")).unwrap();
    set(dir.path(), "check_ms = 50\n");

    let shutdown = tokio_util::sync::CancellationToken::new();
    let balancer = tokio::spawn({
        let (config, shutdown) = (config.clone(), shutdown.clone());
        async move {
            // Nobody asks for a reload.
            let reload = tokio::sync::mpsc::channel(1).1;
            quorate::balancer::run(&config, shutdown, reload).await
        }
    });
    let url = format!("https://127.0.0.1:{port}/zato/ping");
    let (old, new, both) = (
        client(&[&first]),
        client(&[&second]),
        client(&[&first, &second]),
    );
    until("the front answers", async || answers(&old, &url).await).await;
    assert!(!answers(&new, &url).await);
    let plain = format!("http://127.0.0.1:{port}/zato/ping");
    assert!(
        !answers(&both, &plain).await,
        "a front with TLS speaks no other"
    );

    let stop = Arc::new(AtomicBool::new(false));
    let failed = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, failed) = (stop.clone(), failed.clone());
            let (both, url) = (both.clone(), url.clone());
            tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    sent += 1;
                    if !answers(&both, &url).await {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                sent
            })
        })
        .collect();
    // Half of a pair changes nothing, and is over once the other half is there.
    write(&dir.path().join("cert.pem"), &second.cert, 0o644);
    let refused = dir.path().join("haproxy.cfg.new");
    until("HAProxy has refused the half", async || refused.exists()).await;
    assert!(answers(&old, &url).await);
    second.write(dir.path());
    until("the front has the other certificate", async || {
        answers(&new, &url).await
    })
    .await;
    until("new connections have no other", async || {
        !answers(&old, &url).await
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for each in load {
        sent += each.await.unwrap();
    }
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {sent} requests");
    assert!(sent > 20, "{sent}");
    shutdown.cancel();
    balancer.await.unwrap().unwrap();
}
