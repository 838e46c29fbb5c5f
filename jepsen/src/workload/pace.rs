//! Clients at an even rate, each pinned to one member, and the numbers that they go by.

use std::{sync::Arc, time::Duration};

use rand::{Rng, rngs::StdRng};
use serde_json::Value;

use crate::{
    client::Pinned,
    cluster::member::Member,
    history::{Event, Type},
    run_context::Bed,
    stop::Stop,
};

/// The processes that read in the end count from here.
pub const FINAL: u64 = 1_000_000;

/// One client: it does one thing at a time.
pub struct Client {
    /// The bed.
    pub bed: Arc<Bed>,
    /// The member that it is pinned to.
    pub member: Arc<Member>,
    /// How it asks.
    pub http: Pinned,
    /// What it decides by.
    pub dice: StdRng,
    /// Which of the clients it is, from 0.
    pub number: u64,
    /// The member's id, as it is written down; 0 for none.
    asks: u64,
    /// Under which process it goes now.
    process: u64,
    pause: Duration,
}

impl Client {
    /// Client `number` of the run.
    #[must_use]
    pub fn new(bed: &Arc<Bed>, number: u64) -> Client {
        let plan = &bed.plan;
        let mut dice = plan.dice(number);
        let [low, high] = plan.timeout_ms;
        let timeout = Duration::from_millis(dice.random_range(low..=high));
        let members = &bed.cluster.members;
        Client {
            bed: bed.clone(),
            member: members[number as usize % members.len()].clone(),
            http: Pinned::new(timeout),
            dice,
            number,
            asks: members[number as usize % members.len()].id,
            process: number,
            pause: Duration::from_secs_f64(plan.clients as f64 / plan.rate.max(1) as f64),
        }
    }

    /// One that only reads, in the end, with more patience; processes count from `first`.
    #[must_use]
    pub fn reader(bed: &Arc<Bed>, number: u64, first: u64) -> Client {
        Client {
            http: Pinned::new(Duration::from_secs(3)),
            process: first + number,
            ..Client::new(bed, number)
        }
    }

    /// One whose processes count from `first`.
    #[must_use]
    pub fn under(bed: &Arc<Bed>, number: u64, first: u64) -> Client {
        Client {
            process: first + number,
            ..Client::new(bed, number)
        }
    }

    /// One that asks no member, as those that publish to a broker.
    #[must_use]
    pub fn elsewhere(bed: &Arc<Bed>, number: u64) -> Client {
        Client {
            asks: 0,
            ..Client::new(bed, number)
        }
    }

    /// Waits for its turn; gives whether it is to end instead.
    pub async fn rests(&mut self, stop: &Stop) -> bool {
        let pause = self.pause.mul_f64(self.dice.random_range(0.0..2.0));
        stop.within(pause).await
    }

    /// Writes that something is asked for.
    pub fn invoke(&self, f: &str, key: Option<&str>, value: Value) -> Event {
        let event = Event {
            process: self.process,
            kind: Type::Invoke,
            f: f.to_owned(),
            key: key.map(str::to_owned),
            value,
            time: 0,
            member: self.asks,
            revision: None,
            error: None,
        };
        self.note(event.clone());
        event
    }

    /// Writes what became of it. A process of which that isn't known is not used again.
    pub fn settle(&mut self, invoked: Event, mut settled: Settled) {
        if settled.kind == Type::Info && self.bed.plan.mutant.as_deref() == Some("timeout-is-fail")
        {
            settled.kind = Type::Fail;
        }
        let retire = settled.kind == Type::Info;
        self.note(Event {
            kind: settled.kind,
            value: settled.value.unwrap_or(invoked.value.clone()),
            revision: settled.revision,
            error: settled.error,
            ..invoked
        });
        if retire {
            self.process += self.bed.plan.clients as u64;
        }
    }

    /// Writes something that was seen without having been asked for by an `invoke`.
    pub fn tell(&self, kind: Type, f: &str, key: &str, value: Value, revision: Option<u64>) {
        self.note(Event {
            process: self.process,
            kind,
            f: f.to_owned(),
            key: Some(key.to_owned()),
            value,
            time: 0,
            member: self.asks,
            revision,
            error: None,
        });
    }

    fn note(&self, event: Event) {
        let history = &self.bed.journals.history;
        history.note(|time| Event { time, ..event });
    }
}

/// What became of an operation.
pub struct Settled {
    /// How far it came.
    pub kind: Type,
    /// What was answered; what was asked for, if nothing stands here.
    pub value: Option<Value>,
    /// The revision of the answer.
    pub revision: Option<u64>,
    /// Why not.
    pub error: Option<String>,
}

impl Settled {
    /// Done.
    #[must_use]
    pub fn ok(value: Option<Value>, revision: Option<u64>) -> Settled {
        Settled {
            kind: Type::Ok,
            value,
            revision,
            error: None,
        }
    }

    /// Surely not done.
    #[must_use]
    pub fn fail(error: impl Into<String>, revision: Option<u64>) -> Settled {
        Settled {
            kind: Type::Fail,
            value: None,
            revision,
            error: Some(error.into()),
        }
    }

    /// Not known.
    #[must_use]
    pub fn info(error: impl Into<String>) -> Settled {
        Settled {
            kind: Type::Info,
            value: None,
            revision: None,
            error: Some(error.into()),
        }
    }

    /// Of a write that was not answered by success.
    #[must_use]
    pub fn unless_done(outcome: &crate::client::Outcome) -> Settled {
        use crate::client::Outcome;
        match outcome {
            Outcome::NotSent(why) => Settled::fail(why, None),
            Outcome::Unknown(why) => Settled::info(why),
            Outcome::Answer(it) if it.surely_not_done() => Settled::fail(it.told(), it.revision),
            Outcome::Answer(it) => Settled::info(it.told()),
        }
    }

    /// Of a read that was not answered by success: it has changed nothing in any case.
    #[must_use]
    pub fn unread(outcome: &crate::client::Outcome) -> Settled {
        use crate::client::Outcome;
        match outcome {
            Outcome::NotSent(why) | Outcome::Unknown(why) => Settled::fail(why, None),
            Outcome::Answer(it) => Settled::fail(it.told(), it.revision),
        }
    }
}

/// Runs so many clients until all have ended.
pub async fn clients<F>(bed: &Arc<Bed>, one: impl Fn(Client) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..bed.plan.clients as u64 {
        tasks.spawn(one(Client::new(bed, number)));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            bed.trouble(format!("a client died: {error}"));
        }
    }
}
