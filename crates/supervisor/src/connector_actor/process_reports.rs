//! Reports of a connector process and outcomes of its service calls, and the status that they show.

use quorate_clock::Instant;
use quorate_proto::connector::{Outcome, Phase, Report, from_process, outcome};
use quorate_state::BrokerConnection;
use tracing::{info, warn};

use super::{ConnectorActor, ObservedProcess};
use crate::{
    connector_process::ConnectorProcess, connector_status::ConnectorState,
    target_state::TargetState,
};

impl ConnectorActor {
    /// Handles a frame of the process.
    pub(super) fn handle_frame(
        &mut self,
        process: &mut ConnectorProcess,
        observed: &mut ObservedProcess,
        epoch: u64,
        frame: from_process::Frame,
    ) {
        match frame {
            from_process::Frame::Alive(_) => {}
            from_process::Frame::Tally(tally) => {
                self.shared
                    .status_registry
                    .count(&observed.spec.key, &observed.tally, &tally);
                observed.tally = tally;
            }
            from_process::Frame::Report(report) => self.reported(observed, epoch, report),
            from_process::Frame::Parked(parked) if parked.order == self.standby_orders => {
                observed.parked = matches!(
                    observed.target,
                    TargetState::Standby(_) | TargetState::Parked(_)
                );
                if observed.parked {
                    process.kill_at(None);
                }
            }
            from_process::Frame::Parked(_) => {}
            from_process::Frame::Progress(progress) => {
                let key = &observed.spec.key;
                let of = (observed.created, epoch);
                self.shared.progress.set(key, of, progress.progress);
            }
            from_process::Frame::Sent(sent) => self.in_flight_sends.resolve(sent),
            from_process::Frame::Delivery(delivery) => {
                // The target may be newer than the settings that were sent: the new service is
                // called at once.
                let spec = self.desired.borrow().spec.clone();
                let gateway = &self.shared.gateway;
                self.calls
                    .start(gateway, spec, process.incarnation, epoch, delivery);
            }
        }
    }

    fn reported(&mut self, observed: &mut ObservedProcess, epoch: u64, report: Report) {
        let phase = report.phase();
        if phase == Phase::Active {
            observed.active_since.get_or_insert_with(Instant::now);
            if observed.spec.fenced_by_broker {
                // The broker has let this process in: nothing that was left there holds anything
                // any more.
                self.connection_closer.stop();
            }
        } else {
            observed.active_since = None;
            self.calls.session_over();
        }
        let error = Some(report.error).filter(|error| !error.is_empty());
        match &error {
            Some(error) if phase == Phase::Starting => {
                info!(connector = %observed.spec.key, error, "connector trouble");
            }
            Some(error) => {
                // Each message may bring such an error about, each with a text of its own.
                if let Some(left_out) = self.log_limit.due("") {
                    warn!(connector = %observed.spec.key, error, left_out, "connector");
                }
            }
            None => {}
        }
        if !report.label.is_empty() {
            let connection = BrokerConnection {
                name: report.broker_connection,
                label: report.label,
            };
            let recorded = observed.spec.management.is_some().then_some(connection);
            self.shared
                .broker_connections
                .set(&observed.spec.key, recorded);
        }
        let current = observed.target == TargetState::Active(epoch);
        self.shared
            .status_registry
            .update(&observed.spec.key, |status| {
                status.state = match phase {
                    Phase::Starting => ConnectorState::Starting,
                    Phase::Connected | Phase::Draining => ConnectorState::Standby,
                    Phase::Active => ConnectorState::Active,
                    Phase::Broken => ConnectorState::Failed,
                };
                status.activated_at = match phase {
                    Phase::Active if current => {
                        status.activated_at.or_else(|| Some(Instant::now()))
                    }
                    _ => None,
                };
                let works = matches!(phase, Phase::Active | Phase::Connected);
                if error.is_some() || works {
                    status.last_error.clone_from(&error);
                }
            });
        observed.error = error;
    }

    /// Shows in the status why a message was not handled, or clears that once one is.
    pub(super) fn show_outcome(&self, observed: &ObservedProcess, outcome: &Outcome) {
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
        let error = observed.error.clone().or(error);
        self.shared
            .status_registry
            .update(&observed.spec.key, |status| status.last_error = error);
    }
}
