//! Laws of the transition, one by one and over chance histories of a process at the end of a pipe.

mod piped_world;

use proptest::{collection::vec, prelude::*};

use self::piped_world::World;
use super::*;

const DRAIN: Duration = Duration::from_secs(2);

#[test]
fn absent_process_is_confirmed_where_none_is_desired() {
    for target in [TargetState::Stopped(DRAIN), TargetState::Parked(DRAIN)] {
        let mut world = World::new(target);
        assert_eq!(world.confirmed, 1);
        world.target(TargetState::Standby(DRAIN));
        assert!(world.state.wants_permit());
        world.target(target);
        assert!(!world.state.wants_permit());
        assert_eq!(world.confirmed, 3);
    }
}

#[test]
fn start_configures_before_it_commands() {
    let mut world = World::new(TargetState::Active(7));
    assert_eq!(
        world.start(),
        [
            ActorEffect::CloseStaleConnections,
            ActorEffect::EndSession,
            ActorEffect::ShowStarting,
            ActorEffect::Configure,
            ActorEffect::Command(ProcessCommand::Activate(7)),
            ActorEffect::KillAt(None),
            ActorEffect::ShowEpoch(Some(7)),
        ]
    );
}

#[test]
fn target_set_during_a_start_counts_after_it() {
    let mut world = World::new(TargetState::Active(7));
    world.advance(ActorEvent::Permitted);
    assert!(world.target(TargetState::Stopped(DRAIN)).is_empty());
    assert_eq!(world.confirmed, 0, "a process is on its way");
}

#[test]
fn parking_process_is_killed_after_its_grace() {
    let mut world = World::active();
    world.target(TargetState::Parked(DRAIN));
    assert_eq!(world.confirmed, 0);
    world.wait(DRAIN + PARK_GRACE);
    world.deliver_reply();
    assert!(world.process.is_none());
    assert_eq!(world.confirmed, world.desired.generation);
    assert!(world.failures.is_empty(), "the process was to end");
}

#[test]
fn parked_process_stays_and_is_used_again() {
    let mut world = World::active();
    world.target(TargetState::Parked(DRAIN));
    world.exchange();
    assert_eq!(world.confirmed, world.desired.generation);
    world.wait(DRAIN * 10);
    world.target(TargetState::Active(9));
    world.exchange();
    assert!(world.process.is_some() && world.state.epoch() == Some(9));
}

#[test]
fn late_standby_confirmation_confirms_nothing() {
    let mut world = World::active();
    world.target(TargetState::Parked(DRAIN));
    world.target(TargetState::Active(9));
    let parked_until = world.now + DRAIN + PARK_GRACE;
    let effects = world.target(TargetState::Parked(DRAIN));
    assert!(effects.contains(&ActorEffect::KillAt(Some(parked_until))));
    // The process answers the first command to stand by, and has two more before it.
    world.process.as_mut().unwrap().handle_command();
    world.deliver_reply();
    world.deliver_reply();
    assert_eq!(world.confirmed, 0);
    world.exchange();
    assert_eq!(world.confirmed, world.desired.generation);
}

#[test]
fn recreated_connector_ends_its_old_process_first() {
    let changes: [fn(&mut ConnectorSpec); 2] =
        [|spec| spec.created += 1, |spec| spec.restarted += 1];
    for change in changes {
        let mut world = World::active();
        let effects = world.change(TargetState::Active(7), change);
        let needed = world.desired.spec.drain_timeout;
        assert!(effects.contains(&ActorEffect::Command(ProcessCommand::Stop(needed))));
        // Nothing takes that back.
        assert!(world.target(TargetState::Standby(DRAIN)).is_empty());
        world.target(TargetState::Active(7));
        assert!(!world.state.may_send());
        world.exchange();
        assert!(world.process.is_none() && world.state.wants_permit());
        world.start();
        world.exchange();
        assert!(world.state.may_send());
    }
}

#[test]
fn release_waits_no_longer_for_a_recreated_connector() {
    let mut world = World::active();
    let effects = world.change(TargetState::Parked(DRAIN), |spec| spec.created += 1);
    assert!(effects.contains(&ActorEffect::Command(ProcessCommand::Stop(DRAIN))));
    assert_eq!(world.confirmed, 0);
    world.wait(DRAIN + STOP_GRACE);
    world.deliver_reply();
    assert_eq!(world.confirmed, world.desired.generation);
    assert!(!world.state.wants_permit());
}

#[test]
fn settings_are_sent_when_they_change() {
    let mut world = World::active();
    let unchanged = world.change(TargetState::Active(7), |spec| spec.warm = false);
    assert!(!unchanged.contains(&ActorEffect::Configure));
    let changed = world.change(TargetState::Active(7), |spec| spec.settings = "{}".into());
    assert!(changed.contains(&ActorEffect::Configure));
}

#[test]
fn activation_ends_the_closing_where_the_broker_fences() {
    for fenced_by_broker in [true, false] {
        let mut world = World::new(TargetState::Standby(DRAIN));
        world.start();
        let target = world.change(TargetState::Active(7), |spec| {
            spec.fenced_by_broker = fenced_by_broker;
        });
        assert!(target.contains(&ActorEffect::CloseStaleConnections));
        let reported = world.advance(ActorEvent::Reported { active: true });
        let later = world.target(TargetState::Active(8));
        assert_eq!(
            (
                reported.contains(&ActorEffect::StopClosingConnections),
                later.contains(&ActorEffect::CloseStaleConnections)
            ),
            (fenced_by_broker, !fenced_by_broker)
        );
    }
}

#[test]
fn failures_back_off_until_a_process_is_stable() {
    let ms = Duration::from_millis;
    let mut world = World::new(TargetState::Active(7));
    let crash = |world: &mut World, active_for, lease_over| {
        world.start();
        world.exchange();
        world.wait(active_for);
        world.crash(lease_over);
        world.wait(RESTART_WAIT_MAX);
        *world.failures.last().unwrap()
    };
    let unstable = STABLE_AFTER - ms(1);
    assert_eq!(crash(&mut world, unstable, false), ms(100));
    assert_eq!(crash(&mut world, unstable, false), ms(200));
    assert_eq!(crash(&mut world, STABLE_AFTER, false), ms(100));
    assert_eq!(crash(&mut world, unstable, false), ms(200));
    // It ended because it had to.
    assert_eq!(crash(&mut world, unstable, true), ms(100));
    for _ in 0..9 {
        world.fail_start();
        world.wait(RESTART_WAIT_MAX);
    }
    assert_eq!(world.failures.last(), Some(&RESTART_WAIT_MAX));
    // Stopped as it was asked to.
    world.start();
    world.target(TargetState::Stopped(DRAIN));
    world.exchange();
    world.target(TargetState::Active(7));
    assert_eq!(crash(&mut world, unstable, false), ms(100));
}

#[test]
fn new_target_ends_the_wait_after_a_failure() {
    let mut world = World::new(TargetState::Active(7));
    world.fail_start();
    assert!(world.state.retry_at().is_some());
    world.target(TargetState::Active(8));
    assert!(world.state.wants_permit() && world.state.retry_at().is_none());
    world.fail_start();
    world.target(TargetState::Stopped(DRAIN));
    assert_eq!(world.confirmed, world.desired.generation);
}

#[test]
fn messages_are_sent_only_while_active() {
    let mut world = World::new(TargetState::Active(7));
    world.start();
    assert!(!world.state.may_send(), "not before it reports");
    world.exchange();
    assert!(world.state.may_send());
    world.target(TargetState::Standby(DRAIN));
    assert!(!world.state.may_send());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Target(TargetState),
    Replace(TargetState),
    Start,
    FailStart,
    HandleCommand,
    DeliverReply,
    Crash,
    Wait(Duration),
}

fn any_target() -> impl Strategy<Value = TargetState> {
    let drain = (0..3000_u64).prop_map(Duration::from_millis);
    (0..5, 1..4_u64, drain).prop_map(|(kind, epoch, drain)| match kind {
        0 => TargetState::Active(epoch),
        1 => TargetState::Prepared(drain),
        2 => TargetState::Standby(drain),
        3 => TargetState::Parked(drain),
        _ => TargetState::Stopped(drain),
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any_target().prop_map(Step::Target),
        1 => any_target().prop_map(Step::Replace),
        3 => Just(Step::Start),
        1 => Just(Step::FailStart),
        6 => Just(Step::HandleCommand),
        6 => Just(Step::DeliverReply),
        1 => Just(Step::Crash),
        2 => (0..12_000_u64).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
    ]
}

impl World {
    fn step(&mut self, step: Step) {
        match step {
            Step::Target(target) => {
                self.target(target);
            }
            Step::Replace(target) => {
                self.change(target, |spec| spec.restarted += 1);
            }
            Step::Start => {
                self.start();
            }
            Step::FailStart => self.fail_start(),
            Step::HandleCommand => {
                if let Some(process) = &mut self.process {
                    process.handle_command();
                }
            }
            Step::DeliverReply => self.deliver_reply(),
            Step::Crash => {
                if let Some(process) = &mut self.process {
                    process.end();
                }
            }
            Step::Wait(time) => self.wait(time),
        }
    }

    /// Goes on until nothing more follows; with `hangs` no process handles a command any more.
    fn run_out(&mut self, hangs: bool) {
        for _ in 0..4 {
            self.start();
            if hangs {
                (0..100).for_each(|_| self.deliver_reply());
            } else {
                self.exchange();
            }
            self.wait(RESTART_WAIT_MAX + STOP_GRACE);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn chance_histories_keep_the_laws(
        steps in vec(any_step(), 0..80),
        last in any_target(),
        hangs: bool,
    ) {
        let mut world = World::new(TargetState::Standby(DRAIN));
        for step in steps {
            world.step(step);
        }
        world.target(last);
        world.run_out(hangs);
        let at_rest = world.confirmed == world.desired.generation;
        prop_assert_eq!(at_rest, !last.needs_process());
        let version = (world.desired.spec.created, world.desired.spec.restarted);
        match last {
            TargetState::Stopped(_) => prop_assert!(world.process.is_none()),
            TargetState::Parked(_) => {}
            _ => {
                let process = world.process.as_ref().expect("it is started again");
                prop_assert_eq!(process.version, version);
                prop_assert_eq!(world.state.epoch().is_some(), matches!(last, TargetState::Active(_)));
            }
        }
    }
}
