//! Member of a simulated group: the real supervisor, and the leadership that a test gives it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use quorate_clock::Instant;
use quorate_ipc::LocalRules;
use quorate_service::api::{MayRun, Origin, Reply, Request, ServiceDispatch, ServiceError};
use quorate_state::{Command, ConnectionsByConnector, ConnectorProgress, Takeover};
use quorate_supervisor::{
    self as connector, CommandProposer, ConnectorState, ConnectorStatus, ConnectorsView,
    SupervisorContext, SupervisorHandle,
};
use quorate_testkit::programs::QUORATE;
use quorate_types::{
    Leadership, Member as Address, MemberId, MemberList, MemberStatus, ProposeError, Role, Timing,
};
use tokio::sync::watch;

use crate::{
    WAIT,
    group::{ServiceCall, SimulatedGroup},
};

/// One member with real connectors.
pub struct SimulatedMember {
    /// The id.
    pub id: MemberId,
    /// The group.
    pub group: Arc<SimulatedGroup>,
    /// The supervisor.
    pub handle: SupervisorHandle,
    /// The times that follow from the promise.
    pub timing: Timing,
    leadership: watch::Sender<Leadership>,
    _members: watch::Sender<MemberList>,
    silent: watch::Sender<Arc<BTreeSet<MemberId>>>,
    beating: Arc<AtomicBool>,
}

/// The rules of a host for tests: the stand-in's library lies where it was built, or nowhere at
/// all; a real queue manager's is found by its name.
pub fn rules() -> LocalRules {
    let built = QUORATE.parent().unwrap_or(&QUORATE);
    LocalRules {
        mq_libraries: vec![
            format!("{}/**", built.display()),
            "libquorate-none_r.so".into(),
            "libmqic_r.so".into(),
            "libmqm_r.so".into(),
        ],
        ..LocalRules::default()
    }
}

struct Seat {
    id: MemberId,
    group: Arc<SimulatedGroup>,
    leadership: watch::Sender<Leadership>,
}

impl Seat {
    fn propose(&self, term: u64, command: Command) -> Result<(), ProposeError> {
        let leadership = *self.leadership.borrow();
        if !leadership.leading || leadership.term != term {
            return Err(ProposeError::Refused("another term".into()));
        }
        self.group.propose(term, self.id, &command)
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
        let takes = *self.group.progress_takes.lock();
        tokio::time::sleep(takes).await;
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
        let call = ServiceCall {
            service: service.to_owned(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            epoch: message.epoch,
            attempt: message.attempt,
            headers: request.headers.clone(),
            member: self.id,
            at: Instant::now(),
        };
        let (takes, answer) = self.group.call(call);
        tokio::time::sleep(takes).await;
        answer
    }
}

impl SimulatedMember {
    /// A follower that votes.
    pub fn start(group: &Arc<SimulatedGroup>, id: MemberId, failover_ms: u64) -> SimulatedMember {
        SimulatedMember::start_as(group, id, failover_ms, Role::Voter, 200)
    }

    /// A follower with at most so many processes that stand by.
    pub fn start_as(
        group: &Arc<SimulatedGroup>,
        id: MemberId,
        failover_ms: u64,
        role: Role,
        standby_max: usize,
    ) -> SimulatedMember {
        SimulatedMember::start_ruled(group, id, failover_ms, role, standby_max, rules())
    }

    /// The same on a host with these rules.
    pub fn start_ruled(
        group: &Arc<SimulatedGroup>,
        id: MemberId,
        failover_ms: u64,
        role: Role,
        standby_max: usize,
        rules: LocalRules,
    ) -> SimulatedMember {
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
            view: ConnectorsView::follow(group.watch()),
            standby_max,
            rules,
            egress: Default::default(),
            proposer: seat.clone(),
            dispatch: seat,
            log: Default::default(),
            program: QUORATE.clone(),
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
        SimulatedMember {
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
        self.group.elect(term);
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

    /// Returns the status of a connector.
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

    /// Waits until the channel is active.
    pub async fn active(&self, name: &str) -> ConnectorStatus {
        self.when(name, "active", |status| {
            status.state == ConnectorState::Active
        })
        .await
    }
}
