use quorate_types::{Timing, timing::lease_elsewhere};

use super::*;
use crate::election::LastContact;

const MS: Duration = Duration::from_millis(1);

fn tracker() -> LeadershipTracker {
    let timing = Timing::from_failover_ms(500).unwrap();
    let timings = watch::Sender::new(timing.into());
    let pressure = Arc::new(PressureGauge::new(1, timings.subscribe()));
    LeadershipTracker::new(1, timings, timing.lease, pressure, Instant::now())
}

fn ballot(term: u64, member: MemberId, committed: bool) -> ElectionBallot {
    ElectionBallot {
        term,
        member,
        committed,
    }
}

fn leads(term: u64, own_commit: bool, quorum_acked: Option<Instant>) -> MetricsObservation {
    MetricsObservation {
        term,
        leader: Some(1),
        own_commit,
        quorum_acked,
    }
}

fn observe(t: &LeadershipTracker, seen: MetricsObservation) -> bool {
    t.observe(seen, Instant::now())
}

fn accepted(t: &LeadershipTracker, ballot: ElectionBallot, at: Instant) {
    t.accepted(ballot, at, Instant::now());
}

#[test]
fn leads_only_once_its_first_entry_is_committed() {
    let t = tracker();
    assert!(observe(&t, leads(3, false, None)));
    assert_eq!(t.current().leader, Some(1));
    assert!(!t.current().leading);
    let acked = Instant::now();
    assert!(!observe(&t, leads(3, true, Some(acked))));
    assert!(t.current().leading);
    assert_eq!(t.current().heard_at, Some(acked));
}

#[test]
fn granted_vote_ends_leadership_before_the_metrics() {
    let t = tracker();
    let acked = Instant::now();
    observe(&t, leads(3, true, Some(acked)));
    let now = Instant::now();
    let left = t.voted(ballot(4, 2, false), now);
    assert!(!t.current().leading);
    assert_eq!((t.current().term, t.current().leader), (4, None));
    // Its own lease counts for the successor.
    assert_eq!(left, acked + lease_elsewhere(t.lease()) - now);
    // Metrics that lag change nothing.
    assert!(!observe(&t, leads(3, true, Some(Instant::now()))));
    assert!(!t.current().leading);
}

#[test]
fn the_higher_member_wins_within_a_term() {
    let t = tracker();
    observe(&t, leads(3, true, None));
    accepted(&t, ballot(3, 2, true), Instant::now());
    assert_eq!(t.current().leader, Some(2));
    assert!(!t.current().leading);
    observe(&t, leads(3, true, None));
    assert_eq!(t.current().leader, Some(2));
}

#[test]
fn follower_hears_its_leader_but_no_deposed_one() {
    let t = tracker();
    let first = Instant::now();
    t.arrived(ballot(2, 2, true), first, t.lease());
    accepted(&t, ballot(2, 2, true), first);
    assert_eq!(t.current().heard_at, Some(first));
    let later = first + 5 * MS;
    accepted(&t, ballot(2, 2, true), later);
    assert_eq!(t.current().heard_at, Some(later));
    accepted(&t, ballot(3, 3, true), first);
    assert_eq!(t.current().heard_at, Some(first));
    t.arrived(ballot(2, 2, true), later + 100 * MS, t.lease());
    accepted(&t, ballot(2, 2, true), later + 100 * MS);
    assert_eq!(t.current().leader, Some(3));
    let own = first + lease_elsewhere(t.lease());
    assert_eq!(t.state.lock().lease_evidence.over_but(3), own);
}

// guarantee: LEASE-2
#[test]
fn lease_is_clear_one_lease_after_latest_vote() {
    let t = tracker();
    let own = lease_elsewhere(t.lease());
    let now = Instant::now() + 1000 * MS;
    t.arrived(ballot(2, 2, true), now - 200 * MS, t.lease());
    accepted(&t, ballot(2, 2, true), now - 200 * MS);
    t.vote_received(3, now, own - 150 * MS);
    t.vote_received(3, now, own - 160 * MS);
    observe(&t, leads(3, false, None));
    assert_eq!(t.current().lease_clear_at, Some(now - 150 * MS + own));
    // A vote that comes in after the election changes nothing that was promised.
    t.vote_received(3, now + 5 * MS, own);
    observe(&t, leads(3, true, None));
    assert_eq!(t.current().lease_clear_at, Some(now - 150 * MS + own));
}

// guarantee: LEASE-2
#[test]
fn fresh_member_waits_a_whole_lease() {
    let t = tracker();
    let unknown = t.state.lock().lease_evidence.over_but(1);
    assert!(unknown <= Instant::now() + lease_elsewhere(t.lease()));
    observe(&t, leads(1, false, None));
    assert_eq!(t.current().lease_clear_at, Some(unknown));
}

#[test]
fn only_leader_heard_lately_is_asked() {
    let t = tracker();
    assert_eq!(t.live_leader(Instant::now()), None);
    accepted(&t, ballot(2, 2, true), Instant::now());
    assert_eq!(t.live_leader(Instant::now()), Some(2));
    let t = tracker();
    let long_ago = Instant::now().checked_sub(166 * MS).unwrap();
    accepted(&t, ballot(2, 2, true), long_ago);
    assert_eq!(t.live_leader(Instant::now()), None);
    let t = tracker();
    observe(&t, leads(3, false, None));
    assert_eq!(t.live_leader(Instant::now()), Some(1));
}

#[test]
fn lease_counts_by_its_own_length() {
    let t = tracker();
    let now = Instant::now();
    t.arrived(ballot(2, 3, true), now, 1600 * MS);
    let left = t.voted(ballot(3, 2, false), now + 32 * MS);
    assert_eq!(left, 1600 * MS);
    t.vote_received(4, now, 900 * MS);
    observe(&t, leads(4, false, None));
    assert_eq!(t.current().lease_clear_at, Some(now + 1632 * MS));
}

#[test]
fn append_received_while_stopping_still_counts() {
    let t = tracker();
    let now = Instant::now() + 1000 * MS;
    accepted(&t, ballot(2, 2, true), now);
    t.stopped();
    assert_eq!(t.current().leader, None);
    t.arrived(ballot(2, 2, true), now, 100 * MS);
    accepted(&t, ballot(2, 2, true), now);
    assert_eq!(t.current().leader, None);
    assert_eq!(t.voted(ballot(3, 3, false), now), 102 * MS);
}

// guarantee: LEASE-3
#[test]
fn leader_extends_lease_only_with_later_rounds() {
    let t = tracker();
    let short = t.lease();
    let before = Instant::now();
    observe(&t, leads(3, true, Some(before)));
    assert_eq!(t.current().lease, short);
    t.set_timing(Timing::from_failover_ms(2000).unwrap().into());
    assert_eq!(t.current().lease, short);
    observe(&t, leads(3, true, Some(Instant::now())));
    assert_eq!(t.current().lease, t.lease());
    // A shorter one counts at once.
    t.set_timing(Timing::from_failover_ms(500).unwrap().into());
    assert_eq!(t.current().lease, short);
}

#[test]
fn stands_by_leader_within_patience() {
    let (now, stands) = (
        Instant::now() + 1000 * MS,
        LeadershipTracker::stands_by_leader,
    );
    let t = tracker();
    assert!(!stands(&t, now));
    accepted(&t, ballot(2, 2, true), now);
    assert!(stands(&t, now + 164 * MS) && !stands(&t, now + 165 * MS));
    t.set_timing(Timing::from_failover_ms(1000).unwrap().into());
    assert!(stands(&t, now + 329 * MS) && !stands(&t, now + 330 * MS));
    t.voted(ballot(3, 3, false), now);
    assert!(!stands(&t, now));
    // Itself, by its quorum's answers.
    observe(&t, leads(4, false, None));
    assert!(!stands(&t, now));
    observe(&t, leads(4, true, Some(now)));
    assert!(stands(&t, now + 329 * MS) && !stands(&t, now + 330 * MS));
}

#[test]
fn last_contact_is_leader_or_else_vote() {
    let t = tracker();
    assert!(matches!(t.last_contact(), Some(LastContact::Nothing(_))));
    // What stands on disk is no word of this process's life.
    let kept = MetricsObservation {
        leader: Some(2),
        ..leads(5, false, None)
    };
    observe(&t, kept);
    assert!(matches!(t.last_contact(), Some(LastContact::Nothing(_))));
    let now = Instant::now() + 1000 * MS;
    accepted(&t, ballot(5, 2, true), now);
    assert_eq!(t.last_contact(), Some(LastContact::Leader(now)));
    t.voted(ballot(6, 3, false), now + 5 * MS);
    assert_eq!(t.last_contact(), Some(LastContact::Vote(now + 5 * MS)));
    observe(&t, leads(7, false, None));
    assert_eq!(t.last_contact(), None);
}

/// A member that follows member 2 in term 3.
fn follower() -> (LeadershipTracker, ElectionBallot) {
    let (t, leader) = (tracker(), ballot(3, 2, true));
    accepted(&t, leader, Instant::now());
    (t, leader)
}

fn answers(t: &LeadershipTracker, ballot: ElectionBallot) -> bool {
    t.answers(ballot, Instant::now(), 100 * MS)
}

// guarantee: FAILOVER-6
#[test]
fn heartbeat_is_answered_at_once_by_confirmed_follower() {
    let (t, leader) = (tracker(), ballot(3, 2, true));
    // Nothing of it was accepted in this process.
    assert!(!answers(&t, leader));
    t.arrived(leader, Instant::now(), 100 * MS);
    assert!(!answers(&t, leader));
    accepted(&t, leader, Instant::now());
    let at = Instant::now();
    assert!(t.answers(leader, at, 100 * MS));
    assert_eq!(t.current().heard_at, Some(at));
    assert!(!answers(&t, ballot(2, 3, true)));
    assert!(!answers(&t, ballot(3, 3, true)));
    assert!(!answers(&t, ballot(4, 2, true)));
    assert!(answers(&t, leader));
}

// guarantee: FAILOVER-6
#[test]
fn possible_vote_change_prevents_immediate_heartbeat_answer() {
    let (t, leader) = follower();
    t.voted(ballot(4, 3, false), Instant::now());
    assert!(!answers(&t, leader));

    let (t, leader) = follower();
    t.campaigns(4, ElectionReason::Timeout, Instant::now());
    assert!(!answers(&t, leader));
    // openraft may have accepted it before it was asked to stand.
    accepted(&t, leader, Instant::now());
    assert!(!answers(&t, leader));
    let next = ballot(4, 3, true);
    accepted(&t, next, Instant::now());
    assert!(answers(&t, next));

    let (t, leader) = follower();
    t.asks(4, false, Instant::now());
    assert!(!answers(&t, leader));

    let (t, leader) = follower();
    t.arrived(ballot(3, 3, true), Instant::now(), 100 * MS);
    assert!(!answers(&t, leader));
    accepted(&t, leader, Instant::now());
    assert!(!answers(&t, leader));

    let (t, leader) = follower();
    t.doubts(leader);
    accepted(&t, leader, Instant::now());
    assert!(!answers(&t, leader));

    let (t, leader) = follower();
    t.stopped();
    assert!(!answers(&t, leader));
}

#[test]
fn answered_heartbeat_counts_in_vote() {
    let (t, leader) = follower();
    let at = Instant::now() + 500 * MS;
    assert!(t.answers(leader, at, 100 * MS));
    let left = t.voted(ballot(4, 3, false), at);
    assert_eq!(left, lease_elsewhere(100 * MS));
}
