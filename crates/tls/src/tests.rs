//! Handshakes between real sockets, with certificates made for each test.

mod pki;
mod reloads;
mod revocations;

use std::{io, sync::Arc, time::Duration};

use pki::{TestPki, days, meet, pair};
use quorate_clock::Instant;
use rustls::{ClientConfig, HandshakeKind, client::Resumption, version::TLS12};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{ExpectedMember, FaceListener, HANDSHAKES_MAX, MemberTls, TlsError, identity};

fn expect(id: u64, name: &str) -> ExpectedMember {
    ExpectedMember {
        id,
        name: Some(name.to_owned()),
    }
}

#[tokio::test]
async fn members_of_one_domain_meet() {
    let pki = TestPki::new("shop");
    let (a, b) = (pki.member("a"), pki.member("b"));
    let (server, client) = meet(&b.peer_acceptor(), &a.connector(), &expect(2, "b")).await;
    let (server, mut client) = (server.unwrap(), client.unwrap());
    let shown = server.client_certificate().unwrap();
    let identity = shown.identity.as_ref().unwrap().uri();
    assert_eq!(identity, "quorate://shop/member-name/a");
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    drop(server);
    // No ticket and nothing else is sent before the server speaks.
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

// Test 5 in part: the dialler too knows whom it wants.
#[tokio::test]
async fn another_member_at_the_address_is_refused() {
    let pki = TestPki::new("shop");
    let (a, b) = (pki.member("a"), pki.member("b"));
    let (_, client) = meet(&b.peer_acceptor(), &a.connector(), &expect(3, "c")).await;
    let error = client.unwrap_err().to_string();
    assert!(
        error.contains("member-name/b") && error.contains("(c)"),
        "{error}"
    );
    // Where it has never been heard of, it is a member.
    let unknown = ExpectedMember::default();
    let (_, client) = meet(&b.peer_acceptor(), &a.connector(), &unknown).await;
    client.unwrap();
}

// Test 3 in part, and 4: the same subject and another key, the same key and another domain.
#[tokio::test]
async fn strangers_are_refused_on_both_sides() {
    let ours = TestPki::new("shop");
    let server = ours.member("b");
    let same_subject = TestPki::new("shop").member("a");
    let both = [&same_subject, &ours.in_domain("bank", "a")];
    for stranger in both {
        let (accepted, _) = meet(
            &server.peer_acceptor(),
            &stranger.connector(),
            &expect(2, "b"),
        )
        .await;
        assert!(accepted.is_none());
        let (_, client) = meet(
            &stranger.peer_acceptor(),
            &server.connector(),
            &expect(1, "a"),
        )
        .await;
        client.unwrap_err();
    }
}

// Tests 1 and 2 in part: the listener refuses, and so does the member itself.
#[tokio::test]
async fn certificates_out_of_time_are_refused() {
    let pki = TestPki::new("shop");
    let server = pki.member("b");
    for (from, to) in [(days(-20), days(-1)), (days(1), days(20))] {
        let pair = pki.pair_between("quorate://shop/member-name/a", from, to);
        let connector = pki.connector_of(&pair);
        let (accepted, _) = meet(&server.peer_acceptor(), &connector, &expect(2, "b")).await;
        assert!(accepted.is_none());
        let files = pki.write("late", &pair.0, &pair.1);
        let error = MemberTls::load(files, "a").unwrap_err();
        let told = error.to_string();
        assert!(told.contains("this host's clock says"), "{told}");
        assert!(matches!(
            error,
            TlsError::Expired { .. } | TlsError::NotYetValid { .. }
        ));
    }
}

// Tests 6, 7 and 9: a client, a balancer, a common name alone, two names, no certificate at all.
// guarantee: SECURITY-9
#[tokio::test]
async fn only_members_get_through_the_peer_port() {
    let pki = TestPki::new("shop");
    let server = pki.member("b");
    let unfit = [
        pki.leaf(&["quorate://shop/client/a"], None),
        pki.leaf(&["quorate://shop/balancer/a"], None),
        pki.leaf(&[], Some("quorate://shop/member-name/a")),
        pki.leaf(
            &[
                "quorate://shop/member-name/a",
                "quorate://shop/member-name/c",
            ],
            None,
        ),
        pki.leaf(&["quorate://shop/member-name/*"], None),
    ];
    for pair in &unfit {
        let connector = pki.connector_of(pair);
        let (accepted, _) = meet(&server.peer_acceptor(), &connector, &expect(2, "b")).await;
        assert!(accepted.is_none());
        let files = pki.write("unfit", &pair.0, &pair.1);
        assert!(MemberTls::load(files, "a").is_err());
    }
    let bare = bare_client(&pki, &[&rustls::version::TLS13]);
    let (accepted, _) = dial(&server, bare).await;
    assert!(accepted.is_none());
}

fn bare_client(
    pki: &TestPki,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(crate::crypto_provider());
    let builder = builder.with_protocol_versions(versions).unwrap();
    builder
        .with_root_certificates(pki.roots().roots)
        .with_no_client_auth()
}

/// Dials a peer port by a configuration of the test's own.
async fn dial(
    server: &MemberTls,
    config: ClientConfig,
) -> (
    Option<crate::FaceStream>,
    io::Result<tokio_rustls::client::TlsStream<TcpStream>>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (accepted, from) = listener.accept().await.unwrap();
    let acceptor = server.peer_acceptor();
    let name = identity::any_member("shop").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    tokio::join!(
        acceptor.accept(accepted, from),
        connector.connect(name, tcp)
    )
}

// Tests 14, 15 and 16: no resumption, no older version, no early data.
#[tokio::test]
async fn peer_port_takes_full_handshakes_of_tls13_alone() {
    let pki = TestPki::new("shop");
    let server = pki.member("b");
    let (accepted, _) = dial(&server, bare_client(&pki, &[&TLS12])).await;
    assert!(accepted.is_none());

    let (certs, key) = pair(&pki.issue("quorate://shop/member-name/a"));
    let mut config = ClientConfig::builder_with_provider(crate::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(pki.roots().roots)
        .with_client_auth_cert(certs, key)
        .unwrap();
    config.enable_early_data = true;
    config.resumption = Resumption::in_memory_sessions(16);
    for _ in 0..3 {
        let (accepted, client) = dial(&server, config.clone()).await;
        let mut client = client.unwrap();
        assert!(!client.get_ref().1.is_early_data_accepted());
        let mut accepted = accepted.unwrap();
        accepted.write_all(b"x").await.unwrap();
        accepted.flush().await.unwrap();
        client.read_u8().await.unwrap();
        assert_eq!(
            client.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Full)
        );
    }
}

// Test 15 in part: a port with TLS never answers in plain.
#[tokio::test]
async fn plain_callers_get_nothing_behind_tls() {
    let pki = TestPki::new("shop");
    let server = pki.member("b");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut face = FaceListener::new(listener, Some(server.peer_acceptor()));
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    tokio::select! {
        _ = face.accept() => panic!("a plain caller came through"),
        read = plain.read_to_end(&mut answer) => drop(read),
    }
    // A record of TLS, an alert, is all that comes.
    assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
}

// Test 17: stalled handshakes are cut, and hold up nobody, however many they are.
#[tokio::test]
async fn stalled_handshakes_hold_up_nobody() {
    let pki = TestPki::new("shop");
    let (a, b) = (pki.member("a"), pki.member("b"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut face = FaceListener::new(listener, Some(b.peer_acceptor()));
    let accepted = tokio::spawn(async move {
        let first = face.accept().await;
        // Goes on accepting.
        tokio::spawn(async move { while face.accept().await.is_ok() {} });
        first
    });
    let began = Instant::now();
    let mut stalled = Vec::new();
    for _ in 0..HANDSHAKES_MAX + 100 {
        stalled.push(TcpStream::connect(address).await.unwrap());
    }
    let tcp = TcpStream::connect(address).await.unwrap();
    let connected = Instant::now();
    let connector = a.connector();
    let client = connector.handshake(tcp, &expect(2, "b")).await;
    client.unwrap();
    assert!(
        connected.elapsed() < Duration::from_secs(2),
        "{:?}",
        connected.elapsed()
    );
    assert!(accepted.await.unwrap().unwrap().0.is_tls());
    // All are cut: the oldest for room, the others by time.
    for mut stalled in stalled {
        let mut rest = Vec::new();
        let over = timeout(Duration::from_secs(10), stalled.read_to_end(&mut rest)).await;
        let _ = over.expect("cut off");
    }
    assert!(began.elapsed() < Duration::from_secs(20));
}
