//! Keeps the process of one channel or outgoing as it is wished to be: there, standing by, prepared,
//! acting, parked, gone.
//!
//! There is at most one process of a connector at a time on a member: the next is started
//! after the last has been reaped.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_clock::Instant;
use quorate_log::RateLimit;
use quorate_proto::connector::{
    Activate, Configure, Deactivate, Outcome, Phase, Prepare, Report, Stop, Tally, from_process,
    outcome, to_process,
};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::{
    board::{self, Board},
    calls::Calls,
    child::backoff::Backoff,
    evict::{Evicting, Remains},
    gateway::Gateway,
    lease::Page,
    mail::Mail,
    names::Names,
    outlets::Outlets,
    process::{Event, Process},
    progress::ProgressWriter,
    signs::Signs,
    spawner::{Spawner, Turn},
    spec::{Key, Spec},
    stance::Stance,
    status::{ConnectorState, Counts},
    view::View,
};
use crate::state::{BrokerConnection, Kind};

/// A process that has consumed for this long works: the next restart waits little.
const WORKED: Duration = Duration::from_secs(5);
/// What a process that is to go has beyond its drain before it is killed.
const LATE: Duration = Duration::from_secs(1);
/// What one that is to park has: less, since the release waits for it.
const LATE_TO_PARK: Duration = Duration::from_millis(200);

/// What all keepers share.
pub struct Shared {
    /// The lease page.
    pub page: Arc<Page>,
    /// Starts processes.
    pub spawner: Spawner,
    /// Calls services.
    pub gateway: Arc<Gateway>,
    /// The mailboxes of the outgoings.
    pub outlets: Arc<Outlets>,
    /// What is told of connectors.
    pub board: Arc<Board>,
    /// What the brokers call their connections.
    pub names: Names,
    /// Writes how far the connectors have come.
    pub progress: Arc<ProgressWriter>,
    /// What is replicated.
    pub view: watch::Receiver<Arc<View>>,
    /// Asks brokers to close connections.
    pub http: reqwest::Client,
    /// How often processes give signs of life.
    pub signs: Signs,
    /// Told whenever a keeper has come to rest.
    pub rested: tokio::sync::Notify,
}

/// What a keeper is asked for.
#[derive(Clone)]
pub struct Wish {
    /// The channel or outgoing.
    pub spec: Arc<Spec>,
    /// How its process is to stand.
    pub stance: Stance,
    /// What another member has left at the broker, to be closed.
    pub remains: Option<Remains>,
    /// Counts the keeper's wishes, from 1.
    pub number: u64,
}

/// Keeps one connector.
pub struct Keeper {
    shared: Arc<Shared>,
    wish: watch::Receiver<Wish>,
    rests: watch::Sender<u64>,
    /// Of a channel.
    calls: Calls,
    /// Of an outgoing.
    mail: Mail,
    generation: u64,
    /// Counts the orders to stand by.
    orders: u64,
    restarts: Backoff,
    evicting: Evicting,
    said: RateLimit,
}

struct Bell(Arc<Shared>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.rested.notify_one();
    }
}

/// What has been said to a process, and what it has said.
struct Told {
    /// What it says is wrong.
    trouble: Option<String>,
    spec: Arc<Spec>,
    stance: Stance,
    /// Whether it stands by for sure: nothing was begun, or it said that all is closed.
    parked: bool,
    tally: Tally,
    active_since: Option<Instant>,
}

impl Keeper {
    /// Starts keeping. On the returned watch stands the number of the last wish for no
    /// process, or for a parked one, that has been met. It ends when `wish` is closed.
    pub fn start(shared: Arc<Shared>, wish: watch::Receiver<Wish>) -> watch::Receiver<u64> {
        let (rests, receiver) = watch::channel(0);
        let spec = wish.borrow().spec.clone();
        let keeper = Keeper {
            calls: Calls::new(spec.places),
            mail: Mail::of(&spec, &shared.outlets),
            shared,
            wish,
            rests,
            generation: 0,
            orders: 0,
            evicting: Evicting::default(),
            said: RateLimit::each_second(),
            restarts: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
        };
        // However it ends, the supervisor hears of it.
        let told = Bell(keeper.shared.clone());
        tokio::spawn(async move {
            let _told = told;
            keeper.keep().await;
        });
        receiver
    }

    async fn keep(mut self) {
        while self.wait_until_wished().await {
            let Some(turn) = self.turn().await else {
                continue;
            };
            let spec = self.wish.borrow().spec.clone();
            match Process::start(
                &self.shared.spawner,
                &self.shared.page,
                &spec,
                self.shared.signs.every(),
                turn,
            )
            .await
            {
                Ok(process) => {
                    info!(connector = %spec.key, pid = process.pid, "connector process started");
                    self.attend(process).await;
                }
                Err(error) => {
                    self.failed(&spec, format!("its process can't be started: {error}"))
                        .await
                }
            }
        }
    }

    /// Rests while no process is wished. False when no more wishes come.
    async fn wait_until_wished(&mut self) -> bool {
        loop {
            // The last wish outlives whoever made it, and is not to be acted on then.
            if self.wish.has_changed().is_err() {
                return false;
            }
            let number = {
                let wish = self.wish.borrow_and_update();
                if wish.stance.needs_process() {
                    return true;
                }
                wish.number
            };
            self.rest(number);
            tokio::select! {
                changed = self.wish.changed() => if changed.is_err() { return false },
                // Their process is gone; their answers are for nobody.
                _ = self.calls.next() => {}
            }
        }
    }

    /// Waits for a turn to start a process; `None`: another wish has come.
    async fn turn(&mut self) -> Option<Turn> {
        tokio::select! {
            turn = self.shared.spawner.turn() => Some(turn),
            _ = self.wish.changed() => {
                self.wish.mark_changed();
                None
            }
        }
    }

    /// The wish of this number is met.
    fn rest(&self, number: u64) {
        if self.rests.send_replace(number) != number {
            self.shared.rested.notify_one();
        }
    }

    /// Says what is wrong and waits a while, unless another wish comes first.
    async fn failed(&mut self, spec: &Spec, error: String) {
        let wait = self.restarts.step();
        warn!(connector = %spec.key, error, wait_ms = wait.as_millis() as u64, "connector process not running");
        self.shared.board.update(&spec.key, |status| {
            status.state = ConnectorState::Failed;
            status.last_error = Some(error);
        });
        tokio::select! {
            () = sleep(wait) => {}
            _ = self.wish.changed() => self.wish.mark_changed(),
        }
    }

    /// Looks after a process until it is gone.
    async fn attend(&mut self, mut process: Process) {
        let Wish {
            spec,
            stance,
            remains,
            ..
        } = self.wish.borrow_and_update().clone();
        self.evicting.follow(&self.shared.http, &spec, remains);
        self.calls.session_over();
        self.shared.board.update(&spec.key, |status| {
            status.state = ConnectorState::Starting;
            status.pid = Some(process.pid);
            (status.epoch, status.activated_at) = (None, None);
            status.counts = Counts::default();
        });
        let mut told = Told {
            spec: spec.clone(),
            stance: Stance::StandBy(Duration::ZERO),
            parked: true,
            trouble: None,
            tally: Tally::default(),
            active_since: None,
        };
        self.configure(&mut process, &spec);
        self.stand(&mut process, &mut told, &spec, stance);
        loop {
            if told.parked && matches!(told.stance, Stance::Park(_)) {
                let number = self.wish.borrow().number;
                self.rest(number);
            }
            tokio::select! {
                changed = self.wish.changed() => {
                    if changed.is_err() {
                        return process.reap().await;
                    }
                    let Wish { spec, stance, remains, .. } = self.wish.borrow_and_update().clone();
                    if told.active_since.is_none() || !spec.fenced_by_broker {
                        self.evicting.follow(&self.shared.http, &spec, remains);
                    }
                    if !spec.same_process(&told.spec) {
                        self.configure(&mut process, &spec);
                    }
                    let stance = match stance {
                        stance if spec.restarted == told.spec.restarted => stance,
                        // A release doesn't wait longer for it than it would anyway.
                        Stance::Park(drain) => Stance::Gone(drain.min(spec.finish)),
                        _ => Stance::Gone(spec.finish),
                    };
                    self.stand(&mut process, &mut told, &spec, stance);
                    told.spec = spec;
                }
                event = process.next() => match event {
                    Event::Frame(epoch, frame) => self.heard(&mut process, &mut told, epoch, frame),
                    Event::Ended(why) => return self.ended(&told, why).await,
                },
                (incarnation, outcome) = self.calls.next() => if incarnation == process.incarnation {
                    self.note(&told, &outcome);
                    process.order(to_process::Frame::Outcome(outcome));
                },
                // None behind an order to end: it would be lost with the process.
                send = self.mail.next(), if told.active_since.is_some() && matches!(told.stance, Stance::Act(_)) => {
                    process.order(send);
                }
            }
        }
    }

    /// Sends the settings.
    fn configure(&mut self, process: &mut Process, spec: &Spec) {
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
    fn stand(&mut self, process: &mut Process, told: &mut Told, spec: &Spec, stance: Stance) {
        if told.stance == stance || told.stance.is_gone() && !stance.is_gone() {
            // One that was told to go goes; the next one gets the new wish.
            return;
        }
        process.kill_at(None);
        match stance {
            // It does so already.
            Stance::StandBy(_) | Stance::Park(_) if told.parked => {}
            Stance::Act(epoch) => {
                process.order(to_process::Frame::Activate(Activate {
                    epoch,
                    incarnation: process.incarnation,
                    progress: self.progress(&spec.key, epoch),
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
        told.parked &= matches!(stance, Stance::StandBy(_) | Stance::Park(_));
        told.stance = stance;
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
    fn progress(&self, key: &Key, epoch: u64) -> Bytes {
        if let Some(unwritten) = self.shared.progress.unwritten(key, epoch) {
            return unwritten;
        }
        let kind = key.kind.parse::<Kind>();
        let view = self.shared.view.borrow();
        kind.map(|kind| view.progress.get(kind, &key.name))
            .unwrap_or_default()
    }

    fn heard(
        &mut self,
        process: &mut Process,
        told: &mut Told,
        epoch: u64,
        frame: from_process::Frame,
    ) {
        match frame {
            from_process::Frame::Alive(_) => {}
            from_process::Frame::Tally(tally) => {
                self.shared.board.count(&told.spec.key, &told.tally, &tally);
                told.tally = tally;
            }
            from_process::Frame::Report(report) => self.reported(told, epoch, report),
            from_process::Frame::Parked(parked) if parked.order == self.orders => {
                told.parked = matches!(told.stance, Stance::StandBy(_) | Stance::Park(_));
                if told.parked {
                    process.kill_at(None);
                }
            }
            from_process::Frame::Parked(_) => {}
            from_process::Frame::Progress(progress) => {
                let key = &told.spec.key;
                self.shared.progress.set(key, epoch, progress.progress);
            }
            from_process::Frame::Sent(sent) => self.mail.settled(sent),
            from_process::Frame::Delivery(delivery) => {
                // The wish may be newer than what was told: the service is the new one at once.
                let spec = self.wish.borrow().spec.clone();
                let gateway = &self.shared.gateway;
                self.calls
                    .start(gateway, spec, process.incarnation, epoch, delivery);
            }
        }
    }

    fn reported(&mut self, told: &mut Told, epoch: u64, report: Report) {
        let phase = report.phase();
        if phase == Phase::Active {
            told.active_since.get_or_insert_with(Instant::now);
            if told.spec.fenced_by_broker {
                // Let in: whatever was left there holds nothing any more.
                self.evicting.stop();
            }
        } else {
            told.active_since = None;
            self.calls.session_over();
        }
        let trouble = Some(report.error).filter(|error| !error.is_empty());
        match &trouble {
            Some(error) if phase == Phase::Starting => {
                info!(connector = %told.spec.key, error, "connector trouble");
            }
            Some(error) => {
                // Each message may bring one about, and each with a text of its own.
                if let Some(left_out) = self.said.due("") {
                    warn!(connector = %told.spec.key, error, left_out, "connector");
                }
            }
            None => {}
        }
        if !report.label.is_empty() {
            let connection = BrokerConnection {
                name: report.broker_connection,
                label: report.label,
            };
            let recorded = told.spec.management.is_some().then_some(connection);
            self.shared.names.set(&told.spec.key, recorded);
        }
        let current = told.stance == Stance::Act(epoch);
        self.shared.board.update(&told.spec.key, |status| {
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
            if trouble.is_some() || works {
                status.last_error.clone_from(&trouble);
            }
        });
        told.trouble = trouble;
    }

    /// Shows on the board why a message was not handled, and that one was.
    fn note(&self, told: &Told, outcome: &Outcome) {
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
        let error = told.trouble.clone().or(error);
        self.shared
            .board
            .update(&told.spec.key, |status| status.last_error = error);
    }

    async fn ended(&mut self, told: &Told, why: String) {
        let spec = told.spec.clone();
        self.calls.session_over();
        self.mail.lost();
        self.shared.board.gone(&spec.key);
        self.shared.names.set(&spec.key, None);
        if !told.stance.needs_process() {
            info!(connector = %spec.key, why, "connector process gone");
            self.restarts.reset();
            return;
        }
        if told
            .active_since
            .is_some_and(|since| since.elapsed() >= WORKED)
        {
            self.restarts.reset();
        }
        let lease_over =
            matches!(told.stance, Stance::Act(epoch) if !self.shared.page.view().holds(epoch));
        let why = if lease_over {
            // Nothing is wrong with the process: it did as it should.
            self.restarts.reset();
            format!("{why} (the lease was over)")
        } else {
            why
        };
        board::restarted(&spec.key);
        self.failed(&spec, format!("its process is gone: {why}"))
            .await;
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
