//! Pure machine: commands in, answers and events out.

use std::io;

use quorate_resources::Kind;
use quorate_types::MemberId;
use serde_json::Value;

use super::{
    Actor, AnnouncedProgram, Answer, BatchedPut, Catalog, Command, OperatorAction, SendKey, State,
    audit::AuditSubject, catalog::PutRules, check_parsed_resource, failover,
};

/// Change that a command has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateEvent {
    /// A resource was created or changed.
    ResourcePut {
        /// Kind of the resource.
        kind: Kind,
        /// Name of the resource.
        name: String,
        /// New revision.
        revision: u64,
    },
    /// A resource was deleted.
    ResourceDeleted {
        /// Kind of the resource.
        kind: Kind,
        /// Name of the resource.
        name: String,
        /// Log index of the deletion.
        revision: u64,
    },
    /// A key was written.
    KeyPut {
        /// Key that was written.
        key: String,
        /// New revision.
        revision: u64,
    },
    /// A key was deleted.
    KeyDeleted {
        /// Key that was deleted.
        key: String,
        /// Log index of the deletion.
        revision: u64,
    },
    /// A reign has begun.
    TakenOver {
        /// New connector server.
        holder: MemberId,
        /// Epoch of the reign.
        epoch: u64,
    },
    /// A reign was ended by its holder.
    Released {
        /// Epoch of the reign.
        epoch: u64,
    },
    /// A member's program has changed.
    ProgramAnnounced {
        /// The member.
        member: MemberId,
    },
    /// Another failover promise is to be made.
    FailoverSet {
        /// New promise.
        failover_ms: u64,
        /// Log index at which it was set.
        revision: u64,
    },
    /// A member goes by the promise.
    FailoverApplied {
        /// The member.
        member: MemberId,
        /// Log index at which it was set.
        revision: u64,
    },
    /// Every member goes by the promise.
    FailoverSettled {
        /// Log index at which it was set.
        revision: u64,
    },
    /// A takeover was recorded.
    TakeoverRecorded {
        /// Epoch of the reign.
        epoch: u64,
    },
    /// A member's connectors have other connections to their brokers.
    BrokerConnectionsRecorded {
        /// The member.
        member: MemberId,
    },
    /// An operator has asked something of a connector.
    ConnectorOperated {
        /// Kind of the connector's resource.
        kind: Kind,
        /// Name of the connector's resource.
        name: String,
        /// Action that was asked for.
        order: OperatorAction,
    },
    /// Connectors have come further.
    ProgressAdvanced {
        /// Epoch of the reign under which they have.
        epoch: u64,
    },
    /// The keyring has changed.
    KeyringChanged {
        /// Name of the command.
        command: &'static str,
    },
    /// Secrets were sealed by a newer version of the cluster's key.
    SecretsResealed {
        /// Number of resources that were resealed, at most.
        resources: usize,
    },
    /// A send under an idempotency key may begin.
    SendBegun {
        /// Idempotency key.
        key: SendKey,
    },
    /// A send under an idempotency key has its outcome, or was withdrawn.
    SendFinished {
        /// Idempotency key.
        key: SendKey,
    },
    /// A token was created or revoked.
    TokenChanged {
        /// Id of the token.
        id: String,
        /// True if it counts from now on.
        created: bool,
    },
    /// The key by which members vouch to each other was made.
    VoucherKeyCreated,
}

/// State, and the one way to change it.
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
    /// Returns the state as of now.
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
        self.apply_for(None, (index, term, leader), command)
    }

    /// As [`Machine::apply`], on behalf of an actor: one that may not, as of this place in the log,
    /// changes nothing. `entry` are index, term and leader.
    pub fn apply_for(
        &mut self,
        actor: Option<&Actor>,
        entry: (u64, u64, MemberId),
        command: &Command,
    ) -> (Answer, Vec<StateEvent>) {
        let (index, term, leader) = entry;
        self.state.applied = index;
        let subject = actor.map(|_| AuditSubject::of(command, &self.state.catalog));
        let answer = match actor.and_then(|actor| self.state.refusal(actor, command)) {
            Some(missing) => Answer::Forbidden(missing.to_string()),
            None => self.decide(index, term, leader, command),
        };
        if let (Some(actor), Some(subject)) = (actor, subject) {
            self.state.audit.append(index, actor, subject, &answer);
        }
        if !answer.changed() {
            return (answer, Vec::new());
        }
        self.state.revision = index;
        let events = events(index, command, &self.state.catalog);
        (answer, events)
    }

    fn decide(&mut self, index: u64, term: u64, leader: MemberId, command: &Command) -> Answer {
        let State {
            catalog,
            kv,
            reign,
            announced_programs,
            failover,
            takeovers,
            recorded_connections,
            operations,
            progress,
            idempotency,
            keyring,
            access,
            ..
        } = &mut self.state;
        let rules = PutRules {
            announced: announced_programs,
            oldest_key: keyring.oldest(),
        };
        match command {
            Command::PutResource {
                kind,
                name,
                spec,
                precondition,
            } => {
                let answer = catalog.put(index, *kind, name, spec, *precondition, rules);
                if answer.changed() {
                    access.resource_changed(index, *kind, None);
                }
                answer
            }
            Command::PutResources(puts) => {
                let answer = catalog.put_all(index, puts, rules);
                if answer.changed() {
                    puts.iter()
                        .for_each(|it| access.resource_changed(index, it.kind, None));
                }
                answer
            }
            Command::DeleteResource {
                kind,
                name,
                precondition,
            } => {
                let answer = catalog.delete(index, *kind, name, *precondition);
                if answer.changed() {
                    operations.forget(index, *kind, name);
                    progress.forget(*kind, name);
                    access.resource_changed(index, *kind, Some(name));
                }
                answer
            }
            Command::PutKey {
                key,
                value,
                precondition,
            } => kv.put(index, key, value, *precondition),
            Command::DeleteKey { key, precondition } => kv.delete(index, key, *precondition),
            Command::TakeOver {
                member,
                term: for_term,
            } => reign.take_over(index, term, leader, *member, *for_term),
            Command::Release { epoch } => reign.release(index, leader, *epoch),
            Command::AnnounceProgram {
                member,
                services,
                version,
                failover_ms,
            } => {
                let program = AnnouncedProgram {
                    services: services.clone(),
                    version: version.clone(),
                    failover_ms: *failover_ms,
                };
                announced_programs.announce(index, *member, program)
            }
            Command::SetFailover { failover_ms, first } => {
                failover::set(failover, index, *failover_ms, *first)
            }
            Command::FailoverApplied { member, revision } => {
                failover::applied(failover, index, *member, *revision)
            }
            Command::FailoverSettled { revision } => failover::settled(failover, index, *revision),
            Command::RecordTakeover(it) => takeovers.record(index, term, leader, reign, it),
            Command::RecordBrokerConnections {
                member,
                connections,
            } => recorded_connections.record(index, *member, connections),
            Command::OperateConnector { kind, name, order } => {
                operations.operate(index, *kind, name, *order, catalog)
            }
            Command::AdvanceProgress { epoch, connectors } => {
                progress.advance(index, *epoch, connectors, reign, catalog)
            }
            Command::BeginSend(intent) => idempotency.begin_send(index, reign, catalog, intent),
            Command::FinishSend(it) => idempotency.finish_send(index, reign, it),
            Command::Keyring(command) => keyring.apply(index, command, catalog),
            Command::ResealResources(resealed) => catalog.reseal(index, resealed),
            Command::CreateToken(it) => {
                let is_there = catalog.get(Kind::Identity, &it.identity).is_some();
                access.create_token(index, it, is_there)
            }
            Command::RevokeToken { id } => access.revoke_token(index, id),
            Command::CreateVoucherKey(key) => access.create_key(index, key),
        }
    }

    /// Tries a put that was never proposed, of JSON that was parsed already: checks it by the rules
    /// of this program, and does what [`Machine::apply`] would do next.
    pub fn try_put(&mut self, kind: Kind, name: &str, spec: Value) -> Answer {
        if let Err(errors) = check_parsed_resource(kind, name, &spec) {
            return Answer::Invalid(errors);
        }
        let State {
            applied,
            revision,
            catalog,
            announced_programs: announced,
            keyring,
            ..
        } = &mut self.state;
        let next = 1 + *applied.max(revision);
        let oldest_key = keyring.oldest();
        let rules = PutRules {
            announced,
            oldest_key,
        };
        catalog.put_parsed(next, kind, name, spec, rules)
    }

    /// Marks an entry that is no command of ours as applied.
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
        Command::Keyring(it) => StateEvent::KeyringChanged { command: it.name() },
        Command::ResealResources(resealed) => StateEvent::SecretsResealed {
            resources: resealed.len(),
        },
        Command::BeginSend(intent) => StateEvent::SendBegun {
            key: intent.key.clone(),
        },
        Command::FinishSend(conclusion) => StateEvent::SendFinished {
            key: conclusion.key.clone(),
        },
        Command::CreateToken(token) => StateEvent::TokenChanged {
            id: token.id.clone(),
            created: true,
        },
        Command::RevokeToken { id } => StateEvent::TokenChanged {
            id: id.clone(),
            created: false,
        },
        Command::CreateVoucherKey(_) => StateEvent::VoucherKeyCreated,
    }]
}
