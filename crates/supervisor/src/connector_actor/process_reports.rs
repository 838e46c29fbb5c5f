//! Reports of a connector's process and of its services: what is done about each, and what is
//! shown of it on the board.

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
    /// Takes in what the process says.
    pub(super) fn handle_frame(
        &mut self,
        process: &mut ConnectorProcess,
        exchange: &mut ObservedProcess,
        epoch: u64,
        frame: from_process::Frame,
    ) {
        match frame {
            from_process::Frame::Alive(_) => {}
            from_process::Frame::Tally(tally) => {
                self.shared
                    .status_registry
                    .count(&exchange.spec.key, &exchange.tally, &tally);
                exchange.tally = tally;
            }
            from_process::Frame::Report(report) => self.reported(exchange, epoch, report),
            from_process::Frame::Parked(parked) if parked.order == self.standby_orders => {
                exchange.parked = matches!(
                    exchange.target,
                    TargetState::Standby(_) | TargetState::Parked(_)
                );
                if exchange.parked {
                    process.kill_at(None);
                }
            }
            from_process::Frame::Parked(_) => {}
            from_process::Frame::Progress(progress) => {
                let key = &exchange.spec.key;
                let of = (exchange.created, epoch);
                self.shared.progress.set(key, of, progress.progress);
            }
            from_process::Frame::Sent(sent) => self.in_flight_sends.resolve(sent),
            from_process::Frame::Delivery(delivery) => {
                // The wish may be newer than what was told: the service is the new one at once.
                let spec = self.desired.borrow().spec.clone();
                let gateway = &self.shared.gateway;
                self.calls
                    .start(gateway, spec, process.incarnation, epoch, delivery);
            }
        }
    }

    fn reported(&mut self, exchange: &mut ObservedProcess, epoch: u64, report: Report) {
        let phase = report.phase();
        if phase == Phase::Active {
            exchange.active_since.get_or_insert_with(Instant::now);
            if exchange.spec.fenced_by_broker {
                // Let in: whatever was left there holds nothing any more.
                self.connection_closer.stop();
            }
        } else {
            exchange.active_since = None;
            self.calls.session_over();
        }
        let trouble = Some(report.error).filter(|error| !error.is_empty());
        match &trouble {
            Some(error) if phase == Phase::Starting => {
                info!(connector = %exchange.spec.key, error, "connector trouble");
            }
            Some(error) => {
                // Each message may bring one about, and each with a text of its own.
                if let Some(left_out) = self.log_limit.due("") {
                    warn!(connector = %exchange.spec.key, error, left_out, "connector");
                }
            }
            None => {}
        }
        if !report.label.is_empty() {
            let connection = BrokerConnection {
                name: report.broker_connection,
                label: report.label,
            };
            let recorded = exchange.spec.management.is_some().then_some(connection);
            self.shared
                .broker_connections
                .set(&exchange.spec.key, recorded);
        }
        let current = exchange.target == TargetState::Active(epoch);
        self.shared
            .status_registry
            .update(&exchange.spec.key, |status| {
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
                if trouble.is_some() || works {
                    status.last_error.clone_from(&trouble);
                }
            });
        exchange.error = trouble;
    }

    /// Shows on the board why a message was not handled, and that one was.
    pub(super) fn show_outcome(&self, exchange: &ObservedProcess, outcome: &Outcome) {
        let error = match &outcome.result {
            Some(
                outcome::Result::Failed(why)
                | outcome::Result::NotRun(why)
                | outcome::Result::Refused(why),
            ) => Some(why.clone()),
            Some(outcome::Result::Handled(_)) => None,
            Some(outcome::Result::Fenced(_)) | None => return,
        };
        // What is wrong with the broker or the process comes first.
        let error = exchange.error.clone().or(error);
        self.shared
            .status_registry
            .update(&exchange.spec.key, |status| status.last_error = error);
    }
}
