use super::*;

const ME: MemberId = 2;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

struct World {
    start: Instant,
    now: Instant,
    takeover: Takeover,
    leadership: Leadership,
    reign: Reign,
}

impl World {
    fn new() -> Self {
        let start = Instant::now();
        World {
            start,
            now: start,
            takeover: Takeover::new(ME, ms(1000)),
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

    fn decide(&mut self) -> Decision {
        self.takeover
            .decide(self.now, &self.leadership, &self.reign)
    }

    fn reigning(term: u64, epoch: u64) -> Self {
        let mut world = World::new();
        world.decide();
        world.pass(ms(10));
        world.elected(term);
        assert_eq!(world.decide().propose, Some(term));
        world.takeover.ended(world.now, term, Outcome::Applied);
        world.applied(epoch, term);
        world
    }
}

#[test]
fn a_follower_does_nothing() {
    let mut world = World::new();
    assert_eq!(world.decide(), Decision::default());
}

#[test]
fn a_new_leader_asks_once_and_acts_when_it_has_applied() {
    let mut world = World::new();
    world.decide();
    world.pass(ms(1));
    world.elected(2);
    assert_eq!(world.decide().propose, Some(2));
    assert_eq!(world.decide().propose, None, "asked twice");
    world.takeover.ended(world.now, 2, Outcome::Applied);
    world.applied(8, 2);
    let act = world.decide().act.unwrap();
    assert_eq!((act.epoch, act.term, act.heard_at), (8, 2, world.now));
}

#[test]
fn what_a_follower_heard_is_no_lease() {
    let mut world = World::new();
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
fn lost_for_a_moment_and_kept_in_the_same_term_is_the_same_reign() {
    let mut world = World::reigning(2, 8);
    assert!(world.decide().act.is_some());
    world.leadership.leading = false;
    assert_eq!(world.decide(), Decision::default());
    world.leadership.leading = true;
    let decision = world.decide();
    assert_eq!(decision.propose, None);
    assert_eq!(decision.act.unwrap().epoch, 8);
}

#[test]
fn elected_again_gets_a_new_epoch() {
    let mut world = World::reigning(2, 8);
    world.pass(ms(5));
    world.leadership = Leadership {
        me: ME,
        term: 3,
        leader: Some(3),
        ..Default::default()
    };
    assert_eq!(world.decide(), Decision::default());
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
    let mut world = World::new();
    world.elected(2);
    assert_eq!(world.decide().propose, Some(2));
    world.takeover.ended(world.now, 2, Outcome::Unknown);
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
fn an_unknown_outcome_that_never_shows_is_asked_again_in_the_same_term_only() {
    let mut world = World::new();
    world.elected(2);
    world.decide();
    world.takeover.ended(world.now, 2, Outcome::Unknown);
    world.pass(ms(1000));
    assert_eq!(world.decide().propose, Some(2));
    world.takeover.ended(world.now, 2, Outcome::Unknown);
    // Another leader's term: nothing is asked for, however long it takes.
    world.leadership = Leadership {
        me: ME,
        term: 3,
        leader: Some(1),
        ..Default::default()
    };
    world.pass(ms(5000));
    assert_eq!(world.decide(), Decision::default());
}

#[test]
fn a_late_outcome_of_another_term_changes_nothing() {
    let mut world = World::new();
    world.elected(2);
    assert_eq!(world.decide().propose, Some(2));
    world.elected(4);
    assert_eq!(world.decide().propose, Some(4));
    world.takeover.ended(world.now, 2, Outcome::Refused);
    world.pass(ms(5000));
    assert_eq!(
        world.decide().propose,
        None,
        "the proposal for term 4 is still out"
    );
}

#[test]
fn a_refusal_is_tried_again_with_backoff() {
    let mut world = World::new();
    world.elected(2);
    world.decide();
    world.takeover.ended(world.now, 2, Outcome::Refused);
    assert_eq!(world.decide().propose, None);
    world.pass(RETRY_FIRST);
    assert_eq!(world.decide().propose, Some(2));
    world.takeover.ended(world.now, 2, Outcome::Refused);
    world.pass(RETRY_FIRST);
    assert_eq!(world.decide().propose, None);
    world.pass(RETRY_FIRST);
    assert_eq!(world.decide().propose, Some(2));
    for _ in 0..40 {
        world.takeover.ended(world.now, 2, Outcome::Refused);
        world.pass(RETRY_LAST);
        assert_eq!(world.decide().propose, Some(2));
    }
}

#[test]
fn released_and_still_leading_takes_over_again_when_the_hold_is_over() {
    let mut world = World::reigning(2, 8);
    world.decide();
    let until = world.now + ms(100);
    world.takeover.hold(Some(until));
    let held = world.decide();
    assert_eq!(
        (held.act, held.propose, held.look_again),
        (None, None, Some(until))
    );
    world.reign.released = true;
    assert_eq!(world.decide().propose, None);
    world.pass(ms(100));
    assert_eq!(world.decide().propose, Some(2));
    world.applied(15, 2);
    world.heard();
    assert_eq!(world.decide().act.unwrap().epoch, 15);
}

#[test]
fn a_hold_ends_with_its_term_unless_it_is_for_ever() {
    let mut world = World::reigning(2, 8);
    world.decide();
    world.takeover.hold(Some(world.now + ms(60_000)));
    world.leadership.leading = false;
    world.decide();
    world.elected(5);
    assert_eq!(world.decide().propose, Some(5));

    world.takeover.hold(None);
    world.elected(7);
    world.pass(ms(60_000));
    assert_eq!(world.decide(), Decision::default());
}

#[test]
fn the_wait_of_lease_fenced_connectors_is_passed_on() {
    let mut world = World::reigning(2, 8);
    let clear_at = world.now + ms(170);
    world.leadership.lease_clear_at = Some(clear_at);
    assert_eq!(world.decide().act.unwrap().clear_at, Some(clear_at));
}

#[test]
fn the_elected_prepares_until_it_may_act_and_never_again_in_that_term() {
    let mut world = World::new();
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
    assert_eq!(world.decide(), Decision::default());
    world.elected(4);
    assert!(world.decide().prepare, "another term");
}

#[test]
fn nothing_is_prepared_while_the_reign_is_let_go_of() {
    let mut world = World::reigning(2, 8);
    world.decide();
    world.takeover.hold(Some(world.now + ms(100)));
    assert!(!world.decide().prepare);
    world.takeover.hold(None);
    world.elected(3);
    world.leadership.leading = false;
    assert!(!world.decide().prepare, "it is about to stop");
}

#[test]
fn after_a_release_there_is_no_lease_to_wait_for() {
    let mut world = World::reigning(2, 8);
    world.leadership.lease_clear_at = Some(world.now + ms(170));
    world.reign.clear = true;
    let since = world.decide().act.unwrap().clear_at;
    assert_eq!(since, Some(world.now));
    world.pass(ms(7));
    world.heard();
    assert_eq!(world.decide().act.unwrap().clear_at, since);
}
