//! The run loop: connect and stand by; open a session per epoch; reconnect by itself.
//!
//! It asks for the lease before it consumes, each time anew: nothing reconnects past it.

use std::time::{Duration, Instant};

use quorate_proto::connector::{Configure, Phase};
use tokio::time::{sleep, timeout};

use super::{
    backoff::Backoff,
    flight::Common,
    link::{Link, Session, Trouble},
    serve::{Served, Serving},
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
const ASK_LEASE: Duration = Duration::from_millis(5);

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
    silences: u32,
}

impl Run {
    /// Over these wires.
    pub fn new(wires: Wires) -> Self {
        Run {
            wires,
            next_delivery: 1,
            reconnect: Backoff::new(Duration::from_millis(100), Duration::from_secs(2)),
            reopen: Backoff::new(Duration::from_millis(20), Duration::from_secs(1)),
            silences: 0,
        }
    }

    /// Runs until the parent says stop.
    pub async fn run<L: Link>(mut self) {
        loop {
            let (desired, settings) = self.wanted::<L>();
            if desired.stop {
                return;
            }
            let settings = match settings {
                Ok(settings) => settings,
                Err(trouble) => {
                    self.say(Phase::Broken, &trouble.text, 0).await;
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
            let phase = if trouble.passing {
                Phase::Starting
            } else {
                Phase::Broken
            };
            self.say(phase, &trouble.text, settings.generation).await;
            if self.silences >= SILENCES {
                return;
            }
            // Not all at once, when a broker with many connectors comes back.
            let wait = self.reconnect.step().mul_f64(rand::random_range(0.7..=1.0));
            tokio::select! {
                () = sleep(wait) => {}
                // A change of the settings may be the cure: try at once.
                () = self.wires.reconfigured(settings.generation) => self.reconnect.reset(),
            }
        }
    }

    fn wanted<L: Link>(&mut self) -> (Desired, Result<Settings<L>, Trouble>) {
        let desired = self.wires.desired.borrow_and_update().clone();
        let none = || Trouble::new("there is no configuration yet");
        let settings = desired
            .configure
            .as_deref()
            .ok_or_else(none)
            .and_then(Settings::read);
        (desired, settings)
    }

    async fn say(&self, phase: Phase, error: &str, generation: u64) {
        self.wires.out.report(phase, error, generation, "").await;
    }

    async fn connect<L: Link>(&mut self, settings: &Settings<L>) -> Result<L, Trouble> {
        self.say(Phase::Starting, "", settings.generation).await;
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
            let (desired, settings) = self.wanted::<L>();
            let settings = match settings {
                _ if desired.stop => return Left::Stop,
                Ok(settings) if settings.connection == connected.connection => settings,
                _ => return Left::Reconnect,
            };
            let reign = desired
                .act
                .filter(|reign| self.wires.lease.holds(reign.epoch));
            let Some(reign) = reign else {
                if !said_standby {
                    self.wires
                        .out
                        .report(Phase::Connected, "", settings.generation, &link.name())
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
            let trouble = match self.session(link, &settings, reign).await {
                Ok(()) => continue,
                Err(Failed::Connection(trouble)) => return Left::Lost(trouble),
                Err(Failed::Session(trouble)) if link.is_lost() => return Left::Lost(trouble),
                Err(Failed::Session(trouble)) => trouble,
            };
            let phase = if trouble.passing {
                Phase::Starting
            } else {
                Phase::Broken
            };
            self.say(phase, &trouble.text, settings.generation).await;
            let wait = self.reopen.step();
            tokio::select! {
                () = sleep(wait) => {}
                () = self.wires.reconfigured(settings.generation) => self.reopen.reset(),
            }
        }
    }

    /// One session, from its opening until it is drained.
    async fn session<L: Link>(
        &mut self,
        link: &L,
        settings: &Settings<L>,
        reign: Reign,
    ) -> Result<(), Failed> {
        self.wires.watchdog.arm(reign.epoch);
        // Never dropped halfway, which could leave a consumer behind that nobody reads.
        let opened = timeout(
            ANSWER,
            link.open(&settings.consumer, settings.common.prefetch, reign.epoch),
        )
        .await;
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
        self.wires.out.under(reign);
        self.wires
            .out
            .report(Phase::Consuming, "", settings.generation, &link.name())
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
        self.say(Phase::Draining, "", settings.generation).await;
        if opened_at.elapsed() > Duration::from_secs(1) {
            self.reopen.reset();
        }
        match served {
            Served::Drained(session) => {
                let _ = timeout(GOODBYE, session.close()).await;
                Ok(())
            }
            Served::Ended(trouble) => Err(Failed::Session(trouble)),
        }
    }
}

fn silent() -> Trouble {
    Trouble::new(format!(
        "the broker did not answer within {} s: is it one, and is it well?",
        ANSWER.as_secs()
    ))
}
