//! TLS to the broker: RabbitMQ's, and each way in which it can be wrong.

use std::{io::Read, net::TcpListener, sync::Arc};

use quorate_resources::Kind;
use quorate_supervisor::ConnectorState;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

use super::world::*;

/// An authority, and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Authority { issuer, pem }
    }

    /// A certificate for these names, and its key.
    fn sign(&self, names: &[&str], alter: fn(&mut CertificateParams)) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        alter(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn over_tls(port: u16, ca: &str) -> Value {
    let mut connection = connection(port);
    connection["tls"] = json!(true);
    connection["tls_ca"] = json!(ca);
    connection
}

/// Answers each connection with a handshake under this certificate.
fn handshaker((certificate, key): (String, String)) -> u16 {
    let chain = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut server = rustls::ServerConnection::new(Arc::new(config.clone())).unwrap();
            let mut tls = rustls::Stream::new(&mut server, &mut stream);
            let _ = tls.read(&mut [0; 64]);
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_works_and_each_misconfiguration_names_remedy() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign(&["127.0.0.1"], |_| {});
    let broker = RabbitBroker::start_tls(&certificate, &key).await;
    let queue = unique("tls");
    let client = broker.client().await;
    client.declare(&queue).await;
    let group = group_with_channel(&broker, &queue);
    group.put(
        Kind::AmqpConnection,
        over_tls(broker.tls_port(), &authority.pem),
    );
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    let active = member.active(&queue).await;
    client.publish(&queue, bodies(100)).await;
    member
        .when(&queue, "all handled", |status| status.counts.handled == 100)
        .await;

    let wrong = async |connection: Value, told: &str| {
        group.put(Kind::AmqpConnection, connection);
        member
            .when(&queue, told, |status| {
                status.state == ConnectorState::Failed
                    && status
                        .last_error
                        .as_deref()
                        .is_some_and(|it| it.contains(told))
            })
            .await;
    };
    let right = || over_tls(broker.tls_port(), &authority.pem);

    // Plain where TLS is spoken, and TLS where it is not.
    wrong(connection(broker.tls_port()), "wants `tls: true`").await;
    wrong(
        over_tls(broker.port(), &authority.pem),
        "its port for TLS is usually 5671",
    )
    .await;
    // Another authority.
    wrong(
        over_tls(broker.tls_port(), &Authority::new().pem),
        "must be signed by an authority in `tls_ca`",
    )
    .await;
    let mut systems = right();
    systems.as_object_mut().unwrap().remove("tls_ca");
    wrong(systems, "tls_ca`").await;
    // Another name.
    let mut named = right();
    named["host"] = json!("localhost");
    wrong(named, "is not for the name \"localhost\"").await;
    // Another time.
    let expired = authority.sign(&["127.0.0.1"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    wrong(over_tls(handshaker(expired), &authority.pem), "has expired").await;
    let early = authority.sign(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2200, 1, 1);
        params.not_after = rcgen::date_time_ymd(2201, 1, 1);
    });
    wrong(
        over_tls(handshaker(early), &authority.pem),
        "is not valid yet",
    )
    .await;
    // A port that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    wrong(
        over_tls(silent.local_addr().unwrap().port(), &authority.pem),
        "no answer to the TLS handshake",
    )
    .await;

    group.put(Kind::AmqpConnection, right());
    let again = member.active(&queue).await;
    assert_eq!((again.pid, again.last_error), (active.pid, None));
    client.publish(&queue, bodies(1)).await;
    member
        .when(&queue, "handled", |status| status.counts.handled == 101)
        .await;
}
