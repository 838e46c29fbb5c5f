//! What is wrong is told with what would be right, and is over by itself once it is;
//! against the stand-in.

use mq_stand_in::wire::Attributes;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::Send;
use quorate_resources::Kind;
use quorate_supervisor::ConnectorState;

use super::world::*;

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_then_right_ones() {
    let mut stand_in = StandIn::start();
    stand_in.control.users(Some(("app", "other"))).unwrap();
    let member = stand_in.member(Kind::IbmMqChannel, channel());
    let text = complains(&member, "orders", "2035").await;
    assert!(text.contains("correct username or password"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(
        member.status("orders").unwrap().state,
        ConnectorState::Failed
    );
    let right = with(stand_in.connection(), "password", "other");
    member.group.put(Kind::IbmMqConnection, right);
    member.active("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_queue_manager_does_not_know() {
    let mut stand_in = StandIn::start();
    for (field, value, part) in [
        (
            "queue_manager",
            "OTHER",
            "there is no queue manager \"OTHER\"",
        ),
        (
            "channel",
            "OTHER.SVRCONN",
            "no server-connection channel \"OTHER.SVRCONN\"",
        ),
    ] {
        let group = stand_in.group();
        group.put(
            Kind::IbmMqConnection,
            with(stand_in.connection(), field, value),
        );
        group.put(Kind::IbmMqChannel, channel());
        let member = SimulatedMember::start(&group, 1, 2000);
        member.lead(2);
        complains(&member, "orders", part).await;
        group.put(Kind::IbmMqConnection, stand_in.connection());
        member.active("orders").await;
    }
    let member = stand_in.member(Kind::IbmMqChannel, with(channel(), "queue", "LATER"));
    complains(&member, "orders", "there is no queue \"LATER\"").await;
    stand_in
        .control
        .define("LATER", Attributes::default())
        .unwrap();
    member.active("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_library_is_named() {
    let stand_in = StandIn::start();
    let group = stand_in.group();
    let missing = with(stand_in.connection(), "library", "libquorate-none_r.so");
    group.put(Kind::IbmMqConnection, missing);
    group.put(Kind::IbmMqChannel, channel());
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    let text = complains(&member, "orders", "libquorate-none_r.so").await;
    for part in [
        "redistributable client",
        "https://",
        "LD_LIBRARY_PATH",
        "/opt/mqm/lib64",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    group.put(Kind::IbmMqConnection, stand_in.connection());
    member.active("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_or_refusing_queue_manager_is_reported() {
    let mut stand_in = StandIn::start();
    stand_in.control.unavailable(true).unwrap();
    let member = stand_in.member(Kind::IbmMqChannel, channel());
    complains(&member, "orders", "2059").await;
    stand_in.control.unavailable(false).unwrap();
    member.active("orders").await;
    stand_in.manager = None;
    complains(&member, "orders", "is it running, does its listener run").await;
    stand_in.restart(None);
    member.active("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_does_not_fit_the_channel() {
    let stand_in = StandIn::start();
    let group = stand_in.group();
    let mut tls = with(stand_in.connection(), "ssl", true);
    tls["ssl_cipher_spec"] = "ANY_TLS12_OR_HIGHER".into();
    tls["ssl_key_repository"] = "/etc/quorate/mq/quorate".into();
    group.put(Kind::IbmMqConnection, tls);
    group.put(Kind::IbmMqChannel, channel());
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    let text = complains(&member, "orders", "2393").await;
    assert!(
        text.contains("SSLCIPH") && text.contains("ANY_TLS12_OR_HIGHER"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_held_by_another_program_is_awaited() {
    let mut stand_in = StandIn::start();
    let holder = stand_in.consuming(channel()).await;
    let member = stand_in.member(Kind::IbmMqChannel, channel());
    complains(&member, "orders", "another program has the queue").await;
    assert_eq!(
        member.status("orders").unwrap().state,
        ConnectorState::Starting
    );
    holder.group.delete(Kind::IbmMqChannel, "orders");
    member.active("orders").await;
    stand_in.text("one");
    called(&member.group, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inhibited_queues() {
    let mut stand_in = StandIn::start();
    let inhibited = Attributes {
        get_inhibited: true,
        put_inhibited: true,
        ..Attributes::default()
    };
    let member = stand_in.consuming(channel()).await;
    member.group.put(Kind::IbmMqOutgoing, outgoing());
    member.active("out").await;
    stand_in.control.define("Q", inhibited).unwrap();
    complains(&member, "orders", "GET(ENABLED)").await;
    let sent = send_within(&member, Send::default(), std::time::Duration::from_secs(5)).await;
    assert!(
        matches!(&sent, SendOutcome::NotSent(text) if text.contains("PUT(ENABLED)")),
        "{sent:?}"
    );
    stand_in.control.define("Q", Attributes::default()).unwrap();
    let sent = send(&member, Send::default()).await;
    assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
    called(&member.group, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quiescing_queue_manager_is_awaited() {
    let mut stand_in = StandIn::start();
    let member = stand_in.consuming(channel()).await;
    stand_in.control.quiesce(true).unwrap();
    complains(&member, "orders", "takes no more work").await;
    stand_in.text("one");
    stand_in.control.quiesce(false).unwrap();
    member.active("orders").await;
    called(&member.group, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_queue_manager_is_given_up_and_retried() {
    let mut stand_in = StandIn::start();
    let member = stand_in.consuming(channel()).await;
    stand_in.control.hang(true).unwrap();
    stand_in.text("one");
    complains(&member, "orders", "did not answer within 10 s").await;
    stand_in.control.hang(false).unwrap();
    member.active("orders").await;
    called(&member.group, 1).await;
    stand_in.depth("Q", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_channel_stays_and_cancels_promptly() {
    let mut stand_in = StandIn::start();
    let member = stand_in.consuming(channel()).await;
    // Longer than a few slices of getting, and than the heartbeat interval.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(stand_in.control.connections().unwrap(), 1);
    let asked = quorate_clock::Instant::now();
    member
        .group
        .put(Kind::IbmMqChannel, with(channel(), "active", false));
    member
        .when("orders", "paused", |status| {
            status.state == ConnectorState::Paused
        })
        .await;
    assert!(
        asked.elapsed() < std::time::Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
}
