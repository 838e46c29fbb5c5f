//! States and requests for tests.

pub(crate) mod tokens;
pub(crate) mod upstream;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method};
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_state::{Answer, Command, Machine, State};
use serde_json::Value;
use tokio::sync::watch;

use super::api::{Message, Origin, Request};

/// A replicated state that a test writes to.
pub(crate) struct StateFixture {
    machine: Machine,
    index: u64,
    term: u64,
    state: watch::Sender<Arc<State>>,
}

impl StateFixture {
    pub(crate) fn new() -> StateFixture {
        let machine = Machine::default();
        let state = watch::Sender::new(Arc::new(machine.state().clone()));
        StateFixture {
            machine,
            index: 0,
            term: 1,
            state,
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.subscribe()
    }

    pub(crate) fn apply(&mut self, command: Command) -> u64 {
        self.index += 1;
        let (answer, _) = self.machine.apply(self.index, self.term, 1, &command);
        assert!(
            matches!(answer, Answer::Done { .. }),
            "{command:?}: {answer:?}"
        );
        self.state
            .send_replace(Arc::new(self.machine.state().clone()));
        self.index
    }

    pub(crate) fn put(&mut self, kind: Kind, name: &str, mut spec: Value) {
        spec["name"] = name.into();
        let spec = serde_json::to_vec(&spec).unwrap().into();
        self.apply(Command::PutResource {
            kind,
            name: name.into(),
            spec,
            precondition: None,
        });
    }

    pub(crate) fn delete(&mut self, kind: Kind, name: &str) {
        self.apply(Command::DeleteResource {
            kind,
            name: name.into(),
            precondition: None,
        });
    }

    pub(crate) fn service(&mut self, name: &str, spec: Value) {
        self.put(Kind::Service, name, spec);
    }

    pub(crate) fn announce(&mut self, member: u64, services: &[&str]) {
        let services = services.iter().map(|name| name.to_string()).collect();
        self.apply(Command::AnnounceProgram {
            member,
            services,
            version: "0".into(),
            failover_ms: None,
        });
    }

    /// A new reign; its epoch.
    pub(crate) fn take_over(&mut self) -> u64 {
        self.term += 1;
        self.apply(Command::TakeOver {
            member: 1,
            term: self.term,
        })
    }
}

pub(crate) fn request(origin: Origin) -> Request {
    Request {
        cid: "K000000000000000000000000000000000000007".into(),
        method: Method::POST,
        path: "/".into(),
        query: None,
        params: Default::default(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"hello"),
        origin,
        deadline: Instant::now() + Duration::from_secs(5),
    }
}

pub(crate) fn message(epoch: u64) -> Request {
    request(Origin::Message(Message {
        kind: "amqp_channel".into(),
        channel: "orders".into(),
        epoch,
        id: "m-1".into(),
        attempt: 1,
    }))
}

/// Waits until something is true; panics after ten seconds.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
