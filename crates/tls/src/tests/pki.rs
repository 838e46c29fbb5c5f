//! Authorities and certificates for tests.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use quorate_clock::wall_time;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::{
    CertificateAuthority, CertificateFiles, CertificateIdentity, ExpectedMember, FaceStream,
    MemberConnector, MemberTls, MemberTlsFiles, TlsAcceptor, TrustFile, TrustedRoots, Validity,
};

/// Certificate and key in PEM.
pub(super) type Pem = (String, String);

/// An authority and a folder for its files.
pub(super) struct TestPki {
    pub(super) authority: CertificateAuthority,
    pub(super) dir: TempDir,
}

/// Returns a time so many days from now.
pub(super) fn days(from_now: i64) -> SystemTime {
    let by = Duration::from_secs(86_400 * from_now.unsigned_abs());
    if from_now < 0 {
        wall_time() - by
    } else {
        wall_time() + by
    }
}

pub(super) fn pair(pem: &Pem) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(pem.0.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(pem.1.as_bytes()).unwrap();
    (chain.map(Result::unwrap).collect(), key)
}

impl TestPki {
    pub(super) fn new(domain: &str) -> TestPki {
        let pki = TestPki {
            authority: CertificateAuthority::create(Some(domain)).unwrap(),
            dir: TempDir::new().unwrap(),
        };
        fs::write(pki.ca().0, pki.authority.cert_pem()).unwrap();
        pki
    }

    pub(super) fn ca(&self) -> TrustFile {
        TrustFile(self.dir.path().join("ca.pem"))
    }

    pub(super) fn roots(&self) -> TrustedRoots {
        self.ca().load().unwrap()
    }

    pub(super) fn issue(&self, uri: &str) -> Pem {
        self.pair_between(uri, days(-1), days(90))
    }

    pub(super) fn pair_between(
        &self,
        uri: &str,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Pem {
        let identity = CertificateIdentity::parse(uri).unwrap();
        let validity = Validity {
            not_before,
            not_after,
        };
        let issued = self.authority.issue_for(&identity, &[], validity).unwrap();
        (issued.cert_pem, issued.key_pem)
    }

    /// A certificate with these URIs, which may be none, and this common name.
    pub(super) fn leaf(&self, uris: &[&str], common_name: Option<&str>) -> Pem {
        let mut params = CertificateParams::default();
        let domain = self.authority.domain();
        let member = format!("member.{domain}.quorate.internal");
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names = uris
            .chain([SanType::DnsName(member.try_into().unwrap())])
            .collect();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let key = KeyPair::generate().unwrap();
        let issuer = self.authority.issuer();
        let certificate = params.signed_by(&key, issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a member's files.
    pub(super) fn write(&self, name: &str, cert: &str, key: &str) -> MemberTlsFiles {
        let path = |end: &str| self.dir.path().join(format!("{name}.{end}"));
        fs::write(path("pem"), cert).unwrap();
        write_key(&path("key"), key);
        MemberTlsFiles {
            pair: CertificateFiles {
                cert: path("pem"),
                key: path("key"),
            },
            ca: self.ca(),
            crl: None,
        }
    }

    pub(super) fn files(&self, name: &str) -> MemberTlsFiles {
        let domain = self.authority.domain();
        let (cert, key) = self.issue(&format!("quorate://{domain}/member-name/{name}"));
        self.write(name, &cert, &key)
    }

    pub(super) fn member(&self, name: &str) -> Arc<MemberTls> {
        MemberTls::load(self.files(name), name).unwrap()
    }

    /// A member of another domain, by the same authority.
    pub(super) fn in_domain(&self, domain: &str, name: &str) -> Arc<MemberTls> {
        let uri = format!("quorate://{domain}/member-name/{name}");
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        let member = format!("member.{domain}.quorate.internal");
        params.subject_alt_names = vec![
            SanType::URI(uri.try_into().unwrap()),
            SanType::DnsName(member.try_into().unwrap()),
        ];
        let cert = params.signed_by(&key, self.authority.issuer()).unwrap();
        let files = self.write("elsewhere", &cert.pem(), &key.serialize_pem());
        MemberTls::load(files, name).unwrap()
    }

    /// A connector with any certificate, fit or not.
    pub(super) fn connector_of(&self, pem: &Pem) -> MemberConnector {
        let (chain, key) = pair(pem);
        let provider = crate::crypto_provider();
        let certified = rustls::sign::CertifiedKey::from_der(chain, key, &provider).unwrap();
        let pair = crate::CertificatePair {
            validity: Validity::from_certificate(&certified.cert[0]).unwrap(),
            certified_key: Arc::new(certified),
            digest: [0; 32],
        };
        MemberConnector::new(self.authority.domain(), &self.roots(), &pair).unwrap()
    }
}

pub(super) fn write_key(path: &Path, key: &str) {
    fs::write(path, key).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Both sides of a handshake. A server that refuses is seen by the server alone: the client has
/// finished by then.
pub(super) async fn meet(
    acceptor: &TlsAcceptor,
    connector: &MemberConnector,
    expected: &ExpectedMember,
) -> (Option<FaceStream>, io::Result<TlsStream<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let (accepted, from) = listener.accept().await.unwrap();
    tokio::join!(
        acceptor.accept(accepted, from),
        connector.handshake(tcp, expected)
    )
}
