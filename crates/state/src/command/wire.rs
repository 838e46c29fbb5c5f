//! Commands as they stand in the log.

use bytes::Bytes;
use prost::{Message, encoding::decode_key};
use quorate_proto::command::{self as wire, FieldError};
use quorate_resources::Kind;

use super::{
    BatchedPut, Command, ConnectorProgress, NOT_KNOWN, WritePrecondition, error, not_as_known,
};
use crate::{BrokerConnection, OperatorAction, Reason, Takeover, catalog};

impl Command {
    /// The bytes that go into the log.
    pub fn encode(&self) -> Bytes {
        use wire::command::Write;
        let to_wire = |it: &Option<WritePrecondition>| it.map(wire::Precondition::from);
        let write = match self {
            Command::PutResource {
                kind,
                name,
                spec,
                precondition,
            } => Write::PutResource(wire::PutResource {
                kind: kind.as_str().into(),
                name: name.clone(),
                spec: spec.clone(),
                precondition: to_wire(precondition),
            }),
            Command::PutResources(puts) => {
                let resources = puts.iter().map(|it| wire::PutResource {
                    kind: it.kind.as_str().into(),
                    name: it.name.clone(),
                    spec: it.spec.clone(),
                    precondition: None,
                });
                Write::PutResources(wire::PutResources {
                    resources: resources.collect(),
                })
            }
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
            } => Write::Announce(wire::Announce {
                member: *member,
                services: services.clone(),
                version: version.clone(),
                failover_ms: *failover_ms,
            }),
            Command::SetFailover { failover_ms, first } => Write::SetFailover(wire::SetFailover {
                failover_ms: *failover_ms,
                first: *first,
            }),
            Command::FailoverApplied { member, revision } => {
                Write::FailoverApplied(wire::FailoverApplied {
                    member: *member,
                    revision: *revision,
                })
            }
            Command::FailoverSettled { revision } => {
                Write::FailoverSettled(wire::FailoverSettled {
                    revision: *revision,
                })
            }
            Command::RecordTakeover(takeover) => Write::Explain(wire::Explain {
                takeover: Some((**takeover).clone()),
            }),
            Command::RecordBrokerConnections {
                member,
                connections,
            } => Write::Connected(wire::Connected {
                member: *member,
                connections: connections
                    .iter()
                    .map(|(connector, it)| wire::BrokerConnection {
                        connector: connector.clone(),
                        name: it.name.clone(),
                        label: it.label.clone(),
                    })
                    .collect(),
            }),
            Command::OperateConnector { kind, name, order } => Write::Operate(wire::Operate {
                kind: kind.as_str().into(),
                name: name.clone(),
                order: wire::operate::Order::from(*order).into(),
            }),
            Command::AdvanceProgress { epoch, connectors } => Write::Advance(wire::Advance {
                epoch: *epoch,
                connectors: connectors
                    .iter()
                    .map(|it| wire::ConnectorProgress {
                        kind: it.kind.as_str().into(),
                        name: it.name.clone(),
                        progress: it.progress.clone(),
                        created: it.created,
                    })
                    .collect(),
            }),
            Command::BeginSend(intent) => Write::Intend((&**intent).into()),
            Command::FinishSend(conclusion) => Write::Conclude((&**conclusion).into()),
        };
        wire::Command { write: Some(write) }.encode_to_vec().into()
    }

    /// Reads what stands in the log. Values share the memory of `bytes`. An error: this
    /// version does not know the command, or a part of it.
    pub fn decode(bytes: Bytes) -> Result<Command, FieldError> {
        use wire::command::Write;
        let (length, number) = (bytes.len(), number(&bytes));
        let command = wire::Command::decode(bytes)
            .map_err(|problem| error("command", &number, format!("can't be read: {problem}")))?;
        // What is not known is left out when it is read, at any depth.
        let whole = command.encoded_len() == length;
        let Some(write) = command.write else {
            return Err(error("command", number, NOT_KNOWN));
        };
        if !whole {
            let problem = "has a part that this version does not know";
            return Err(error("command", number, problem));
        }
        Ok(match write {
            Write::PutResource(mut it) => {
                let precondition = precondition(it.precondition.take())?;
                let BatchedPut { kind, name, spec } = put(it)?;
                Command::PutResource {
                    kind,
                    name,
                    spec,
                    precondition,
                }
            }
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
                connections: it
                    .connections
                    .into_iter()
                    .map(|it| {
                        let (name, label) = (it.name, it.label);
                        (it.connector, BrokerConnection { name, label })
                    })
                    .collect(),
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
                    .map(|it| {
                        Ok(ConnectorProgress {
                            kind: kind(&it.kind)?,
                            name: it.name,
                            created: it.created,
                            progress: it.progress,
                        })
                    })
                    .collect::<Result<_, FieldError>>()?,
            },
            Write::Intend(it) => Command::BeginSend(Box::new(it.try_into()?)),
            Write::Conclude(it) => Command::FinishSend(Box::new(it.try_into()?)),
        })
    }
}

/// The number of the command in its envelope, for who has to find out what it is.
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

fn batched(it: wire::PutResource) -> Result<BatchedPut, FieldError> {
    match it.precondition {
        Some(_) => Err(error("precondition", "", NOT_KNOWN)),
        None => put(it),
    }
}

/// The resource is read here and read again when it is applied; what this version does not
/// know of it has to be found before anything is done.
fn put(it: wire::PutResource) -> Result<BatchedPut, FieldError> {
    let kind = kind(&it.kind)?;
    catalog::read(kind, &it.name, &it.spec)
        .map_err(|unknown| not_as_known(&it.kind, &it.name, &unknown))?;
    Ok(BatchedPut {
        kind,
        name: it.name,
        spec: it.spec,
    })
}

fn kind(text: &str) -> Result<Kind, FieldError> {
    text.parse::<Kind>()
        .map_err(|problem| error("kind", text, problem.to_string()))
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
