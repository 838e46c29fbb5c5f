//! Over TLS: names, reloading, and clients with certificates.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::SystemTime};

use quorate_clock::wall_time;
use quorate_tls::{CertificateFiles, ReloadOutcome, Reloadable, TlsError, crypto_provider};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, and a folder for what it issues.
struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate with its key, in PEM.
type IssuedPem = (String, String);

impl Certificates {
    fn new() -> Certificates {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Certificates {
            authority: CertifiedIssuer::self_signed(params, key).unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn issue(&self, name: &str, until: SystemTime) -> IssuedPem {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = (wall_time() - DAY).into();
        params.not_after = until.into();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a pair under this name.
    fn write(&self, stem: &str, (certificate, key): &IssuedPem) -> CertificateFiles {
        let file = |end: &str| self.folder.path().join(format!("{stem}.{end}"));
        let files = CertificateFiles {
            cert: file("pem"),
            key: file("key"),
        };
        fs::write(&files.cert, certificate).unwrap();
        write_private(&files.key, key);
        files
    }

    fn pair(&self, stem: &str, name: &str) -> CertificateFiles {
        self.write(stem, &self.issue(name, wall_time() + DAY))
    }

    /// Connects as a client that asks for this name, and shows a certificate.
    async fn connect(
        &self,
        running: &RunningListener,
        name: &str,
        shown: Option<&IssuedPem>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(crypto_provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let tcp = TcpStream::connect(running.address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
    }
}

fn write_private(path: &Path, text: &str) {
    let _ = fs::remove_file(path);
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

async fn start(files: Vec<CertificateFiles>) -> (Arc<HttpTls>, RunningListener) {
    let tls = Arc::new(HttpTls::load(files).unwrap());
    let running = RunningListener::start_over(Some(tls.clone()), quick(), 8192).await;
    (tls, running)
}

/// The whole answer to a GET.
async fn asked(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Without the client's own certificate TLS ends in order.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn serial(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Test 19: the name picks the certificate.
#[tokio::test]
async fn asked_name_picks_certificate() {
    let made = Certificates::new();
    let files = vec![made.pair("a", "a.example"), made.pair("b", "*.b.example")];
    let (_tls, running) = start(files).await;
    for name in ["a.example", "x.b.example"] {
        let mut stream = made.connect(&running, name, None).await.unwrap();
        let answer = asked(&mut stream, "/obey/1").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("x-forwarded-proto: https"), "{answer}");
    }
    let error = made.connect(&running, "c.example", None).await.unwrap_err();
    assert!(
        error.to_string().contains("not valid for name"),
        "the first pair: {error}"
    );
}

/// Test 19: new files are used by new connections, and bad ones by none.
#[tokio::test]
async fn reloaded_certificate_serves_new_connections() {
    let made = Certificates::new();
    let files = made.pair("a", "a.example");
    let (tls, running) = start(vec![files.clone()]).await;
    let mut before = made.connect(&running, "a.example", None).await.unwrap();
    let old = serial(&before);
    assert_eq!(tls.reload().unwrap(), ReloadOutcome::Unchanged);

    made.pair("a", "a.example");
    assert_eq!(tls.reload().unwrap(), ReloadOutcome::Reloaded);
    let mut after = made.connect(&running, "a.example", None).await.unwrap();
    let new = serial(&after);
    assert_ne!(old, new);
    for stream in [&mut before, &mut after] {
        let answer = asked(stream, "/zato/ping").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    // A key without its certificate, half a file, one that is over: what is there stays.
    let (_, other_key) = made.issue("a.example", wall_time() + DAY);
    let good_key = fs::read_to_string(&files.key).unwrap();
    write_private(&files.key, &other_key);
    assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })));
    write_private(&files.key, &good_key[..good_key.len() / 2]);
    assert!(tls.reload().is_err());
    let over = made.issue("a.example", wall_time() - Duration::from_secs(60));
    made.write("a", &over);
    assert!(matches!(tls.reload(), Err(TlsError::Expired { .. })));
    assert!(matches!(
        HttpTls::load(vec![files]),
        Err(TlsError::Expired { .. })
    ));
    let still = made.connect(&running, "a.example", None).await.unwrap();
    assert_eq!(serial(&still), new);
}

/// Test 49, direct.
// guarantee: SECURITY-9
#[tokio::test]
async fn client_certificate_is_asked_for_and_checked() {
    let made = Certificates::new();
    let (_tls, mut running) = start(vec![made.pair("a", "a.example")]).await;
    let partner = made.issue("x.partner.example", wall_time() + DAY);
    let other = made.issue("x.other.example", wall_time() + DAY);
    let ask = async |running: &RunningListener, shown: Option<&IssuedPem>, path: &str| {
        let mut stream = made.connect(running, "a.example", shown).await.unwrap();
        asked(&mut stream, path).await
    };
    // Nobody is asked for one yet.
    let answer = ask(&running, Some(&partner), "/obey/1").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    running.group.put(
        Kind::ClientCertificate,
        "partners",
        json!({"ca": made.authority.pem(), "names": ["*.partner.example"]}),
    );
    let spec = json!({"path": "/c", "service": "obey", "security": "client_certificate/partners"});
    running.group.put(Kind::HttpChannel, "c", spec);
    let answer = ask(&running, Some(&partner), "/c").await;
    let caller = "quorate-caller: client_certificate/partners/x.partner.example";
    assert!(answer.contains(caller), "{answer}");
    for shown in [Some(&other), None] {
        let answer = ask(&running, shown, "/c").await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        let answer = ask(&running, shown, "/obey/1").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    // One of another authority doesn't get through its handshake.
    let stranger = Certificates::new().issue("x.partner.example", wall_time() + DAY);
    let refused = match made.connect(&running, "a.example", Some(&stranger)).await {
        Err(_) => true,
        Ok(mut stream) => asked(&mut stream, "/c").await.is_empty(),
    };
    assert!(refused);
}

/// Test 17 at this face: a handshake that stalls holds nobody up.
#[tokio::test]
async fn stalled_handshakes_hold_nobody_up() {
    let made = Certificates::new();
    let (_tls, running) = start(vec![made.pair("a", "a.example")]).await;
    let mut stalled = Vec::new();
    for _ in 0..200 {
        stalled.push(TcpStream::connect(running.address).await.unwrap());
    }
    let mut stream = made.connect(&running, "a.example", None).await.unwrap();
    let answer = asked(&mut stream, "/zato/ping").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Plain HTTP is no way in.
    let mut plain = running.client().await;
    plain.send(get("/zato/ping")).await;
    let mut seen = Vec::new();
    let _ = plain.stream.read_to_end(&mut seen).await;
    assert!(!String::from_utf8_lossy(&seen).contains("ZATO"));
    for mut stalled in stalled {
        let mut nothing = [0; 1];
        let read = tokio::time::timeout(Duration::from_secs(10), stalled.read(&mut nothing));
        assert!(matches!(read.await.expect("cut after 3 s"), Ok(0) | Err(_)));
    }
}
