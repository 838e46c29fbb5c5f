//! Against real HTTP servers, which count what arrives.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, StatusCode};
use quorate_clock::Instant;
use quorate_platform::egress::EgressPolicy;
use quorate_resources::{OneOrMany, UpstreamTls};

use super::*;
use crate::{
    api::Reply,
    invoke,
    testing::{
        message, request,
        upstream::{TestUpstream as Server, UpstreamBehavior, nobody, ok},
    },
};

mod access;
mod signing;

fn resource(urls: &[String]) -> Service {
    Service {
        name: "s".into(),
        upstream: Some(OneOrMany::Many(urls.to_vec())),
        builtin: None,
        timeout_ms: 10_000,
        retries: 0,
        host: HostHeader::Upstream,
        sign: None,
        tls: None,
        auth: None,
        auth_secret: None,
    }
}

fn service(urls: &[String]) -> HttpUpstream {
    HttpUpstream::new(
        &resource(urls),
        &Catalog::default(),
        &UpstreamClients::new(EgressPolicy::default()),
    )
}

/// Calls it for someone who takes no stream.
async fn called(upstream: &HttpUpstream, request: Request) -> Result<Reply, ServiceError> {
    let timeout = request.remaining();
    let answer = upstream
        .call(&request, &StreamOptions::default(), timeout)
        .await?;
    let answer = invoke::whole(answer, &request).await?;
    let ServiceAnswerBody::Whole(body) = answer.body else {
        panic!("a stream")
    };
    Ok(Reply {
        status: answer.status,
        headers: answer.headers,
        body,
    })
}

fn call(method: Method) -> Request {
    let mut request = request(Origin::Http(Some("c".into())));
    request.method = method;
    request
}

#[tokio::test]
async fn call_and_answer_arrive_unchanged() {
    let answer = "HTTP/1.1 418 T\r\nx-a: 1\r\nx-a: 2\r\nconnection: x-hop\r\nx-hop: 1\r\n\
                  keep-alive: 5\r\nx-zato-cid: theirs\r\ncontent-length: 3\r\n\r\nabc";
    let server = Server::start("a", UpstreamBehavior::Answers(answer.into())).await;
    let service = service(&[server.url("/base/{id}?own=1")]);
    let mut sent = call(Method::PUT);
    sent.params.insert("id".into(), "4/2".into());
    sent.query = Some("q=%20x".into());
    for (name, value) in [
        ("x-mine", "1"),
        ("host", "evil"),
        ("connection", "x-drop"),
        ("x-drop", "1"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("content-length", "999"),
        ("x-zato-cid", "wrong"),
    ] {
        sent.headers.insert(name, HeaderValue::from_static(value));
    }
    let reply = called(&service, sent).await.unwrap();
    assert_eq!(reply.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(reply.body, "abc");
    assert_eq!(reply.headers.get_all("x-a").iter().count(), 2);
    for gone in [
        "connection",
        "keep-alive",
        "x-hop",
        "x-zato-cid",
        "content-length",
    ] {
        assert!(!reply.headers.contains_key(gone), "{gone}");
    }
    let arrived = server.last().to_ascii_lowercase();
    assert!(
        arrived.starts_with("put /base/4%2f2?own=1&q=%20x http/1.1\r\n"),
        "{arrived}"
    );
    assert!(arrived.ends_with("\r\n\r\nhello"), "{arrived}");
    assert!(
        arrived.contains(&format!("host: {}", server.address)),
        "{arrived}"
    );
    assert!(
        arrived.contains("x-zato-cid: k000000000000000000000000000000000000007"),
        "{arrived}"
    );
    assert!(
        arrived.contains("x-mine: 1") && arrived.contains("content-length: 5"),
        "{arrived}"
    );
    for gone in ["x-drop", "te:", "evil", "wrong", "chunked", "accept"] {
        assert!(!arrived.contains(gone), "{gone}: {arrived}");
    }
}

#[tokio::test]
async fn urls_take_turns_and_connections_are_kept() {
    let (a, b) = (
        Server::start("a", UpstreamBehavior::SaysItsName).await,
        Server::start("b", UpstreamBehavior::SaysItsName).await,
    );
    let service = service(&[a.url("/"), b.url("/")]);
    for _ in 0..20 {
        called(&service, call(Method::POST)).await.unwrap();
    }
    assert_eq!((a.count(), b.count()), (10, 10));
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[tokio::test]
async fn dead_url_costs_no_call() {
    let server = Server::start("a", UpstreamBehavior::SaysItsName).await;
    let service = service(&[format!("http://{}/", nobody().await), server.url("/")]);
    for _ in 0..20 {
        let reply = called(&service, call(Method::POST)).await.unwrap();
        assert_eq!(reply.body, "a");
    }
    assert_eq!(server.count(), 20);
}

#[tokio::test]
async fn when_no_url_can_be_reached_nothing_ran() {
    let service = service(&[
        format!("http://{}/", nobody().await),
        format!("http://{}/", nobody().await),
    ]);
    let error = called(&service, call(Method::POST)).await.unwrap_err();
    assert!(
        matches!(&error, ServiceError::NotRun(why) if why.matches("refused").count() == 2),
        "{error:?}"
    );
}

// guarantee: HTTP-2
#[tokio::test]
async fn possibly_run_request_is_resent_only_if_idempotent() {
    for (method, arrivals) in [
        (Method::POST, 1),
        (Method::PATCH, 1),
        (Method::GET, 2),
        (Method::PUT, 2),
        (Method::DELETE, 2),
    ] {
        let (a, b) = (
            Server::start("a", UpstreamBehavior::HangsUp).await,
            Server::start("b", UpstreamBehavior::HangsUp).await,
        );
        let service = service(&[a.url("/"), b.url("/")]);
        let error = called(&service, call(method.clone())).await.unwrap_err();
        assert!(
            matches!(error, ServiceError::Failed(_)),
            "{method} {error:?}"
        );
        assert_eq!(a.count() + b.count(), arrivals, "{method}");
    }
}

// guarantee: HTTP-4
#[tokio::test]
async fn one_url_that_breaks_off_is_asked_once() {
    let server = Server::start("a", UpstreamBehavior::SaysItsName).await;
    let service = service(&[server.url("/")]);
    called(&service, call(Method::GET)).await.unwrap();
    server.now(UpstreamBehavior::HangsUp);
    // On the connection that is there, and on one of its own.
    for count in [2, 3] {
        let error = called(&service, call(Method::GET)).await.unwrap_err();
        assert!(matches!(error, ServiceError::Failed(_)), "{error:?}");
        assert_eq!(server.count(), count);
    }
    server.now(UpstreamBehavior::Answers(
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nhalf".into(),
    ));
    let mut soon = call(Method::GET);
    soon.deadline = Instant::now() + Duration::from_millis(200);
    assert!(called(&service, soon).await.is_err());
    assert_eq!(server.count(), 4, "half an answer is asked for once too");
    server.now(UpstreamBehavior::SaysItsName);
    assert!(called(&service, call(Method::GET)).await.is_ok());
}

/// Answers a request on each connection, and closes it after a while without a word.
fn hasty(after: Duration) -> (String, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, seen) = (stream.unwrap(), seen.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                if stream.read(&mut buffer).is_ok_and(|n| n > 0) {
                    seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    stream.write_all(&ok("hasty")).unwrap();
                    std::thread::sleep(after);
                }
            });
        }
    });
    (url, count)
}

// guarantee: HTTP-4
#[tokio::test]
async fn post_survives_connection_closed_while_idle() {
    let (url, count) = hasty(Duration::from_millis(20));
    let service = service(&[url]);
    for n in 1..=10 {
        let reply = called(&service, call(Method::POST)).await.unwrap();
        assert_eq!(reply.body, "hasty");
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), n);
        // The runtime stands still, and does not hear that the connection is closed.
        std::thread::sleep(Duration::from_millis(60));
    }
}

#[tokio::test]
async fn closing_listener_is_asked_once_per_call() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
            seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    });
    let service = service(&[url]);
    for n in 1..=20 {
        assert!(called(&service, call(Method::POST)).await.is_err());
        let connections = count.load(std::sync::atomic::Ordering::SeqCst);
        assert!(connections <= n, "{connections} connections for {n} calls");
    }
}

#[tokio::test]
async fn early_answer_counts() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(
                b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbig!",
            );
        }
    });
    let service = service(&[url]);
    for _ in 0..20 {
        let mut large = call(Method::POST);
        large.body = vec![b'x'; 9 << 20].into();
        let reply = called(&service, large).await.unwrap();
        assert_eq!(
            (reply.status.as_u16(), &reply.body[..]),
            (413, &b"big!"[..])
        );
    }
}

#[tokio::test]
async fn answers_with_many_headers_are_taken() {
    let server = Server::start("a", UpstreamBehavior::SaysItsName).await;
    let service = service(&[server.url("/")]);
    for count in [99, 110, 300, 500] {
        let headers: String = (0..count).map(|n| format!("x-{n}: 1\r\n")).collect();
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n");
        server.now(UpstreamBehavior::Answers(answer.into()));
        let reply = called(&service, call(Method::GET)).await.unwrap();
        assert_eq!(reply.headers.len(), count);
    }
}

/// With this status and headers, and a body that can't be had.
fn bottomless(head: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\ncontent-length: 1000000000\r\n\r\nand so on").into()
}

// guarantee: HTTP-8
#[tokio::test]
async fn message_is_handled_once_service_reports_success() {
    let server = Server::start("a", UpstreamBehavior::SaysItsName).await;
    let service = service(&[server.url("/")]);
    let within = async |kind: &str| {
        let mut request = message(1);
        if let Origin::Message(message) = &mut request.origin {
            message.kind = kind.into();
        }
        request.deadline = Instant::now() + Duration::from_millis(300);
        called(&service, request).await
    };
    for head in ["200 OK", "202 Accepted\r\nx-a: 1"] {
        server.now(UpstreamBehavior::Answers(bottomless(head)));
        for kind in ["amqp_channel", "zmq_channel"] {
            let reply = within(kind).await.unwrap();
            assert!(reply.status.is_success(), "{kind} {head}");
        }
    }
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    server.now(UpstreamBehavior::Answers(half.into()));
    assert!(within("amqp_channel").await.is_ok());

    // What is to be sent on has to be there whole.
    server.now(UpstreamBehavior::Answers(bottomless(
        "200 OK\r\nquorate-send: amqp_outgoing/a",
    )));
    assert!(within("amqp_channel").await.is_err());
    // Of a refusal only the beginning is told.
    server.now(UpstreamBehavior::Answers(bottomless("500 Oops")));
    let reply = within("amqp_channel").await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), &reply.body[..]),
        (500, &b"and so on"[..])
    );
}

#[tokio::test]
async fn timed_out_call_is_not_repeated() {
    let (a, b) = (
        Server::start("a", UpstreamBehavior::Hangs).await,
        Server::start("b", UpstreamBehavior::Hangs).await,
    );
    let service = service(&[a.url("/"), b.url("/")]);
    let mut late = call(Method::GET);
    late.deadline = Instant::now() + Duration::from_millis(100);
    let begun = Instant::now();
    let error = called(&service, late).await.unwrap_err();
    assert!(
        matches!(error, ServiceError::TimedOut(90..=100)),
        "{error:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(a.count() + b.count(), 1);
}

#[tokio::test]
async fn an_answer_that_stops_halfway_is_a_failure() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let server = Server::start("a", UpstreamBehavior::Answers(half.into())).await;
    let service = service(&[server.url("/")]);
    let mut late = call(Method::POST);
    late.deadline = Instant::now() + Duration::from_millis(200);
    assert!(matches!(
        called(&service, late).await,
        Err(ServiceError::TimedOut(_))
    ));
    for nonsense in [
        "no http at all\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    ] {
        server.now(UpstreamBehavior::Answers(nonsense.into()));
        let error = called(&service, call(Method::POST)).await.unwrap_err();
        assert!(matches!(error, ServiceError::Failed(_)), "{error:?}");
    }
}

#[tokio::test]
async fn too_long_answer_is_refused() {
    let announced = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        (16 << 20) + 1
    );
    let server = Server::start("a", UpstreamBehavior::Answers(announced.into())).await;
    let service = service(&[server.url("/")]);
    let error = called(&service, call(Method::GET)).await.unwrap_err();
    assert!(
        matches!(&error, ServiceError::Failed(why) if why.contains("longer than")),
        "{error:?}"
    );

    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    let endless = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}",
        chunk.repeat(17)
    );
    server.now(UpstreamBehavior::Answers(endless.into()));
    let error = called(&service, call(Method::GET)).await.unwrap_err();
    assert!(
        matches!(&error, ServiceError::Failed(why) if why.contains("longer than")),
        "{error:?}"
    );
}

#[tokio::test]
async fn head_keeps_length_and_redirects_are_answers() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n";
    let server = Server::start("a", UpstreamBehavior::Answers(head.into())).await;
    let service = service(&[server.url("/")]);
    let reply = called(&service, call(Method::HEAD)).await.unwrap();
    assert_eq!(reply.headers["content-length"], "42");
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    server.now(UpstreamBehavior::Answers(moved.into()));
    let reply = called(&service, call(Method::GET)).await.unwrap();
    assert_eq!(reply.status, StatusCode::FOUND);
    assert_eq!(reply.headers["location"], "http://127.0.0.1:1/");
}

/// A self-signed certificate for 127.0.0.1 and its key, of no use anywhere else.
const CERTIFICATE: &str = include_str!("tests/certificate.pem");
const KEY: &str = include_str!("tests/key.pem");

#[tokio::test]
async fn https_is_spoken_and_checked() {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).is_ok() {
                stream.write_all(&ok("over tls")).unwrap();
            }
        }
    });

    let stranger = service(std::slice::from_ref(&url));
    let error = called(&stranger, call(Method::POST)).await.unwrap_err();
    assert!(
        matches!(&error, ServiceError::NotRun(_)),
        "a server that can't be trusted is sent nothing: {error:?}"
    );

    let trusting = Service {
        tls: Some(UpstreamTls {
            ca: Some(CERTIFICATE.into()),
            server_name: None,
        }),
        ..resource(&[url])
    };
    let clients = UpstreamClients::new(EgressPolicy::default());
    let trusting = HttpUpstream::new(&trusting, &Catalog::default(), &clients);
    let reply = called(&trusting, call(Method::POST)).await.unwrap();
    assert_eq!(reply.body, "over tls");
}

// guarantee: SECURITY-6
#[tokio::test]
async fn upstream_denied_by_egress_policy_receives_nothing() {
    let server = Server::start("a", UpstreamBehavior::SaysItsName).await;
    let deny = ["127.0.0.0/8".parse().unwrap()];
    let nobody_else = tokio::sync::watch::channel(Vec::new()).1;
    let egress = EgressPolicy::new(&deny, &[], [], nobody_else);
    // By its address, and by a name that leads there.
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/", server.address.port());
        let upstream = HttpUpstream::new(
            &resource(&[url]),
            &Catalog::default(),
            &UpstreamClients::new(egress.clone()),
        );
        let error = called(&upstream, call(Method::POST)).await.unwrap_err();
        let ServiceError::NotRun(told) = &error else {
            panic!("{error:?}");
        };
        assert!(told.contains("egress.allow"), "{told}");
    }
    assert_eq!(server.count(), 0);
}
