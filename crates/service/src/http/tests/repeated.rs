//! Bodies for an upstream that may be asked again.

use super::{
    proxy::{Played, UPLOAD},
    *,
};

const MIB: usize = 1 << 20;

async fn played() -> Played {
    Played::start(json!({"retries": 1, "most": 4 * MIB})).await
}

const FAILED: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 3\r\n\r\nbad";
const DONE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";

fn posts(length: usize) -> String {
    format!("POST /up HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn mebibyte_body_is_resent_unchanged() {
    let played = played().await;
    let mut client = played.running.client().await;
    let asking = async {
        let body = "x".repeat(MIB - 3) + "end";
        client.send(posts(MIB) + &body).await;
        client.answer().await.unwrap()
    };
    let answering = async {
        for answer in [FAILED, DONE] {
            let mut side = played.side().await;
            assert!(side.text().contains("content-length: 1048576\r\n"));
            side.until("xend").await;
            side.says(answer).await;
        }
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
}

#[tokio::test]
async fn a_longer_body_flows_and_is_sent_once() {
    let played = played().await;
    // Once it is announced, once it turns out to be so long.
    let announced = posts(MIB + 5);
    let chunked = format!("{UPLOAD}100001\r\n");
    for (head, first, begins, rest, last) in [
        (announced, 1, "\r\n\r\nx", MIB + 1, "end"),
        (chunked, MIB + 1, "\r\nxx", 0, "\r\n3\r\nend\r\n0\r\n\r\n"),
    ] {
        let mut client = played.running.client().await;
        client.send(head + &"x".repeat(first)).await;
        let mut side = played.side().await;
        side.until(begins).await;
        client.send("x".repeat(rest) + last).await;
        side.until("end").await;
        side.says(FAILED).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (500, "bad"),
            "{first}"
        );
        let again = tokio::time::timeout(Duration::from_millis(300), played.side()).await;
        assert!(again.is_err(), "sent once");
    }
}
