//! Reports of a connector's phase: an error once, however many tries in a row fail alike.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_proto::connector::Phase;

use super::{
    broker_link::{BrokerLink, ConnectorError},
    process_context::FrameSender,
};

/// Time after which a transient error that persists is a failure.
const TRANSIENT_MAX: Duration = Duration::from_secs(10);

/// Reports of the run loop to the parent.
pub(crate) struct PhaseReports {
    frames: FrameSender,
    /// Last error that was reported, and its phase.
    last_error: Option<(Phase, String)>,
    /// Time since which a transient error has kept the connector from its work.
    transient_since: Option<Instant>,
}

impl PhaseReports {
    pub(crate) fn new(frames: FrameSender) -> Self {
        PhaseReports {
            frames,
            last_error: None,
            transient_since: None,
        }
    }

    /// Reports a try to connect. A further one is reported only once it has succeeded or failed
    /// otherwise.
    pub(crate) async fn starting(&mut self, generation: u64) {
        if self.last_error.is_none() {
            self.frames.report(Phase::Starting, "", generation).await;
        }
    }

    /// Reports the end of a session.
    pub(crate) async fn draining(&mut self, generation: u64) {
        self.last_error = None;
        self.frames.report(Phase::Draining, "", generation).await;
    }

    /// Reports the phase on a connection.
    pub(crate) async fn on_link(
        &mut self,
        link: &impl BrokerLink,
        phase: Phase,
        error: &str,
        generation: u64,
    ) {
        (self.last_error, self.transient_since) = (None, None);
        self.frames.report_on(link, phase, error, generation).await;
    }

    /// Reports an error; a transient one is a failure once it has lasted.
    pub(crate) async fn error(&mut self, error: &ConnectorError, generation: u64) {
        let phase = if error.transient {
            let since = *self.transient_since.get_or_insert_with(Instant::now);
            if since.elapsed() < TRANSIENT_MAX {
                Phase::Starting
            } else {
                Phase::Broken
            }
        } else {
            self.transient_since = None;
            Phase::Broken
        };
        let now = Some((phase, error.text.clone()));
        if self.last_error != now {
            self.last_error = now;
            self.frames.report(phase, &error.text, generation).await;
        }
    }
}
