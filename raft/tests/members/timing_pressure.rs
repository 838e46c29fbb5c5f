//! Timing pressure: a group that is nearly too slow for its promise reports it.

use quorate_clock::Instant;
use quorate_types::Leadership;

use crate::group::{Group, SOON, until};

/// Waits until this member's view is older than six tenths of what is allowed.
async fn late(group: &Group, i: usize) {
    let one = &group.all[i];
    until("nearly too late", || {
        let seen: Leadership = *one.node().leadership().borrow();
        seen.heard_at
            .is_none_or(|at| at.elapsed() > one.timing.election_max * 6 / 10)
    })
    .await;
}

#[tokio::test]
async fn late_heartbeats_count_before_leader_is_lost() {
    let group = Group::start(3, 1000).await;
    let leader = group.settled().await;
    let follower = (leader + 1) % 3;
    let pressure = |i: usize| group.all[i].node().timing_pressure();
    let deadline = Instant::now() + SOON;
    // Too long a silence is an outage, and that may happen on a busy machine.
    while pressure(follower).heartbeats_late == 0 {
        assert!(Instant::now() < deadline, "{:?}", pressure(follower));
        group.silence(follower, true);
        late(&group, follower).await;
        group.silence(follower, false);
        group.settled().await;
        group.all_there().await;
    }
    let seen = pressure(follower);
    assert!(seen.worst_percent > 50, "{seen:?}");
    assert!(seen.last_at.is_some(), "{seen:?}");
    loop {
        let leader = group.settled().await;
        if pressure(leader).renewals_late > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", pressure(leader));
        group.silence(leader, true);
        late(&group, leader).await;
        group.silence(leader, false);
        group.all_there().await;
    }
}
