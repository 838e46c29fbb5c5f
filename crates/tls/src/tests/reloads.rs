//! Files that change while they are in use. Test 18.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    sync::Arc,
};

use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;

use super::{
    expect,
    pki::{TestPki, days, meet, write_key},
};
use crate::{
    CertificateFiles, MemberTls, MemberTlsFiles, ReloadOutcome, Reloadable, ReloadedCertificate,
    ServerProfile, TlsError, TrustFile, keep_reloaded,
};

/// The certificate that a member's peer port shows.
async fn shown(pki: &TestPki, server: &MemberTls) -> CertificateDer<'static> {
    let client = pki.connector_of(&pki.issue("quorate://shop/member-name/z"));
    let (_, stream) = meet(&server.peer_acceptor(), &client, &expect(2, "b")).await;
    let stream = stream.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

// guarantee: SECURITY-11
#[tokio::test]
async fn bad_files_leave_the_old_pair_in_use() {
    let pki = TestPki::new("shop");
    let files = pki.files("b");
    let CertificateFiles { cert, key } = files.pair.clone();
    let tls = MemberTls::load(files, "b").unwrap();
    let first = shown(&pki, &tls).await;
    let (good_cert, good_key) = (fs::read(&cert).unwrap(), fs::read(&key).unwrap());
    let other = pki.issue("quorate://shop/member-name/b");
    let elsewhere = TestPki::new("shop").issue("quorate://shop/member-name/b");
    let renamed = pki.issue("quorate://shop/member-name/c");
    let expired = pki.pair_between("quorate://shop/member-name/b", days(-9), days(-1));

    let put = |cert_text: &[u8], key_text: &[u8]| {
        fs::write(&cert, cert_text).unwrap();
        fs::write(&key, key_text).unwrap();
    };
    type IsRight = fn(&TlsError) -> bool;
    let cases: [(&[u8], &[u8], IsRight); 8] = [
        (&good_cert, other.1.as_bytes(), |e| {
            matches!(e, TlsError::Mismatch { .. })
        }),
        (other.0.as_bytes(), &good_key, |e| {
            matches!(e, TlsError::Mismatch { .. })
        }),
        (&good_cert[..good_cert.len() / 2], &good_key, |e| {
            matches!(
                e,
                TlsError::Malformed { .. } | TlsError::NoCertificate { .. }
            )
        }),
        (b"", &good_key, |e| {
            matches!(e, TlsError::NoCertificate { .. })
        }),
        (&good_cert, b"", |e| matches!(e, TlsError::NoKey { .. })),
        (elsewhere.0.as_bytes(), elsewhere.1.as_bytes(), |e| {
            matches!(e, TlsError::NotTrusted { .. })
        }),
        (renamed.0.as_bytes(), renamed.1.as_bytes(), |e| {
            matches!(e, TlsError::OtherIdentity { .. })
        }),
        (expired.0.as_bytes(), expired.1.as_bytes(), |e| {
            matches!(e, TlsError::Expired { .. })
        }),
    ];
    for (cert_text, key_text, is_right) in cases {
        put(cert_text, key_text);
        let error = tls.reload().unwrap_err();
        assert!(is_right(&error), "{error:?}");
        let told = error.to_string();
        let named = [&cert, &key]
            .iter()
            .any(|path| told.contains(&*path.to_string_lossy()));
        assert!(named, "{told}");
        assert_eq!(shown(&pki, &tls).await, first);
    }
    put(&good_cert, &good_key);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = tls.reload().unwrap_err();
    assert!(
        matches!(error, TlsError::Exposed { mode: 0o644, .. }),
        "{error:?}"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(tls.reload().unwrap(), ReloadOutcome::Unchanged);
    put(other.0.as_bytes(), other.1.as_bytes());
    assert_eq!(tls.reload().unwrap(), ReloadOutcome::Reloaded);
    assert_ne!(shown(&pki, &tls).await, first);
}

/// As Kubernetes changes a mounted folder: a link is turned.
#[tokio::test]
async fn turned_link_is_followed() {
    let pki = TestPki::new("shop");
    let root = pki.dir.path();
    for folder in ["one", "two"] {
        let (cert, key) = pki.issue("quorate://shop/member-name/b");
        fs::create_dir(root.join(folder)).unwrap();
        fs::write(root.join(folder).join("tls.crt"), cert).unwrap();
        write_key(&root.join(folder).join("tls.key"), &key);
    }
    let link = root.join("now");
    symlink("one", &link).unwrap();
    let files = MemberTlsFiles {
        pair: CertificateFiles {
            cert: link.join("tls.crt"),
            key: link.join("tls.key"),
        },
        ca: pki.ca(),
        crl: None,
    };
    let tls = MemberTls::load(files, "b").unwrap();
    let first = shown(&pki, &tls).await;
    symlink("two", root.join("next")).unwrap();
    fs::rename(root.join("next"), &link).unwrap();
    assert_eq!(tls.reload().unwrap(), ReloadOutcome::Reloaded);
    assert_ne!(shown(&pki, &tls).await, first);
}

/// Two authorities in one file while one replaces the other; then the old one's members are out.
#[tokio::test]
async fn authority_is_replaced_by_way_of_both() {
    let (old, new) = (TestPki::new("shop"), TestPki::new("shop"));
    let tls = MemberTls::load(old.files("b"), "b").unwrap();
    let newcomer = MemberTls::load(new.files("a"), "a").unwrap();
    let accepts = async |tls: &MemberTls, caller: &MemberTls| {
        let (server, _) = meet(&tls.peer_acceptor(), &caller.connector(), &expect(2, "b")).await;
        server.is_some()
    };
    let bundle = |pkis: &[&TestPki]| {
        let pem: String = pkis.iter().map(|pki| pki.authority.cert_pem()).collect();
        for pki in [&old, &new] {
            fs::write(pki.ca().0, &pem).unwrap();
        }
    };
    assert!(!accepts(&tls, &newcomer).await);
    bundle(&[&old, &new]);
    for member in [&tls, &newcomer] {
        assert_eq!(member.reload().unwrap(), ReloadOutcome::Reloaded);
    }
    assert!(accepts(&tls, &newcomer).await);
    assert!(accepts(&newcomer, &tls).await);
    // The old one goes, before the member has a certificate of the new one: refused.
    bundle(&[&new]);
    let error = tls.reload().unwrap_err();
    assert!(matches!(error, TlsError::NotTrusted { .. }), "{error:?}");
}

#[tokio::test]
async fn word_to_reload_is_followed_at_once() {
    let pki = TestPki::new("shop");
    let files = pki.files("b").pair;
    let certificate =
        ReloadedCertificate::load("http", files.clone(), ServerProfile::Http).unwrap();
    let certificate = Arc::new(certificate);
    let before = certificate.expiries();
    let (asked, asking) = mpsc::channel(1);
    let parts: Vec<Arc<dyn Reloadable>> = vec![certificate.clone()];
    let task = tokio::spawn(keep_reloaded(parts, asking));
    let uri = "quorate://shop/member-name/b";
    let (cert, key) = pki.pair_between(uri, days(-1), days(200));
    fs::write(&files.cert, cert).unwrap();
    write_key(&files.key, &key);
    asked.send(()).await.unwrap();
    while certificate.expiries() == before {
        tokio::task::yield_now().await;
    }
    // A program that never asks is no reason to end.
    drop(asked);
    tokio::task::yield_now().await;
    assert!(!task.is_finished());
    task.abort();
}

#[test]
fn trust_without_certificates_is_refused() {
    let pki = TestPki::new("shop");
    let empty = TrustFile(pki.dir.path().join("empty.pem"));
    fs::write(&empty.0, "# nothing\n").unwrap();
    assert!(matches!(empty.load(), Err(TlsError::NoCertificate { .. })));
    let absent = TrustFile(pki.dir.path().join("absent.pem"));
    assert!(matches!(absent.load(), Err(TlsError::Unreadable { .. })));
    assert_eq!(pki.roots().domain().as_deref(), Some("shop"));
}
