//! The run loop: connect and stand by; open a session per epoch; reconnect by itself.
//!
//! It asks for the lease before it consumes, each time anew: nothing reconnects past it.
//!
//! # A session that is opened before its reign
//!
//! Told to prepare, the process opens its session while the takeover is still being
//! committed, and *holds* it: it reads nothing from it, so at most `prefetch` messages wait
//! in the broker's library, and none of them is seen by anybody. Only channels that the
//! broker keeps others off are prepared, so while an old holder consumes, opening is
//! refused. What makes the session one of the new epoch and of no other:
//!
//! - There is one session at a time. One of an older epoch was closed, with the broker's
//!   channel that its deliveries came by, before this one was opened on a channel of its own.
//! - It is read from only once the order to act under an epoch has come *and* the page lets
//!   that epoch act; it is armed, and its frames are stamped, with that epoch from then on.
//! - It is given up, and everything in it goes back, when the order to prepare is withdrawn,
//!   when the settings change, or at the end of its time. It never becomes one of a second
//!   epoch: an activated session ends with its epoch.

use std::{pin::pin, time::Duration};

use quorate_clock::{Instant, rng};
use quorate_proto::connector::Phase;
use quorate_types::backoff::{Backoff, ProportionalBackoff};
use rand::Rng;
use tokio::time::{sleep, sleep_until, timeout};

use super::{
    broker_link::{BrokerLink, ConnectorError},
    exclusive_wait::ExclusiveWait,
    process_context::{DesiredState, ProcessContext, ProcessReign},
    role::{ConnectorRole, ConnectorSettings, ServeOutcome},
};

/// The longest wait for the broker's answer to connecting or opening.
const ANSWER: Duration = Duration::from_secs(10);
/// A broker that takes connections and says nothing may leave something behind in this
/// process each time. After so many of them the process ends, and the parent starts another.
const SILENCES: u32 = 8;
/// The longest wait for the broker's goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// How often the lease is asked for while it isn't there, at first and at last.
const ASK_LEASE: Duration = Duration::from_millis(2);
const ASK_LEASE_LAST: Duration = Duration::from_millis(40);
/// The longest wait between two tries to open a session.
const REOPEN: Duration = Duration::from_secs(1);
/// What was expected to be over by itself and is not after this time is a failure.
const PASSING: Duration = Duration::from_secs(10);

/// Why a connection is left.
enum DisconnectReason {
    Stop,
    Reconnect,
    Lost(ConnectorError),
}

/// What a session is opened for.
enum SessionPurpose {
    /// To consume under this reign.
    Reign(ProcessReign),
    /// To be there when the reign begins; given up then.
    Prepare(Instant),
}

/// Why a session did not end in order.
enum SessionFailure {
    /// It was never there, or is gone; the connection may be well.
    Session(ConnectorError),
    /// What the broker thinks of it is not known: the connection must go.
    Connection(ConnectorError),
}

/// The run loop of one kind.
pub struct RunLoop {
    context: ProcessContext,
    reconnect: Backoff,
    reopen: Backoff,
    exclusive_wait: ExclusiveWait,
    /// The last trouble that was told, and in which phase.
    last_reported: Option<(Phase, String)>,
    /// Since when it has been kept from its work by what should be over soon.
    transient_since: Option<Instant>,
    unanswered: u32,
    connects: u64,
}

impl RunLoop {
    /// Over these wires.
    pub fn new(wires: ProcessContext) -> Self {
        RunLoop {
            context: wires,
            reconnect: Backoff::new(Duration::from_millis(100), Duration::from_secs(2)),
            reopen: Backoff::new(Duration::from_millis(20), REOPEN),
            exclusive_wait: ExclusiveWait::new(),
            last_reported: None,
            transient_since: None,
            unanswered: 0,
            connects: 0,
        }
    }

    /// Runs until the parent says stop.
    pub async fn run<R: ConnectorRole>(mut self) {
        loop {
            let (desired, settings) = self.wanted::<R>().await;
            if desired.stop {
                return;
            }
            let settings = match settings {
                Ok(settings) => settings,
                Err(trouble) => {
                    self.report_error(Phase::Broken, &trouble, 0).await;
                    self.context.changed().await;
                    continue;
                }
            };
            let trouble = match self.connect::<R>(&settings).await {
                Ok(link) => {
                    self.connects += 1;
                    self.context.frames.tally.lock().reconnects = self.connects - 1;
                    let left = self.connected::<R>(&link, &settings).await;
                    // In order if the broker takes part, without it if not.
                    let _ = timeout(GOODBYE, link.close()).await;
                    match left {
                        DisconnectReason::Stop => return,
                        DisconnectReason::Reconnect => continue,
                        DisconnectReason::Lost(trouble) => trouble,
                    }
                }
                Err(trouble) => trouble,
            };
            let phase = self.phase_of(&trouble);
            self.report_error(phase, &trouble, settings.generation)
                .await;
            if self.unanswered >= SILENCES {
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

    /// What is wanted now. Called only while there is no session.
    async fn wanted<R: ConnectorRole>(
        &mut self,
    ) -> (DesiredState, Result<ConnectorSettings<R>, ConnectorError>) {
        let desired = self.context.idle().await;
        let none = || ConnectorError::new("there is no configuration yet");
        let settings = desired
            .configure
            .as_deref()
            .ok_or_else(none)
            .and_then(ConnectorSettings::<R>::parse);
        (desired, settings)
    }

    async fn report(&mut self, phase: Phase, generation: u64) {
        self.last_reported = None;
        self.context.frames.report(phase, "", generation).await;
    }

    async fn report_on(
        &mut self,
        link: &impl BrokerLink,
        phase: Phase,
        error: &str,
        generation: u64,
    ) {
        (self.last_reported, self.transient_since) = (None, None);
        let out = &self.context.frames;
        out.report_on(link, phase, error, generation).await;
    }

    /// What should be over soon is a failure once it has lasted.
    fn phase_of(&mut self, trouble: &ConnectorError) -> Phase {
        if !trouble.transient {
            self.transient_since = None;
            return Phase::Broken;
        }
        let since = *self.transient_since.get_or_insert_with(Instant::now);
        match since.elapsed() < PASSING {
            true => Phase::Starting,
            false => Phase::Broken,
        }
    }

    /// Says what is wrong, once for many tries in a row that fail alike.
    async fn report_error(&mut self, phase: Phase, trouble: &ConnectorError, generation: u64) {
        let now = Some((phase, trouble.text.clone()));
        if self.last_reported != now {
            self.last_reported = now;
            let out = &self.context.frames;
            out.report(phase, &trouble.text, generation).await;
        }
    }

    async fn connect<R: ConnectorRole>(
        &mut self,
        settings: &ConnectorSettings<R>,
    ) -> Result<R::Link, ConnectorError> {
        // Of a further try nothing is said until it has succeeded or failed otherwise.
        if self.last_reported.is_none() {
            self.report(Phase::Starting, settings.generation).await;
        }
        let label = format!("quorate {}", self.context.label);
        tokio::select! {
            link = timeout(ANSWER, R::Link::connect(&settings.connection, &label)) => {
                self.unanswered = if link.is_err() { self.unanswered + 1 } else { 0 };
                link.map_err(|_| silent())?
            }
            () = self.context.reconfigured(settings.generation) => Err(ConnectorError::transient("the settings have changed")),
        }
    }

    /// Stands by, and consumes whenever it may, until the connection is to be left.
    async fn connected<R: ConnectorRole>(
        &mut self,
        link: &R::Link,
        connected: &ConnectorSettings<R>,
    ) -> DisconnectReason {
        let mut said_standby = false;
        let mut asks = ProportionalBackoff::new(ASK_LEASE, ASK_LEASE_LAST);
        loop {
            let (desired, settings) = self.wanted::<R>().await;
            let settings = match settings {
                _ if desired.stop => return DisconnectReason::Stop,
                Ok(settings) if settings.connection == connected.connection => settings,
                _ => return DisconnectReason::Reconnect,
            };
            let reign = desired
                .act
                .filter(|reign| self.context.lease.holds(reign.epoch));
            let ahead = desired.prepare.filter(|until| *until > Instant::now());
            let footing = reign
                .map(SessionPurpose::Reign)
                .or(ahead.map(SessionPurpose::Prepare));
            let Some(footing) = footing else {
                if !said_standby {
                    self.report_on(link, Phase::Connected, "", settings.generation)
                        .await;
                    said_standby = true;
                }
                tokio::select! {
                    () = self.context.changed() => asks.reset(),
                    trouble = link.wait_lost() => return DisconnectReason::Lost(trouble),
                    // Told to act, but the page doesn't say so yet, or not any more.
                    () = sleep(asks.step(Instant::now())), if desired.act.is_some() => {}
                }
                continue;
            };
            asks.reset();
            said_standby = false;
            let trouble = match self.session::<R>(link, &settings, footing).await {
                Ok(()) => continue,
                Err(SessionFailure::Connection(trouble)) => return DisconnectReason::Lost(trouble),
                Err(SessionFailure::Session(trouble)) if link.is_lost() => {
                    return DisconnectReason::Lost(trouble);
                }
                Err(SessionFailure::Session(trouble)) => trouble,
            };
            let phase = self.phase_of(&trouble);
            self.report_error(phase, &trouble, settings.generation)
                .await;
            let pause = match trouble.transient {
                true => Duration::ZERO,
                false => self.reopen.step(),
            };
            let worthwhile = async {
                sleep(pause).await;
                if trouble.transient {
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

    /// One session, from its opening until it is drained.
    async fn session<R: ConnectorRole>(
        &mut self,
        link: &R::Link,
        settings: &ConnectorSettings<R>,
        footing: SessionPurpose,
    ) -> Result<(), SessionFailure> {
        let epoch = match footing {
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
                    // Nothing is read before it is open: it stands still as it is.
                    () = stopped.notified() => {
                        self.context.tenure(epoch.unwrap_or_default());
                    }
                }
            }
        };
        let session = match opened {
            Ok(Ok(session)) => session,
            Ok(Err(trouble)) => {
                self.context.watchdog.disarm();
                return Err(SessionFailure::Session(trouble));
            }
            // It may consume by now. The connection goes before anything else happens,
            // and the watchdog stays armed until the next session.
            Err(_) => return Err(SessionFailure::Connection(silent())),
        };
        self.exclusive_wait.reset();
        let ahead = epoch.is_none();
        let reign = match footing {
            SessionPurpose::Reign(reign) => reign,
            SessionPurpose::Prepare(until) => {
                match self.hold_prepared::<R>(link, settings, until).await {
                    Some(reign) => reign,
                    // Not cancelled first: what it holds goes back before another is let in.
                    None => return close::<R>(session).await,
                }
            }
        };
        if ahead {
            self.restore_progress::<R>(link, settings, Some(reign.epoch));
        }
        self.context.frames.set_reign(reign);
        let complaint = self.context.complaint.clone().unwrap_or_default();
        self.report_on(link, Phase::Active, &complaint, settings.generation)
            .await;
        let (opened_at, settled) = (Instant::now(), self.settled());
        let served = R::serve(&mut self.context, link, session, settings.clone(), reign).await;
        self.context.watchdog.disarm();
        self.context.frames.set_reign(ProcessReign::default());
        // Deliveries of this session that still wait at the parent are void from here on.
        self.report(Phase::Draining, settings.generation).await;
        let lasted = opened_at.elapsed() > Duration::from_secs(1);
        if lasted || self.settled() > settled {
            self.reopen.reset();
        }
        if lasted {
            self.reconnect.reset();
        }
        match served {
            ServeOutcome::Drained(session) => close::<R>(session).await,
            ServeOutcome::Ended(trouble) => {
                self.context.complaint = trouble.until_handled.then(|| trouble.text.clone());
                Err(SessionFailure::Session(trouble))
            }
        }
    }

    /// Takes over how far the channel had come before this epoch.
    fn restore_progress<R: ConnectorRole>(
        &mut self,
        link: &R::Link,
        settings: &ConnectorSettings<R>,
        epoch: Option<u64>,
    ) {
        if let Some(epoch) = epoch {
            let progress = self.context.desired.borrow().progress.clone();
            let of = R::progress_of(link, settings);
            self.context.progress.take_over(epoch, &progress, of);
        }
    }

    /// How many messages have come to an end.
    fn settled(&self) -> u64 {
        let tally = self.context.frames.tally.lock();
        tally.handled + tally.failed + tally.sent
    }

    /// Waits, with an open session that nobody reads from, for the reign that it is to
    /// serve, which may act now and is what the watchdog is armed for; `None`: give it up.
    async fn hold_prepared<R: ConnectorRole>(
        &mut self,
        link: &R::Link,
        settings: &ConnectorSettings<R>,
        until: Instant,
    ) -> Option<ProcessReign> {
        loop {
            let desired = self.context.desired.borrow_and_update().clone();
            let same = desired
                .configure
                .as_deref()
                .and_then(|it| ConnectorSettings::<R>::parse(it).ok())
                .is_some_and(|it| it.same_session(settings));
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
                // Told to act, but the page doesn't say so yet.
                () = sleep(ASK_LEASE), if desired.act.is_some() => {}
            }
        }
    }
}

/// Closes a session; if the broker doesn't say that it is closed, the connection must go.
async fn close<R: ConnectorRole>(session: R::Session) -> Result<(), SessionFailure> {
    match timeout(GOODBYE, R::close(session)).await {
        Ok(()) => Ok(()),
        Err(_) => Err(SessionFailure::Connection(ConnectorError::new(
            "the broker did not answer to the end of the session",
        ))),
    }
}

/// Not all at once, when a broker with many connectors comes back.
fn spread(wait: Duration) -> Duration {
    wait.mul_f64(rng().random_range(0.7..=1.0))
}

fn silent() -> ConnectorError {
    ConnectorError::new(format!(
        "the broker did not answer within {} s: is it one, and is it well?",
        ANSWER.as_secs()
    ))
}
