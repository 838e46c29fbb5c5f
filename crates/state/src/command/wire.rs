//! Wire format of commands in the log.

use bytes::Bytes;
use prost::{Message, encoding::decode_key};
use quorate_proto::command::{self as wire, FieldError};
use quorate_resources::Kind;
use quorate_types::MemberId;
use wire::command::Write;

use super::{Command, ConnectorProgress, ProposedCommand};
use crate::{
    Actor, BatchedPut, BrokerConnection, ConnectionsByConnector, OperatorAction, Reason,
    ResealedResource, Takeover, WritePrecondition, access, catalog,
    field_errors::{NOT_KNOWN, error, not_as_known},
    keyring,
};

impl Command {
    /// Encodes the command for the log, on nobody's behalf.
    pub fn encode(&self) -> Bytes {
        self.encode_for(None)
    }

    /// Encodes the command for the log, on behalf of an actor.
    pub fn encode_for(&self, actor: Option<&Actor>) -> Bytes {
        let command = wire::Command {
            write: Some(self.to_wire()),
            actor: actor.map(Into::into),
        };
        command.encode_to_vec().into()
    }

    fn to_wire(&self) -> Write {
        let to_wire = |it: &Option<WritePrecondition>| it.map(wire::Precondition::from);
        match self {
            Command::PutResource {
                kind,
                name,
                spec,
                precondition,
            } => Write::PutResource(put_to_wire(*kind, name, spec, to_wire(precondition))),
            Command::PutResources(puts) => Write::PutResources(wire::PutResources {
                resources: puts
                    .iter()
                    .map(|it| put_to_wire(it.kind, &it.name, &it.spec, None))
                    .collect(),
            }),
            Command::DeleteResource {
                kind,
                name,
                precondition,
            } => Write::DeleteResource(wire::DeleteResource {
                kind: kind.as_str().into(),
                name: name.clone(),
                precondition: to_wire(precondition),
            }),
            Command::PutKey {
                key,
                value,
                precondition,
            } => Write::PutKey(wire::PutKey {
                key: key.clone(),
                value: value.clone(),
                precondition: to_wire(precondition),
            }),
            Command::DeleteKey { key, precondition } => Write::DeleteKey(wire::DeleteKey {
                key: key.clone(),
                precondition: to_wire(precondition),
            }),
            Command::TakeOver { member, term } => Write::TakeOver(wire::TakeOver {
                member: *member,
                term: *term,
            }),
            Command::Release { epoch } => Write::Release(wire::Release { epoch: *epoch }),
            Command::AnnounceProgram {
                member,
                services,
                version,
                failover_ms,
            } => announce(*member, services, version, *failover_ms),
            Command::SetFailover { failover_ms, first } => set_failover(*failover_ms, *first),
            Command::FailoverApplied { member, revision } => failover_applied(*member, *revision),
            Command::FailoverSettled { revision } => failover_settled(*revision),
            Command::RecordTakeover(takeover) => Write::Explain(wire::Explain {
                takeover: Some((**takeover).clone()),
            }),
            Command::RecordBrokerConnections {
                member,
                connections,
            } => Write::Connected(wire::Connected {
                member: *member,
                connections: connections_to_wire(connections),
            }),
            Command::OperateConnector { kind, name, order } => operate(*kind, name, *order),
            Command::AdvanceProgress { epoch, connectors } => Write::Advance(wire::Advance {
                epoch: *epoch,
                connectors: connectors.iter().map(progress_to_wire).collect(),
            }),
            Command::BeginSend(intent) => Write::Intend((&**intent).into()),
            Command::FinishSend(conclusion) => Write::Conclude((&**conclusion).into()),
            Command::Keyring(command) => keyring::to_wire(command),
            Command::ResealResources(resealed) => Write::ResealResources(wire::ResealResources {
                resources: resealed.iter().map(resealed_to_wire).collect(),
            }),
            Command::CreateToken(token) => Write::CreateToken((&**token).into()),
            Command::RevokeToken { id } => Write::RevokeToken(wire::RevokeToken { id: id.clone() }),
            Command::CreateVoucherKey(key) => Write::CreateVoucherKey(wire::CreateVoucherKey {
                key: Bytes::copy_from_slice(key.bytes()),
            }),
        }
    }

    /// Decodes a command that is on nobody's behalf, as [`ProposedCommand::decode`] does.
    pub fn decode(bytes: Bytes) -> Result<Command, FieldError> {
        let ProposedCommand { command, actor } = ProposedCommand::decode(bytes)?;
        match actor {
            None => Ok(command),
            Some(actor) => Err(error("actor", &*actor.identity, "is not expected here")),
        }
    }

    fn from_wire(write: Write) -> Result<Command, FieldError> {
        if let Some(command) = keyring::from_wire(&write)? {
            return Ok(Command::Keyring(command.into()));
        }
        Ok(match write {
            Write::PutResource(it) => put_resource(it)?,
            Write::PutResources(it) => Command::PutResources(
                it.resources
                    .into_iter()
                    .map(batched)
                    .collect::<Result<_, _>>()?,
            ),
            Write::DeleteResource(it) => Command::DeleteResource {
                kind: kind(&it.kind)?,
                name: it.name,
                precondition: precondition(it.precondition)?,
            },
            Write::PutKey(it) => Command::PutKey {
                key: it.key,
                value: it.value,
                precondition: precondition(it.precondition)?,
            },
            Write::DeleteKey(it) => Command::DeleteKey {
                key: it.key,
                precondition: precondition(it.precondition)?,
            },
            Write::TakeOver(it) => Command::TakeOver {
                member: it.member,
                term: it.term,
            },
            Write::Release(it) => Command::Release { epoch: it.epoch },
            Write::Announce(it) => Command::AnnounceProgram {
                member: it.member,
                services: it.services,
                version: it.version,
                failover_ms: it.failover_ms,
            },
            Write::SetFailover(it) => Command::SetFailover {
                failover_ms: it.failover_ms,
                first: it.first,
            },
            Write::FailoverApplied(it) => Command::FailoverApplied {
                member: it.member,
                revision: it.revision,
            },
            Write::FailoverSettled(it) => Command::FailoverSettled {
                revision: it.revision,
            },
            Write::Explain(it) => Command::RecordTakeover(Box::new(takeover(it.takeover)?)),
            Write::Connected(it) => Command::RecordBrokerConnections {
                member: it.member,
                connections: connections(it.connections),
            },
            Write::Operate(it) => Command::OperateConnector {
                kind: kind(&it.kind)?,
                name: it.name,
                order: order(it.order)?,
            },
            Write::Advance(it) => Command::AdvanceProgress {
                epoch: it.epoch,
                connectors: it
                    .connectors
                    .into_iter()
                    .map(progress)
                    .collect::<Result<_, _>>()?,
            },
            Write::Intend(it) => Command::BeginSend(Box::new(it.try_into()?)),
            Write::Conclude(it) => Command::FinishSend(Box::new(it.try_into()?)),
            Write::ResealResources(it) => Command::ResealResources(
                it.resources
                    .into_iter()
                    .map(resealed)
                    .collect::<Result<_, _>>()?,
            ),
            Write::CreateToken(it) => Command::CreateToken(Box::new(it.try_into()?)),
            Write::RevokeToken(it) => Command::RevokeToken { id: it.id },
            Write::CreateVoucherKey(it) => {
                Command::CreateVoucherKey(access::wire::voucher_key(&it.key)?)
            }
            Write::AnnounceSealKey(_)
            | Write::AddClusterKey(_)
            | Write::AddKeyBoxes(_)
            | Write::AcceptSealKey(_)
            | Write::SetRecoveryKey(_)
            | Write::DropClusterKey(_) => return Err(error("command", "", NOT_KNOWN)),
        })
    }
}

impl ProposedCommand {
    /// Decodes a command from the log. Values share the memory of `bytes`. The error means that
    /// this version does not know the command, or a part of it.
    pub fn decode(bytes: Bytes) -> Result<ProposedCommand, FieldError> {
        let (write, actor) = open(bytes)?;
        Ok(ProposedCommand {
            command: Command::from_wire(write)?,
            actor,
        })
    }
}

/// Takes the command out of its envelope; refuses one with parts that this version does not know.
fn open(bytes: Bytes) -> Result<(Write, Option<Actor>), FieldError> {
    let (length, number) = (bytes.len(), number(&bytes));
    let command = wire::Command::decode(bytes)
        .map_err(|problem| error("command", &number, format!("can't be read: {problem}")))?;
    // Unknown parts are left out when it is read, at any depth.
    let whole = command.encoded_len() == length;
    let Some(write) = command.write else {
        return Err(error("command", number, NOT_KNOWN));
    };
    if !whole {
        let problem = "has a part that this version does not know";
        return Err(error("command", number, problem));
    }
    Ok((write, command.actor.map(Into::into)))
}

/// Returns the number of the command in its envelope, for a reader who has to find out what it is.
fn number(bytes: &[u8]) -> String {
    match decode_key(&mut &*bytes) {
        Ok((number, _)) => number.to_string(),
        Err(_) => String::new(),
    }
}

fn takeover(it: Option<Takeover>) -> Result<Takeover, FieldError> {
    let it = it.ok_or_else(|| error("takeover", "", "is missing"))?;
    match Reason::try_from(it.reason) {
        Ok(_) => Ok(it),
        Err(_) => Err(error("reason", it.reason.to_string(), NOT_KNOWN)),
    }
}

impl From<WritePrecondition> for wire::Precondition {
    fn from(it: WritePrecondition) -> Self {
        use wire::precondition::Holds;
        let holds = match it {
            WritePrecondition::Revision(revision) => Holds::Revision(revision),
            WritePrecondition::Absent => Holds::Absent(true),
        };
        wire::Precondition { holds: Some(holds) }
    }
}

/// A precondition that can't be read must not be taken for none.
fn precondition(it: Option<wire::Precondition>) -> Result<Option<WritePrecondition>, FieldError> {
    use wire::precondition::Holds;
    match it.map(|it| it.holds) {
        None => Ok(None),
        Some(Some(Holds::Revision(revision))) => Ok(Some(WritePrecondition::Revision(revision))),
        Some(Some(Holds::Absent(true))) => Ok(Some(WritePrecondition::Absent)),
        Some(_) => Err(error("precondition", "", NOT_KNOWN)),
    }
}

fn put_to_wire(
    kind: Kind,
    name: &str,
    spec: &Bytes,
    precondition: Option<wire::Precondition>,
) -> wire::PutResource {
    wire::PutResource {
        kind: kind.as_str().into(),
        name: name.to_owned(),
        spec: spec.clone(),
        precondition,
    }
}

fn put_resource(mut it: wire::PutResource) -> Result<Command, FieldError> {
    let precondition = precondition(it.precondition.take())?;
    let BatchedPut { kind, name, spec } = put(it)?;
    Ok(Command::PutResource {
        kind,
        name,
        spec,
        precondition,
    })
}

fn batched(it: wire::PutResource) -> Result<BatchedPut, FieldError> {
    match it.precondition {
        Some(_) => Err(error("precondition", "", NOT_KNOWN)),
        None => put(it),
    }
}

/// Reads the resource here, though it is read again when it is applied: parts that this version
/// does not know have to be found before anything is done.
fn put(it: wire::PutResource) -> Result<BatchedPut, FieldError> {
    let kind = kind(&it.kind)?;
    catalog::check_readable(kind, &it.name, &it.spec)
        .map_err(|unknown| not_as_known(&it.kind, &it.name, &unknown))?;
    Ok(BatchedPut {
        kind,
        name: it.name,
        spec: it.spec,
    })
}

fn resealed_to_wire(it: &ResealedResource) -> wire::ResealedResource {
    wire::ResealedResource {
        kind: it.kind.as_str().into(),
        name: it.name.clone(),
        revision: it.revision,
        spec: it.spec.clone(),
    }
}

fn resealed(it: wire::ResealedResource) -> Result<ResealedResource, FieldError> {
    let BatchedPut { kind, name, spec } = put(wire::PutResource {
        kind: it.kind,
        name: it.name,
        spec: it.spec,
        precondition: None,
    })?;
    let revision = it.revision;
    Ok(ResealedResource {
        kind,
        name,
        revision,
        spec,
    })
}

fn kind(text: &str) -> Result<Kind, FieldError> {
    text.parse::<Kind>()
        .map_err(|problem| error("kind", text, problem.to_string()))
}

fn announce(
    member: MemberId,
    services: &[String],
    version: &str,
    failover_ms: Option<u64>,
) -> Write {
    Write::Announce(wire::Announce {
        member,
        services: services.to_vec(),
        version: version.to_owned(),
        failover_ms,
    })
}

fn set_failover(failover_ms: u64, first: bool) -> Write {
    Write::SetFailover(wire::SetFailover { failover_ms, first })
}

fn failover_applied(member: MemberId, revision: u64) -> Write {
    Write::FailoverApplied(wire::FailoverApplied { member, revision })
}

fn failover_settled(revision: u64) -> Write {
    Write::FailoverSettled(wire::FailoverSettled { revision })
}

fn operate(kind: Kind, name: &str, action: OperatorAction) -> Write {
    Write::Operate(wire::Operate {
        kind: kind.as_str().into(),
        name: name.to_owned(),
        order: wire::operate::Order::from(action).into(),
    })
}

fn connections_to_wire(connections: &ConnectionsByConnector) -> Vec<wire::BrokerConnection> {
    let one = |(connector, it): (&String, &BrokerConnection)| wire::BrokerConnection {
        connector: connector.clone(),
        name: it.name.clone(),
        label: it.label.clone(),
    };
    connections.iter().map(one).collect()
}

fn connections(connections: Vec<wire::BrokerConnection>) -> ConnectionsByConnector {
    let one = |it: wire::BrokerConnection| {
        let (name, label) = (it.name, it.label);
        (it.connector, BrokerConnection { name, label })
    };
    connections.into_iter().map(one).collect()
}

fn progress_to_wire(it: &ConnectorProgress) -> wire::ConnectorProgress {
    wire::ConnectorProgress {
        kind: it.kind.as_str().into(),
        name: it.name.clone(),
        progress: it.progress.clone(),
        created: it.created,
    }
}

fn progress(it: wire::ConnectorProgress) -> Result<ConnectorProgress, FieldError> {
    Ok(ConnectorProgress {
        kind: kind(&it.kind)?,
        name: it.name,
        created: it.created,
        progress: it.progress,
    })
}

impl From<OperatorAction> for wire::operate::Order {
    fn from(it: OperatorAction) -> Self {
        match it {
            OperatorAction::Pause => wire::operate::Order::Pause,
            OperatorAction::Resume => wire::operate::Order::Resume,
            OperatorAction::Restart => wire::operate::Order::Restart,
        }
    }
}

fn order(it: i32) -> Result<OperatorAction, FieldError> {
    match wire::operate::Order::try_from(it) {
        Ok(wire::operate::Order::Pause) => Ok(OperatorAction::Pause),
        Ok(wire::operate::Order::Resume) => Ok(OperatorAction::Resume),
        Ok(wire::operate::Order::Restart) => Ok(OperatorAction::Restart),
        Ok(wire::operate::Order::Unknown) | Err(_) => {
            Err(error("order", it.to_string(), NOT_KNOWN))
        }
    }
}
