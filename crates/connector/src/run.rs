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

use quorate_clock::{Instant, chance};
use quorate_proto::connector::Phase;
use quorate_types::backoff::{Backoff, Share};
use rand::Rng;
use tokio::time::{sleep, sleep_until, timeout};

use super::{
    link::{Link, Trouble},
    role::{Role, Served, Settings},
    vacancy::Vacancy,
    wires::{Desired, Reign, Wires},
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
enum Left {
    Stop,
    Reconnect,
    Lost(Trouble),
}

/// What a session is opened for.
enum Footing {
    /// To consume under this reign.
    Reign(Reign),
    /// To be there when the reign begins; given up then.
    Ahead(Instant),
}

/// Why a session did not end in order.
enum Failed {
    /// It was never there, or is gone; the connection may be well.
    Session(Trouble),
    /// What the broker thinks of it is not known: the connection must go.
    Connection(Trouble),
}

/// The run loop of one kind.
pub struct Run {
    wires: Wires,
    reconnect: Backoff,
    reopen: Backoff,
    vacancy: Vacancy,
    /// The last trouble that was told, and in which phase.
    told: Option<(Phase, String)>,
    /// Since when it has been kept from its work by what should be over soon.
    passing: Option<Instant>,
    silences: u32,
    connects: u64,
}

impl Run {
    /// Over these wires.
    pub fn new(wires: Wires) -> Self {
        Run {
            wires,
            reconnect: Backoff::new(Duration::from_millis(100), Duration::from_secs(2)),
            reopen: Backoff::new(Duration::from_millis(20), REOPEN),
            vacancy: Vacancy::new(),
            told: None,
            passing: None,
            silences: 0,
            connects: 0,
        }
    }

    /// Runs until the parent says stop.
    pub async fn run<R: Role>(mut self) {
        loop {
            let (desired, settings) = self.wanted::<R>().await;
            if desired.stop {
                return;
            }
            let settings = match settings {
                Ok(settings) => settings,
                Err(trouble) => {
                    self.complain(Phase::Broken, &trouble, 0).await;
                    self.wires.changed().await;
                    continue;
                }
            };
            let trouble = match self.connect::<R>(&settings).await {
                Ok(link) => {
                    self.connects += 1;
                    self.wires.out.tally.lock().reconnects = self.connects - 1;
                    let left = self.connected::<R>(&link, &settings).await;
                    // In order if the broker takes part, without it if not.
                    let _ = timeout(GOODBYE, link.close()).await;
                    match left {
                        Left::Stop => return,
                        Left::Reconnect => continue,
                        Left::Lost(trouble) => trouble,
                    }
                }
                Err(trouble) => trouble,
            };
            let phase = self.phase_of(&trouble);
            self.complain(phase, &trouble, settings.generation).await;
            if self.silences >= SILENCES {
                return;
            }
            let wait = spread(self.reconnect.step());
            tokio::select! {
                () = sleep(wait) => {}
                // A takeover does not wait for the end of a backoff, and a change of the
                // settings may be the cure.
                changed = self.wires.reason(&desired) => if changed {
                    self.reconnect.reset();
                },
            }
        }
    }

    /// What is wanted now. Called only while there is no session.
    async fn wanted<R: Role>(&mut self) -> (Desired, Result<Settings<R>, Trouble>) {
        let desired = self.wires.idle().await;
        let none = || Trouble::new("there is no configuration yet");
        let settings = desired
            .configure
            .as_deref()
            .ok_or_else(none)
            .and_then(Settings::<R>::read);
        (desired, settings)
    }

    async fn say(&mut self, phase: Phase, generation: u64) {
        self.told = None;
        self.wires.out.report(phase, "", generation).await;
    }

    async fn say_on(&mut self, link: &impl Link, phase: Phase, error: &str, generation: u64) {
        (self.told, self.passing) = (None, None);
        let out = &self.wires.out;
        out.report_on(link, phase, error, generation).await;
    }

    /// What should be over soon is a failure once it has lasted.
    fn phase_of(&mut self, trouble: &Trouble) -> Phase {
        if !trouble.passing {
            self.passing = None;
            return Phase::Broken;
        }
        let since = *self.passing.get_or_insert_with(Instant::now);
        match since.elapsed() < PASSING {
            true => Phase::Starting,
            false => Phase::Broken,
        }
    }

    /// Says what is wrong, once for many tries in a row that fail alike.
    async fn complain(&mut self, phase: Phase, trouble: &Trouble, generation: u64) {
        let now = Some((phase, trouble.text.clone()));
        if self.told != now {
            self.told = now;
            let out = &self.wires.out;
            out.report(phase, &trouble.text, generation).await;
        }
    }

    async fn connect<R: Role>(&mut self, settings: &Settings<R>) -> Result<R::Link, Trouble> {
        // Of a further try nothing is said until it has succeeded or failed otherwise.
        if self.told.is_none() {
            self.say(Phase::Starting, settings.generation).await;
        }
        let label = format!("quorate {}", self.wires.label);
        tokio::select! {
            link = timeout(ANSWER, R::Link::connect(&settings.connection, &label)) => {
                self.silences = if link.is_err() { self.silences + 1 } else { 0 };
                link.map_err(|_| silent())?
            }
            () = self.wires.reconfigured(settings.generation) => Err(Trouble::passing("the settings have changed")),
        }
    }

    /// Stands by, and consumes whenever it may, until the connection is to be left.
    async fn connected<R: Role>(&mut self, link: &R::Link, connected: &Settings<R>) -> Left {
        let mut said_standby = false;
        let mut asks = Share::new(ASK_LEASE, ASK_LEASE_LAST);
        loop {
            let (desired, settings) = self.wanted::<R>().await;
            let settings = match settings {
                _ if desired.stop => return Left::Stop,
                Ok(settings) if settings.connection == connected.connection => settings,
                _ => return Left::Reconnect,
            };
            let reign = desired
                .act
                .filter(|reign| self.wires.lease.holds(reign.epoch));
            let ahead = desired.prepare.filter(|until| *until > Instant::now());
            let footing = reign.map(Footing::Reign).or(ahead.map(Footing::Ahead));
            let Some(footing) = footing else {
                if !said_standby {
                    self.say_on(link, Phase::Connected, "", settings.generation)
                        .await;
                    said_standby = true;
                }
                tokio::select! {
                    () = self.wires.changed() => asks.reset(),
                    trouble = link.lost() => return Left::Lost(trouble),
                    // Told to act, but the page doesn't say so yet, or not any more.
                    () = sleep(asks.step(Instant::now())), if desired.act.is_some() => {}
                }
                continue;
            };
            asks.reset();
            said_standby = false;
            let trouble = match self.session::<R>(link, &settings, footing).await {
                Ok(()) => continue,
                Err(Failed::Connection(trouble)) => return Left::Lost(trouble),
                Err(Failed::Session(trouble)) if link.is_lost() => return Left::Lost(trouble),
                Err(Failed::Session(trouble)) => trouble,
            };
            let phase = self.phase_of(&trouble);
            self.complain(phase, &trouble, settings.generation).await;
            let pause = match trouble.passing {
                true => Duration::ZERO,
                false => self.reopen.step(),
            };
            let worthwhile = async {
                sleep(pause).await;
                if trouble.passing {
                    self.vacancy.wait(|| R::taken(link, &settings)).await;
                }
            };
            tokio::select! {
                () = worthwhile => {}
                // The order to act may have come, or other settings: the next try is at once.
                () = self.wires.changed() => {
                    self.vacancy.reset();
                    self.reopen.reset();
                }
            }
        }
    }

    /// One session, from its opening until it is drained.
    async fn session<R: Role>(
        &mut self,
        link: &R::Link,
        settings: &Settings<R>,
        footing: Footing,
    ) -> Result<(), Failed> {
        let epoch = match footing {
            Footing::Reign(reign) => {
                self.wires.watchdog.arm(reign.epoch);
                Some(reign.epoch)
            }
            Footing::Ahead(_) => None,
        };
        // Never dropped halfway, which could leave a consumer behind that nobody reads.
        self.remember::<R>(link, settings, epoch);
        let stopped = self.wires.watchdog.stopped.clone();
        let opened = {
            let opening = R::open(link, settings, epoch, &self.wires.progress);
            let mut opening = pin!(timeout(ANSWER, opening));
            loop {
                tokio::select! {
                    opened = &mut opening => break opened,
                    // Nothing is read before it is open: it stands still as it is.
                    () = stopped.notified() => {
                        self.wires.tenure(epoch.unwrap_or_default());
                    }
                }
            }
        };
        let session = match opened {
            Ok(Ok(session)) => session,
            Ok(Err(trouble)) => {
                self.wires.watchdog.disarm();
                return Err(Failed::Session(trouble));
            }
            // It may consume by now. The connection goes before anything else happens,
            // and the watchdog stays armed until the next session.
            Err(_) => return Err(Failed::Connection(silent())),
        };
        self.vacancy.reset();
        let ahead = epoch.is_none();
        let reign = match footing {
            Footing::Reign(reign) => reign,
            Footing::Ahead(until) => match self.hold::<R>(link, settings, until).await {
                Some(reign) => reign,
                // Not cancelled first: what it holds goes back before another is let in.
                None => return close::<R>(session).await,
            },
        };
        if ahead {
            self.remember::<R>(link, settings, Some(reign.epoch));
        }
        self.wires.out.under(reign);
        let complaint = self.wires.complaint.clone().unwrap_or_default();
        self.say_on(link, Phase::Active, &complaint, settings.generation)
            .await;
        let (opened_at, settled) = (Instant::now(), self.settled());
        let served = R::serve(&mut self.wires, link, session, settings.clone(), reign).await;
        self.wires.watchdog.disarm();
        self.wires.out.under(Reign::default());
        // Deliveries of this session that still wait at the parent are void from here on.
        self.say(Phase::Draining, settings.generation).await;
        let lasted = opened_at.elapsed() > Duration::from_secs(1);
        if lasted || self.settled() > settled {
            self.reopen.reset();
        }
        if lasted {
            self.reconnect.reset();
        }
        match served {
            Served::Drained(session) => close::<R>(session).await,
            Served::Ended(trouble) => {
                self.wires.complaint = trouble.until_handled.then(|| trouble.text.clone());
                Err(Failed::Session(trouble))
            }
        }
    }

    /// Takes over how far the channel had come before this epoch.
    fn remember<R: Role>(&mut self, link: &R::Link, settings: &Settings<R>, epoch: Option<u64>) {
        if let Some(epoch) = epoch {
            let progress = self.wires.desired.borrow().progress.clone();
            let of = R::progress_of(link, settings);
            self.wires.progress.take_over(epoch, &progress, of);
        }
    }

    /// How many messages have come to an end.
    fn settled(&self) -> u64 {
        let tally = self.wires.out.tally.lock();
        tally.handled + tally.failed + tally.sent
    }

    /// Waits, with an open session that nobody reads from, for the reign that it is to
    /// serve, which may act now and is what the watchdog is armed for; `None`: give it up.
    async fn hold<R: Role>(
        &mut self,
        link: &R::Link,
        settings: &Settings<R>,
        until: Instant,
    ) -> Option<Reign> {
        loop {
            let desired = self.wires.desired.borrow_and_update().clone();
            let same = desired
                .configure
                .as_deref()
                .and_then(|it| Settings::<R>::read(it).ok())
                .is_some_and(|it| it.same_session(settings));
            if desired.stop || !same || Instant::now() >= until {
                return None;
            }
            match desired.act {
                Some(reign) if self.wires.lease.holds(reign.epoch) => {
                    self.wires.watchdog.arm(reign.epoch);
                    return Some(reign);
                }
                None if desired.prepare != Some(until) => return None,
                _ => {}
            }
            tokio::select! {
                () = self.wires.changed() => {}
                _ = link.lost() => return None,
                () = sleep_until(until) => {}
                // Told to act, but the page doesn't say so yet.
                () = sleep(ASK_LEASE), if desired.act.is_some() => {}
            }
        }
    }
}

/// Closes a session; if the broker doesn't say that it is closed, the connection must go.
async fn close<R: Role>(session: R::Session) -> Result<(), Failed> {
    match timeout(GOODBYE, R::close(session)).await {
        Ok(()) => Ok(()),
        Err(_) => Err(Failed::Connection(Trouble::new(
            "the broker did not answer to the end of the session",
        ))),
    }
}

/// Not all at once, when a broker with many connectors comes back.
fn spread(wait: Duration) -> Duration {
    wait.mul_f64(chance().random_range(0.7..=1.0))
}

fn silent() -> Trouble {
    Trouble::new(format!(
        "the broker did not answer within {} s: is it one, and is it well?",
        ANSWER.as_secs()
    ))
}
