//! Builder of takeover traces from observations, without waiting or I/O.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_state::{Reason, Takeover};
use quorate_types::{Leadership, MemberId};

use super::super::{
    connector_spec::{ConnectorKey, ConnectorSpec},
    connector_status::ConnectorStatus,
    connectors_view::Reign,
    takeover_reason::takeover_reason,
};

/// Observation of one moment.
pub(super) struct TakeoverObservation<'a> {
    pub leadership: &'a Leadership,
    pub reign: Reign,
    pub connectors: &'a BTreeMap<ConnectorKey, Arc<ConnectorSpec>>,
    pub statuses: &'a [ConnectorStatus],
    /// Time from which on connectors that the lease alone fences may act.
    pub clear_at: Option<Instant>,
}

/// Builder that follows the reigns, and collects while one of this member begins.
pub(super) struct TakeoverTraceBuilder {
    me: MemberId,
    patience: Duration,
    /// Reign as last seen, and the time at which it was first seen to be released.
    last: Reign,
    released_at: Option<Instant>,
    unfinished: Option<TakeoverTrace>,
}

/// Beginning of a reign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TakeoverTrace {
    pub epoch: u64,
    pub term: u64,
    pub why: Reason,
    /// Connector server before.
    pub from: Option<MemberId>,
    /// Time at which the connector server before was heard last.
    pub lost_at: Option<Instant>,
    pub detected_at: Option<Instant>,
    pub elected_at: Option<Instant>,
    pub committed_at: Instant,
    /// Time until which connectors that the lease alone fences had to wait, if there are such.
    pub clear_at: Option<Instant>,
    /// Connectors to be activated, with the time at which each was.
    pub activated: BTreeMap<ConnectorKey, Option<Instant>>,
    /// True while the reign goes on: only then may it be recorded.
    pub still_reigns: bool,
}

impl TakeoverTraceBuilder {
    /// Creates a builder. `reign` runs already: no trace is made of it. Connectors are awaited for
    /// `patience`.
    pub(super) fn new(me: MemberId, reign: Reign, patience: Duration) -> TakeoverTraceBuilder {
        TakeoverTraceBuilder {
            me,
            patience,
            last: reign,
            released_at: None,
            unfinished: None,
        }
    }

    /// Returns when to look again at the latest.
    pub(super) fn bound(&self) -> Option<Instant> {
        self.unfinished
            .as_ref()
            .map(|open| open.committed_at + self.patience)
    }

    /// Takes in an observation. Returns the traces that are complete: each reign of this member
    /// once.
    pub(super) fn look(
        &mut self,
        now: Instant,
        seen: &TakeoverObservation<'_>,
    ) -> Vec<TakeoverTrace> {
        let mut traces = Vec::new();
        let Reign { epoch, term, .. } = seen.reign;
        let reigns = seen.leadership.leading
            && seen.leadership.term == term
            && seen.reign.holder == Some(self.me);
        if epoch != self.last.epoch {
            traces.extend(self.unfinished.take().map(TakeoverTrace::cut_short));
            // Not for the past reigns that a member goes through when it starts.
            self.unfinished = reigns.then(|| self.begin(now, seen));
            self.released_at = None;
        }
        if seen.reign.released && self.released_at.is_none() {
            self.released_at = Some(now);
        }
        self.last = seen.reign;
        if let Some(mut open) = self.unfinished.take() {
            open.collect(seen);
            if !reigns || seen.reign.released {
                traces.push(open.cut_short());
            } else if open.is_whole() || now >= open.committed_at + self.patience {
                traces.push(open);
            } else {
                self.unfinished = Some(open);
            }
        }
        traces
    }

    fn begin(&self, now: Instant, seen: &TakeoverObservation<'_>) -> TakeoverTrace {
        let before = self.last;
        let Reign {
            epoch,
            term,
            former: from,
            ..
        } = seen.reign;
        let again = from == Some(self.me) && before.term == term;
        let election = seen.leadership.election.filter(|_| !again);
        let lost_at = election.map_or(self.released_at.filter(|_| again), |it| it.lost_at);
        TakeoverTrace {
            epoch,
            term,
            why: takeover_reason(seen.leadership, again),
            from,
            lost_at,
            detected_at: election.map(|it| it.detected_at),
            elected_at: election.map(|it| it.elected_at),
            committed_at: now,
            clear_at: None,
            activated: BTreeMap::new(),
            still_reigns: true,
        }
    }
}

impl TakeoverTrace {
    fn cut_short(self) -> TakeoverTrace {
        TakeoverTrace {
            still_reigns: false,
            ..self
        }
    }

    fn collect(&mut self, seen: &TakeoverObservation<'_>) {
        let wanted = seen.connectors.values().filter(|spec| spec.active);
        let mut activated = BTreeMap::new();
        for spec in wanted {
            let at = self.activated.get(&spec.key).copied().flatten();
            activated.insert(
                spec.key.clone(),
                at.or_else(|| self.active_since(spec, seen)),
            );
            if !spec.fenced_by_broker {
                self.clear_at = self.clear_at.max(seen.clear_at);
            }
        }
        self.activated = activated;
    }

    fn active_since(
        &self,
        spec: &ConnectorSpec,
        seen: &TakeoverObservation<'_>,
    ) -> Option<Instant> {
        let mut statuses = seen.statuses.iter();
        let status = statuses.find(|status| {
            status.kind == spec.key.kind
                && status.name == spec.key.name
                && status.epoch == Some(self.epoch)
        })?;
        status.activated_at
    }

    fn is_whole(&self) -> bool {
        self.activated.values().all(Option::is_some)
    }

    /// Returns the record to be written. `now` is in both clocks; the names are of the connector
    /// server before and of this one.
    pub(super) fn record(
        &self,
        now: (Instant, Duration),
        from: Option<String>,
        to: String,
    ) -> Takeover {
        let known = [self.lost_at, self.detected_at, self.elected_at];
        let began = known.into_iter().flatten().min();
        let began = began.map_or(self.committed_at, |at| at.min(self.committed_at));
        let after = |at: Instant| micros(at.saturating_duration_since(began));
        let active = self.activated.values().flatten();
        let wait = self
            .clear_at
            .map(|at| at.saturating_duration_since(self.committed_at));
        let began_wall = now.1.saturating_sub(now.0.saturating_duration_since(began));
        Takeover {
            epoch: self.epoch,
            term: self.term,
            from,
            to,
            reason: self.why.into(),
            began_ms: u64::try_from(began_wall.as_millis()).unwrap_or(u64::MAX),
            detected_us: self.detected_at.map(after),
            elected_us: self.elected_at.map(after),
            committed_us: after(self.committed_at),
            lease_waited_us: wait.map_or(0, micros),
            first_active_us: active.clone().min().copied().map(after),
            last_active_us: active.clone().max().copied().map(after),
            connectors: count(self.activated.len()),
            activated: count(active.count()),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
