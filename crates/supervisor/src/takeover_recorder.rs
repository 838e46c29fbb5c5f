//! Recorder of this member's takeovers: one line in the log, one record in the state.
//!
//! The recorder only observes: the record is proposed once, after the last connector is at work (or
//! after [`PATIENCE`], with how many were missing), so that it costs no takeover any time. A reign
//! that ends before is reported in this member's log only, since only its holder may record it.

mod takeover_trace;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use metrics::{counter, histogram};
use quorate_clock::{Instant, wall_time};
use quorate_state::Takeover;
use quorate_types::{EffectiveTiming, Leadership, MemberId, MemberList};
use tokio::{sync::watch, time::sleep_until};
use tracing::{Instrument, debug, info};

use self::takeover_trace::{TakeoverObservation, TakeoverTrace, TakeoverTraceBuilder};
use super::{
    connector_status::ConnectorStatus,
    connectors_view::ConnectorsView,
    reign_driver::CommandProposer,
    reign_status::ReignStatus,
    takeover_reason::{reason_word, takeover_span},
};

/// Longest time for which connectors are awaited. One whose broker is down may take for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Recorder of takeovers.
pub(super) struct TakeoverRecorder {
    pub me: MemberId,
    pub name: String,
    pub timing: watch::Receiver<EffectiveTiming>,
    pub leadership: watch::Receiver<Leadership>,
    pub view: watch::Receiver<Arc<ConnectorsView>>,
    pub reign_status: watch::Receiver<ReignStatus>,
    pub statuses: watch::Receiver<Arc<Vec<ConnectorStatus>>>,
    pub members: watch::Receiver<MemberList>,
    pub proposer: Arc<dyn CommandProposer>,
}

impl TakeoverRecorder {
    /// Runs until the state's sender is gone.
    pub(crate) async fn run(mut self) {
        let mut trace_builder =
            TakeoverTraceBuilder::new(self.me, self.view.borrow().reign, PATIENCE);
        loop {
            let view = self.view.borrow_and_update().clone();
            let statuses = self.statuses.borrow_and_update().clone();
            let leadership = *self.leadership.borrow();
            let observation = TakeoverObservation {
                leadership: &leadership,
                reign: view.reign,
                connectors: &view.connectors,
                statuses: &statuses,
                clear_at: self.reign_status.borrow().clear_at,
            };
            for trace in trace_builder.look(Instant::now(), &observation) {
                self.report(trace);
            }
            let bound = trace_builder.bound();
            tokio::select! {
                changed = self.view.changed() => if changed.is_err() { return },
                changed = self.statuses.changed() => if changed.is_err() { return },
                () = sleep_until(bound.unwrap_or_else(Instant::now)), if bound.is_some() => {}
            }
        }
    }

    fn report(&self, trace: TakeoverTrace) {
        let now = (Instant::now(), since_1970());
        let from = trace.from.map(|id| self.name_of(id));
        let takeover = trace.record(now, from, self.name.clone());
        log(&takeover, trace.still_reigns);
        measure(&takeover);
        if trace.still_reigns {
            let proposer = self.proposer.clone();
            let deadline = Instant::now() + self.timing.borrow().patience.failover * 2;
            let span = takeover_span(
                takeover.term,
                Some(takeover.epoch),
                takeover.reason(),
                takeover.connectors,
            );
            let recording = async move {
                let epoch = takeover.epoch;
                // Not worth a second try: the line in the log has the same content.
                if let Err(error) = proposer.record_takeover(takeover, deadline).await {
                    debug!(epoch, %error, "the takeover was not recorded");
                }
            };
            tokio::spawn(recording.instrument(span));
        }
    }

    fn name_of(&self, id: MemberId) -> String {
        let members = self.members.borrow();
        let found = members.iter().find(|member| member.id == id);
        found.map_or_else(|| id.to_string(), |member| member.member.name.clone())
    }
}

fn since_1970() -> Duration {
    let now = wall_time().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default()
}

/// Counts the takeover, and the time until the last connector was at work.
fn measure(takeover: &Takeover) {
    counter!("quorate_takeovers_total", "why" => reason_word(takeover.reason())).increment(1);
    let took = takeover.last_active_us.unwrap_or(takeover.committed_us);
    histogram!("quorate_takeover_seconds").record(Duration::from_micros(took));
}

fn log(takeover: &Takeover, still_reigns: bool) {
    let ms = |us: u64| us as f64 / 1_000.0;
    info!(
        epoch = takeover.epoch,
        term = takeover.term,
        why = reason_word(takeover.reason()),
        from = takeover.from,
        to = takeover.to,
        detected_ms = takeover.detected_us.map(ms),
        elected_ms = takeover.elected_us.map(ms),
        committed_ms = ms(takeover.committed_us),
        lease_waited_ms = ms(takeover.lease_waited_us),
        first_active_ms = takeover.first_active_us.map(ms),
        last_active_ms = takeover.last_active_us.map(ms),
        connectors = takeover.connectors,
        activated = takeover.activated,
        over_already = !still_reigns,
        "takeover"
    );
}
