//! How a process is to stand, given who acts.

use std::time::{Duration, Instant};

use super::{reign::Standing, view::Spec};

/// How long processes stand by after the reign was lost: it may be kept, or come back,
/// within a moment, and then costs no new process.
const LINGER: Duration = Duration::from_secs(5);

/// How a process is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Consume under this epoch.
    Act(u64),
    /// Be there, consuming nothing; finish what is in flight within this time.
    StandBy(Duration),
    /// Finish what is in flight within this time, and go.
    Gone(Duration),
}

impl Stance {
    /// Whether no process is wished.
    pub fn is_gone(self) -> bool {
        matches!(self, Stance::Gone(_))
    }
}

/// What decides about all processes alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation {
    /// An orderly release is under way, with this long to finish.
    pub rest: Option<Duration>,
    /// Whether this member acts.
    pub standing: Standing,
    /// When it was seen to have stopped acting, if it acted since the last release.
    pub acted_until: Option<Instant>,
}

impl Situation {
    /// How the process of an active channel is to stand now, and when to look again.
    pub fn stance(&self, spec: &Spec, now: Instant) -> (Stance, Option<Instant>) {
        if let Some(drain) = self.rest {
            return (Stance::Gone(drain), None);
        }
        let Standing {
            acting,
            epoch,
            clear_at,
        } = self.standing;
        if acting {
            return match clear_at {
                _ if spec.fenced_by_broker => (Stance::Act(epoch), None),
                Some(at) if now >= at => (Stance::Act(epoch), None),
                // Until no earlier lease can run. A later look when that isn't known yet.
                clear_at => (Stance::StandBy(spec.call_timeout), clear_at),
            };
        }
        match self.acted_until.map(|at| at + LINGER) {
            Some(until) if now < until => (Stance::StandBy(spec.call_timeout), Some(until)),
            _ => (Stance::Gone(spec.call_timeout), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::view::Key, *};

    const DRAIN: Duration = Duration::from_secs(10);

    fn spec(fenced_by_broker: bool) -> Spec {
        Spec {
            key: Key {
                kind: "amqp_channel",
                name: "orders".into(),
            },
            active: true,
            connection: Default::default(),
            channel: Default::default(),
            service: "store".into(),
            call_timeout: DRAIN,
            prefetch: 10,
            fenced_by_broker,
        }
    }

    fn acting(clear_at: Option<Instant>) -> Situation {
        Situation {
            standing: Standing {
                acting: true,
                epoch: 7,
                clear_at,
            },
            ..Situation::default()
        }
    }

    #[test]
    fn what_the_broker_fences_acts_at_once() {
        let now = Instant::now();
        for clear_at in [None, Some(now + DRAIN)] {
            assert_eq!(
                acting(clear_at).stance(&spec(true), now),
                (Stance::Act(7), None)
            );
        }
    }

    #[test]
    fn what_only_the_lease_fences_waits_until_all_earlier_leases_are_over() {
        let (now, spec) = (Instant::now(), spec(false));
        let standby = Stance::StandBy(DRAIN);
        assert_eq!(acting(None).stance(&spec, now), (standby, None));
        let at = now + Duration::from_millis(170);
        assert_eq!(acting(Some(at)).stance(&spec, now), (standby, Some(at)));
        assert_eq!(acting(Some(at)).stance(&spec, at), (Stance::Act(7), None));
    }

    #[test]
    fn processes_linger_after_the_reign_and_then_go() {
        let (now, spec) = (Instant::now(), spec(true));
        let gone = (Stance::Gone(DRAIN), None);
        assert_eq!(Situation::default().stance(&spec, now), gone);
        let lost = Situation {
            acted_until: Some(now),
            ..Situation::default()
        };
        let until = now + LINGER;
        assert_eq!(
            lost.stance(&spec, now),
            (Stance::StandBy(DRAIN), Some(until))
        );
        assert_eq!(lost.stance(&spec, until), gone);
    }

    #[test]
    fn a_release_comes_before_everything() {
        let rest = Some(Duration::from_secs(1));
        let releasing = Situation {
            rest,
            ..acting(None)
        };
        assert_eq!(
            releasing.stance(&spec(true), Instant::now()),
            (Stance::Gone(Duration::from_secs(1)), None)
        );
    }
}
