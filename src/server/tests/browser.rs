//! Requests that a web page has its browser send to the admin port: all are refused.

use super::*;

async fn status(one: &Alive, call: &str, headers: &[(&str, &str)]) -> u16 {
    let (method, path) = call.split_once(' ').unwrap();
    let url = format!("http://{}{path}", one.admin);
    let mut request = one
        .http
        .request(method.parse().unwrap(), url)
        .body("x")
        .timeout(SOON);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap().status().as_u16()
}

// guarantee: SECURITY-4
#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_reads_nothing_and_commands_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let one = Alive::start(settings(dir.path(), ports()), StartMode::Bootstrap).await;
    let calls = [
        "GET /v1/config",
        "GET /v1/kv",
        "GET /v1/cluster/members",
        "GET /metrics",
        "GET /nowhere",
        "PUT /v1/kv/k",
        "DELETE /v1/kv/k",
        "POST /v1/services/shout/invoke",
        "POST /v1/cluster/transfer-leadership",
        "POST /v1/connectors/amqp_channel/a/pause",
        "POST /v1/outgoing/amqp_outgoing/a/send",
        "OPTIONS /v1/kv/k",
    ];
    for call in calls {
        let elsewhere = [
            ("origin", "http://evil.example"),
            ("content-type", "text/plain"),
        ];
        assert_eq!(status(&one, call, &elsewhere).await, 403, "{call}");
        let rebound = [("host", "evil.example:17110")];
        assert_eq!(status(&one, call, &rebound).await, 403, "{call}");
    }
    let own = format!("http://{}", one.admin);
    let bare = [("origin", own.as_str())];
    assert_eq!(status(&one, "GET /v1/config", &bare).await, 200);
    assert_eq!(status(&one, "PUT /v1/kv/k", &bare).await, 403);
    let marked = [bare[0], ("quorate-requested-by", "console")];
    assert_eq!(status(&one, "PUT /v1/kv/k", &marked).await, 200);

    // Health is answered to HAProxy under whatever name, and programs need no header at all.
    let haproxy = [("host", "quorate")];
    assert_eq!(status(&one, "GET /health/ready", &haproxy).await, 200);
    assert_eq!(status(&one, "PUT /v1/kv/k", &[]).await, 200);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let invoke = "POST /v1/services/shout/invoke";
    assert_eq!(status(&one, invoke, &form).await, 200);
    one.end().await.unwrap();
}
