//! A simulated group of members around the real connectors: leadership and state are
//! watches that the tests move.
// Each test program uses its own part of this.
#![allow(dead_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_ipc::LocalRules;
use quorate_resources::Kind;
use quorate_service::api::{MayRun, Origin, Reply, Request, ServiceDispatch, ServiceError};
use quorate_state::{
    Answer, Command, ConnectionsByConnector, ConnectorProgress, Machine, State, Takeover,
};
use quorate_supervisor::{
    self as connector, CommandProposer, ConnectorState, ConnectorStatus, ConnectorsView,
    SupervisorContext, SupervisorHandle,
};
use quorate_types::{
    Leadership, Member as Address, MemberId, MemberList, MemberStatus, ProposeError, Role, Timing,
};
use serde_json::{Value, json};
use tokio::sync::watch;

pub const WAIT: Duration = Duration::from_secs(60);

/// A name that no other test uses.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!(
        "{what}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Waits until `condition` gives something.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(it) = condition().await {
            return it;
        }
        assert!(Instant::now() < deadline, "not within {WAIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One call of a service.
#[derive(Clone, Debug)]
pub struct Call {
    pub service: String,
    pub body: String,
    pub epoch: u64,
    pub attempt: u32,
    pub headers: HeaderMap,
    pub member: MemberId,
    pub at: Instant,
}

/// What a service does.
pub type Behaviour = Arc<dyn Fn(&Call) -> (Duration, Result<Reply, ServiceError>) + Send + Sync>;

pub fn status(code: u16) -> Result<Reply, ServiceError> {
    let status = StatusCode::from_u16(code).unwrap();
    Ok(Reply {
        status,
        headers: HeaderMap::new(),
        body: "said the service".into(),
    })
}

/// The replicated part: one state, and the services that all members share.
pub struct Group {
    machine: Mutex<(u64, Machine)>,
    state: watch::Sender<Arc<State>>,
    /// The newest term: nothing of an older one commits any more.
    term: AtomicU64,
    pub calls: Mutex<Vec<Call>>,
    behaviour: Mutex<Behaviour>,
    /// How long it takes to write how far connectors have come.
    pub progress_takes: Mutex<Duration>,
}

impl Group {
    pub fn new() -> Arc<Group> {
        Arc::new(Group {
            machine: Mutex::new((10, Machine::default())),
            state: watch::Sender::new(Arc::new(State::default())),
            term: AtomicU64::new(0),
            calls: Mutex::default(),
            behaviour: Mutex::new(Arc::new(|_| (Duration::ZERO, status(200)))),
            progress_takes: Mutex::default(),
        })
    }

    /// A group with two services, `store` and `other`.
    pub fn with_services() -> Arc<Group> {
        let group = Group::new();
        for service in ["store", "other"] {
            group.put(
                Kind::Service,
                json!({"name": service, "upstream": "http://127.0.0.1:9/"}),
            );
        }
        group
    }

    pub fn apply(&self, term: u64, leader: MemberId, command: &Command) -> Answer {
        let mut machine = self.machine.lock();
        machine.0 += 1;
        let index = machine.0;
        let (answer, _) = machine.1.apply(index, term, leader, command);
        self.state.send_replace(Arc::new(machine.1.state().clone()));
        answer
    }

    pub fn put(&self, kind: Kind, resource: Value) {
        let name = resource["name"].as_str().unwrap().to_owned();
        let spec = resource.to_string().into();
        let answer = self.apply(
            1,
            1,
            &Command::PutResource {
                kind,
                name,
                spec,
                precondition: None,
            },
        );
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    }

    pub fn delete(&self, kind: Kind, name: &str) {
        let answer = self.apply(
            1,
            1,
            &Command::DeleteResource {
                kind,
                name: name.into(),
                precondition: None,
            },
        );
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    }

    /// Deletes a resource and puts it anew, so soon that nobody sees the state between.
    pub fn put_anew(&self, kind: Kind, resource: Value) {
        let (name, spec) = (resource["name"].as_str().unwrap(), resource.to_string());
        let delete = Command::DeleteResource {
            kind,
            name: name.into(),
            precondition: None,
        };
        let put = Command::PutResource {
            kind,
            name: name.into(),
            spec: spec.into(),
            precondition: None,
        };
        let mut machine = self.machine.lock();
        for command in [delete, put] {
            machine.0 += 1;
            let index = machine.0;
            let (answer, _) = machine.1.apply(index, 1, 1, &command);
            assert!(answer.changed(), "{answer:?}");
        }
        let state = Arc::new(machine.1.state().clone());
        self.state.send_replace(state);
    }

    pub fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    pub fn behave(
        &self,
        behaviour: impl Fn(&Call) -> (Duration, Result<Reply, ServiceError>) + Send + Sync + 'static,
    ) {
        *self.behaviour.lock() = Arc::new(behaviour);
    }

    /// How often each body was handled (answered by success).
    pub fn calls_by_body(&self) -> BTreeMap<String, usize> {
        let mut by_body = BTreeMap::new();
        for call in self.calls.lock().iter() {
            *by_body.entry(call.body.clone()).or_default() += 1;
        }
        by_body
    }
}

/// One member with real connectors.
pub struct Member {
    pub id: MemberId,
    pub group: Arc<Group>,
    pub handle: SupervisorHandle,
    pub timing: Timing,
    leadership: watch::Sender<Leadership>,
    _members: watch::Sender<MemberList>,
    silent: watch::Sender<Arc<BTreeSet<MemberId>>>,
    beating: Arc<AtomicBool>,
}

struct Seat {
    id: MemberId,
    group: Arc<Group>,
    leadership: watch::Sender<Leadership>,
}

impl Seat {
    fn propose(&self, term: u64, command: Command) -> Result<(), ProposeError> {
        let leadership = *self.leadership.borrow();
        if !leadership.leading || leadership.term != term {
            return Err(ProposeError::Refused("another term".into()));
        }
        if self.group.term.load(Ordering::SeqCst) > term {
            return Err(ProposeError::Unknown("no quorum answered".into()));
        }
        self.group.apply(term, self.id, &command);
        Ok(())
    }
}

#[async_trait]
impl CommandProposer for Seat {
    async fn take_over(&self, member: MemberId, term: u64, _: Instant) -> Result<(), ProposeError> {
        self.propose(term, Command::TakeOver { member, term })
    }

    async fn release(&self, term: u64, epoch: u64, _: Instant) -> Result<(), ProposeError> {
        self.propose(term, Command::Release { epoch })
    }

    async fn record_takeover(&self, takeover: Takeover, _: Instant) -> Result<(), ProposeError> {
        self.propose(takeover.term, Command::RecordTakeover(Box::new(takeover)))
    }

    async fn record_broker_connections(
        &self,
        member: MemberId,
        connections: ConnectionsByConnector,
        _: Instant,
    ) -> Result<(), ProposeError> {
        let command = Command::RecordBrokerConnections {
            member,
            connections,
        };
        self.group.apply(1, 1, &command);
        Ok(())
    }

    async fn advance(
        &self,
        epoch: u64,
        connectors: Vec<ConnectorProgress>,
        _: Instant,
    ) -> Result<(), ProposeError> {
        let took = *self.group.progress_takes.lock();
        tokio::time::sleep(took).await;
        let command = Command::AdvanceProgress { epoch, connectors };
        self.group.apply(1, 1, &command);
        Ok(())
    }
}

#[async_trait]
impl ServiceDispatch for Seat {
    async fn dispatch(
        &self,
        service: &str,
        request: Request,
        _: MayRun<'_>,
    ) -> Result<Reply, ServiceError> {
        let Origin::Message(message) = &request.origin else {
            panic!("not a message")
        };
        let call = Call {
            service: service.to_owned(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            epoch: message.epoch,
            attempt: message.attempt,
            headers: request.headers.clone(),
            member: self.id,
            at: Instant::now(),
        };
        let behaviour = self.group.behaviour.lock().clone();
        let (takes, answer) = behaviour(&call);
        self.group.calls.lock().push(call);
        tokio::time::sleep(takes).await;
        answer
    }
}

impl Member {
    /// A follower that votes.
    pub fn start(group: &Arc<Group>, id: MemberId, failover_ms: u64) -> Member {
        Member::start_as(group, id, failover_ms, Role::Voter, 200)
    }

    /// A follower with at most so many processes that stand by.
    pub fn start_as(
        group: &Arc<Group>,
        id: MemberId,
        failover_ms: u64,
        role: Role,
        standby_max: usize,
    ) -> Member {
        let member = |other: MemberId| MemberStatus {
            id: other,
            member: Address {
                name: format!("member-{other}"),
                ..Address::default()
            },
            role: if other == id { role } else { Role::Voter },
            lag: None,
            reachable: None,
        };
        let members: watch::Sender<MemberList> = watch::Sender::new((1..=3).map(member).collect());
        let silent = watch::Sender::default();
        let timing = Timing::from_failover_ms(failover_ms).unwrap();
        let leadership = watch::Sender::new(Leadership {
            me: id,
            term: 1,
            lease: timing.lease,
            ..Default::default()
        });
        let seat = Arc::new(Seat {
            id,
            group: group.clone(),
            leadership: leadership.clone(),
        });
        let handle = connector::start(SupervisorContext {
            me: id,
            name: format!("member-{id}"),
            timing: watch::channel(timing.into()).1,
            lease_runtime: tokio::runtime::Handle::current(),
            leadership: leadership.subscribe(),
            members: members.subscribe(),
            silent: silent.subscribe(),
            view: ConnectorsView::follow(group.state.subscribe()),
            standby_max,
            // The stand-in's library lies where it was built, or nowhere at all; a real queue
            // manager's is found by its name.
            rules: LocalRules {
                mq_libraries: ["/**", "libquorate-none_r.so", "libmqic_r.so", "libmqm_r.so"]
                    .map(String::from)
                    .into(),
                ..LocalRules::default()
            },
            proposer: seat.clone(),
            dispatch: seat,
            log: Default::default(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_quorate")),
        })
        .unwrap();
        let beating = Arc::new(AtomicBool::new(true));
        // Heartbeat rounds, answered at once.
        tokio::spawn({
            let (leadership, beating, every) =
                (leadership.clone(), beating.clone(), timing.heartbeat);
            async move {
                while !leadership.is_closed() {
                    let sent = Instant::now();
                    tokio::time::sleep(every).await;
                    leadership.send_if_modified(|it| {
                        let beats = it.leading && beating.load(Ordering::Relaxed);
                        if beats {
                            it.heard_at = Some(sent);
                        }
                        beats
                    });
                }
            }
        });
        Member {
            id,
            group: group.clone(),
            handle,
            timing,
            leadership,
            _members: members,
            silent,
            beating,
        }
    }

    /// Leads in this term, elected when the old leader's timer had run out.
    pub fn lead(&self, term: u64) {
        self.elect(term, Instant::now());
        self.leadership.send_modify(|it| it.leading = true);
    }

    /// Elected in this term: its first entry is on the way. No earlier lease runs from then on.
    pub fn elect(&self, term: u64, clear_at: Instant) {
        self.group.term.fetch_max(term, Ordering::SeqCst);
        self.leadership.send_modify(|it| {
            *it = Leadership {
                me: self.id,
                term,
                leader: Some(self.id),
                leading: it.leading && it.term == term,
                lease_clear_at: it
                    .lease_clear_at
                    .filter(|_| it.term == term)
                    .or(Some(clear_at)),
                ..*it
            };
        });
    }

    /// Leads in the term in which it was elected.
    pub fn confirmed(&self) {
        self.leadership.send_modify(|it| it.leading = true);
    }

    /// Leads no more, in this term.
    pub fn step_down(&self, term: u64) {
        self.leadership.send_modify(|it| {
            *it = Leadership {
                me: self.id,
                term,
                leader: None,
                leading: false,
                ..*it
            };
        });
    }

    /// These members don't answer.
    pub fn misses(&self, silent: impl IntoIterator<Item = MemberId>) {
        self.silent
            .send_replace(Arc::new(silent.into_iter().collect()));
    }

    /// No quorum answers, or one does again.
    pub fn beat(&self, beating: bool) {
        self.beating.store(beating, Ordering::Relaxed);
    }

    pub fn status(&self, name: &str) -> Option<ConnectorStatus> {
        self.handle
            .statuses()
            .borrow()
            .iter()
            .find(|status| status.name == name)
            .cloned()
    }

    /// Waits until the channel's status is as asked.
    pub async fn when(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&ConnectorStatus) -> bool,
    ) -> ConnectorStatus {
        let mut last = None;
        let deadline = Instant::now() + WAIT;
        loop {
            let status = self.status(name);
            if let Some(status) = status.as_ref().filter(|status| is(status)) {
                return status.clone();
            }
            last = status.or(last);
            assert!(
                Instant::now() < deadline,
                "not within {WAIT:?}: {what}; last seen: {last:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn active(&self, name: &str) -> ConnectorStatus {
        self.when(name, "active", |status| {
            status.state == ConnectorState::Active
        })
        .await
    }
}

/// Whether a process is there (and no zombie).
pub fn exists(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    })
}

/// Bodies `0` to `n - 1`.
pub fn bodies(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|n| n.to_string())
}
