//! Timing pressure: signs that this machine is too slow for its failover promise.
//!
//! Three gaps are measured: between two heartbeats that arrive, as follower; between the
//! sending of the round that renewed a lease and the next renewal, as leader; and between
//! the time at which this process wanted to run and the time at which it did. A gap that is
//! longer than half of what is allowed is counted; at all of it the leader is lost. A gap
//! of more than twice what is allowed is the loss of a member or a link rather than a slow
//! machine and shows in elections, unless it is this process itself that stood still.

use std::time::Duration;

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_types::{EffectiveTiming, MemberId};
use tokio::{sync::watch, time::sleep};

/// Time in which at most one line is logged.
const WARN_PAUSE: Duration = Duration::from_secs(10);

/// Pressure that was seen since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimingPressure {
    /// Heartbeats that this member, as follower, got late: more than half of `election_max`
    /// after the one before.
    pub heartbeats_late: u64,
    /// Renewals of its lease that this member, as leader, got late: more than half of the
    /// lease was used up.
    pub renewals_late: u64,
    /// Times that this process did not run for more than half of the lease.
    pub stalls: u64,
    /// The longest of all these gaps, in milliseconds.
    pub worst_ms: u64,
    /// The largest of them as percent of what was allowed: at 100 the leader is lost.
    pub worst_percent: u64,
    /// Time of the last of them.
    pub last_at: Option<Instant>,
}

/// Counter of gaps that were too long.
pub(crate) struct PressureGauge {
    me: MemberId,
    timing: watch::Receiver<EffectiveTiming>,
    seen: watch::Sender<TimingPressure>,
    warned: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, Debug)]
enum PressureSign {
    Heartbeat,
    Renewal,
    Stall,
}

impl PressureGauge {
    pub(crate) fn new(me: MemberId, timing: watch::Receiver<EffectiveTiming>) -> Self {
        PressureGauge {
            me,
            timing,
            seen: watch::Sender::default(),
            warned: Mutex::new(None),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<TimingPressure> {
        self.seen.subscribe()
    }

    /// Takes in that the leader was heard, so long after the last time.
    pub(super) fn heartbeat(&self, gap: Duration) {
        let allowed = self.timing.borrow().patience.election_max;
        if gap <= allowed * 2 {
            self.note(PressureSign::Heartbeat, gap, allowed);
        }
    }

    /// Takes in that this leader's lease was renewed, so long after the last renewal's start.
    pub(super) fn renewal(&self, gap: Duration) {
        let allowed = self.timing.borrow().lease.lease;
        if gap <= allowed * 2 {
            self.note(PressureSign::Renewal, gap, allowed);
        }
    }

    /// Takes in that this process ran so much later than it wanted to.
    fn late(&self, by: Duration) {
        let allowed = self.timing.borrow().lease.lease;
        self.note(PressureSign::Stall, by, allowed);
    }

    fn note(&self, sign: PressureSign, gap: Duration, allowed: Duration) {
        if gap * 2 <= allowed {
            return;
        }
        let percent = (gap.as_micros() * 100 / allowed.as_micros().max(1)) as u64;
        let ms = gap.as_millis() as u64;
        self.seen.send_modify(|seen| {
            *match sign {
                PressureSign::Heartbeat => &mut seen.heartbeats_late,
                PressureSign::Renewal => &mut seen.renewals_late,
                PressureSign::Stall => &mut seen.stalls,
            } += 1;
            seen.worst_ms = seen.worst_ms.max(ms);
            seen.worst_percent = seen.worst_percent.max(percent);
            seen.last_at = Some(Instant::now());
            metrics::gauge!("quorate_strain_worst_ratio").set(seen.worst_percent as f64 / 100.0);
        });
        let counted = match sign {
            PressureSign::Heartbeat => "quorate_heartbeats_late_total",
            PressureSign::Renewal => "quorate_lease_renewals_late_total",
            PressureSign::Stall => "quorate_stalls_total",
        };
        metrics::counter!(counted).increment(1);
        self.warn(sign, ms, percent);
    }

    fn warn(&self, sign: PressureSign, gap_ms: u64, percent: u64) {
        let now = Instant::now();
        let mut warned = self.warned.lock();
        if warned.is_some_and(|at| now < at + WARN_PAUSE) {
            return;
        }
        *warned = Some(now);
        let what = match sign {
            PressureSign::Heartbeat => "a heartbeat of the leader came late",
            PressureSign::Renewal => "a quorum's answer renewed this leader's lease late",
            PressureSign::Stall => "this process did not get to run",
        };
        let seen = *self.seen.borrow();
        tracing::warn!(
            member = self.me,
            failover_ms = self.timing.borrow().lease.failover.as_millis() as u64,
            gap_ms,
            percent,
            heartbeats_late = seen.heartbeats_late,
            renewals_late = seen.renewals_late,
            stalls = seen.stalls,
            "this machine is slow for its promise: {what}, by {percent} % of the gap at which \
             the leader is replaced. Promise a longer failover_ms, or run less beside it"
        );
    }
}

/// Measures by how much this process runs late.
pub(super) async fn watch_stalls(gauge: std::sync::Arc<PressureGauge>) {
    loop {
        let pause = gauge.timing.borrow().lease.heartbeat;
        let began = Instant::now();
        sleep(pause).await;
        gauge.late(began.elapsed().saturating_sub(pause));
    }
}

#[cfg(test)]
mod tests {
    use quorate_types::Timing;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn gauge() -> PressureGauge {
        let timing = Timing::from_failover_ms(500).unwrap();
        PressureGauge::new(1, watch::Sender::new(timing.into()).subscribe())
    }

    fn seen(gauge: &PressureGauge) -> TimingPressure {
        *gauge.seen.borrow()
    }

    #[test]
    fn gaps_above_half_of_allowed_time_count() {
        let g = gauge();
        g.heartbeat(82 * MS);
        g.renewal(79 * MS);
        g.late(79 * MS);
        assert_eq!(seen(&g), TimingPressure::default());
        g.heartbeat(83 * MS);
        g.renewal(80 * MS);
        g.late(80 * MS);
        let s = seen(&g);
        assert_eq!((s.heartbeats_late, s.renewals_late, s.stalls), (1, 1, 1));
        assert_eq!((s.worst_ms, s.worst_percent), (83, 50));
        assert!(s.last_at.is_some());
    }

    #[test]
    fn the_worst_is_kept() {
        let g = gauge();
        g.renewal(150 * MS);
        g.heartbeat(90 * MS);
        assert_eq!(seen(&g).worst_ms, 150);
        assert_eq!(seen(&g).worst_percent, 94);
    }

    #[test]
    fn outage_is_no_pressure_but_stall_is() {
        let g = gauge();
        g.heartbeat(2000 * MS);
        g.renewal(2000 * MS);
        assert_eq!(seen(&g), TimingPressure::default());
        g.late(2000 * MS);
        assert_eq!(seen(&g).stalls, 1);
    }
}
