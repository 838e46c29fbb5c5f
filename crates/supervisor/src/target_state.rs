//! Target state of a connector process, as it follows from the reign and the spec.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};

use super::{
    connector_spec::ConnectorSpec, reign_status::ReignStatus, takeover_policy::DrainOrder,
};

/// Time for which processes stand by after the reign was lost, where they don't do so anyway: it
/// may be kept, or come back, within a moment, and then costs no new process.
const LINGER: Duration = Duration::from_secs(5);

/// Longest time for an outgoing's messages in flight to finish, after the channels have.
const PARK_OUTGOING: Duration = Duration::from_secs(1);

/// Target state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// Consume under this epoch.
    Active(u64),
    /// Begin to consume and hand nothing on; give it up after this time.
    Prepared(Duration),
    /// Be there, consuming nothing; finish what is in flight within this time.
    Standby(Duration),
    /// As `Standby`, and confirm it or be killed; a process that isn't there is not started.
    Parked(Duration),
    /// Finish what is in flight within this time, and exit.
    Stopped(Duration),
}

impl TargetState {
    /// Returns true when no process is desired.
    pub fn is_stopped(self) -> bool {
        matches!(self, TargetState::Stopped(_))
    }

    /// Returns true when a process is to be there and to consume nothing.
    pub fn stands_by(self) -> bool {
        matches!(self, TargetState::Standby(_) | TargetState::Parked(_))
    }

    /// Returns true when a process that is not there is to be started.
    pub fn needs_process(self) -> bool {
        !matches!(self, TargetState::Stopped(_) | TargetState::Parked(_))
    }
}

/// Inputs that decide about all processes alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlacementInputs {
    /// Every channel has finished for an orderly release. An answer of their services may have to
    /// be sent, so the outgoings park after them.
    pub channels_drained: bool,
    /// Status of this member's reign.
    pub reign_status: ReignStatus,
    /// True when this member can be elected.
    pub voter: bool,
    /// Time for which a prepared process waits for its reign.
    pub prepared: Duration,
    /// Time at which this member was seen to have stopped acting, if it acted since the last
    /// release.
    pub acted_until: Option<Instant>,
}

impl PlacementInputs {
    /// Returns the target state of an active connector's process now, and when to look again.
    /// `warm`: the process stands by while this member doesn't act.
    pub fn target_state(
        &self,
        spec: &ConnectorSpec,
        warm: bool,
        now: Instant,
    ) -> (TargetState, Option<Instant>) {
        let ReignStatus {
            elected,
            epoch,
            clear_at,
            drain: rest,
            ..
        } = self.reign_status;
        let reigns = self.reign_status.reigns();
        if let Some(DrainOrder { within: drain, .. }) = rest {
            let target = match spec.service {
                None if reigns && !self.channels_drained => TargetState::Active(epoch),
                None => TargetState::Parked(drain.min(PARK_OUTGOING)),
                Some(_) => TargetState::Parked(drain),
            };
            return (target, None);
        }
        if reigns {
            return match clear_at {
                _ if planted(Mutant::TakeoverWithoutWait) => (TargetState::Active(epoch), None),
                _ if spec.fenced_by_broker => (TargetState::Active(epoch), None),
                Some(at) if now >= at => (TargetState::Active(epoch), None),
                // Until no earlier lease can run. A later look when that isn't known yet.
                clear_at => (TargetState::Standby(spec.drain_timeout), clear_at),
            };
        }
        if elected && spec.fenced_by_broker {
            return (TargetState::Prepared(self.prepared), None);
        }
        if elected || self.keeps(warm) {
            return (TargetState::Standby(spec.drain_timeout), None);
        }
        match self.acted_until.map(|at| at + LINGER) {
            Some(until) if now < until => (TargetState::Standby(spec.drain_timeout), Some(until)),
            _ => (TargetState::Stopped(spec.drain_timeout), None),
        }
    }

    /// Returns true when a process that is not there is to be started. None is started just to
    /// stand by for a moment.
    pub fn starts(&self, warm: bool) -> bool {
        self.reign_status.reigns() || self.reign_status.elected || self.keeps(warm)
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

    fn spec(fenced_by_broker: bool) -> ConnectorSpec {
        ConnectorSpec {
            drain_timeout: DRAIN,
            fenced_by_broker,
            ..ConnectorSpec::for_test()
        }
    }

    fn follower() -> PlacementInputs {
        PlacementInputs {
            voter: true,
            prepared: PREPARED,
            ..PlacementInputs::default()
        }
    }

    fn acting(clear_at: Option<Instant>) -> PlacementInputs {
        PlacementInputs {
            reign_status: ReignStatus {
                acting: true,
                epoch: 7,
                clear_at,
                ..ReignStatus::default()
            },
            ..follower()
        }
    }

    fn elected() -> PlacementInputs {
        PlacementInputs {
            reign_status: ReignStatus {
                elected: true,
                ..ReignStatus::default()
            },
            ..follower()
        }
    }

    fn resting(inputs: PlacementInputs, within: Duration) -> PlacementInputs {
        let rest = Some(DrainOrder { number: 1, within });
        let standby = ReignStatus {
            drain: rest,
            ..inputs.reign_status
        };
        PlacementInputs {
            reign_status: standby,
            ..inputs
        }
    }

    #[test]
    fn lapsed_lease_changes_no_target() {
        let now = Instant::now();
        for clear_at in [Some(now), Some(now + DRAIN)] {
            let acting = acting(clear_at);
            let standby = ReignStatus {
                acting: false,
                lapsed: true,
                ..acting.reign_status
            };
            let lapsed = PlacementInputs {
                reign_status: standby,
                ..acting
            };
            for spec in [spec(true), spec(false)] {
                assert_eq!(
                    lapsed.target_state(&spec, true, now),
                    acting.target_state(&spec, true, now)
                );
            }
        }
    }

    #[test]
    fn broker_fenced_connector_acts_at_once() {
        let now = Instant::now();
        for clear_at in [None, Some(now + DRAIN)] {
            assert_eq!(
                acting(clear_at).target_state(&spec(true), true, now),
                (TargetState::Active(7), None)
            );
        }
    }

    #[test]
    fn lease_fenced_waits_for_earlier_leases() {
        let (now, spec) = (Instant::now(), spec(false));
        let standby = TargetState::Standby(DRAIN);
        assert_eq!(acting(None).target_state(&spec, true, now), (standby, None));
        let at = now + Duration::from_millis(170);
        let waiting = acting(Some(at));
        assert_eq!(waiting.target_state(&spec, true, now), (standby, Some(at)));
        let just_before = at - Duration::from_nanos(1);
        assert_eq!(
            waiting.target_state(&spec, true, just_before),
            (standby, Some(at))
        );
        assert_eq!(
            waiting.target_state(&spec, true, at),
            (TargetState::Active(7), None)
        );
    }

    #[test]
    fn voters_keep_warm_processes_and_nobody_keeps_others() {
        let (now, spec) = (Instant::now(), spec(true));
        let gone = (TargetState::Stopped(DRAIN), None);
        let voter = follower();
        assert_eq!(
            voter.target_state(&spec, true, now),
            (TargetState::Standby(DRAIN), None)
        );
        assert!(voter.starts(true) && !voter.starts(false));
        assert_eq!(voter.target_state(&spec, false, now), gone);
        let learner = PlacementInputs {
            voter: false,
            ..voter
        };
        assert_eq!(learner.target_state(&spec, true, now), gone);
        assert!(!learner.starts(true));
    }

    #[test]
    fn elected_member_prepares_broker_fenced_only() {
        let now = Instant::now();
        for warm in [true, false] {
            assert_eq!(
                elected().target_state(&spec(true), warm, now),
                (TargetState::Prepared(PREPARED), None)
            );
            // It would take messages while the old holder may still act.
            assert_eq!(
                elected().target_state(&spec(false), warm, now),
                (TargetState::Standby(DRAIN), None)
            );
            assert!(elected().starts(warm));
        }
    }

    #[test]
    fn cold_processes_linger_then_stop() {
        let (now, spec) = (Instant::now(), spec(true));
        let gone = (TargetState::Stopped(DRAIN), None);
        let lost = PlacementInputs {
            acted_until: Some(now),
            ..follower()
        };
        let until = now + LINGER;
        assert_eq!(
            lost.target_state(&spec, false, now),
            (TargetState::Standby(DRAIN), Some(until))
        );
        assert!(!lost.starts(false));
        assert_eq!(lost.target_state(&spec, false, until), gone);
    }

    #[test]
    fn a_release_comes_before_everything() {
        for inputs in [follower(), elected(), acting(None)] {
            let releasing = resting(inputs, Duration::from_secs(1));
            assert_eq!(
                releasing.target_state(&spec(true), true, Instant::now()),
                (TargetState::Parked(Duration::from_secs(1)), None)
            );
        }
    }

    #[test]
    fn outgoings_work_until_the_channels_rest() {
        let now = Instant::now();
        let outgoing = ConnectorSpec {
            service: None,
            ..spec(true)
        };
        let releasing = resting(acting(None), DRAIN);
        assert_eq!(
            releasing.target_state(&outgoing, true, now),
            (TargetState::Active(7), None)
        );
        let park = (TargetState::Parked(PARK_OUTGOING), None);
        let channels_rest = true;
        let later = PlacementInputs {
            channels_drained: channels_rest,
            ..releasing
        };
        assert_eq!(later.target_state(&outgoing, true, now), park);
        let standby = resting(follower(), DRAIN);
        assert_eq!(standby.target_state(&outgoing, true, now), park);
    }
}
