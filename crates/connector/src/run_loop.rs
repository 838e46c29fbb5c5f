//! Run loop of a connector: connect and stand by, a session per epoch, reconnect.
//!
//! The lease is checked before each session, each time anew: nothing reconnects past it.
//!
//! # A session that is opened before its reign
//!
//! On the order to prepare, the process opens its session while the takeover is still being
//! committed, and *holds* it: nothing is read from it, so at most `prefetch` messages wait in the
//! broker's library, and none of them is seen by anybody. Only channels that the broker keeps
//! others off are prepared, so while an old holder consumes, opening is refused. What makes the
//! session one of the new epoch and of no other:
//!
//! - There is one session at a time. One of an older epoch was closed, with the broker's channel
//!   that its deliveries came by, before this one was opened on a channel of its own.
//! - It is read from only once the order to act under an epoch has come *and* the page lets that
//!   epoch act; from then on the watchdog is armed with that epoch, and frames are stamped with it.
//! - It is given up, and everything in it goes back, when the order to prepare is withdrawn, when
//!   the settings change, or when its time is over. It never becomes one of a second epoch: an
//!   activated session ends with its epoch.

use std::{pin::pin, time::Duration};

use quorate_clock::{Instant, rng};
use quorate_ipc::connector_sandbox;
use quorate_proto::connector::Phase;
use quorate_types::backoff::{Backoff, ProportionalBackoff};
use rand::Rng;
use tokio::time::{sleep, sleep_until, timeout};
use tracing::info;

use super::{
    broker_link::{BrokerLink, ConnectorError},
    exclusive_wait::ExclusiveWait,
    phase_reports::PhaseReports,
    process_context::{DesiredState, ProcessContext, ProcessReign},
    role::{ConnectorRole, RoleSettings, ServeOutcome},
};

/// Longest wait for the broker's answer to connecting or opening.
const ANSWER: Duration = Duration::from_secs(10);
/// Number of silent connects in a row after which the process ends, and the parent starts another:
/// a broker that takes connections and says nothing may leave something behind in this process each
/// time.
const SILENCES: u32 = 8;
/// Longest wait for the broker's answer to closing.
const GOODBYE: Duration = Duration::from_secs(2);
/// First and last pause between two checks of a lease that isn't there yet.
const ASK_LEASE: Duration = Duration::from_millis(2);
const ASK_LEASE_LAST: Duration = Duration::from_millis(40);
/// Longest wait between two tries to open a session.
const REOPEN: Duration = Duration::from_secs(1);

/// Says why a process ends that can't look names up any more.
pub(crate) const OUTDATED: &str = "files that name servers are read from were replaced; another process is started, which may read them";

/// Returns true if this process is to end, for another one that may read what was replaced.
fn is_outdated() -> bool {
    let outdated = connector_sandbox::is_outdated();
    if outdated {
        info!("{OUTDATED}");
    }
    outdated
}

/// Reason for leaving a connection.
enum DisconnectReason {
    Stop,
    Reconnect,
    Lost(ConnectorError),
}

/// Purpose of opening a session.
enum SessionPurpose {
    /// Consuming under this reign.
    Reign(ProcessReign),
    /// Being ready when the reign begins; given up at this time.
    Prepare(Instant),
}

/// Reason why a session did not end in order.
enum SessionFailure {
    /// The session was never there, or is gone; the connection may be well.
    Session(ConnectorError),
    /// The broker's view of the session is not known: the connection must go.
    Connection(ConnectorError),
}

/// Run loop of a connector.
pub(crate) struct RunLoop {
    context: ProcessContext,
    reconnect: Backoff,
    reopen: Backoff,
    exclusive_wait: ExclusiveWait,
    reports: PhaseReports,
    unanswered: u32,
    connects: u64,
}

impl RunLoop {
    /// Returns a run loop over this context.
    pub(crate) fn new(context: ProcessContext) -> Self {
        RunLoop {
            reports: PhaseReports::new(context.frames.clone()),
            context,
            reconnect: Backoff::new(Duration::from_millis(100), Duration::from_secs(2)),
            reopen: Backoff::new(Duration::from_millis(20), REOPEN),
            exclusive_wait: ExclusiveWait::new(),
            unanswered: 0,
            connects: 0,
        }
    }

    /// Runs until the parent orders it to stop.
    pub(crate) async fn run<R: ConnectorRole>(mut self) {
        loop {
            let (desired, settings) = self.wanted::<R>().await;
            if desired.stop {
                return;
            }
            let settings = match settings {
                Ok(settings) => settings,
                Err(error) => {
                    self.reports.error(&error, 0).await;
                    self.context.changed().await;
                    continue;
                }
            };
            let error = match self.connect::<R>(&settings).await {
                Ok(link) => {
                    self.connects += 1;
                    self.context.frames.tally.lock().reconnects = self.connects - 1;
                    let left = self.connected::<R>(&link, &settings).await;
                    // The close is in order if the broker takes part.
                    let _ = timeout(GOODBYE, link.close()).await;
                    match left {
                        DisconnectReason::Stop => return,
                        DisconnectReason::Reconnect => continue,
                        DisconnectReason::Lost(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.reports.error(&error, settings.generation).await;
            if self.unanswered >= SILENCES || is_outdated() {
                return;
            }
            let wait = spread(self.reconnect.step());
            tokio::select! {
                () = sleep(wait) => {}
                // A takeover does not wait for the end of a backoff, and a change of the
                // settings may be the cure.
                changed = self.context.wait_retry_reason(&desired) => if changed {
                    self.reconnect.reset();
                },
            }
        }
    }

    /// Returns the desired state and its settings. Called only while there is no session.
    async fn wanted<R: ConnectorRole>(
        &mut self,
    ) -> (DesiredState, Result<RoleSettings<R>, ConnectorError>) {
        let desired = self.context.idle().await;
        let none = || ConnectorError::new("there is no configuration yet");
        let settings = desired
            .configure
            .as_deref()
            .ok_or_else(none)
            .and_then(RoleSettings::<R>::read);
        (desired, settings)
    }

    async fn connect<R: ConnectorRole>(
        &mut self,
        settings: &RoleSettings<R>,
    ) -> Result<R::Link, ConnectorError> {
        self.reports.starting(settings.generation).await;
        let label = format!("quorate {}", self.context.label);
        tokio::select! {
            link = timeout(ANSWER, R::Link::connect(&settings.connector.connection, &label)) => {
                self.unanswered = if link.is_err() { self.unanswered + 1 } else { 0 };
                link.map_err(|_| silent())?
            }
            () = self.context.reconfigured(settings.generation) => Err(ConnectorError::transient("the settings have changed")),
        }
    }

    /// Stands by, and consumes whenever it may, until the connection has to be left.
    async fn connected<R: ConnectorRole>(
        &mut self,
        link: &R::Link,
        connected: &RoleSettings<R>,
    ) -> DisconnectReason {
        let mut said_standby = false;
        let mut asks = ProportionalBackoff::new(ASK_LEASE, ASK_LEASE_LAST);
        loop {
            let (desired, settings) = self.wanted::<R>().await;
            let settings = match settings {
                _ if desired.stop => return DisconnectReason::Stop,
                Ok(settings) if settings.same_connection(connected) => settings,
                _ => return DisconnectReason::Reconnect,
            };
            let reign = desired
                .act
                .filter(|reign| self.context.lease.holds(reign.epoch));
            let ahead = desired.prepare.filter(|until| *until > Instant::now());
            let purpose = reign
                .map(SessionPurpose::Reign)
                .or(ahead.map(SessionPurpose::Prepare));
            let Some(purpose) = purpose else {
                if !said_standby {
                    self.reports
                        .on_link(link, Phase::Connected, "", settings.generation)
                        .await;
                    said_standby = true;
                }
                tokio::select! {
                    () = self.context.changed() => asks.reset(),
                    error = link.wait_lost() => return DisconnectReason::Lost(error),
                    // The order to act is there, but the page doesn't allow it yet, or not any
                    // more.
                    () = sleep(asks.step(Instant::now())), if desired.act.is_some() => {}
                }
                continue;
            };
            asks.reset();
            said_standby = false;
            let error = match self.session::<R>(link, &settings, purpose).await {
                Ok(()) => continue,
                Err(SessionFailure::Connection(error)) => return DisconnectReason::Lost(error),
                Err(SessionFailure::Session(error)) if link.is_lost() => {
                    return DisconnectReason::Lost(error);
                }
                Err(SessionFailure::Session(error)) => error,
            };
            self.reports.error(&error, settings.generation).await;
            if is_outdated() {
                return DisconnectReason::Stop;
            }
            let pause = if error.transient {
                Duration::ZERO
            } else {
                self.reopen.step()
            };
            let worthwhile = async {
                sleep(pause).await;
                if error.transient {
                    self.exclusive_wait
                        .wait(|| R::is_taken(link, &settings))
                        .await;
                }
            };
            tokio::select! {
                () = worthwhile => {}
                // The order to act may have come, or other settings: the next try is at once.
                () = self.context.changed() => {
                    self.exclusive_wait.reset();
                    self.reopen.reset();
                }
            }
        }
    }

    /// Runs one session, from its opening until it is drained.
    async fn session<R: ConnectorRole>(
        &mut self,
        link: &R::Link,
        settings: &RoleSettings<R>,
        purpose: SessionPurpose,
    ) -> Result<(), SessionFailure> {
        let epoch = match purpose {
            SessionPurpose::Reign(reign) => {
                self.context.watchdog.arm(reign.epoch);
                Some(reign.epoch)
            }
            SessionPurpose::Prepare(_) => None,
        };
        // Never dropped halfway, which could leave a consumer behind that nobody reads.
        self.restore_progress::<R>(link, settings, epoch);
        let stopped = self.context.watchdog.stopped.clone();
        let opened = {
            let opening = R::open(link, settings, epoch, &self.context.progress);
            let mut opening = pin!(timeout(ANSWER, opening));
            loop {
                tokio::select! {
                    opened = &mut opening => break opened,
                    // Nothing is read before the session is open, so the process stands still
                    // already.
                    () = stopped.notified() => {
                        self.context.tenure(epoch.unwrap_or_default());
                    }
                }
            }
        };
        let session = match opened {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => {
                self.context.watchdog.disarm();
                return Err(SessionFailure::Session(error));
            }
            // The session may consume by now. The connection goes before anything else happens, and
            // the watchdog stays armed until the next session.
            Err(_) => return Err(SessionFailure::Connection(silent())),
        };
        self.exclusive_wait.reset();
        let reign = match purpose {
            SessionPurpose::Reign(reign) => reign,
            SessionPurpose::Prepare(until) => {
                match self.hold_prepared::<R>(link, settings, until).await {
                    Some(reign) => reign,
                    // Not cancelled first: its messages go back before another consumer is let in.
                    None => return close::<R>(session).await,
                }
            }
        };
        if epoch.is_none() {
            self.restore_progress::<R>(link, settings, Some(reign.epoch));
        }
        self.context.frames.set_reign(reign);
        let complaint = self.context.complaint.clone().unwrap_or_default();
        self.reports
            .on_link(link, Phase::Active, &complaint, settings.generation)
            .await;
        let (opened_at, settled) = (Instant::now(), self.settled());
        let served = R::serve(&mut self.context, link, session, settings.clone(), reign).await;
        self.context.watchdog.disarm();
        self.context.frames.set_reign(ProcessReign::default());
        // Deliveries of this session that still wait at the parent are void from here on.
        self.reports.draining(settings.generation).await;
        let lasted = opened_at.elapsed() > Duration::from_secs(1);
        if lasted || self.settled() > settled {
            self.reopen.reset();
        }
        if lasted {
            self.reconnect.reset();
        }
        match served {
            ServeOutcome::Drained(session) => close::<R>(session).await,
            ServeOutcome::Ended(error) => {
                self.context.complaint = error.until_handled.then(|| error.text.clone());
                Err(SessionFailure::Session(error))
            }
        }
    }

    /// Takes over the channel's progress from before this epoch.
    fn restore_progress<R: ConnectorRole>(
        &mut self,
        link: &R::Link,
        settings: &RoleSettings<R>,
        epoch: Option<u64>,
    ) {
        if let Some(epoch) = epoch {
            let progress = self.context.desired.borrow().progress.clone();
            let of = R::progress_of(link, settings);
            self.context.progress.take_over(epoch, &progress, of);
        }
    }

    /// Returns how many messages have come to an end.
    fn settled(&self) -> u64 {
        let tally = self.context.frames.tally.lock();
        tally.handled + tally.failed + tally.sent
    }

    /// Waits, with an open session that nobody reads from, for the reign that the session is to
    /// serve, arms the watchdog with it and returns it once it may act; `None`: give the session
    /// up.
    async fn hold_prepared<R: ConnectorRole>(
        &mut self,
        link: &R::Link,
        settings: &RoleSettings<R>,
        until: Instant,
    ) -> Option<ProcessReign> {
        loop {
            let desired = self.context.desired.borrow_and_update().clone();
            let same = desired.configure.as_deref().is_some_and(|it| {
                // Read anew only where they are others: this is asked every few milliseconds.
                it.generation == settings.generation
                    || RoleSettings::<R>::read(it).is_ok_and(|it| it.same_session(settings))
            });
            if desired.stop || !same || Instant::now() >= until {
                return None;
            }
            match desired.act {
                Some(reign) if self.context.lease.holds(reign.epoch) => {
                    self.context.watchdog.arm(reign.epoch);
                    return Some(reign);
                }
                None if desired.prepare != Some(until) => return None,
                _ => {}
            }
            tokio::select! {
                () = self.context.changed() => {}
                _ = link.wait_lost() => return None,
                () = sleep_until(until) => {}
                // The order to act is there, but the page doesn't allow it yet.
                () = sleep(ASK_LEASE), if desired.act.is_some() => {}
            }
        }
    }
}

/// Closes a session; if the broker does not confirm that, the connection must go.
async fn close<R: ConnectorRole>(session: R::Session) -> Result<(), SessionFailure> {
    match timeout(GOODBYE, R::close(session)).await {
        Ok(()) => Ok(()),
        Err(_) => Err(SessionFailure::Connection(ConnectorError::new(
            "the broker did not answer to the end of the session",
        ))),
    }
}

/// Spreads a wait, so that not all connectors come at once when their broker is back.
fn spread(wait: Duration) -> Duration {
    wait.mul_f64(rng().random_range(0.7..=1.0))
}

fn silent() -> ConnectorError {
    ConnectorError::new(format!(
        "the broker did not answer within {} s: is it one, and is it well?",
        ANSWER.as_secs()
    ))
}
