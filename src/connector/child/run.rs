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

use std::time::{Duration, Instant};

use quorate_proto::connector::{Configure, Phase};
use tokio::time::{sleep, sleep_until, timeout};

use super::{
    backoff::Backoff,
    flight::Common,
    link::{Link, Session, Trouble},
    serve::{Served, Serving},
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
/// How often the lease is asked for while it isn't there.
const ASK_LEASE: Duration = Duration::from_millis(2);
/// The longest wait between two tries to open a session.
const REOPEN: Duration = Duration::from_secs(1);

/// A configuration, read.
pub struct Settings<L: Link> {
    /// How to connect.
    pub connection: L::Connection,
    /// What to consume.
    pub consumer: L::Consumer,
    /// What every kind has.
    pub common: Common,
    /// The parent's number of it.
    pub generation: u64,
}

impl<L: Link> Clone for Settings<L> {
    fn clone(&self) -> Self {
        Settings {
            connection: self.connection.clone(),
            consumer: self.consumer.clone(),
            common: self.common.clone(),
            generation: self.generation,
        }
    }
}

impl<L: Link> Settings<L> {
    /// Reads it.
    pub fn read(configure: &Configure) -> Result<Self, Trouble> {
        let wrong = |what: &str| {
            let what = what.to_owned();
            move |error: serde_json::Error| {
                Trouble::new(format!("the {what} can't be read: {error}"))
            }
        };
        Ok(Settings {
            connection: serde_json::from_slice(&configure.connection)
                .map_err(wrong("connection"))?,
            consumer: serde_json::from_slice(&configure.channel).map_err(wrong("channel"))?,
            common: serde_json::from_slice(&configure.channel).map_err(wrong("channel"))?,
            generation: configure.generation,
        })
    }

    /// Whether a session under these settings can go on under `other`.
    pub fn same_session(&self, other: &Self) -> bool {
        self.connection == other.connection
            && self.consumer == other.consumer
            && self.common.prefetch == other.common.prefetch
    }
}

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
    next_delivery: u64,
    reconnect: Backoff,
    reopen: Backoff,
    vacancy: Vacancy,
    /// The last trouble that was told, and in which phase.
    told: Option<(Phase, String)>,
    silences: u32,
}

impl Run {
    /// Over these wires.
    pub fn new(wires: Wires) -> Self {
        Run {
            wires,
            next_delivery: 1,
            reconnect: Backoff::new(Duration::from_millis(100), Duration::from_secs(2)),
            reopen: Backoff::new(Duration::from_millis(20), REOPEN),
            vacancy: Vacancy::new(),
            told: None,
            silences: 0,
        }
    }

    /// Runs until the parent says stop.
    pub async fn run<L: Link>(mut self) {
        loop {
            let (desired, settings) = self.wanted::<L>().await;
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
            let trouble = match self.connect::<L>(&settings).await {
                Ok(link) => {
                    let left = self.connected(&link, &settings).await;
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
            self.complain(phase_of(&trouble), &trouble, settings.generation)
                .await;
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
    async fn wanted<L: Link>(&mut self) -> (Desired, Result<Settings<L>, Trouble>) {
        let desired = self.wires.idle().await;
        let none = || Trouble::new("there is no configuration yet");
        let settings = desired
            .configure
            .as_deref()
            .ok_or_else(none)
            .and_then(Settings::read);
        (desired, settings)
    }

    async fn say(&mut self, phase: Phase, generation: u64) {
        self.told = None;
        self.wires.out.report(phase, "", generation).await;
    }

    async fn say_on(&mut self, link: &impl Link, phase: Phase, generation: u64) {
        self.told = None;
        self.wires.out.report_on(link, phase, generation).await;
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

    async fn connect<L: Link>(&mut self, settings: &Settings<L>) -> Result<L, Trouble> {
        // Of a further try nothing is said until it has succeeded or failed otherwise.
        if self.told.is_none() {
            self.say(Phase::Starting, settings.generation).await;
        }
        let label = format!("quorate {}", self.wires.label);
        tokio::select! {
            link = timeout(ANSWER, L::connect(&settings.connection, &label)) => {
                self.silences = if link.is_err() { self.silences + 1 } else { 0 };
                link.map_err(|_| silent())?
            }
            () = self.wires.reconfigured(settings.generation) => Err(Trouble::passing("the settings have changed")),
        }
    }

    /// Stands by, and consumes whenever it may, until the connection is to be left.
    async fn connected<L: Link>(&mut self, link: &L, connected: &Settings<L>) -> Left {
        let mut said_standby = false;
        loop {
            let (desired, settings) = self.wanted::<L>().await;
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
                    self.say_on(link, Phase::Connected, settings.generation)
                        .await;
                    said_standby = true;
                }
                tokio::select! {
                    () = self.wires.changed() => {}
                    trouble = link.lost() => return Left::Lost(trouble),
                    // Told to act, but the page doesn't say so yet, or not any more.
                    () = sleep(ASK_LEASE), if desired.act.is_some() => {}
                }
                continue;
            };
            said_standby = false;
            let trouble = match self.session(link, &settings, footing).await {
                Ok(()) => continue,
                Err(Failed::Connection(trouble)) => return Left::Lost(trouble),
                Err(Failed::Session(trouble)) if link.is_lost() => return Left::Lost(trouble),
                Err(Failed::Session(trouble)) => trouble,
            };
            self.complain(phase_of(&trouble), &trouble, settings.generation)
                .await;
            let pause = match trouble.passing {
                true => Duration::ZERO,
                false => self.reopen.step(),
            };
            let worthwhile = async {
                sleep(pause).await;
                if trouble.passing {
                    self.vacancy.wait(link, &settings.consumer).await;
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
    async fn session<L: Link>(
        &mut self,
        link: &L,
        settings: &Settings<L>,
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
        let opened = timeout(
            ANSWER,
            link.open(&settings.consumer, settings.common.prefetch, epoch),
        )
        .await;
        let mut session = match opened {
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
        let reign = match footing {
            Footing::Reign(reign) => reign,
            Footing::Ahead(until) => match self.hold(link, settings, until).await {
                Some(reign) => reign,
                None => {
                    let given_up = session.cancel().await;
                    close(session).await?;
                    return given_up.map_err(Failed::Session);
                }
            },
        };
        self.wires.out.under(reign);
        self.say_on(link, Phase::Consuming, settings.generation)
            .await;
        self.reconnect.reset();
        let opened_at = Instant::now();
        let served = Serving::new(
            &mut self.wires,
            &mut self.next_delivery,
            session,
            settings.clone(),
            reign,
        )
        .serve()
        .await;
        self.wires.watchdog.disarm();
        self.wires.out.under(Reign::default());
        // Deliveries of this session that still wait at the parent are void from here on.
        self.say(Phase::Draining, settings.generation).await;
        if opened_at.elapsed() > Duration::from_secs(1) {
            self.reopen.reset();
        }
        match served {
            Served::Drained(session) => close(session).await,
            Served::Ended(trouble) => Err(Failed::Session(trouble)),
        }
    }

    /// Waits, with an open session that nobody reads from, for the reign that it is to
    /// serve, which may act now and is what the watchdog is armed for; `None`: give it up.
    async fn hold<L: Link>(
        &mut self,
        link: &L,
        settings: &Settings<L>,
        until: Instant,
    ) -> Option<Reign> {
        loop {
            let desired = self.wires.desired.borrow_and_update().clone();
            let same = desired
                .configure
                .as_deref()
                .and_then(|it| Settings::<L>::read(it).ok())
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
                () = sleep_until(until.into()) => {}
                // Told to act, but the page doesn't say so yet.
                () = sleep(ASK_LEASE), if desired.act.is_some() => {}
            }
        }
    }
}

/// Closes a session; if the broker doesn't say that it is closed, the connection must go.
async fn close(session: impl Session) -> Result<(), Failed> {
    match timeout(GOODBYE, session.close()).await {
        Ok(()) => Ok(()),
        Err(_) => Err(Failed::Connection(Trouble::new(
            "the broker did not answer to the end of consuming",
        ))),
    }
}

fn phase_of(trouble: &Trouble) -> Phase {
    if trouble.passing {
        Phase::Starting
    } else {
        Phase::Broken
    }
}

/// Not all at once, when a broker with many connectors comes back.
fn spread(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.7..=1.0))
}

fn silent() -> Trouble {
    Trouble::new(format!(
        "the broker did not answer within {} s: is it one, and is it well?",
        ANSWER.as_secs()
    ))
}
