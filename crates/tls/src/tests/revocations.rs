//! Certificates that are revoked, and authorities that go, while connections are open.

use std::{fs, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{
    expect,
    pki::{TestPki, meet},
};
use crate::{
    ClosableStream, FaceListener, FaceStream, MemberTls, ReloadOutcome, Reloadable, RevocationFile,
    TlsError,
};

const SOON: Duration = Duration::from_secs(10);

type Dialled = ClosableStream<tokio_rustls::client::TlsStream<TcpStream>>;

/// Both ends of a connection from one member to another, as a channel makes it.
async fn connect(from: &MemberTls, to: &MemberTls, name: &str) -> (FaceStream, Dialled) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut face = FaceListener::new(listener, Some(to.peer_acceptor()));
    let tcp = TcpStream::connect(address).await.unwrap();
    let (connector, expected) = (from.connector(), expect(2, name));
    let (accepted, dialled) = tokio::join!(face.accept(), connector.connect(tcp, &expected));
    (accepted.unwrap().0, dialled.unwrap())
}

/// Sends a byte from one end to the other.
async fn passes(
    from: &mut (impl tokio::io::AsyncWrite + Unpin),
    to: &mut (impl tokio::io::AsyncRead + Unpin),
) {
    from.write_all(b"x").await.unwrap();
    from.flush().await.unwrap();
    let read = timeout(SOON, to.read_u8()).await.unwrap();
    assert_eq!(read.unwrap(), b'x');
}

/// Whether a reader is woken by an error.
async fn is_closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> bool {
    let read = timeout(SOON, stream.read_u8()).await;
    read.expect("a reader is woken").is_err()
}

// Tests 12 and 13 in part: open connections of a revoked certificate end on both sides, others
// stay, and no new one comes about.
// guarantee: SECURITY-12
#[tokio::test]
async fn revoked_certificate_is_out_at_once() {
    let pki = TestPki::new("shop");
    let mut files = pki.files("b");
    let list = pki.dir.path().join("crl.pem");
    let nobody = pki.issue("quorate://shop/member-name/x").0;
    let revoke = |certificate: &str| {
        let before = fs::read_to_string(&list).ok();
        let next = pki.authority.revoke(before.as_deref(), certificate);
        fs::write(&list, next.unwrap()).unwrap();
    };
    revoke(&nobody);
    files.crl = Some(RevocationFile(list.clone()));
    let b = MemberTls::load(files, "b").unwrap();
    let (a, c) = (pki.member("a"), pki.member("c"));
    let (mut from_a, mut a_end) = connect(&a, &b, "b").await;
    let (mut at_a, mut to_a) = connect(&b, &a, "a").await;
    let (mut from_c, mut c_end) = connect(&c, &b, "b").await;
    passes(&mut a_end, &mut from_a).await;
    passes(&mut to_a, &mut at_a).await;

    revoke(&fs::read_to_string(pki.dir.path().join("a.pem")).unwrap());
    assert_eq!(b.reload().unwrap(), ReloadOutcome::Reloaded);
    assert!(is_closed(&mut from_a).await && is_closed(&mut to_a).await);
    passes(&mut c_end, &mut from_c).await;
    passes(&mut from_c, &mut c_end).await;
    let (accepted, _) = meet(&b.peer_acceptor(), &a.connector(), &expect(2, "b")).await;
    assert!(accepted.is_none());
    let (_, dialled) = meet(&a.peer_acceptor(), &b.connector(), &expect(1, "a")).await;
    let error = dialled.unwrap_err().to_string();
    assert!(error.contains("evoked"), "{error}");
    let (accepted, _) = meet(&b.peer_acceptor(), &c.connector(), &expect(2, "b")).await;
    assert!(accepted.is_some());
}

// Test 12 in part: when an authority goes, its live connections go with it.
// guarantee: SECURITY-12
#[tokio::test]
async fn authority_that_goes_takes_connections_along() {
    let (old, new) = (TestPki::new("shop"), TestPki::new("shop"));
    let both: String = [&old, &new].map(|pki| pki.authority.cert_pem()).concat();
    fs::write(old.ca().0, &both).unwrap();
    fs::write(new.ca().0, &both).unwrap();
    let (a, b, c) = (old.member("a"), new.member("b"), new.member("c"));
    let (mut from_a, mut a_end) = connect(&a, &b, "b").await;
    let (mut from_c, mut c_end) = connect(&c, &b, "b").await;
    passes(&mut a_end, &mut from_a).await;
    fs::write(new.ca().0, new.authority.cert_pem()).unwrap();
    assert_eq!(b.reload().unwrap(), ReloadOutcome::Reloaded);
    assert!(is_closed(&mut from_a).await);
    passes(&mut c_end, &mut from_c).await;
}

#[tokio::test]
async fn bad_revocation_lists_are_refused_by_name() {
    let pki = TestPki::new("shop");
    let mut files = pki.files("b");
    let list = pki.dir.path().join("crl.pem");
    files.crl = Some(RevocationFile(list.clone()));
    let load = || MemberTls::load(files.clone(), "b").unwrap_err();
    assert!(matches!(load(), TlsError::Unreadable { .. }));
    fs::write(&list, "# nothing\n").unwrap();
    assert!(matches!(load(), TlsError::NoRevocationList { .. }));
    let garbage = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    fs::write(&list, garbage).unwrap();
    let error = load();
    assert!(matches!(error, TlsError::Malformed { .. }), "{error:?}");
    assert!(error.to_string().contains("crl.pem"), "{error}");
    // A list of its own certificate is not taken in use: it would be out.
    let own = fs::read_to_string(&files.pair.cert).unwrap();
    fs::write(&list, pki.authority.revoke(None, &own).unwrap()).unwrap();
    let error = load();
    assert!(matches!(error, TlsError::NotTrusted { .. }), "{error:?}");
}

#[test]
fn list_grows_and_takes_own_certificates_alone() {
    let pki = TestPki::new("shop");
    let one = pki.issue("quorate://shop/client/ann").0;
    let two = pki.issue("quorate://shop/client/bob").0;
    let first = pki.authority.revoke(None, &one).unwrap();
    let second = pki.authority.revoke(Some(&first), &two).unwrap();
    let again = pki.authority.revoke(Some(&second), &one).unwrap();
    let count = |list: &str| {
        use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject};
        let der = CertificateRevocationListDer::from_pem_slice(list.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_crl(&der).unwrap();
        parsed.iter_revoked_certificates().count()
    };
    assert_eq!((count(&first), count(&second), count(&again)), (1, 2, 2));
    let other = TestPki::new("bank").issue("quorate://bank/client/ann").0;
    assert!(pki.authority.revoke(None, &other).is_err());
    assert!(pki.authority.revoke(Some("nothing"), &one).is_err());
}
