//! Replicated part of a simulated group: one state, and the services that all members share.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_service::api::{Reply, ServiceError};
use quorate_state::{Answer, Command, Machine, State};
use quorate_types::{MemberId, ProposeError};
use serde_json::{Value, json};
use tokio::sync::watch;

/// One call of a service.
#[derive(Clone, Debug)]
pub struct ServiceCall {
    /// The service.
    pub service: String,
    /// The message's body.
    pub body: String,
    /// The epoch under which it came.
    pub epoch: u64,
    /// Which try it was, from 1.
    pub attempt: u32,
    /// All headers.
    pub headers: HeaderMap,
    /// The member whose connector had the message.
    pub member: MemberId,
    /// When it began.
    pub at: Instant,
}

/// What a service does.
pub type Behaviour =
    Arc<dyn Fn(&ServiceCall) -> (Duration, Result<Reply, ServiceError>) + Send + Sync>;

/// Returns the answer of a service with this status.
pub fn status(code: u16) -> Result<Reply, ServiceError> {
    let status = StatusCode::from_u16(code).unwrap();
    Ok(Reply {
        status,
        headers: HeaderMap::new(),
        body: "said the service".into(),
    })
}

/// The replicated part: one state, and the services that all members share.
pub struct SimulatedGroup {
    machine: Mutex<(u64, Machine)>,
    state: watch::Sender<Arc<State>>,
    /// The newest term: nothing of an older one commits any more.
    term: AtomicU64,
    /// All calls of services so far.
    pub calls: Mutex<Vec<ServiceCall>>,
    behaviour: Mutex<Behaviour>,
    /// How long it takes to write how far connectors have come.
    pub progress_takes: Mutex<Duration>,
}

impl SimulatedGroup {
    /// Makes a group with no resources.
    pub fn new() -> Arc<SimulatedGroup> {
        Arc::new(SimulatedGroup {
            machine: Mutex::new((10, Machine::default())),
            state: watch::Sender::new(Arc::new(State::default())),
            term: AtomicU64::new(0),
            calls: Mutex::default(),
            behaviour: Mutex::new(Arc::new(|_| (Duration::ZERO, status(200)))),
            progress_takes: Mutex::default(),
        })
    }

    /// Makes a group with two services, `store` and `other`.
    pub fn with_services() -> Arc<SimulatedGroup> {
        let group = SimulatedGroup::new();
        for service in ["store", "other"] {
            group.put(
                Kind::Service,
                json!({"name": service, "upstream": "http://127.0.0.1:9/"}),
            );
        }
        group
    }

    /// Applies a command as proposed by this leader.
    pub fn apply(&self, term: u64, leader: MemberId, command: &Command) -> Answer {
        let mut answers = self.apply_all(term, leader, std::slice::from_ref(command));
        answers.remove(0)
    }

    /// Applies commands so that nobody sees the state between them.
    fn apply_all(&self, term: u64, leader: MemberId, commands: &[Command]) -> Vec<Answer> {
        let mut machine = self.machine.lock();
        let answers = commands.iter().map(|command| {
            machine.0 += 1;
            let index = machine.0;
            machine.1.apply(index, term, leader, command).0
        });
        let answers = answers.collect();
        self.state.send_replace(Arc::new(machine.1.state().clone()));
        answers
    }

    /// Applies a command of a term, unless a newer one has begun.
    pub(crate) fn propose(
        &self,
        term: u64,
        leader: MemberId,
        command: &Command,
    ) -> Result<(), ProposeError> {
        if self.term.load(Ordering::SeqCst) > term {
            return Err(ProposeError::Unknown("no quorum answered".into()));
        }
        self.apply(term, leader, command);
        Ok(())
    }

    /// Begins a term, unless a newer one has begun.
    pub(crate) fn elect(&self, term: u64) {
        self.term.fetch_max(term, Ordering::SeqCst);
    }

    /// Follows the state.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.subscribe()
    }

    /// Notes a call, and gives what its service answers, and after which time.
    pub(crate) fn call(&self, call: ServiceCall) -> (Duration, Result<Reply, ServiceError>) {
        let behaviour = self.behaviour.lock().clone();
        let answer = behaviour(&call);
        self.calls.lock().push(call);
        answer
    }

    /// Puts a resource.
    pub fn put(&self, kind: Kind, resource: Value) {
        self.change([put(kind, &resource)]);
    }

    /// Deletes a resource.
    pub fn delete(&self, kind: Kind, name: &str) {
        self.change([delete(kind, name)]);
    }

    /// Deletes a resource and puts it anew, so soon that nobody sees the state between.
    pub fn put_anew(&self, kind: Kind, resource: Value) {
        let name = resource["name"].as_str().unwrap();
        let answers = self.change([delete(kind, name), put(kind, &resource)]);
        assert!(answers.iter().all(Answer::changed), "{answers:?}");
    }

    fn change<const N: usize>(&self, commands: [Command; N]) -> Vec<Answer> {
        let answers = self.apply_all(1, 1, &commands);
        let all_done = answers.iter().all(|it| matches!(it, Answer::Done { .. }));
        assert!(all_done, "{answers:?}");
        answers
    }

    /// Returns the state.
    pub fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// Has all services behave so from now on.
    pub fn behave(
        &self,
        behaviour: impl Fn(&ServiceCall) -> (Duration, Result<Reply, ServiceError>)
        + Send
        + Sync
        + 'static,
    ) {
        *self.behaviour.lock() = Arc::new(behaviour);
    }

    /// Counts how often each body was given to a service.
    pub fn calls_by_body(&self) -> BTreeMap<String, usize> {
        let mut by_body = BTreeMap::new();
        for call in self.calls.lock().iter() {
            *by_body.entry(call.body.clone()).or_default() += 1;
        }
        by_body
    }
}

fn put(kind: Kind, resource: &Value) -> Command {
    Command::PutResource {
        kind,
        name: resource["name"].as_str().unwrap().to_owned(),
        spec: resource.to_string().into(),
        precondition: None,
    }
}

fn delete(kind: Kind, name: &str) -> Command {
    Command::DeleteResource {
        kind,
        name: name.to_owned(),
        precondition: None,
    }
}
