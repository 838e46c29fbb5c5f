//! Context of a connector process: orders in, frames out, the lease, the watchdog.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_ipc::{
    STANDBY_HEARTBEAT_FACTOR,
    lease::{LeaseReader, LeaseTenure},
};
use quorate_proto::connector::{
    self as proto, Alive, Configure, FromProcess, Outcome, Parked, Phase, Report, Send, Tally,
    from_process::Frame, sent, to_process,
};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::{
    broker_link::{BrokerLink, ConnectorError},
    progress::ProgressTracker,
    watchdog::LeaseWatchdog,
};

/// Pause between two looks at the page by a session that stands still: with a thousand such
/// sessions these looks must not be what holds the answers up.
pub(crate) const LEASE_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Reign under which the process is ordered to act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessReign {
    pub epoch: u64,
    /// Number of the process, as the parent counts them.
    pub incarnation: u64,
}

/// Desired state, as of the parent's last order.
#[derive(Clone, Debug, Default)]
pub(crate) struct DesiredState {
    /// Configuration; `None` before the first.
    pub configure: Option<Arc<Configure>>,
    /// Reign to consume under; `None`: stand by.
    pub act: Option<ProcessReign>,
    /// Progress of the connector before this reign, as sent with the order to act.
    pub progress: Bytes,
    /// Order to open the session and hand nothing on, until then at the latest.
    pub prepare: Option<Instant>,
    /// Number of the last order to stand by.
    pub stand_by: u64,
    /// Time for messages in flight to finish.
    pub drain: Duration,
    /// True once the process has to finish and exit.
    pub stop: bool,
}

impl DesiredState {
    /// Returns the number of the configuration.
    pub(crate) fn generation(&self) -> Option<u64> {
        self.configure.as_ref().map(|it| it.generation)
    }

    /// Applies an order.
    pub(crate) fn apply(&mut self, command: to_process::Frame) {
        match command {
            to_process::Frame::Configure(configure) => {
                self.drain = Duration::from_millis(configure.drain_ms);
                self.configure = Some(Arc::new(configure));
            }
            to_process::Frame::Activate(activate) => {
                self.act = Some(ProcessReign {
                    epoch: activate.epoch,
                    incarnation: activate.incarnation,
                });
                self.progress = activate.progress;
                self.prepare = None;
            }
            to_process::Frame::Prepare(prepare) => {
                self.act = None;
                // A deadline that is too far to be counted is none.
                self.prepare = Instant::now().checked_add(Duration::from_millis(prepare.within_ms));
            }
            to_process::Frame::Deactivate(deactivate) => {
                (self.act, self.prepare) = (None, None);
                self.stand_by = deactivate.order;
                self.drain = Duration::from_millis(deactivate.drain_ms);
            }
            to_process::Frame::Stop(stop) => {
                self.stop = true;
                (self.act, self.prepare) = (None, None);
                self.drain = Duration::from_millis(stop.drain_ms);
            }
            to_process::Frame::Outcome(_) | to_process::Frame::Send(_) => {}
        }
    }
}

/// Message that the parent wants to have sent.
pub(crate) struct PendingSend {
    pub send: Send,
    /// Time until which somebody waits for the outcome.
    pub until: Instant,
}

/// Sender of frames to the parent. Each frame bears the reign under which it was sent.
#[derive(Clone)]
pub(crate) struct FrameSender {
    frames: mpsc::Sender<FromProcess>,
    /// Reign of the open session, or none.
    reign: Arc<Mutex<ProcessReign>>,
    /// Counts of deliveries by outcome.
    pub tally: Arc<Mutex<Tally>>,
}

impl FrameSender {
    /// Stamps all further frames with this reign.
    pub(crate) fn set_reign(&self, reign: ProcessReign) {
        *self.reign.lock() = reign;
    }

    /// Sends a frame. Waits while the parent is slow: the parent bounds what this process does.
    pub(crate) async fn send(&self, frame: Frame) {
        let ProcessReign { epoch, incarnation } = *self.reign.lock();
        // This fails only once the socket is closed, which ends the process elsewhere.
        let _ = self
            .frames
            .send(FromProcess {
                epoch,
                incarnation,
                frame: Some(frame),
            })
            .await;
    }

    /// Reports the phase, and what is wrong.
    pub(crate) async fn report(&self, phase: Phase, error: &str, generation: u64) {
        self.send(Frame::Report(Report {
            phase: phase.into(),
            error: error.to_owned(),
            generation,
            ..Report::default()
        }))
        .await;
    }

    /// Reports the phase with the names of this connection, and what is wrong all the same.
    pub(crate) async fn report_on(
        &self,
        link: &impl BrokerLink,
        phase: Phase,
        error: &str,
        generation: u64,
    ) {
        self.send(Frame::Report(Report {
            phase: phase.into(),
            error: error.to_owned(),
            generation,
            broker_connection: link.name(),
            label: link.label(),
        }))
        .await;
    }

    /// Sends the counts of deliveries.
    pub(crate) async fn send_tally(&self) {
        let tally = *self.tally.lock();
        self.send(Frame::Tally(tally)).await;
    }

    /// Sends a heartbeat in every interval: the tally when it has changed. The heartbeat runs on
    /// the thread of the run loop, so that it stops when the run loop is stuck.
    pub(crate) async fn send_heartbeats(
        self,
        every: Duration,
        mut desired: watch::Receiver<DesiredState>,
    ) {
        let mut last_sent = Tally::default();
        loop {
            let tally = *self.tally.lock();
            if tally == last_sent {
                self.send(Frame::Alive(Alive {})).await;
            } else {
                self.send(Frame::Tally(tally)).await;
                last_sent = tally;
            }
            let at_work = {
                let desired = desired.borrow_and_update();
                desired.act.is_some() || desired.prepare.is_some()
            };
            let wait = if at_work {
                every
            } else {
                every * STANDBY_HEARTBEAT_FACTOR
            };
            tokio::select! {
                () = sleep(wait) => {}
                // The parent restarted its count when it sent the order.
                Ok(()) = desired.changed() => {}
            }
        }
    }
}

/// Context of the process, which the run loop and its sessions work with.
pub(crate) struct ProcessContext {
    /// Label of the connector: `KIND/NAME`.
    pub label: String,
    /// Desired state, as the parent ordered it.
    pub desired: watch::Receiver<DesiredState>,
    /// Answers of the services.
    pub outcomes: mpsc::Receiver<Outcome>,
    /// Messages to be sent.
    pub sends: mpsc::Receiver<PendingSend>,
    pub next_delivery: u64,
    /// Sender of frames to the parent.
    pub frames: FrameSender,
    pub lease: LeaseReader,
    /// Watchdog that ends the process with its lease.
    pub watchdog: LeaseWatchdog,
    /// Progress, kept across sessions.
    pub progress: ProgressTracker,
    /// Error that ended the last session and may end this one as well.
    pub complaint: Option<String>,
    /// Number of the last order to stand by that was answered.
    parked: u64,
}

impl ProcessContext {
    /// Puts the parts together.
    pub(crate) fn new(
        label: String,
        desired: watch::Receiver<DesiredState>,
        outcomes: mpsc::Receiver<Outcome>,
        sends: mpsc::Receiver<PendingSend>,
        frames: mpsc::Sender<FromProcess>,
        lease: LeaseReader,
        watchdog: LeaseWatchdog,
    ) -> Self {
        let frames = FrameSender {
            frames,
            reign: Default::default(),
            tally: Default::default(),
        };
        ProcessContext {
            label,
            desired,
            outcomes,
            sends,
            next_delivery: 1,
            frames,
            lease,
            watchdog,
            progress: ProgressTracker::default(),
            complaint: None,
            parked: 0,
        }
    }

    /// Returns the desired state. Called only while there is no session: answers an order to stand
    /// by, and gives back the messages to be sent that have not been begun.
    pub(crate) async fn idle(&mut self) -> DesiredState {
        while let Ok(pending) = self.sends.try_recv() {
            let not_sent = proto::Sent {
                send: pending.send.send,
                outcome: Some(sent::Outcome::NotSent("its session has ended".into())),
            };
            self.frames.send(Frame::Sent(not_sent)).await;
        }
        let desired = self.desired.borrow_and_update().clone();
        if desired.stand_by > self.parked && desired.act.is_none() && desired.prepare.is_none() {
            let order = desired.stand_by;
            self.frames.send(Frame::Parked(Parked { order })).await;
            self.parked = order;
        }
        desired
    }

    /// Returns the tenure of `epoch`. The caller stands still where the lease has lapsed, and the
    /// watchdog is notified of that.
    pub(crate) fn tenure(&self, epoch: u64) -> LeaseTenure {
        let tenure = self.lease.tenure(epoch);
        if let LeaseTenure::Lapsed(deadline, _) = tenure {
            self.watchdog.stand_still(deadline);
        }
        tenure
    }

    /// Returns the name of the channel or outgoing.
    pub(crate) fn name(&self) -> &str {
        self.label
            .split_once('/')
            .map_or(&self.label, |(_, name)| name)
    }

    /// Waits for the first configuration; `None` when the process has to stop before it.
    pub(crate) async fn first_configuration(&mut self) -> Option<Arc<Configure>> {
        let desired = self
            .desired
            .wait_for(|desired| desired.configure.is_some() || desired.stop)
            .await
            .ok()?;
        if desired.stop {
            None
        } else {
            desired.configure.clone()
        }
    }

    /// Waits for another order. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        // The process ends when the sender is gone; until then there is nothing to do.
        if self.desired.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits, while there is no session, for other settings than those of this generation, or for
    /// the order to stop.
    pub(crate) async fn reconfigured(&mut self, generation: u64) {
        loop {
            let desired = self.idle().await;
            if desired.stop || desired.generation() != Some(generation) {
                return;
            }
            self.changed().await;
        }
    }

    /// Waits, while there is no session, until there is a reason for another try. Returns true for
    /// other settings than those of `before` or the order to stop, false for the order to consume.
    pub(crate) async fn wait_retry_reason(&mut self, before: &DesiredState) -> bool {
        loop {
            let now = self.idle().await;
            if now.stop || now.generation() != before.generation() {
                return true;
            }
            let newly_acts = now.act.is_some() && now.act != before.act;
            if newly_acts || now.prepare.is_some() && now.prepare != before.prepare {
                return false;
            }
            self.changed().await;
        }
    }

    /// Reports that this program doesn't know that kind, and waits for the end.
    pub(crate) async fn unknown_kind(&mut self, kind: &str) {
        let error = ConnectorError::new(format!(
            "this program has no connector for the kind {kind:?}"
        ));
        self.frames.report(Phase::Broken, &error.text, 0).await;
        while !self.idle().await.stop {
            self.changed().await;
        }
    }
}
