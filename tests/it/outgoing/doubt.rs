//! A message that was sent, by a connector server that was stopped before it could say so.

use super::*;

/// The caller's times, in milliseconds: the new connector server is there in a few hundred,
/// the old one's word is waited for during one second more, and then little is left.
const WITHIN: [u64; 11] = [
    1250, 1270, 1290, 1310, 1330, 1350, 1370, 1390, 1410, 1430, 1450,
];

/// The process of the connector server is stopped once its connector has the message on the
/// wire, and the broker takes it from there. Nobody is left to say so: whatever time the
/// caller has, it is never told that the message was not sent.
// guarantee: SEND-1
#[tokio::test]
async fn possibly_sent_message_is_never_reported_not_sent() {
    let bed = Bed::start().await;
    let broker = bed.rabbit.pid().expect("it runs");
    let mut denied = Vec::new();
    for within in WITHIN {
        let leader = bed.cluster.leader().await;
        let (server, _) = bed.cluster.serving(leader).await;
        let at = other(server);
        eventually("the outgoing to be ready", SOON, || async {
            let status = bed.cluster.connector(at, "invoices").await?;
            let ready = status["state"] == "active" && status["ready_standbys"] == 2;
            ready.then_some(()).ok_or(status.to_string())
        })
        .await;
        let url = bed.url(at, "/v1/outgoing/amqp_outgoing/invoices/send");
        signal(broker, Signal::SIGSTOP);
        let waiting = tokio::spawn(async move {
            let (key, within) = (format!("doubt-{within}"), within.to_string());
            let headers = [
                ("quorate-idempotency-key", &*key),
                ("quorate-within-ms", &*within),
            ];
            send(&url, &headers, &key).await
        });
        eventually("the send is under way", SOON, || async {
            let status = bed.cluster.connector(at, "invoices").await?;
            let under_way = status["in_flight"] == 1;
            under_way.then_some(()).ok_or(status.to_string())
        })
        .await;
        bed.cluster.members[server].signal(Signal::SIGSTOP);
        signal(broker, Signal::SIGCONT);
        let (status, answer) = waiting.await.expect("a task").expect("an answer");
        bed.cluster.members[server].signal(Signal::SIGCONT);
        let there = bed.bodies().await;
        println!("within {within} ms: {status} {}, {there:?}", answer["code"]);
        if there.contains_key(&format!("doubt-{within}")) && status == 503 {
            denied.push((within, answer));
        } else {
            assert!(matches!(status, 200 | 504), "{status} {answer}");
        }
    }
    assert!(denied.is_empty(), "there all the same: {denied:?}");
}
