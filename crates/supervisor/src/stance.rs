//! How a process is to stand, given who acts.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};

use super::{spec::Spec, standing::Standing, takeover::Rest};

/// How long processes stand by after the reign was lost, where they don't do so anyway: it
/// may be kept, or come back, within a moment, and then costs no new process.
const LINGER: Duration = Duration::from_secs(5);

/// How long what an outgoing has under way may take to finish, after the channels have.
const PARK_OUTGOING: Duration = Duration::from_secs(1);

/// How a process is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Consume under this epoch.
    Act(u64),
    /// Begin to consume and hand nothing on; give it up after this time.
    Prepare(Duration),
    /// Be there, consuming nothing; finish what is in flight within this time.
    StandBy(Duration),
    /// As `StandBy`, and say so or be killed; what isn't there stays away.
    Park(Duration),
    /// Finish what is in flight within this time, and go.
    Gone(Duration),
}

impl Stance {
    /// Whether no process is wished.
    pub fn is_gone(self) -> bool {
        matches!(self, Stance::Gone(_))
    }

    /// Whether a process that is not there is to be started.
    pub fn needs_process(self) -> bool {
        !matches!(self, Stance::Gone(_) | Stance::Park(_))
    }
}

/// What decides about all processes alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation {
    /// Every channel has finished for an orderly release. What their services answer may be to be sent, so
    /// the outgoings park after them.
    pub channels_rest: bool,
    /// Whether this member acts.
    pub standing: Standing,
    /// Whether this member can be elected.
    pub voter: bool,
    /// How long a prepared process waits for its reign.
    pub prepared: Duration,
    /// When it was seen to have stopped acting, if it acted since the last release.
    pub acted_until: Option<Instant>,
}

impl Situation {
    /// How the process of an active channel is to stand now, and when to look again.
    /// `warm`: it stands by while this member doesn't act.
    pub fn stance(&self, spec: &Spec, warm: bool, now: Instant) -> (Stance, Option<Instant>) {
        let Standing {
            elected,
            epoch,
            clear_at,
            rest,
            ..
        } = self.standing;
        let reigns = self.standing.reigns();
        if let Some(Rest { within: drain, .. }) = rest {
            let stance = match spec.service {
                None if reigns && !self.channels_rest => Stance::Act(epoch),
                None => Stance::Park(drain.min(PARK_OUTGOING)),
                Some(_) => Stance::Park(drain),
            };
            return (stance, None);
        }
        if reigns {
            return match clear_at {
                _ if planted(Mutant::TakeoverWithoutWait) => (Stance::Act(epoch), None),
                _ if spec.fenced_by_broker => (Stance::Act(epoch), None),
                Some(at) if now >= at => (Stance::Act(epoch), None),
                // Until no earlier lease can run. A later look when that isn't known yet.
                clear_at => (Stance::StandBy(spec.finish), clear_at),
            };
        }
        if elected && spec.fenced_by_broker {
            return (Stance::Prepare(self.prepared), None);
        }
        if elected || self.keeps(warm) {
            return (Stance::StandBy(spec.finish), None);
        }
        match self.acted_until.map(|at| at + LINGER) {
            Some(until) if now < until => (Stance::StandBy(spec.finish), Some(until)),
            _ => (Stance::Gone(spec.finish), None),
        }
    }

    /// Whether a process is to be started that is not there. Nobody starts one just to let
    /// it stand by for a moment.
    pub fn starts(&self, warm: bool) -> bool {
        self.standing.reigns() || self.standing.elected || self.keeps(warm)
    }

    fn keeps(&self, warm: bool) -> bool {
        warm && self.voter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_secs(10);
    const PREPARED: Duration = Duration::from_millis(500);

    fn spec(fenced_by_broker: bool) -> Spec {
        Spec {
            finish: DRAIN,
            fenced_by_broker,
            ..Spec::of_test()
        }
    }

    fn follower() -> Situation {
        Situation {
            voter: true,
            prepared: PREPARED,
            ..Situation::default()
        }
    }

    fn acting(clear_at: Option<Instant>) -> Situation {
        Situation {
            standing: Standing {
                acting: true,
                epoch: 7,
                clear_at,
                ..Standing::default()
            },
            ..follower()
        }
    }

    fn elected() -> Situation {
        Situation {
            standing: Standing {
                elected: true,
                ..Standing::default()
            },
            ..follower()
        }
    }

    fn resting(situation: Situation, within: Duration) -> Situation {
        let rest = Some(Rest { number: 1, within });
        let standing = Standing {
            rest,
            ..situation.standing
        };
        Situation {
            standing,
            ..situation
        }
    }

    #[test]
    fn nobody_is_told_to_stand_by_because_the_lease_has_lapsed() {
        let now = Instant::now();
        for clear_at in [Some(now), Some(now + DRAIN)] {
            let acting = acting(clear_at);
            let standing = Standing {
                acting: false,
                lapsed: true,
                ..acting.standing
            };
            let lapsed = Situation { standing, ..acting };
            for spec in [spec(true), spec(false)] {
                assert_eq!(
                    lapsed.stance(&spec, true, now),
                    acting.stance(&spec, true, now)
                );
            }
        }
    }

    #[test]
    fn what_the_broker_fences_acts_at_once() {
        let now = Instant::now();
        for clear_at in [None, Some(now + DRAIN)] {
            assert_eq!(
                acting(clear_at).stance(&spec(true), true, now),
                (Stance::Act(7), None)
            );
        }
    }

    #[test]
    fn what_only_the_lease_fences_waits_until_all_earlier_leases_are_over() {
        let (now, spec) = (Instant::now(), spec(false));
        let standby = Stance::StandBy(DRAIN);
        assert_eq!(acting(None).stance(&spec, true, now), (standby, None));
        let at = now + Duration::from_millis(170);
        let waiting = acting(Some(at));
        assert_eq!(waiting.stance(&spec, true, now), (standby, Some(at)));
        let just_before = at - Duration::from_nanos(1);
        assert_eq!(
            waiting.stance(&spec, true, just_before),
            (standby, Some(at))
        );
        assert_eq!(waiting.stance(&spec, true, at), (Stance::Act(7), None));
    }

    #[test]
    fn voters_keep_warm_processes_and_nobody_keeps_others() {
        let (now, spec) = (Instant::now(), spec(true));
        let gone = (Stance::Gone(DRAIN), None);
        let voter = follower();
        assert_eq!(
            voter.stance(&spec, true, now),
            (Stance::StandBy(DRAIN), None)
        );
        assert!(voter.starts(true) && !voter.starts(false));
        assert_eq!(voter.stance(&spec, false, now), gone);
        let learner = Situation {
            voter: false,
            ..voter
        };
        assert_eq!(learner.stance(&spec, true, now), gone);
        assert!(!learner.starts(true));
    }

    #[test]
    fn the_elected_prepares_what_the_broker_fences_and_nothing_else() {
        let now = Instant::now();
        for warm in [true, false] {
            assert_eq!(
                elected().stance(&spec(true), warm, now),
                (Stance::Prepare(PREPARED), None)
            );
            // It would take messages while the old holder may still act.
            assert_eq!(
                elected().stance(&spec(false), warm, now),
                (Stance::StandBy(DRAIN), None)
            );
            assert!(elected().starts(warm));
        }
    }

    #[test]
    fn cold_processes_linger_after_the_reign_and_then_go() {
        let (now, spec) = (Instant::now(), spec(true));
        let gone = (Stance::Gone(DRAIN), None);
        let lost = Situation {
            acted_until: Some(now),
            ..follower()
        };
        let until = now + LINGER;
        assert_eq!(
            lost.stance(&spec, false, now),
            (Stance::StandBy(DRAIN), Some(until))
        );
        assert!(!lost.starts(false));
        assert_eq!(lost.stance(&spec, false, until), gone);
    }

    #[test]
    fn a_release_comes_before_everything() {
        for situation in [follower(), elected(), acting(None)] {
            let releasing = resting(situation, Duration::from_secs(1));
            assert_eq!(
                releasing.stance(&spec(true), true, Instant::now()),
                (Stance::Park(Duration::from_secs(1)), None)
            );
        }
    }

    #[test]
    fn outgoings_work_until_the_channels_rest() {
        let now = Instant::now();
        let outgoing = Spec {
            service: None,
            ..spec(true)
        };
        let releasing = resting(acting(None), DRAIN);
        assert_eq!(
            releasing.stance(&outgoing, true, now),
            (Stance::Act(7), None)
        );
        let park = (Stance::Park(PARK_OUTGOING), None);
        let channels_rest = true;
        let later = Situation {
            channels_rest,
            ..releasing
        };
        assert_eq!(later.stance(&outgoing, true, now), park);
        let standby = resting(follower(), DRAIN);
        assert_eq!(standby.stance(&outgoing, true, now), park);
    }
}
