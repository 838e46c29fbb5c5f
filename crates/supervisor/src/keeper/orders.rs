//! Orders to a connector's process: its settings, and how it is to stand.

use std::time::Duration;

use bytes::Bytes;
use quorate_clock::Instant;
use quorate_proto::connector::{Activate, Configure, Deactivate, Prepare, Stop, to_process};
use quorate_resources::Kind;

use super::{Exchange, Keeper, LATE, LATE_TO_PARK};
use crate::{process::Process, spec::Spec, stance::Stance};

impl Keeper {
    /// Sends the settings.
    pub(super) fn configure(&mut self, process: &mut Process, spec: &Spec) {
        self.generation += 1;
        process.order(to_process::Frame::Configure(Configure {
            kind: spec.key.kind.to_owned(),
            name: spec.key.name.clone(),
            connection: spec.connection.clone(),
            own: spec.own.clone(),
            common: spec.common.clone(),
            generation: self.generation,
            drain_ms: millis(spec.finish),
        }));
        self.calls.bound(spec.places);
        self.shared
            .board
            .update(&spec.key, |status| status.patience = Some(spec.patience()));
    }

    /// Sends the stance, if it is another one.
    pub(super) fn stand(
        &mut self,
        process: &mut Process,
        exchange: &mut Exchange,
        spec: &Spec,
        stance: Stance,
    ) {
        if exchange.stance == stance || exchange.stance.is_gone() && !stance.is_gone() {
            // One that was told to go goes; the next one gets the new wish.
            return;
        }
        process.kill_at(None);
        match stance {
            // It does so already.
            Stance::StandBy(_) | Stance::Park(_) if exchange.parked => {}
            Stance::Act(epoch) => {
                process.order(to_process::Frame::Activate(Activate {
                    epoch,
                    incarnation: process.incarnation,
                    progress: self.progress(spec, epoch),
                }));
            }
            Stance::Prepare(within) => {
                process.order(to_process::Frame::Prepare(Prepare {
                    within_ms: millis(within),
                }));
            }
            Stance::StandBy(drain) | Stance::Park(drain) => {
                self.orders += 1;
                process.order(to_process::Frame::Deactivate(Deactivate {
                    drain_ms: millis(drain),
                    order: self.orders,
                }));
                if matches!(stance, Stance::Park(_)) {
                    process.kill_at(Some(Instant::now() + drain + LATE_TO_PARK));
                }
            }
            Stance::Gone(drain) => {
                process.order(to_process::Frame::Stop(Stop {
                    drain_ms: millis(drain),
                }));
                process.kill_at(Some(Instant::now() + drain + LATE));
            }
        }
        exchange.parked &= matches!(stance, Stance::StandBy(_) | Stance::Park(_));
        exchange.stance = stance;
        let epoch = if let Stance::Act(epoch) = stance {
            Some(epoch)
        } else {
            None
        };
        self.shared.board.update(&spec.key, |status| {
            (status.epoch, status.activated_at) = (epoch, None);
        });
    }

    /// How far the connector had come last.
    fn progress(&self, spec: &Spec, epoch: u64) -> Bytes {
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
