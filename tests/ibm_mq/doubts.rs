//! Answers that are lost with the connection, against the stand-in.

use std::time::Duration;

use mq_stand_in::wire::Fault;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::Send;
use quorate_resources::Kind;

use super::world::*;

async fn after(fault: Fault) -> usize {
    let mut stand_in = StandIn::start();
    let member = stand_in.consuming(channel()).await;
    stand_in.control.fault(fault).unwrap();
    stand_in.text("one");
    eventually("it is connected anew", async || {
        (stand_in.control.connections().unwrap() == 2).then_some(())
    })
    .await;
    stand_in.depth("Q", 0).await;
    // What comes after it is handled, and by then so was it.
    stand_in.text("two");
    eventually("the next one is handled", async || {
        member
            .group
            .calls_by_body()
            .contains_key("two")
            .then_some(())
    })
    .await;
    member
        .when("orders", "a reconnect is told", |it| {
            it.counts.reconnects == 1
        })
        .await;
    member.group.calls_by_body()["one"]
}

#[tokio::test(flavor = "multi_thread")]
async fn get_with_lost_answer_delivers_message_once() {
    assert_eq!(after(Fault::Get).await, 1);
}

// guarantee: MESSAGE-5
#[tokio::test(flavor = "multi_thread")]
async fn undone_commit_redelivers_the_message() {
    assert_eq!(after(Fault::CommitUndone).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_done_with_lost_answer_does_not_redeliver() {
    assert_eq!(after(Fault::CommitDone).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn put_with_lost_answer_is_unknown_and_unretried() {
    for (fault, there) in [(Fault::PutDone, 1), (Fault::PutUndone, 0)] {
        let mut stand_in = StandIn::start();
        let member = stand_in.member(Kind::IbmMqOutgoing, outgoing());
        member.active("out").await;
        stand_in.control.fault(fault).unwrap();
        let sent = send(&member, Send::default()).await;
        assert!(
            matches!(&sent, SendOutcome::Unknown(text) if text.contains("2009")),
            "{sent:?}"
        );
        assert_eq!(stand_in.control.depth("Q").unwrap(), there);
        // It sends again, by itself.
        let sent = send(&member, Send::default()).await;
        assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
        assert_eq!(stand_in.control.depth("Q").unwrap(), there + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_queue_manager_leaves_send_unknown_in_time() {
    let mut stand_in = StandIn::start();
    let member = stand_in.member(Kind::IbmMqOutgoing, outgoing());
    member.active("out").await;
    stand_in.control.hang(true).unwrap();
    let sent = send_within(&member, Send::default(), Duration::from_secs(2)).await;
    assert!(matches!(sent, SendOutcome::Unknown(_)), "{sent:?}");
    complains(&member, "out", "did not answer within 10 s").await;
    stand_in.control.hang(false).unwrap();
    let sent = send(&member, Send::default()).await;
    assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
}
