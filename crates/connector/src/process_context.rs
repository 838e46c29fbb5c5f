//! The run loop's ends: orders in, frames out, the lease, the watchdog.

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

/// Between two looks at the page of a session that stands still: with a thousand of them
/// these looks must not be what holds the answers up.
pub const LEASE_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The reign that the process is told to act under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessReign {
    /// Its epoch.
    pub epoch: u64,
    /// The process's number, as the parent counts them.
    pub incarnation: u64,
}

/// What the parent wants, as of its last order.
#[derive(Clone, Debug, Default)]
pub struct DesiredState {
    /// The configuration; `None` before the first.
    pub configure: Option<Arc<Configure>>,
    /// Consume under this reign; `None`: stand by.
    pub act: Option<ProcessReign>,
    /// How far the connector had come last, as of the order to do so.
    pub progress: Bytes,
    /// Begin to consume, and hand nothing on: until then at the latest.
    pub prepare: Option<Instant>,
    /// The number of the last order to stand by.
    pub stand_by: u64,
    /// How long what is in flight may take to finish.
    pub drain: Duration,
    /// Finish and exit.
    pub stop: bool,
}

impl DesiredState {
    /// The number of the configuration.
    pub fn generation(&self) -> Option<u64> {
        self.configure.as_ref().map(|it| it.generation)
    }

    /// Takes an order.
    pub fn apply(&mut self, order: to_process::Frame) {
        match order {
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
                // Too far to be counted is never.
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

/// A message that the parent wants to have sent.
pub struct PendingSend {
    /// The message.
    pub send: Send,
    /// Until when somebody waits for its outcome.
    pub until: Instant,
}

/// The way to the parent. Every frame says under which reign it was sent.
#[derive(Clone)]
pub struct FrameSender {
    frames: mpsc::Sender<FromProcess>,
    /// The reign of the open session, or none.
    reign: Arc<Mutex<ProcessReign>>,
    /// What became of deliveries.
    pub tally: Arc<Mutex<Tally>>,
}

impl FrameSender {
    /// Frames from here on are of this reign.
    pub fn set_reign(&self, reign: ProcessReign) {
        *self.reign.lock() = reign;
    }

    /// Sends a frame. Waits while the parent is slow: it is the parent that bounds what
    /// this process does.
    pub async fn send(&self, frame: Frame) {
        let ProcessReign { epoch, incarnation } = *self.reign.lock();
        // It fails only once the socket is closed, which ends the process elsewhere.
        let _ = self
            .frames
            .send(FromProcess {
                epoch,
                incarnation,
                frame: Some(frame),
            })
            .await;
    }

    /// Says the phase, and what is wrong.
    pub async fn report(&self, phase: Phase, error: &str, generation: u64) {
        self.send(Frame::Report(Report {
            phase: phase.into(),
            error: error.to_owned(),
            generation,
            ..Report::default()
        }))
        .await;
    }

    /// Says the phase over this connection, and what is wrong all the same.
    pub async fn report_on(
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

    /// Says what became of deliveries.
    pub async fn send_tally(&self) {
        let tally = *self.tally.lock();
        self.send(Frame::Tally(tally)).await;
    }

    /// Gives a sign of life in every interval: the tally when it has changed. It runs on
    /// the same thread as the run loop, so that it stops when that is stuck.
    pub async fn send_heartbeats(
        self,
        every: Duration,
        mut desired: watch::Receiver<DesiredState>,
    ) {
        let mut said = Tally::default();
        loop {
            let tally = *self.tally.lock();
            if tally == said {
                self.send(Frame::Alive(Alive {})).await;
            } else {
                self.send(Frame::Tally(tally)).await;
                said = tally;
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
                // The parent has begun to count anew when it sent the order.
                Ok(()) = desired.changed() => {}
            }
        }
    }
}

/// All ends together.
pub struct ProcessContext {
    /// `KIND/NAME`
    pub label: String,
    /// What the parent wants.
    pub desired: watch::Receiver<DesiredState>,
    /// The services' answers.
    pub outcomes: mpsc::Receiver<Outcome>,
    /// What is to be sent.
    pub sends: mpsc::Receiver<PendingSend>,
    /// The number of the next delivery.
    pub next_delivery: u64,
    /// The way to the parent.
    pub frames: FrameSender,
    /// The lease page.
    pub lease: LeaseReader,
    /// The thread that ends the process with its lease.
    pub watchdog: LeaseWatchdog,
    /// How far it has come, across sessions.
    pub progress: ProgressTracker,
    /// What ended the session before and may end this one as well.
    pub complaint: Option<String>,
    /// The last order to stand by that was answered.
    parked: u64,
}

impl ProcessContext {
    /// Puts them together.
    pub fn new(
        label: String,
        desired: watch::Receiver<DesiredState>,
        outcomes: mpsc::Receiver<Outcome>,
        sends: mpsc::Receiver<PendingSend>,
        frames: mpsc::Sender<FromProcess>,
        lease: LeaseReader,
        watchdog: LeaseWatchdog,
    ) -> Self {
        let out = FrameSender {
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
            frames: out,
            lease,
            watchdog,
            progress: ProgressTracker::default(),
            complaint: None,
            parked: 0,
        }
    }

    /// What is wanted now. Called only while there is no session: answers an order to
    /// stand by, and gives back what was to be sent and has not been begun.
    pub async fn idle(&mut self) -> DesiredState {
        while let Ok(order) = self.sends.try_recv() {
            let not_sent = proto::Sent {
                send: order.send.send,
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

    /// How `epoch` stands. Where its lease has lapsed, the one who asks stands still.
    pub fn tenure(&self, epoch: u64) -> LeaseTenure {
        let tenure = self.lease.tenure(epoch);
        if let LeaseTenure::Lapsed(deadline, _) = tenure {
            self.watchdog.stand_still(deadline);
        }
        tenure
    }

    /// The channel's or outgoing's name.
    pub fn name(&self) -> &str {
        self.label
            .split_once('/')
            .map_or(&self.label, |(_, name)| name)
    }

    /// Waits for the first configuration; `None` when the process is to stop before it.
    pub async fn first_configuration(&mut self) -> Option<Arc<Configure>> {
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

    /// Waits for another order.
    pub async fn changed(&mut self) {
        // The sender's end ends the process; waiting here for that is all there is to do.
        if self.desired.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// While there is no session: waits for other settings than this generation's, or for
    /// the order to stop.
    pub async fn reconfigured(&mut self, generation: u64) {
        loop {
            let desired = self.idle().await;
            if desired.stop || desired.generation() != Some(generation) {
                return;
            }
            self.changed().await;
        }
    }

    /// While there is no session: waits until another try has a reason. True: there are
    /// other settings than those of `before`, or the order to stop. False: the order to
    /// consume has come.
    pub async fn wait_retry_reason(&mut self, before: &DesiredState) -> bool {
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

    /// Says that this program doesn't speak that kind, and waits for the end.
    pub async fn unknown_kind(&mut self, kind: &str) {
        let trouble = ConnectorError::new(format!(
            "this program has no connector for the kind {kind:?}"
        ));
        self.frames.report(Phase::Broken, &trouble.text, 0).await;
        while !self.idle().await.stop {
            self.changed().await;
        }
    }
}
