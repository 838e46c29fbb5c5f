//! Clients of a workload at an even rate, each pinned to one member, and their processes.

use std::{sync::Arc, time::Duration};

use rand::{Rng, rngs::StdRng};
use serde_json::Value;

use crate::{
    cancel::CancelToken,
    cluster::member::ClusterMember,
    history::{EventType, HistoryEvent},
    pinned_client::PinnedClient,
    run_context::RunContext,
};

/// The processes that read in the end count from here.
pub const FINAL: u64 = 1_000_000;

/// Client that does one thing at a time.
pub struct WorkloadClient {
    /// The context of the run.
    pub context: Arc<RunContext>,
    /// The member that the client is pinned to.
    pub member: Arc<ClusterMember>,
    /// The client for requests.
    pub http: PinnedClient,
    /// The source of the client's decisions.
    pub rng: StdRng,
    /// The number of the client, from 0.
    pub number: u64,
    /// The member's id, as events have it; 0 for none.
    asks: u64,
    /// The process under which the client goes now.
    process: u64,
    pause: Duration,
}

impl WorkloadClient {
    /// Client `number` of the run.
    pub fn new(context: &Arc<RunContext>, number: u64) -> WorkloadClient {
        let plan = &context.plan;
        let mut rng = plan.rng(number);
        let [low, high] = plan.timeout_ms;
        let timeout = Duration::from_millis(rng.random_range(low..=high));
        let members = &context.cluster.members;
        WorkloadClient {
            context: context.clone(),
            member: members[number as usize % members.len()].clone(),
            http: PinnedClient::new(timeout),
            rng,
            number,
            asks: members[number as usize % members.len()].id,
            process: number,
            pause: Duration::from_secs_f64(plan.clients as f64 / plan.rate.max(1) as f64),
        }
    }

    /// Makes a client that only reads, in the end, with more patience; processes count from
    /// `first`.
    pub fn reader(context: &Arc<RunContext>, number: u64, first: u64) -> WorkloadClient {
        WorkloadClient {
            http: PinnedClient::new(Duration::from_secs(3)),
            process: first + number,
            ..WorkloadClient::new(context, number)
        }
    }

    /// Makes a client whose processes count from `first`.
    pub fn under(context: &Arc<RunContext>, number: u64, first: u64) -> WorkloadClient {
        WorkloadClient {
            process: first + number,
            ..WorkloadClient::new(context, number)
        }
    }

    /// Makes a client that asks no member, as those that publish to a broker.
    pub fn elsewhere(context: &Arc<RunContext>, number: u64) -> WorkloadClient {
        WorkloadClient {
            asks: 0,
            ..WorkloadClient::new(context, number)
        }
    }

    /// Waits for the client's turn; gives whether the client is to end instead.
    pub async fn rests(&mut self, cancel: &CancelToken) -> bool {
        let pause = self.pause.mul_f64(self.rng.random_range(0.0..2.0));
        cancel.cancelled_within(pause).await
    }

    /// Writes the request of an operation to the history.
    pub fn invoke(&self, f: &str, key: Option<&str>, value: Value) -> HistoryEvent {
        let event = HistoryEvent {
            process: self.process,
            kind: EventType::Invoke,
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

    /// Writes the outcome of an operation to the history. A process of which it isn't known is not
    /// used again.
    pub fn settle(&mut self, invoked: HistoryEvent, mut settled: SettledOperation) {
        if settled.kind == EventType::Info
            && self.context.plan.mutant.as_deref() == Some("timeout-is-fail")
        {
            settled.kind = EventType::Fail;
        }
        let retire = settled.kind == EventType::Info;
        self.note(HistoryEvent {
            kind: settled.kind,
            value: settled.value.unwrap_or(invoked.value.clone()),
            revision: settled.revision,
            error: settled.error,
            ..invoked
        });
        if retire {
            self.process += self.context.plan.clients as u64;
        }
    }

    /// Writes an event without an `invoke` to the history.
    pub fn tell(&self, kind: EventType, f: &str, key: &str, value: Value, revision: Option<u64>) {
        self.note(HistoryEvent {
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

    fn note(&self, event: HistoryEvent) {
        let history = &self.context.journals.history;
        history.note(|time| HistoryEvent { time, ..event });
    }
}

/// Outcome of an operation.
pub struct SettledOperation {
    /// The phase that the operation came to.
    pub kind: EventType,
    /// The answer; the argument of the request, if nothing stands here.
    pub value: Option<Value>,
    /// The revision of the answer.
    pub revision: Option<u64>,
    /// The reason why the operation is not done.
    pub error: Option<String>,
}

impl SettledOperation {
    /// Makes the outcome of an operation that was done.
    pub fn ok(value: Option<Value>, revision: Option<u64>) -> SettledOperation {
        SettledOperation {
            kind: EventType::Ok,
            value,
            revision,
            error: None,
        }
    }

    /// Makes the outcome of an operation that surely was not done.
    pub fn fail(error: impl Into<String>, revision: Option<u64>) -> SettledOperation {
        SettledOperation {
            kind: EventType::Fail,
            value: None,
            revision,
            error: Some(error.into()),
        }
    }

    /// Makes the outcome of an operation of which nothing is known.
    pub fn info(error: impl Into<String>) -> SettledOperation {
        SettledOperation {
            kind: EventType::Info,
            value: None,
            revision: None,
            error: Some(error.into()),
        }
    }

    /// Settles a write that was not answered by success.
    pub fn unless_done(outcome: &crate::pinned_client::RequestOutcome) -> SettledOperation {
        use crate::pinned_client::RequestOutcome;
        match outcome {
            RequestOutcome::NotSent(why) => SettledOperation::fail(why, None),
            RequestOutcome::Unknown(why) => SettledOperation::info(why),
            RequestOutcome::Answer(it) if it.surely_not_done() => {
                SettledOperation::fail(it.describe(), it.revision)
            }
            RequestOutcome::Answer(it) => SettledOperation::info(it.describe()),
        }
    }

    /// Settles a read that was not answered by success: it has changed nothing in any case.
    pub fn unread(outcome: &crate::pinned_client::RequestOutcome) -> SettledOperation {
        use crate::pinned_client::RequestOutcome;
        match outcome {
            RequestOutcome::NotSent(why) | RequestOutcome::Unknown(why) => {
                SettledOperation::fail(why, None)
            }
            RequestOutcome::Answer(it) => SettledOperation::fail(it.describe(), it.revision),
        }
    }
}

/// Runs so many clients until all have ended.
pub async fn clients<F>(context: &Arc<RunContext>, one: impl Fn(WorkloadClient) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..context.plan.clients as u64 {
        tasks.spawn(one(WorkloadClient::new(context, number)));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            context.note_trouble(format!("a client died: {error}"));
        }
    }
}
