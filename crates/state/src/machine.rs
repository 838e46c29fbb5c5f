//! The pure machine: commands in, answers and events out.

use std::io;

use quorate_resources::Kind;
use quorate_types::MemberId;
use serde_json::Value;

use super::{
    AnnouncedProgram, Answer, BatchedPut, Catalog, Command, OperatorAction, SendKey, State,
    check_parsed_resource, failover,
};

/// What a command has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateEvent {
    /// A resource was created or changed.
    ResourcePut {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its new revision.
        revision: u64,
    },
    /// A resource was deleted.
    ResourceDeleted {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// The log index of its deletion.
        revision: u64,
    },
    /// A key was written.
    KeyPut {
        /// The key.
        key: String,
        /// Its new revision.
        revision: u64,
    },
    /// A key was deleted.
    KeyDeleted {
        /// The key.
        key: String,
        /// The log index of its deletion.
        revision: u64,
    },
    /// A reign has begun.
    TakenOver {
        /// The connector server.
        holder: MemberId,
        /// Its epoch.
        epoch: u64,
    },
    /// A reign was ended by its holder.
    Released {
        /// Its epoch.
        epoch: u64,
    },
    /// A member's program has changed.
    ProgramAnnounced {
        /// The member.
        member: MemberId,
    },
    /// Another failover promise is to be made.
    FailoverSet {
        /// What is to be promised.
        failover_ms: u64,
        /// The log index at which it was set.
        revision: u64,
    },
    /// A member goes by it.
    FailoverApplied {
        /// The member.
        member: MemberId,
        /// The log index at which it was set.
        revision: u64,
    },
    /// Every member goes by it.
    FailoverSettled {
        /// The log index at which it was set.
        revision: u64,
    },
    /// A takeover was explained.
    TakeoverRecorded {
        /// The reign's epoch.
        epoch: u64,
    },
    /// A member's connectors have other connections to their brokers.
    BrokerConnectionsRecorded {
        /// The member.
        member: MemberId,
    },
    /// Something was asked of a connector.
    ConnectorOperated {
        /// The kind of its resource.
        kind: Kind,
        /// The name of its resource.
        name: String,
        /// What was asked.
        order: OperatorAction,
    },
    /// Connectors have come further.
    ProgressAdvanced {
        /// The epoch of the reign under which they have.
        epoch: u64,
    },
    /// A send under an idempotency key may begin.
    SendBegun {
        /// The key.
        key: SendKey,
    },
    /// A send under an idempotency key has its outcome, or was withdrawn.
    SendFinished {
        /// The key.
        key: SendKey,
    },
}

/// The state, and the one way to change it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    state: State,
}

impl From<State> for Machine {
    fn from(state: State) -> Self {
        Machine { state }
    }
}

impl Machine {
    /// The state as of now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Applies one command. `index`, `term` and `leader` are those of its log entry.
    pub fn apply(
        &mut self,
        index: u64,
        term: u64,
        leader: MemberId,
        command: &Command,
    ) -> (Answer, Vec<StateEvent>) {
        let state = &mut self.state;
        state.applied = index;
        let answer = match command {
            Command::PutResource {
                kind,
                name,
                spec,
                precondition,
            } => state.catalog.put(
                index,
                *kind,
                name,
                spec,
                *precondition,
                &state.announced_programs,
            ),
            Command::PutResources(puts) => {
                state
                    .catalog
                    .put_all(index, puts, &state.announced_programs)
            }
            Command::DeleteResource {
                kind,
                name,
                precondition,
            } => {
                let answer = state.catalog.delete(index, *kind, name, *precondition);
                if answer.changed() {
                    state.operations.forget(index, *kind, name);
                    state.progress.forget(*kind, name);
                }
                answer
            }
            Command::PutKey {
                key,
                value,
                precondition,
            } => state.kv.put(index, key, value, *precondition),
            Command::DeleteKey { key, precondition } => state.kv.delete(index, key, *precondition),
            Command::TakeOver {
                member,
                term: for_term,
            } => state
                .reign
                .take_over(index, term, leader, *member, *for_term),
            Command::Release { epoch } => state.reign.release(index, leader, *epoch),
            Command::AnnounceProgram {
                member,
                services,
                version,
                failover_ms,
            } => {
                let said = AnnouncedProgram {
                    services: services.clone(),
                    version: version.clone(),
                    failover_ms: *failover_ms,
                };
                state.announced_programs.announce(index, *member, said)
            }
            Command::SetFailover { failover_ms, first } => {
                failover::set(&mut state.failover, index, *failover_ms, *first)
            }
            Command::FailoverApplied { member, revision } => {
                failover::applied(&mut state.failover, index, *member, *revision)
            }
            Command::FailoverSettled { revision } => {
                failover::settled(&mut state.failover, index, *revision)
            }
            Command::RecordTakeover(takeover) => {
                state
                    .takeovers
                    .record(index, term, leader, &state.reign, takeover)
            }
            Command::RecordBrokerConnections {
                member,
                connections,
            } => state
                .recorded_connections
                .record(index, *member, connections),
            Command::OperateConnector { kind, name, order } => {
                state
                    .operations
                    .operate(index, *kind, name, *order, &state.catalog)
            }
            Command::AdvanceProgress { epoch, connectors } => {
                state
                    .progress
                    .advance(index, *epoch, connectors, &state.reign, &state.catalog)
            }
            Command::BeginSend(intent) => {
                state
                    .idempotency
                    .begin_send(index, &state.reign, &state.catalog, intent)
            }
            Command::FinishSend(conclusion) => {
                state
                    .idempotency
                    .finish_send(index, &state.reign, conclusion)
            }
        };
        if !answer.changed() {
            return (answer, Vec::new());
        }
        state.revision = index;
        let events = events(index, command, &state.catalog);
        (answer, events)
    }

    /// Tries a put that was never proposed, of JSON that was read already: checks it by the
    /// rules of this program, and does what [`StateMachine::apply`] would do next.
    pub fn try_put(&mut self, kind: Kind, name: &str, spec: Value) -> Answer {
        if let Err(errors) = check_parsed_resource(kind, name, &spec) {
            return Answer::Invalid(errors);
        }
        let State {
            applied,
            revision,
            catalog,
            announced_programs: announced,
            ..
        } = &mut self.state;
        let next = 1 + *applied.max(revision);
        catalog.put_parsed(next, kind, name, spec, announced)
    }

    /// Marks what was applied without being a command of ours.
    pub fn mark_applied(&mut self, applied: u64) {
        self.state.applied = self.state.applied.max(applied);
    }

    /// Replaces the state by a snapshot. On an error it is as before.
    pub fn restore(&mut self, snapshot: &mut dyn io::Read) -> io::Result<()> {
        self.state = State::read_from(snapshot)?;
        Ok(())
    }
}

fn events(index: u64, command: &Command, catalog: &Catalog) -> Vec<StateEvent> {
    vec![match command {
        Command::PutResources(puts) => {
            let changed = puts.iter().filter(|it| {
                let stored = catalog.get(it.kind, &it.name);
                stored.is_some_and(|stored| stored.revision == index)
            });
            let event = |it: &BatchedPut| StateEvent::ResourcePut {
                kind: it.kind,
                name: it.name.clone(),
                revision: index,
            };
            return changed.map(event).collect();
        }
        Command::PutResource { kind, name, .. } => StateEvent::ResourcePut {
            kind: *kind,
            name: name.clone(),
            revision: index,
        },
        Command::DeleteResource { kind, name, .. } => StateEvent::ResourceDeleted {
            kind: *kind,
            name: name.clone(),
            revision: index,
        },
        Command::PutKey { key, .. } => StateEvent::KeyPut {
            key: key.clone(),
            revision: index,
        },
        Command::DeleteKey { key, .. } => StateEvent::KeyDeleted {
            key: key.clone(),
            revision: index,
        },
        Command::TakeOver { member, .. } => StateEvent::TakenOver {
            holder: *member,
            epoch: index,
        },
        Command::Release { epoch } => StateEvent::Released { epoch: *epoch },
        Command::AnnounceProgram { member, .. } => StateEvent::ProgramAnnounced { member: *member },
        Command::SetFailover { failover_ms, .. } => StateEvent::FailoverSet {
            failover_ms: *failover_ms,
            revision: index,
        },
        Command::FailoverApplied { member, revision } => StateEvent::FailoverApplied {
            member: *member,
            revision: *revision,
        },
        Command::FailoverSettled { revision } => StateEvent::FailoverSettled {
            revision: *revision,
        },
        Command::RecordTakeover(takeover) => StateEvent::TakeoverRecorded {
            epoch: takeover.epoch,
        },
        Command::RecordBrokerConnections { member, .. } => {
            StateEvent::BrokerConnectionsRecorded { member: *member }
        }
        Command::OperateConnector { kind, name, order } => StateEvent::ConnectorOperated {
            kind: *kind,
            name: name.clone(),
            order: *order,
        },
        Command::AdvanceProgress { epoch, .. } => StateEvent::ProgressAdvanced { epoch: *epoch },
        Command::BeginSend(intent) => StateEvent::SendBegun {
            key: intent.key.clone(),
        },
        Command::FinishSend(conclusion) => StateEvent::SendFinished {
            key: conclusion.key.clone(),
        },
    }]
}
