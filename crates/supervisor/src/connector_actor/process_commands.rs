//! Commands to a connector process: its settings and its target state.

use std::time::Duration;

use bytes::Bytes;
use quorate_clock::Instant;
use quorate_proto::connector::{Activate, Configure, Deactivate, Prepare, Stop, to_process};
use quorate_resources::Kind;

use super::{ConnectorActor, ObservedProcess, PARK_GRACE, STOP_GRACE};
use crate::{
    connector_process::ConnectorProcess, connector_spec::ConnectorSpec, target_state::TargetState,
};

impl ConnectorActor {
    /// Sends the settings.
    pub(super) fn configure(&mut self, process: &mut ConnectorProcess, spec: &ConnectorSpec) {
        self.settings_generation += 1;
        process.order(to_process::Frame::Configure(Configure {
            kind: spec.key.kind.to_owned(),
            name: spec.key.name.clone(),
            generation: self.settings_generation,
            drain_ms: millis(spec.drain_timeout),
            settings: spec.settings.clone(),
        }));
        self.calls.bound(spec.concurrency_max);
        self.shared
            .status_registry
            .update(&spec.key, |status| status.patience = Some(spec.patience()));
    }

    /// Sends the target state, if it is another one.
    pub(super) fn apply_target(
        &mut self,
        process: &mut ConnectorProcess,
        observed: &mut ObservedProcess,
        spec: &ConnectorSpec,
        target: TargetState,
    ) {
        if observed.target == target || observed.target.is_stopped() && !target.is_stopped() {
            // A process that got the command to stop stops; the next one gets the new target.
            return;
        }
        process.kill_at(None);
        match target {
            // It stands by already.
            TargetState::Standby(_) | TargetState::Parked(_) if observed.parked => {}
            TargetState::Active(epoch) => {
                process.order(to_process::Frame::Activate(Activate {
                    epoch,
                    incarnation: process.incarnation,
                    progress: self.progress(spec, epoch),
                }));
            }
            TargetState::Prepared(within) => {
                process.order(to_process::Frame::Prepare(Prepare {
                    within_ms: millis(within),
                }));
            }
            TargetState::Standby(drain) | TargetState::Parked(drain) => {
                self.standby_orders += 1;
                process.order(to_process::Frame::Deactivate(Deactivate {
                    drain_ms: millis(drain),
                    order: self.standby_orders,
                }));
                if matches!(target, TargetState::Parked(_)) {
                    process.kill_at(Some(Instant::now() + drain + PARK_GRACE));
                }
            }
            TargetState::Stopped(drain) => {
                process.order(to_process::Frame::Stop(Stop {
                    drain_ms: millis(drain),
                }));
                process.kill_at(Some(Instant::now() + drain + STOP_GRACE));
            }
        }
        observed.parked &= matches!(target, TargetState::Standby(_) | TargetState::Parked(_));
        observed.target = target;
        let epoch = if let TargetState::Active(epoch) = target {
            Some(epoch)
        } else {
            None
        };
        self.shared.status_registry.update(&spec.key, |status| {
            (status.epoch, status.activated_at) = (epoch, None);
        });
    }

    /// Returns the last known progress of the connector.
    fn progress(&self, spec: &ConnectorSpec, epoch: u64) -> Bytes {
        let key = &spec.key;
        let unwritten = self.shared.progress.unwritten(key, (spec.created, epoch));
        if let Some(unwritten) = unwritten {
            return unwritten;
        }
        let kind = key.kind.parse::<Kind>();
        let view = self.shared.view.borrow();
        kind.map(|kind| view.progress.get(kind, &key.name))
            .unwrap_or_default()
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
