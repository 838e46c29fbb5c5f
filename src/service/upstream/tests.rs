//! Against real HTTP servers, which count what arrives.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, StatusCode};
use quorate_clock::Instant;

use super::*;
use crate::service::{
    api::Origin,
    testing::{
        request,
        upstream::{Does, Upstream as Server, nobody, ok},
    },
};

fn service(urls: &[String]) -> Upstream {
    Upstream::new(&Urls::Many(urls.to_vec()), client())
}

fn call(method: Method) -> Request {
    let mut request = request(Origin::Http(Some("c".into())));
    request.method = method;
    request
}

#[tokio::test]
async fn a_call_arrives_as_it_was_and_the_answer_too() {
    let answer = "HTTP/1.1 418 T\r\nx-a: 1\r\nx-a: 2\r\nconnection: x-hop\r\nx-hop: 1\r\n\
                  keep-alive: 5\r\nx-zato-cid: theirs\r\ncontent-length: 3\r\n\r\nabc";
    let server = Server::start("a", Does::Answers(answer.into())).await;
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
    let reply = service.call(sent).await.unwrap();
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
    for gone in ["x-drop", "te:", "evil", "wrong", "chunked"] {
        assert!(!arrived.contains(gone), "{gone}: {arrived}");
    }
}

#[tokio::test]
async fn urls_take_turns_and_connections_are_kept() {
    let (a, b) = (
        Server::start("a", Does::SaysItsName).await,
        Server::start("b", Does::SaysItsName).await,
    );
    let service = service(&[a.url("/"), b.url("/")]);
    for _ in 0..20 {
        service.call(call(Method::POST)).await.unwrap();
    }
    assert_eq!((a.count(), b.count()), (10, 10));
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[tokio::test]
async fn a_dead_url_costs_no_call_whatever_the_method() {
    let server = Server::start("a", Does::SaysItsName).await;
    let service = service(&[format!("http://{}/", nobody().await), server.url("/")]);
    for _ in 0..20 {
        let reply = service.call(call(Method::POST)).await.unwrap();
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
    let error = service.call(call(Method::POST)).await.unwrap_err();
    assert!(
        matches!(&error, ServiceError::NotRun(why) if why.matches("refused").count() == 2),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_may_have_run_is_sent_again_only_if_that_does_no_harm() {
    for (method, arrivals) in [
        (Method::POST, 1),
        (Method::PATCH, 1),
        (Method::GET, 2),
        (Method::PUT, 2),
        (Method::DELETE, 2),
    ] {
        let (a, b) = (
            Server::start("a", Does::HangsUp).await,
            Server::start("b", Does::HangsUp).await,
        );
        let service = service(&[a.url("/"), b.url("/")]);
        let error = service.call(call(method.clone())).await.unwrap_err();
        assert!(
            matches!(error, ServiceError::Failed(_)),
            "{method} {error:?}"
        );
        assert_eq!(a.count() + b.count(), arrivals, "{method}");
    }
}

#[tokio::test]
async fn an_idempotent_call_gets_over_a_connection_that_was_too_old() {
    let server = Server::start("a", Does::SaysItsName).await;
    let service = service(&[server.url("/")]);
    service.call(call(Method::GET)).await.unwrap();
    server.now(Does::HangsUp);
    let error = service.call(call(Method::GET)).await.unwrap_err();
    assert!(matches!(error, ServiceError::Failed(_)), "{error:?}");
    assert_eq!(server.count(), 3, "one of them twice");
    server.now(Does::SaysItsName);
    assert!(service.call(call(Method::GET)).await.is_ok());
}

#[tokio::test]
async fn no_answer_in_time_is_not_asked_for_again() {
    let (a, b) = (
        Server::start("a", Does::Hangs).await,
        Server::start("b", Does::Hangs).await,
    );
    let service = service(&[a.url("/"), b.url("/")]);
    let mut late = call(Method::GET);
    late.deadline = Instant::now() + Duration::from_millis(100);
    let begun = Instant::now();
    let error = service.call(late).await.unwrap_err();
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
    let server = Server::start("a", Does::Answers(half.into())).await;
    let service = service(&[server.url("/")]);
    let mut late = call(Method::POST);
    late.deadline = Instant::now() + Duration::from_millis(200);
    assert!(matches!(
        service.call(late).await,
        Err(ServiceError::TimedOut(_))
    ));
    for nonsense in [
        "no http at all\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    ] {
        server.now(Does::Answers(nonsense.into()));
        let error = service.call(call(Method::POST)).await.unwrap_err();
        assert!(matches!(error, ServiceError::Failed(_)), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_taken() {
    let announced = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        REPLY_BYTES_MAX + 1
    );
    let server = Server::start("a", Does::Answers(announced.into())).await;
    let service = service(&[server.url("/")]);
    let error = service.call(call(Method::GET)).await.unwrap_err();
    assert!(
        matches!(&error, ServiceError::Failed(why) if why.contains("longer than")),
        "{error:?}"
    );

    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    let endless = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}",
        chunk.repeat(17)
    );
    server.now(Does::Answers(endless.into()));
    let error = service.call(call(Method::GET)).await.unwrap_err();
    assert!(
        matches!(&error, ServiceError::Failed(why) if why.contains("longer than")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_head_keeps_the_length_and_redirects_are_answers() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n";
    let server = Server::start("a", Does::Answers(head.into())).await;
    let service = service(&[server.url("/")]);
    let reply = service.call(call(Method::HEAD)).await.unwrap();
    assert_eq!(reply.headers["content-length"], "42");
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    server.now(Does::Answers(moved.into()));
    let reply = service.call(call(Method::GET)).await.unwrap();
    assert_eq!(reply.status, StatusCode::FOUND);
    assert_eq!(reply.headers["location"], "http://127.0.0.1:1/");
}

/// A self-signed certificate for 127.0.0.1 and its key, of no use anywhere else.
const CERTIFICATE: &str = include_str!("tests/certificate.pem");
const KEY: &str = include_str!("tests/key.pem");

#[tokio::test]
async fn https_is_spoken_and_checked() {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

    let _ = client();
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

    let stranger = Upstream::new(&Urls::One(url.clone()), client());
    let error = stranger.call(call(Method::POST)).await.unwrap_err();
    assert!(
        matches!(&error, ServiceError::NotRun(_)),
        "a server that can't be trusted is sent nothing: {error:?}"
    );

    let trusted = reqwest::Certificate::from_pem(CERTIFICATE.as_bytes()).unwrap();
    let http = reqwest::Client::builder()
        .tls_certs_only([trusted])
        .build()
        .unwrap();
    let reply = Upstream::new(&Urls::One(url), http)
        .call(call(Method::POST))
        .await
        .unwrap();
    assert_eq!(reply.body, "over tls");
}
