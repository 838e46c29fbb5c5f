//! Bodies beyond the bound of a call, from a client that reads nothing before it has sent all.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

/// Sends so many bytes, and then reads the answer.
async fn sent(admin: &str, request: &str, bytes: usize) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {admin}\r\ncontent-type: application/json\r\n\
         content-length: {bytes}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b' '; 1 << 20];
    for _ in 0..bytes >> 20 {
        stream.write_all(&piece).await.expect("it listens on");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn too_long_body_problem_names_bound_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let one = Alive::start(settings(dir.path(), ports()), StartMode::Bootstrap).await;
    let calls = [
        ("POST /v1/config/apply", "256 KiB", "quorate apply"),
        ("POST /v1/config/validate", "64 MiB", "several calls"),
        ("POST /v1/services/shout/invoke", "16 MiB", "services' port"),
        (
            "POST /v1/outgoing/amqp_outgoing/o/send",
            "64 MiB",
            "in parts",
        ),
        ("PUT /v1/config/service/s", "bytes of JSON", "at most"),
        ("PUT /v1/kv/k", "bytes", "at most"),
        ("POST /v1/cluster/transfer-leadership", "2 MiB", "at most"),
    ];
    for (call, bound, way_out) in calls {
        let answer = sent(&one.admin, call, 70 << 20).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{call}: {answer}");
        for part in ["too_large", bound, way_out] {
            assert!(answer.contains(part), "{call} without {part:?}: {answer}");
        }
    }
    one.end().await.unwrap();
}
