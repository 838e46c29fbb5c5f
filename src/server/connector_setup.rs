//! The setup of the connectors from this member's parts.

use std::sync::Arc;

use async_trait::async_trait;
use quorate_clock::Instant;
use quorate_ipc::LocalRules;
use quorate_service::ServiceDispatcher;
use quorate_state::{Answer, Command, ConnectionsByConnector, ConnectorProgress, Takeover};
use quorate_supervisor::{self as connector, CommandProposer, ConnectorsView};
use quorate_types::{MemberId, ProposeError};
use tokio::runtime::Handle;

use super::{ServerError, critical_tasks::CriticalTasks, hardening};
use crate::{cluster::ClusterHandle, settings::Settings};

/// Starts the connectors.
pub(super) fn start_connectors(
    settings: &Settings,
    cluster: &ClusterHandle,
    consensus: &Handle,
    dispatch: Arc<ServiceDispatcher>,
    tasks: &mut CriticalTasks,
) -> Result<connector::SupervisorHandle, ServerError> {
    let vault = cluster.vault().clone();
    let view =
        ConnectorsView::follow_opened(cluster.watch_state(), move |state| vault.opened(state));
    let handle = connector::start(connector::SupervisorContext {
        me: cluster.node().id(),
        name: settings.name.clone(),
        timing: cluster.watch_timing(),
        lease_runtime: consensus.clone(),
        leadership: cluster.node().leadership(),
        members: cluster.node().watch_members(),
        silent: cluster.node().unreachable_members(),
        view: view.clone(),
        standby_max: settings.standby_max,
        rules: rules(settings),
        egress: hardening::egress(settings, cluster.node().watch_members()),
        proposer: Arc::new(ReignProposer(cluster.clone())),
        dispatch,
        log: settings.log.clone(),
        program: connector::this_program(),
    });
    let handle = handle
        .map_err(|error| ServerError::Refused(format!("can't start the connectors: {error}")))?;
    tasks.follow("the connectors' view of the state", view);
    tasks.follow("the reign of the connectors", handle.reign());
    tasks.follow("the list of the connectors", handle.statuses());
    tasks.follow("the supervision of the connectors", handle.supervised());
    Ok(handle)
}

/// Returns the rules of this host for connectors, in the form that connectors read.
fn rules(settings: &Settings) -> LocalRules {
    let allowed = &settings.connectors;
    LocalRules {
        mq_libraries: allowed.mq_libraries.clone(),
        mq_key_repositories: allowed.mq_key_repositories.clone(),
        zmq_ipc_dir: allowed.zmq_ipc_dir.clone(),
        zmq_bind: allowed.zmq_bind.clone(),
        egress: hardening::egress_networks(settings),
        process: hardening::process_rules(&settings.hardening),
    }
}

/// The proposer of the reign's commands, into the log of this cluster.
struct ReignProposer(ClusterHandle);

#[async_trait]
impl CommandProposer for ReignProposer {
    async fn take_over(
        &self,
        member: MemberId,
        term: u64,
        deadline: Instant,
    ) -> Result<(), ProposeError> {
        self.propose(term, Command::TakeOver { member, term }, deadline)
            .await
    }

    async fn release(&self, term: u64, epoch: u64, deadline: Instant) -> Result<(), ProposeError> {
        self.propose(term, Command::Release { epoch }, deadline)
            .await
    }

    async fn record_takeover(
        &self,
        takeover: Takeover,
        deadline: Instant,
    ) -> Result<(), ProposeError> {
        let (term, command) = (takeover.term, Command::RecordTakeover(Box::new(takeover)));
        self.propose(term, command, deadline).await
    }

    async fn record_broker_connections(
        &self,
        member: MemberId,
        connections: ConnectionsByConnector,
        deadline: Instant,
    ) -> Result<(), ProposeError> {
        let command = Command::RecordBrokerConnections {
            member,
            connections,
        };
        done(self.0.propose(command, deadline).await?)
    }

    async fn advance(
        &self,
        epoch: u64,
        connectors: Vec<ConnectorProgress>,
        deadline: Instant,
    ) -> Result<(), ProposeError> {
        let command = Command::AdvanceProgress { epoch, connectors };
        match self.0.propose(command, deadline).await? {
            (_, Answer::Ignored(_)) => Ok(()),
            answer => done(answer),
        }
    }
}

impl ReignProposer {
    async fn propose(
        &self,
        term: u64,
        command: Command,
        deadline: Instant,
    ) -> Result<(), ProposeError> {
        done(self.0.propose_in_term(term, command, deadline).await?)
    }
}

fn done(answer: (u64, Answer)) -> Result<(), ProposeError> {
    match answer {
        (_, Answer::Done { .. }) => Ok(()),
        (_, Answer::Ignored(why)) => Err(ProposeError::Refused(why)),
        (0, Answer::Invalid(errors)) => Err(ProposeError::Refused(format!(
            "it was not proposed: {errors:?}"
        ))),
        (index, answer) => Err(ProposeError::Refused(format!(
            "log index {index} was answered {answer:?}"
        ))),
    }
}
