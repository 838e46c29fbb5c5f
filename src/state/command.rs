//! Every possible write, and what its writer is told.
//!
//! Commands stand in the log for as long as it is kept, and members of different
//! versions read them: bytes that this version can't read are answered with
//! [`Answer::Invalid`] and change nothing, they never stop a member. A version that
//! brings a new kind or field must refuse it for as long as a member has announced
//! an older version (see [`super::Announced`]), so that all members agree. Nothing older
//! than this version was released, so there is nothing to refuse yet.

use bytes::Bytes;
use prost::Message;
use quorate_proto::command as wire;

pub use wire::FieldError;

use super::{BrokerConnection, Connections, Kind, MemberId, Takeover};

/// What must hold for a write to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The thing exists and has this revision.
    Revision(u64),
    /// The thing does not exist.
    Absent,
}

impl Precondition {
    /// Whether it holds for a thing with this revision (`None`: there is no such thing).
    pub fn holds(self, revision: Option<u64>) -> bool {
        match self {
            Precondition::Revision(expected) => revision == Some(expected),
            Precondition::Absent => revision.is_none(),
        }
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Creates or replaces a resource. `spec` is its JSON, without defaults filled in.
    PutResource {
        /// Its kind.
        kind: Kind,
        /// Its name; it stands in `spec` too.
        name: String,
        /// Its fields as JSON.
        spec: Bytes,
        /// What must hold.
        precondition: Option<Precondition>,
    },
    /// Deletes a resource.
    DeleteResource {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// What must hold.
        precondition: Option<Precondition>,
    },
    /// Creates or replaces a key.
    PutKey {
        /// The key.
        key: String,
        /// Its value.
        value: Bytes,
        /// What must hold.
        precondition: Option<Precondition>,
    },
    /// Deletes a key.
    DeleteKey {
        /// The key.
        key: String,
        /// What must hold.
        precondition: Option<Precondition>,
    },
    /// The leader of `term` begins to run the connectors: see [`super::Reign`].
    TakeOver {
        /// The leader itself.
        member: MemberId,
        /// The term that it leads.
        term: u64,
    },
    /// The holder has stopped its connectors in an orderly way.
    Release {
        /// The epoch of its reign.
        epoch: u64,
    },
    /// A member says what its program carries.
    Announce {
        /// The member.
        member: MemberId,
        /// The services that it carries in code.
        services: Vec<String>,
        /// Its version.
        version: String,
    },
    /// The holder of the reign says how it began.
    Explain(Box<Takeover>),
    /// A member says what the brokers call its connectors' connections: all of them.
    Connected {
        /// The member.
        member: MemberId,
        /// By connector, `kind/name`.
        connections: Connections,
    },
}

impl Command {
    /// The bytes that go into the log.
    pub fn encode(&self) -> Bytes {
        use wire::command::Write;
        let to_wire = |it: &Option<Precondition>| it.map(wire::Precondition::from);
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
            Command::Announce {
                member,
                services,
                version,
            } => Write::Announce(wire::Announce {
                member: *member,
                services: services.clone(),
                version: version.clone(),
            }),
            Command::Explain(takeover) => Write::Explain(wire::Explain {
                takeover: Some((**takeover).clone()),
            }),
            Command::Connected {
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
        };
        wire::Command { write: Some(write) }.encode_to_vec().into()
    }

    /// Reads what stands in the log. Values share the memory of `bytes`.
    pub fn decode(bytes: Bytes) -> Result<Command, FieldError> {
        use wire::command::Write;
        let command = wire::Command::decode(bytes)
            .map_err(|problem| error("command", "", format!("can't be read: {problem}")))?;
        let write = command.write.ok_or_else(|| {
            error(
                "command",
                "",
                "is not one that this version knows: upgrade every member first",
            )
        })?;
        Ok(match write {
            Write::PutResource(it) => Command::PutResource {
                kind: kind(&it.kind)?,
                name: it.name,
                spec: it.spec,
                precondition: precondition(it.precondition)?,
            },
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
            Write::Announce(it) => Command::Announce {
                member: it.member,
                services: it.services,
                version: it.version,
            },
            Write::Explain(it) => Command::Explain(Box::new(
                it.takeover
                    .ok_or_else(|| error("takeover", "", "is missing"))?,
            )),
            Write::Connected(it) => Command::Connected {
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
        })
    }
}

impl From<Precondition> for wire::Precondition {
    fn from(it: Precondition) -> Self {
        use wire::precondition::Holds;
        let holds = match it {
            Precondition::Revision(revision) => Holds::Revision(revision),
            Precondition::Absent => Holds::Absent(true),
        };
        wire::Precondition { holds: Some(holds) }
    }
}

/// A precondition that can't be read must not be taken for none.
fn precondition(it: Option<wire::Precondition>) -> Result<Option<Precondition>, FieldError> {
    use wire::precondition::Holds;
    match it.map(|it| it.holds) {
        None => Ok(None),
        Some(Some(Holds::Revision(revision))) => Ok(Some(Precondition::Revision(revision))),
        Some(Some(Holds::Absent(true))) => Ok(Some(Precondition::Absent)),
        Some(_) => Err(error(
            "precondition",
            "",
            "is not one that this version knows",
        )),
    }
}

fn kind(text: &str) -> Result<Kind, FieldError> {
    text.parse::<Kind>()
        .map_err(|problem| error("kind", text, problem.to_string()))
}

pub(super) fn error(
    field: impl Into<String>,
    value: impl Into<String>,
    problem: impl Into<String>,
) -> FieldError {
    FieldError {
        field: field.into(),
        value: value.into(),
        problem: problem.into(),
    }
}

/// What the writer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It holds now.
    Done {
        /// The revision of the thing; of a deletion, its own log index.
        revision: u64,
        /// Whether this write changed it.
        changed: bool,
        /// Whether it did not exist before.
        created: bool,
    },
    /// Nothing was done: the precondition did not hold.
    PreconditionFailed {
        /// The revision that the thing has; 0 when it is absent.
        revision: u64,
    },
    /// There is nothing to delete.
    NotFound,
    /// Nothing was done: each bad field.
    Invalid(Vec<FieldError>),
    /// Nothing was deleted: these depend on it, as `kind/name`.
    Referenced(Vec<String>),
    /// A command about the reign that no longer fits.
    Ignored(String),
}

impl Answer {
    pub(super) fn done(revision: u64, created: bool) -> Answer {
        Answer::Done {
            revision,
            changed: true,
            created,
        }
    }

    /// The bytes that go to the proposer.
    pub fn encode(&self) -> Vec<u8> {
        use wire::answer::Outcome;
        let outcome = match self {
            Answer::Done {
                revision,
                changed,
                created,
            } => Outcome::Done(wire::Done {
                revision: *revision,
                changed: *changed,
                created: *created,
            }),
            Answer::PreconditionFailed { revision } => Outcome::PreconditionFailed(wire::Failed {
                revision: *revision,
            }),
            Answer::NotFound => Outcome::NotFound(wire::NotFound {}),
            Answer::Invalid(errors) => Outcome::Invalid(wire::Invalid {
                errors: errors.clone(),
            }),
            Answer::Referenced(by) => Outcome::Referenced(wire::Referenced { by: by.clone() }),
            Answer::Ignored(why) => Outcome::Ignored(wire::Ignored { why: why.clone() }),
        };
        wire::Answer {
            outcome: Some(outcome),
        }
        .encode_to_vec()
    }

    /// Reads an answer; `None` when this version doesn't know it.
    pub fn decode(bytes: &[u8]) -> Option<Answer> {
        use wire::answer::Outcome;
        Some(match wire::Answer::decode(bytes).ok()?.outcome? {
            Outcome::Done(it) => Answer::Done {
                revision: it.revision,
                changed: it.changed,
                created: it.created,
            },
            Outcome::PreconditionFailed(it) => Answer::PreconditionFailed {
                revision: it.revision,
            },
            Outcome::NotFound(_) => Answer::NotFound,
            Outcome::Invalid(it) => Answer::Invalid(it.errors),
            Outcome::Referenced(it) => Answer::Referenced(it.by),
            Outcome::Ignored(it) => Answer::Ignored(it.why),
        })
    }
}
