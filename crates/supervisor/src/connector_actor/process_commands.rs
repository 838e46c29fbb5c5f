//! Commands to a connector process: its settings and its target state.

use std::time::Duration;

use bytes::Bytes;
use quorate_proto::connector::{Activate, Configure, Deactivate, Prepare, Stop, to_process::Frame};
use quorate_resources::Kind;

use super::{ConnectorActor, process_state::ProcessCommand};
use crate::connector_spec::ConnectorSpec;

impl ConnectorActor {
    /// Sends the settings.
    pub(super) fn configure(&mut self, spec: &ConnectorSpec) {
        self.settings_generation += 1;
        self.order(Frame::Configure(Configure {
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

    /// Sends a command to change what the process does.
    pub(super) fn command(&mut self, spec: &ConnectorSpec, command: ProcessCommand) {
        let Some(session) = &self.session else {
            return;
        };
        let frame = match command {
            ProcessCommand::Activate(epoch) => Frame::Activate(Activate {
                epoch,
                incarnation: session.process.incarnation,
                progress: self.progress(spec, epoch),
            }),
            ProcessCommand::Prepare(within) => Frame::Prepare(Prepare {
                within_ms: millis(within),
            }),
            ProcessCommand::Deactivate { drain, number } => Frame::Deactivate(Deactivate {
                drain_ms: millis(drain),
                order: number,
            }),
            ProcessCommand::Stop(drain) => Frame::Stop(Stop {
                drain_ms: millis(drain),
            }),
        };
        self.order(frame);
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
