//! Restarts of the queue manager and cut connections under load, against the stand-in.

use std::time::Duration;

use super::world::*;

// guarantee: MESSAGE-5
#[tokio::test(flavor = "multi_thread")]
async fn queue_manager_restart_under_load_loses_nothing() {
    const MESSAGES: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let mut stand_in = StandIn::keeping(Some(&journal));
    let member = stand_in.consuming(channel()).await;
    member
        .group
        .behave(|_| (Duration::from_millis(2), status(200)));
    bodies(MESSAGES).for_each(|body| stand_in.text(&body));
    let mut restarts = 0;
    for part in 1..=2 {
        called(&member.group, part * 80).await;
        stand_in.restart(Some(&journal));
        restarts += 1;
    }
    stand_in.depth("Q", 0).await;
    let by_body = member.group.calls_by_body();
    assert_eq!(by_body.len(), MESSAGES, "lost");
    // At most what was in flight at each restart comes again.
    let again = by_body.values().sum::<usize>() - MESSAGES;
    assert!(
        again <= restarts,
        "{again} came again in {restarts} restarts"
    );
    println!(
        "{MESSAGES} messages, {restarts} restarts: 0 lost, {again} again (against the stand-in)"
    );
}

// guarantee: MESSAGE-5
#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_under_load_lose_nothing() {
    const MESSAGES: usize = 200;
    let mut stand_in = StandIn::start();
    let member = stand_in.consuming(channel()).await;
    bodies(MESSAGES).for_each(|body| stand_in.text(&body));
    let mut cuts = 0;
    for part in 1..=3 {
        called(&member.group, part * 40).await;
        stand_in.control.cut().unwrap();
        cuts += 1;
    }
    stand_in.depth("Q", 0).await;
    let by_body = member.group.calls_by_body();
    assert_eq!(by_body.len(), MESSAGES, "lost");
    let again = by_body.values().sum::<usize>() - MESSAGES;
    assert!(again <= cuts, "{again} came again in {cuts} cuts");
}
