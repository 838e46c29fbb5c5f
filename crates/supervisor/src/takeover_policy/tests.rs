use super::*;

const ME: MemberId = 2;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

struct TakeoverWorld {
    start: Instant,
    now: Instant,
    takeover: TakeoverPolicy,
    leadership: Leadership,
    reign: Reign,
}

impl TakeoverWorld {
    fn new() -> Self {
        let start = Instant::now();
        TakeoverWorld {
            start,
            now: start,
            takeover: TakeoverPolicy::new(ME, ms(1000)),
            leadership: Leadership {
                me: ME,
                term: 1,
                leader: Some(1),
                heard_at: Some(start),
                ..Default::default()
            },
            reign: Reign {
                holder: Some(1),
                epoch: 3,
                term: 1,
                ..Reign::default()
            },
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn elected(&mut self, term: u64) {
        self.leadership = Leadership {
            me: ME,
            term,
            leader: Some(ME),
            leading: true,
            heard_at: Some(self.now),
            lease: Duration::ZERO,
            lease_clear_at: None,
            election: None,
        };
    }

    fn heard(&mut self) {
        self.leadership.heard_at = Some(self.now);
    }

    fn applied(&mut self, epoch: u64, term: u64) {
        self.reign = Reign {
            holder: Some(ME),
            epoch,
            term,
            ..Reign::default()
        };
    }

    fn decide(&mut self) -> TakeoverDecision {
        self.takeover
            .decide(self.now, &self.leadership, &self.reign)
    }

    fn reigning(term: u64, epoch: u64) -> Self {
        let mut world = TakeoverWorld::new();
        world.decide();
        world.pass(ms(10));
        world.elected(term);
        assert_eq!(world.decide().propose, Some(term));
        world
            .takeover
            .ended(world.now, term, ProposalOutcome::Applied);
        world.applied(epoch, term);
        world
    }
}

#[test]
fn a_follower_does_nothing() {
    let mut world = TakeoverWorld::new();
    assert_eq!(world.decide(), TakeoverDecision::default());
}

#[test]
fn new_leader_proposes_once_and_acts_when_applied() {
    let mut world = TakeoverWorld::new();
    world.decide();
    world.pass(ms(1));
    world.elected(2);
    assert_eq!(world.decide().propose, Some(2));
    assert_eq!(world.decide().propose, None, "asked twice");
    world.takeover.ended(world.now, 2, ProposalOutcome::Applied);
    world.applied(8, 2);
    let act = world.decide().act.unwrap();
    assert_eq!((act.epoch, act.term, act.heard_at), (8, 2, world.now));
}

#[test]
fn lease_heard_as_follower_does_not_count() {
    let mut world = TakeoverWorld::new();
    world.pass(ms(5));
    world.heard();
    world.decide();
    let as_follower = world.now;
    world.pass(ms(1));
    world.elected(2);
    world.leadership.heard_at = Some(as_follower);
    assert_eq!(world.decide().propose, Some(2));
    world.applied(8, 2);
    assert_eq!(world.decide().act, None);
    world.pass(ms(1));
    world.heard();
    assert!(world.decide().act.is_some());
}

#[test]
fn leadership_regained_in_term_keeps_the_reign() {
    let mut world = TakeoverWorld::reigning(2, 8);
    assert!(world.decide().act.is_some());
    world.leadership.leading = false;
    assert_eq!(world.decide(), TakeoverDecision::default());
    world.leadership.leading = true;
    let decision = world.decide();
    assert_eq!(decision.propose, None);
    assert_eq!(decision.act.unwrap().epoch, 8);
}

#[test]
fn elected_again_gets_a_new_epoch() {
    let mut world = TakeoverWorld::reigning(2, 8);
    world.pass(ms(5));
    world.leadership = Leadership {
        me: ME,
        term: 3,
        leader: Some(3),
        ..Default::default()
    };
    assert_eq!(world.decide(), TakeoverDecision::default());
    world.pass(ms(5));
    world.elected(4);
    // The state still names this member, in another term: no permission.
    let decision = world.decide();
    assert_eq!((decision.propose, decision.act), (Some(4), None));
    world.applied(21, 4);
    assert_eq!(world.decide().act.unwrap().epoch, 21);
}

#[test]
fn an_unknown_outcome_is_waited_for() {
    let mut world = TakeoverWorld::new();
    world.elected(2);
    assert_eq!(world.decide().propose, Some(2));
    world.takeover.ended(world.now, 2, ProposalOutcome::Unknown);
    world.pass(ms(500));
    let decision = world.decide();
    assert_eq!(decision.propose, None);
    assert_eq!(decision.look_again, Some(world.start + ms(1000)));
    // It applies after all.
    world.applied(9, 2);
    world.heard();
    assert_eq!(world.decide().act.unwrap().epoch, 9);
}

#[test]
fn unknown_outcome_is_proposed_again_in_term_only() {
    let mut world = TakeoverWorld::new();
    world.elected(2);
    world.decide();
    world.takeover.ended(world.now, 2, ProposalOutcome::Unknown);
    world.pass(ms(1000));
    assert_eq!(world.decide().propose, Some(2));
    world.takeover.ended(world.now, 2, ProposalOutcome::Unknown);
    // Another leader's term: nothing is asked for, however long it takes.
    world.leadership = Leadership {
        me: ME,
        term: 3,
        leader: Some(1),
        ..Default::default()
    };
    world.pass(ms(5000));
    assert_eq!(world.decide(), TakeoverDecision::default());
}

#[test]
fn a_late_outcome_of_another_term_changes_nothing() {
    let mut world = TakeoverWorld::new();
    world.elected(2);
    assert_eq!(world.decide().propose, Some(2));
    world.elected(4);
    assert_eq!(world.decide().propose, Some(4));
    world.takeover.ended(world.now, 2, ProposalOutcome::Refused);
    world.pass(ms(5000));
    assert_eq!(
        world.decide().propose,
        None,
        "the proposal for term 4 is still out"
    );
}

#[test]
fn a_refusal_is_tried_again_with_backoff() {
    let mut world = TakeoverWorld::new();
    world.elected(2);
    world.decide();
    world.takeover.ended(world.now, 2, ProposalOutcome::Refused);
    assert_eq!(world.decide().propose, None);
    world.pass(RETRY_FIRST);
    assert_eq!(world.decide().propose, Some(2));
    world.takeover.ended(world.now, 2, ProposalOutcome::Refused);
    world.pass(RETRY_FIRST);
    assert_eq!(world.decide().propose, None);
    world.pass(RETRY_FIRST);
    assert_eq!(world.decide().propose, Some(2));
    for _ in 0..40 {
        world.takeover.ended(world.now, 2, ProposalOutcome::Refused);
        world.pass(RETRY_LAST);
        assert_eq!(world.decide().propose, Some(2));
    }
}

const DRAIN: Duration = Duration::from_secs(1);

impl TakeoverWorld {
    /// Somebody wants it to part.
    fn part(&mut self, for_good: bool) -> u64 {
        self.takeover
            .begin_release(DRAIN, self.now + DRAIN * 3, for_good)
    }

    /// Reigns under 8 in term 2, was asked to part, and its processes rest.
    fn let_go() -> (Self, u64, TakeoverDecision) {
        let mut world = TakeoverWorld::reigning(2, 8);
        world.reign.clear = true;
        world.heard();
        assert!(world.decide().act.is_some());
        let number = world.part(false);
        let draining = world.decide();
        assert!(draining.act.is_some(), "it acts until its processes rest");
        let within = DRAIN;
        assert_eq!(draining.drain, Some(DrainOrder { number, within }));
        assert!(world.takeover.is_releasing());
        world.takeover.mark_drained(number);
        let decision = world.decide();
        (world, number, decision)
    }
}

// guarantee: REIGN-4
#[test]
fn unknown_release_is_followed_by_new_reign_only() {
    let (mut world, number, decision) = TakeoverWorld::let_go();
    let (term, epoch, from) = (2, 8, None);
    assert_eq!(
        decision.release,
        Some(ReleaseProposal { term, epoch, from })
    );
    assert_eq!(decision.act, None);
    world.heard();
    assert_eq!(world.decide().release, None, "once");
    // Whoever asked stops waiting before the proposal has ended: nothing stands behind it yet.
    world.takeover.withdraw_release(number);
    world.pass(ms(60_000));
    world.heard();
    let pending = world.decide();
    assert_eq!((pending.act, pending.propose), (None, None));
    // Not confirmed: the state still says that the reign runs.
    world.takeover.released(8);
    let again = world.decide();
    assert_eq!((again.act, again.propose), (None, Some(2)));
    assert_eq!(again.drain, None, "the processes need not rest any more");
    // Neither while the new one is on the way, nor when leadership is lost for a moment.
    world.takeover.ended(world.now, 2, ProposalOutcome::Unknown);
    world.leadership.leading = false;
    world.decide();
    world.leadership.leading = true;
    world.heard();
    assert_eq!(world.decide().act, None);
    world.applied(15, 2);
    assert_eq!(world.decide().act.unwrap().epoch, 15);
}

#[test]
fn confirmed_release_is_followed_by_another_reign() {
    let (mut world, number, _) = TakeoverWorld::let_go();
    world.takeover.released(8);
    world.reign.released = true;
    assert!(!world.takeover.is_releasing());
    assert_eq!(world.decide().propose, None, "the leadership is moved now");
    world.takeover.withdraw_release(number);
    assert_eq!(world.decide().propose, Some(2));
}

#[test]
fn concurrent_releases_are_one_and_both_must_end() {
    let (mut world, first, _) = TakeoverWorld::let_go();
    let second = world.part(false);
    assert_eq!(first, second);
    world.takeover.released(8);
    world.takeover.withdraw_release(first);
    let waits = world.decide();
    assert_eq!((waits.act, waits.propose), (None, None));
    world.takeover.withdraw_release(second);
    assert_eq!(world.decide().propose, Some(2));
    // A later parting is another one: what its processes said before is of the past.
    world.applied(15, 2);
    world.heard();
    assert!(world.decide().act.is_some());
    let third = world.part(false);
    assert!(third > second);
    world.takeover.mark_drained(second);
    world.takeover.withdraw_release(second);
    assert!(world.decide().act.is_some() && world.takeover.is_releasing());
}

#[test]
fn release_withdrawn_before_proposal_changes_nothing() {
    let mut world = TakeoverWorld::reigning(2, 8);
    world.decide();
    let number = world.part(false);
    world.decide();
    world.takeover.withdraw_release(number);
    let decision = world.decide();
    assert_eq!((decision.act.unwrap().epoch, decision.drain), (8, None));
}

#[test]
fn restless_processes_end_the_reign_without_release() {
    let mut world = TakeoverWorld::reigning(2, 8);
    world.reign.clear = true;
    world.decide();
    world.part(false);
    assert_eq!(world.decide().look_again, Some(world.now + DRAIN * 3));
    world.pass(DRAIN * 3);
    world.heard();
    let overdue = world.decide();
    assert!(overdue.overdue && overdue.act.is_none() && overdue.release.is_none());
    assert!(!world.takeover.is_releasing() && !world.decide().overdue);
}

#[test]
fn release_waits_for_the_end_of_earlier_leases() {
    let mut world = TakeoverWorld::reigning(2, 8);
    world.leadership.lease_clear_at = Some(world.now + ms(170));
    world.decide();
    let number = world.part(false);
    world.takeover.mark_drained(number);
    let release = world.decide().release.unwrap();
    assert_eq!(release.from, Some(world.start + ms(180)));
    let mut world = TakeoverWorld::reigning(2, 8);
    world.decide();
    let number = world.part(false);
    world.takeover.mark_drained(number);
    let decision = world.decide();
    assert_eq!((decision.release, decision.act), (None, None));
    assert!(
        !world.takeover.is_releasing(),
        "there is nothing that it could say"
    );
}

#[test]
fn release_ends_with_its_term_unless_final() {
    let (mut world, _, _) = TakeoverWorld::let_go();
    world.leadership.leading = false;
    world.decide();
    world.elected(5);
    let decision = world.decide();
    assert_eq!((decision.propose, decision.drain), (Some(5), None));
    // What ends of it later is nobody's.
    world.takeover.released(8);
    world.applied(21, 5);
    world.heard();
    assert_eq!(world.decide().act.unwrap().epoch, 21);

    world.part(true);
    world.elected(7);
    world.pass(ms(60_000));
    world.heard();
    for _ in 0..2 {
        let decision = world.decide();
        assert_eq!((decision.propose, decision.act), (None, None));
        assert!(decision.drain.is_some());
    }
}

#[test]
fn wait_of_lease_fenced_connectors_is_reported() {
    let mut world = TakeoverWorld::reigning(2, 8);
    let clear_at = world.now + ms(170);
    world.leadership.lease_clear_at = Some(clear_at);
    assert_eq!(world.decide().act.unwrap().clear_at, Some(clear_at));
}

#[test]
fn elected_member_prepares_once_a_term() {
    let mut world = TakeoverWorld::new();
    assert!(!world.decide().prepare, "a follower has nothing to prepare");
    world.elected(2);
    world.leadership.leading = false;
    world.leadership.heard_at = None;
    assert!(world.decide().prepare, "its first entry is on the way");
    world.leadership.leading = true;
    let asked = world.decide();
    assert_eq!((asked.propose, asked.prepare), (Some(2), true));
    assert!(world.decide().prepare, "the takeover is on the way");
    world.applied(8, 2);
    let applied = world.decide();
    assert_eq!((applied.act, applied.prepare), (None, true));
    world.pass(ms(5));
    world.heard();
    let acts = world.decide();
    assert!(acts.act.is_some() && !acts.prepare);
    // Lost for a moment, or without a quorum: it would keep a successor out.
    world.leadership.heard_at = None;
    assert!(!world.decide().prepare);
    world.leadership.leading = false;
    assert!(!world.decide().prepare);
    world.leadership.leader = None;
    assert_eq!(world.decide(), TakeoverDecision::default());
    world.elected(4);
    assert!(world.decide().prepare, "another term");
}

#[test]
fn release_prepares_nothing() {
    let (mut world, _, decision) = TakeoverWorld::let_go();
    assert!(!decision.prepare && !world.decide().prepare);
    world.part(true);
    world.elected(3);
    world.leadership.leading = false;
    assert!(!world.decide().prepare, "it is about to stop");
}

#[test]
fn released_reign_leaves_no_lease_to_await() {
    let mut world = TakeoverWorld::reigning(2, 8);
    world.leadership.lease_clear_at = Some(world.now + ms(170));
    world.reign.clear = true;
    let since = world.decide().act.unwrap().clear_at;
    assert_eq!(since, Some(world.now));
    world.pass(ms(7));
    world.heard();
    assert_eq!(world.decide().act.unwrap().clear_at, since);
}
