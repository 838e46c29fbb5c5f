//! Actor that drives the process of one channel or outgoing to how it is wished to be: there,
//! standing by, prepared, acting, parked, gone.
//!
//! There is at most one process of a connector at a time on a member: the next is started
//! after the last has been reaped.

mod orders;
mod reports;

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_ipc::lease::Page;
use quorate_log::RateLimit;
use quorate_proto::connector::{Tally, to_process};
use quorate_types::backoff::Backoff;
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::{
    board::{self, Board},
    calls::Calls,
    evict::{Evicting, Remains},
    gateway::Gateway,
    mail::Mail,
    names::Names,
    outlets::Outlets,
    process::{Event, Process},
    progress::ProgressWriter,
    signs::Signs,
    spawner::{Spawner, Turn},
    spec::Spec,
    stance::Stance,
    status::{ConnectorState, Counts},
    view::View,
};

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
    /// Statuses of the connectors.
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
    /// Exchange whenever a keeper has come to rest.
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
struct Exchange {
    /// What it says is wrong.
    trouble: Option<String>,
    spec: Arc<Spec>,
    /// Which connector of its name the process was started for.
    created: u64,
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
        let bell = Bell(keeper.shared.clone());
        tokio::spawn(async move {
            let _bell = bell;
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
        let mut exchange = Exchange {
            spec: spec.clone(),
            created: spec.created,
            stance: Stance::StandBy(Duration::ZERO),
            parked: true,
            trouble: None,
            tally: Tally::default(),
            active_since: None,
        };
        self.configure(&mut process, &spec);
        self.stand(&mut process, &mut exchange, &spec, stance);
        loop {
            if exchange.parked && matches!(exchange.stance, Stance::Park(_)) {
                let number = self.wish.borrow().number;
                self.rest(number);
            }
            tokio::select! {
                changed = self.wish.changed() => {
                    if changed.is_err() {
                        return process.reap().await;
                    }
                    let Wish { spec, stance, remains, .. } = self.wish.borrow_and_update().clone();
                    if exchange.active_since.is_none() || !spec.fenced_by_broker {
                        self.evicting.follow(&self.shared.http, &spec, remains);
                    }
                    if !spec.same_process(&exchange.spec) {
                        self.configure(&mut process, &spec);
                    }
                    let stance = match stance {
                        stance if !spec.another_process(&exchange.spec) => stance,
                        // A release doesn't wait longer for it than it would anyway.
                        Stance::Park(drain) => Stance::Gone(drain.min(spec.finish)),
                        _ => Stance::Gone(spec.finish),
                    };
                    self.stand(&mut process, &mut exchange, &spec, stance);
                    exchange.spec = spec;
                }
                event = process.next() => match event {
                    Event::Frame(epoch, frame) => self.heard(&mut process, &mut exchange, epoch, frame),
                    Event::Ended(why) => return self.ended(&exchange, why).await,
                },
                (incarnation, outcome) = self.calls.next() => if incarnation == process.incarnation {
                    self.note(&exchange, &outcome);
                    process.order(to_process::Frame::Outcome(outcome));
                },
                // None behind an order to end: it would be lost with the process.
                send = self.mail.next(), if exchange.active_since.is_some() && matches!(exchange.stance, Stance::Act(_)) => {
                    process.order(send);
                }
            }
        }
    }

    async fn ended(&mut self, exchange: &Exchange, why: String) {
        let spec = exchange.spec.clone();
        self.calls.session_over();
        self.mail.lost();
        self.shared.board.gone(&spec.key);
        self.shared.names.set(&spec.key, None);
        if !exchange.stance.needs_process() {
            info!(connector = %spec.key, why, "connector process gone");
            self.restarts.reset();
            return;
        }
        if exchange
            .active_since
            .is_some_and(|since| since.elapsed() >= WORKED)
        {
            self.restarts.reset();
        }
        let lease_over =
            matches!(exchange.stance, Stance::Act(epoch) if !self.shared.page.view().holds(epoch));
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
