//! The state as bytes: a versioned sequence of records, each with its length before it.
//!
//! The same state gives the same bytes: everything is written in the order of its
//! keys, and the last applied index, which differs between members that stopped at
//! different blank entries, is not in it. Resources stand in it as the JSON that was
//! put, so that another version reads them by its own lights. What a newer version has added
//! is refused, a field of a record like a record, and never dropped: the member would have
//! another state than those that know it.

mod changes;
mod record_framing;
mod records;

use std::{
    io::{self, BufReader, BufWriter, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use quorate_planted::{Mutant, planted};
use quorate_proto::command::FieldError;
use quorate_resources::Kind;
use record_framing::{RecordReader, RecordWriter};
use records::{
    AnnouncedRecord, Body, ClockRecord, ConnectedRecord, ConnectionRecord, FailoverRecord, Header,
    KeyRecord, OperationRecord, ProgressRecord, ReignRecord, ResourceRecord, SendingRecord,
};

use super::{
    AnnouncedProgram, Catalog, ConnectorOperation, ConnectorOperations, FailoverPromise,
    IdempotencyEntry, IdempotencyTable, KvEntry, KvStore, ProgressTable, Reason, Reign, SendKey,
    State, TakeoverLog,
    announced_programs::AnnouncedPrograms,
    command::not_as_known,
    idempotency::{
        ReignClock,
        wire::{fingerprint, outcome},
    },
    recorded_connections::{BrokerConnection, RecordedConnections},
};

const MAGIC: &str = "quorate-state";
/// Raised when an older program could misread what this one writes.
const FORMAT: u32 = 2;

impl State {
    /// Writes the snapshot.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut out = RecordWriter::new(BufWriter::new(out));
        out.record(Body::Header(Header {
            magic: MAGIC.into(),
            format: FORMAT,
            revision: self.revision,
            catalog_revision: self.catalog.revision(),
            kv_revision: self.kv.revision(),
            operations_revision: self.operations.revision(),
            history_floor: Some(self.kv.changelog().floor()),
        }))?;
        let Reign {
            holder,
            epoch,
            term,
            released,
            former,
            clear,
        } = match planted(Mutant::SnapshotWithoutReign) {
            true => Reign::default(),
            false => self.reign,
        };
        out.record(Body::Reign(ReignRecord {
            holder,
            epoch,
            term,
            released,
            former,
            clear,
        }))?;
        for (member, said) in &self.announced_programs.by_member {
            out.record(Body::Announced(AnnouncedRecord {
                member: *member,
                services: said.services.clone(),
                version: said.version.clone(),
                failover_ms: said.failover_ms,
            }))?;
        }
        if let Some(promise) = &self.failover {
            out.record(Body::Failover(FailoverRecord {
                target_ms: promise.target_ms,
                former_ms: promise.former_ms,
                revision: promise.revision,
                applied: promise.applied.iter().copied().collect(),
            }))?;
        }
        for takeover in self.takeovers.oldest_first() {
            out.record(Body::Takeover(takeover.clone()))?;
        }
        for (member, connections) in &self.recorded_connections.by_member {
            let records = connections.iter().map(|(connector, it)| ConnectionRecord {
                connector: connector.clone(),
                name: it.name.clone(),
                label: it.label.clone(),
            });
            out.record(Body::Connected(ConnectedRecord {
                member: *member,
                connections: records.collect(),
            }))?;
        }
        for (kind, name, stored) in self.catalog.all() {
            out.record(Body::Resource(ResourceRecord {
                kind: kind.as_str().into(),
                name: name.into(),
                revision: stored.revision,
                spec: stored.spec().into(),
                created: stored.created,
            }))?;
        }
        for (kind, name, ConnectorOperation { paused, restarted }) in self.operations.all() {
            out.record(Body::Operation(OperationRecord {
                kind: kind.as_str().into(),
                name: name.into(),
                paused,
                restarted,
            }))?;
        }
        for (kind, name, kept) in self.progress.all() {
            out.record(Body::Progress(ProgressRecord {
                kind: kind.as_str().into(),
                name: name.into(),
                kept: kept.clone(),
            }))?;
        }
        let ReignClock { ms, epoch, read_ms } = self.idempotency.clock;
        out.record(Body::Clock(ClockRecord { ms, epoch, read_ms }))?;
        for (key, it) in self.idempotency.oldest_first() {
            out.record(Body::Sending(SendingRecord {
                key: Some(key.into()),
                intent: it.intent,
                epoch: it.epoch,
                ticket: it.ticket,
                fingerprint: Bytes::copy_from_slice(&it.fingerprint),
                at_ms: it.at_ms,
                outcome: it.outcome.as_ref().map(Into::into),
            }))?;
        }
        for (key, entry) in self.kv.list("", None) {
            out.record(Body::Key(KeyRecord {
                key: key.into(),
                revision: entry.revision,
                value: entry.value.clone(),
            }))?;
        }
        // after the keys, whose values they share
        for change in self.kv.changelog().all() {
            out.record(Body::Change(changes::record(&self.kv, change)))?;
        }
        out.end()
    }

    /// Reads a snapshot. `applied` is not in it.
    pub fn read_from(input: &mut dyn Read) -> io::Result<State> {
        let mut input = RecordReader::new(BufReader::new(input));
        let Body::Header(header) = input.record()? else {
            return Err(bad("it does not begin with a header"));
        };
        if header.magic != MAGIC {
            return Err(bad(format!(
                "it begins with {:?} instead of {MAGIC:?}",
                header.magic
            )));
        }
        if header.format != FORMAT {
            return Err(bad(format!(
                "it has format {} and this program reads format {FORMAT}: run the version that wrote it",
                header.format
            )));
        }
        let mut state = State {
            applied: 0,
            revision: header.revision,
            catalog: Catalog::restored(header.catalog_revision),
            kv: KvStore::restored(
                header.kv_revision,
                header.history_floor.unwrap_or(header.kv_revision),
            ),
            reign: Reign::default(),
            announced_programs: AnnouncedPrograms::default(),
            failover: None,
            takeovers: TakeoverLog::default(),
            recorded_connections: RecordedConnections::default(),
            operations: ConnectorOperations::restored(header.operations_revision),
            progress: ProgressTable::default(),
            idempotency: IdempotencyTable::default(),
        };
        loop {
            let before = input.records;
            match input.record()? {
                Body::Header(_) => return Err(bad("it has a second header")),
                Body::Reign(ReignRecord {
                    holder,
                    epoch,
                    term,
                    released,
                    former,
                    clear,
                }) => {
                    state.reign = Reign {
                        holder,
                        epoch,
                        term,
                        released,
                        former,
                        clear,
                    };
                }
                Body::Announced(AnnouncedRecord {
                    member,
                    services,
                    version,
                    failover_ms,
                }) => {
                    let said = AnnouncedProgram {
                        services,
                        version,
                        failover_ms,
                    };
                    state
                        .announced_programs
                        .by_member
                        .insert(member, said.into());
                }
                Body::Failover(FailoverRecord {
                    target_ms,
                    former_ms,
                    revision,
                    applied,
                }) => {
                    state.failover = Some(FailoverPromise {
                        target_ms,
                        former_ms,
                        revision,
                        applied: applied.into_iter().collect(),
                    });
                }
                Body::Takeover(it) => {
                    Reason::try_from(it.reason).map_err(|_| {
                        bad(format!(
                            "a takeover has a reason, {}, that this program does not know: run the version that wrote it",
                            it.reason
                        ))
                    })?;
                    state.takeovers.keep(it);
                }
                Body::Connected(ConnectedRecord {
                    member,
                    connections,
                }) => {
                    let connections = connections.into_iter().map(|it| {
                        let (name, label) = (it.name, it.label);
                        (it.connector, BrokerConnection { name, label })
                    });
                    let connections = Arc::new(connections.collect());
                    state
                        .recorded_connections
                        .by_member
                        .insert(member, connections);
                }
                Body::Resource(it) => restore(&mut state.catalog, &it)?,
                Body::Operation(OperationRecord {
                    kind,
                    name,
                    paused,
                    restarted,
                }) => {
                    let operation = ConnectorOperation { paused, restarted };
                    state.operations.keep(known(&kind)?, &name, operation);
                }
                Body::Progress(ProgressRecord { kind, name, kept }) => {
                    state.progress.keep(known(&kind)?, &name, kept);
                }
                Body::Clock(ClockRecord { ms, epoch, read_ms }) => {
                    state.idempotency.clock = ReignClock { ms, epoch, read_ms };
                }
                Body::Sending(it) => take_up(&mut state.idempotency, it)?,
                Body::Key(KeyRecord {
                    key,
                    revision,
                    value,
                }) => {
                    state.kv.restore(&key, KvEntry { revision, value });
                }
                Body::Change(it) => changes::restore(&mut state.kv, it)?,
                Body::End(records) if records == before => return Ok(state),
                Body::End(records) => {
                    return Err(bad(format!(
                        "it has {before} records and should have {records}"
                    )));
                }
            }
        }
    }
}

fn restore(catalog: &mut Catalog, it: &ResourceRecord) -> io::Result<()> {
    catalog
        .restore(
            known(&it.kind)?,
            &it.name,
            (it.revision, it.created),
            &it.spec,
        )
        .map_err(|unknown| {
            let error = not_as_known(&it.kind, &it.name, &unknown);
            bad(format!(
                "{} {}: run the version that wrote it",
                error.field, error.problem
            ))
        })
}

fn take_up(sends: &mut IdempotencyTable, it: SendingRecord) -> io::Result<()> {
    let unread = |what: String| {
        bad(format!(
            "a send is not as this program knows it ({what}): run the version that wrote it"
        ))
    };
    let unfit = |error: FieldError| unread(format!("{}: {}", error.field, error.problem));
    let key: SendKey = it.key.try_into().map_err(unfit)?;
    let fingerprint = fingerprint(&it.fingerprint).map_err(unfit)?;
    let outcome = outcome(it.outcome).ok_or_else(|| unread("outcome".into()))?;
    let sending = IdempotencyEntry {
        intent: it.intent,
        epoch: it.epoch,
        ticket: it.ticket,
        fingerprint,
        at_ms: it.at_ms,
        outcome,
    };
    sends.keep(key, sending);
    Ok(())
}

fn known(kind: &str) -> io::Result<Kind> {
    kind.parse()
        .map_err(|problem| bad(format!("{problem}: run the version that wrote it")))
}

fn bad(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the snapshot can't be read: {what}"),
    )
}
