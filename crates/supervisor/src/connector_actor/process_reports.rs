//! Reports of a connector process and outcomes of its service calls, and the status that they show.

use quorate_clock::Instant;
use quorate_proto::connector::{Outcome, Phase, Report, from_process, outcome, to_process};
use quorate_state::BrokerConnection;
use tracing::{info, warn};

use super::{ActorEvent, ConnectorActor};
use crate::connector_status::ConnectorState;

impl ConnectorActor {
    /// Handles a frame of the process.
    pub(super) fn handle_frame(&mut self, epoch: u64, frame: from_process::Frame) {
        let spec = &self.state.desired().spec;
        let Some(session) = &mut self.session else {
            return;
        };
        match frame {
            from_process::Frame::Alive(_) => {}
            from_process::Frame::Tally(tally) => {
                self.shared
                    .status_registry
                    .count(&spec.key, &session.tally, &tally);
                session.tally = tally;
            }
            from_process::Frame::Report(report) => self.reported(epoch, report),
            from_process::Frame::Parked(parked) => self.advance(ActorEvent::StandsBy(parked.order)),
            from_process::Frame::Progress(progress) => {
                let of = (session.created, epoch);
                self.shared.progress.set(&spec.key, of, progress.progress);
            }
            from_process::Frame::Sent(sent) => self.in_flight_sends.resolve(sent),
            from_process::Frame::Delivery(delivery) => {
                // The target may be newer than the settings that were sent: the new service is
                // called at once.
                let spec = self.desired.borrow().spec.clone();
                let incarnation = session.process.incarnation;
                self.calls
                    .start(&self.shared.gateway, spec, incarnation, epoch, delivery);
            }
        }
    }

    fn reported(&mut self, epoch: u64, report: Report) {
        let phase = report.phase();
        self.advance(ActorEvent::Reported {
            active: phase == Phase::Active,
        });
        let spec = &self.state.desired().spec;
        let error = Some(report.error).filter(|error| !error.is_empty());
        match &error {
            Some(error) if phase == Phase::Starting => {
                info!(connector = %spec.key, error, "connector trouble");
            }
            Some(error) => {
                // Each message may bring such an error about, each with a text of its own.
                if let Some(left_out) = self.log_limit.due("") {
                    warn!(connector = %spec.key, error, left_out, "connector");
                }
            }
            None => {}
        }
        if !report.label.is_empty() {
            let connection = BrokerConnection {
                name: report.broker_connection,
                label: report.label,
            };
            let recorded = spec.management.is_some().then_some(connection);
            self.shared.broker_connections.set(&spec.key, recorded);
        }
        let current = self.state.epoch() == Some(epoch);
        self.shared.status_registry.update(&spec.key, |status| {
            status.state = match phase {
                Phase::Starting => ConnectorState::Starting,
                Phase::Connected | Phase::Draining => ConnectorState::Standby,
                Phase::Active => ConnectorState::Active,
                Phase::Broken => ConnectorState::Failed,
            };
            status.activated_at = match phase {
                Phase::Active if current => status.activated_at.or_else(|| Some(Instant::now())),
                _ => None,
            };
            let works = matches!(phase, Phase::Active | Phase::Connected);
            if error.is_some() || works {
                status.last_error.clone_from(&error);
            }
        });
        if let Some(session) = &mut self.session {
            session.error = error;
        }
    }

    /// Sends the outcome of a delivery to the process that it is for, if that one is still there.
    pub(super) fn answer(&mut self, incarnation: u64, outcome: Outcome) {
        let process = self.session.as_ref().map(|session| &session.process);
        if process.is_some_and(|process| process.incarnation == incarnation) {
            self.show_outcome(&outcome);
            self.order(to_process::Frame::Outcome(outcome));
        }
    }

    /// Shows in the status why a message was not handled, or clears that once one is.
    fn show_outcome(&self, outcome: &Outcome) {
        let error = match &outcome.result {
            Some(
                outcome::Result::Failed(why)
                | outcome::Result::NotRun(why)
                | outcome::Result::Refused(why),
            ) => Some(why.clone()),
            Some(outcome::Result::Handled(_)) => None,
            Some(outcome::Result::Fenced(_)) | None => return,
        };
        // An error of the broker or of the process comes first.
        let reported = self.session.as_ref();
        let error = reported.and_then(|it| it.error.clone()).or(error);
        self.shared
            .status_registry
            .update(&self.spec().key, |status| status.last_error = error);
    }
}
