//! What happens at the edges of a message: trailers, leave to send, whose host, bodies that are
//! too long or don't go on, answers that break off, protocols that nobody changes to.

use super::{
    Ways, ask,
    client::{Answer, Client},
    get, is_envelope,
};

fn post(path: &str, headers: &str) -> String {
    get(path, headers).replacen("GET", "POST", 1)
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n";

#[tokio::test]
async fn trailers_go_through_member_and_balancer() {
    let ways = Ways::start().await;
    for (way, port) in ways.ports() {
        let headers = format!(
            "{CHUNKED}trailer: x-sum, x-forwarded-for\r\nte: trailers\r\nconnection: te\r\n"
        );
        let mut client = Client::connect(port).await;
        client.send(post("/trailers", &headers)).await;
        client
            .send("5\r\nhello\r\n0\r\nx-sum: 5\r\nx-forwarded-for: 1.2.3.4\r\n\r\n")
            .await;
        let head = client.head().await;
        assert_eq!(head.status, 200, "{way}: {head:?}");
        assert_eq!(head.header("trailer"), Some("x-back"), "{way}: {head:?}");
        // The upstream says what came as trailers, and sends one of its own.
        let rest = client.until(b"\r\n\r\n").await;
        let rest = String::from_utf8_lossy(&rest).to_ascii_lowercase();
        assert!(rest.contains("x-sum: 5\n"), "{way}: {rest:?}");
        assert!(!rest.contains("1.2.3.4"), "{way}: {rest:?}");
        assert!(rest.ends_with("0\r\nx-back: 7\r\n\r\n"), "{way}: {rest:?}");
    }
}

#[tokio::test]
async fn continue_is_sent_once_body_is_wanted() {
    let ways = Ways::start().await;
    let expecting = |path: &str, length: u64, what: &str| {
        post(
            path,
            &format!("content-length: {length}\r\nexpect: {what}\r\n"),
        )
    };
    for (way, port) in ways.ports() {
        let mut client = Client::connect(port).await;
        client.send(expecting("/echo", 5, "100-continue")).await;
        assert_eq!(client.head().await.status, 100, "{way}");
        client.send("hello").await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200, "{way}: {answer:?}");
        assert!(
            !answer.text().to_ascii_lowercase().contains("\r\nexpect"),
            "{way}"
        );

        // No leave where the body is not wanted: the answer comes at once instead.
        for (path, length, what, status) in [
            ("/echo", 17 << 20, "100-continue", 413),
            ("/unknown", 5, "100-continue", 404),
            ("/echo", 5, "200-ok", 417),
        ] {
            let answer = ask(port, expecting(path, length, what)).await;
            is_envelope(&format!("{way}: {path} {what}"), &answer, status);
        }
    }
}

#[tokio::test]
async fn service_decides_host_header_both_ways() {
    let ways = Ways::start().await;
    let upstream = ways.upstream.to_string();
    for (way, port) in ways.ports() {
        for (path, host) in [
            ("/echo", upstream.as_str()),
            ("/client-host", "shop.example"),
        ] {
            let text = ask(port, get(path, "")).await.text();
            let line = format!("\r\nhost: {host}\r\n");
            assert!(text.contains(&line), "{way} {path}: {text}");
            assert!(
                text.contains("\r\nx-forwarded-host: shop.example\r\n"),
                "{way} {path}: {text}"
            );
        }
        // Told the client's host, the upstream sends it back by itself.
        let away = ask(port, get("/client-away", "")).await;
        let location = away.header("location");
        assert_eq!(location, Some("http://shop.example/login"), "{way}");
    }
}

#[tokio::test]
async fn overlong_and_stalled_bodies_are_refused_alike() {
    let ways = Ways::start().await;
    for (way, port) in ways.ports() {
        // To an upstream, to one that may be asked again, and to code.
        for path in ["/small", "/small-again", "/small-code"] {
            let announced = post(path, "content-length: 1001\r\n");
            let chunked = post(path, CHUNKED);
            let long = format!("{chunked}3e9\r\n{}\r\n", "x".repeat(1001));
            let still = post(path, "content-length: 5\r\n") + "hel";
            let still_chunked = format!("{chunked}5\r\nhel");
            for (name, request, status) in [
                ("announced", announced, 413),
                ("long", long, 413),
                ("still", still, 408),
                ("still in a chunk", still_chunked, 408),
            ] {
                let answer = ask(port, request).await;
                is_envelope(&format!("{way} {path}: {name}"), &answer, status);
            }
        }
    }
}

#[tokio::test]
async fn broken_off_response_never_appears_complete() {
    let ways = Ways::start().await;
    for (way, port) in ways.ports() {
        for path in ["/breaks-at-once", "/breaks-short"] {
            let answer = ask(port, get(path, "")).await;
            is_envelope(&format!("{way} {path}"), &answer, 502);
        }
        for path in ["/breaks-long", "/breaks-chunked"] {
            let mut client = Client::connect(port).await;
            client.send(get(path, "")).await;
            let got = client.rest().await;
            // Where head and break come at the same moment, the head may not have been sent.
            let begins = got.is_empty() || got.starts_with(b"HTTP/1.1 200 ");
            assert!(begins, "{way} {path}: {}", String::from_utf8_lossy(&got));
            assert!(got.len() < 1 << 20, "{way} {path}: {}", got.len());
            assert!(!got.ends_with(b"0\r\n\r\n"), "{way} {path}: as if whole");
        }
    }
}

#[tokio::test]
async fn refused_upgrade_is_answered_with_reason() {
    let ways = Ways::start().await;
    let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (way, port) in ways.ports() {
        let asked = async |path: &str| -> Answer { ask(port, get(path, upgrade)).await };
        is_envelope(way, &asked("/small-code").await, 501);
        // The upstream's refusal is passed on with what it asks for.
        let old = asked("/needs-upgrade").await;
        assert_eq!((old.status, old.text()), (426, "newer".into()), "{way}");
        assert_eq!(old.header("upgrade"), Some("websocket"), "{way}: {old:?}");
        assert_eq!(old.header("sec-websocket-version"), Some("14"), "{way}");
        let refused = asked("/nowhere").await;
        assert_eq!(refused.status, 404, "{way}: {refused:?}");
        // Another protocol is not asked for, and the request is answered as it is.
        let h2c = upgrade.replace("websocket\r\nsec", "h2c\r\nsec");
        let text = ask(port, get("/echo", &h2c)).await.text();
        assert!(!text.to_ascii_lowercase().contains("h2c"), "{way}: {text}");
    }
}

#[tokio::test]
async fn unreadable_request_has_same_status_both_ways() {
    let ways = Ways::start().await;
    let wrong_chunk = post("/small", CHUNKED) + "zz\r\nhello\r\n0\r\n\r\n";
    for (name, request) in [
        (
            "a header without a colon",
            get("/echo", "bad header\r\n").into_bytes(),
        ),
        (
            "two hosts",
            get("/echo", "host: other.example\r\n").into_bytes(),
        ),
        (
            "two lengths",
            (post("/echo", "content-length: 4\r\ncontent-length: 5\r\n") + "hello").into_bytes(),
        ),
        ("a wrong chunk", wrong_chunk.into_bytes()),
        (
            "TLS",
            [
                &b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"[..],
                &[0; 150],
            ]
            .concat(),
        ),
    ] {
        let [(_, member), (_, balancer)] = ways.ports();
        is_envelope(name, &ask(member, &request).await, 400);
        assert_eq!(ask(balancer, &request).await.status, 400, "{name}");
    }
}
