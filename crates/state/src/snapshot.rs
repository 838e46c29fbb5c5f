//! Snapshot of the state: a versioned sequence of records, each with its length before it.
//!
//! The same state gives the same bytes: everything is written in the order of its keys, and the
//! last applied index, which differs between members that stopped at different blank entries, is
//! not in it. Resources stand in it as the JSON that was put, so that another version reads them by
//! its own rules. A part that a newer version has added is refused, a field of a record like a
//! record, and never dropped: the member would have another state than those that know it.

mod access_section;
mod changes;
mod cluster_section;
mod keyring_section;
mod record_framing;
mod records;
mod resource_section;
mod send_section;

use std::io::{self, BufReader, BufWriter, Read, Write};

use record_framing::{RecordReader, RecordWriter};
use records::{Body, Header, KeyRecord};

use super::{
    AccessTable, AuditTrail, Catalog, ConnectorOperations, IdempotencyTable, Keyring, KvEntry,
    KvStore, ProgressTable, Reign, State, TakeoverLog, announced_programs::AnnouncedPrograms,
    recorded_connections::RecordedConnections,
};

const MAGIC: &str = "quorate-state";
/// Format, raised when an older program could misread what this one writes.
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
        cluster_section::write(self, &mut out)?;
        keyring_section::write(&self.keyring, &mut out)?;
        resource_section::write(self, &mut out)?;
        send_section::write(&self.idempotency, &mut out)?;
        access_section::write(&self.access, &mut out)?;
        access_section::write_audit(&self.audit, &mut out)?;
        for (key, entry) in self.kv.list("", None) {
            out.record(Body::Key(KeyRecord {
                key: key.into(),
                revision: entry.revision,
                value: entry.value.clone(),
            }))?;
        }
        // After the keys, whose values they share.
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
        let mut state = empty_state(&header);
        loop {
            let before = input.records;
            match input.record()? {
                Body::Header(_) => return Err(bad("it has a second header")),
                Body::Reign(it) => state.reign = it.into(),
                Body::Announced(it) => cluster_section::restore_program(&mut state, it),
                Body::Failover(it) => state.failover = Some(it.into()),
                Body::Takeover(it) => cluster_section::restore_takeover(&mut state, it)?,
                Body::Connected(it) => cluster_section::restore_connections(&mut state, it),
                Body::Keyring(it) => keyring_section::restore(&mut state.keyring, &it)?,
                Body::SealKey(it) => keyring_section::restore_member(&mut state.keyring, &it)?,
                Body::ClusterKey(it) => keyring_section::restore_version(&mut state.keyring, it),
                Body::Resource(it) => resource_section::restore_resource(&mut state.catalog, &it)?,
                Body::Operation(it) => resource_section::restore_operation(&mut state, &it)?,
                Body::Progress(it) => resource_section::restore_progress(&mut state, it)?,
                Body::Clock(it) => state.idempotency.clock = it.into(),
                Body::Sending(it) => send_section::restore_send(&mut state.idempotency, it)?,
                Body::Access(it) => access_section::restore_access(&mut state.access, &it)?,
                Body::Audit(it) => access_section::restore_audit(&mut state.audit, it)?,
                Body::Token(it) => access_section::restore_token(&mut state.access, &it)?,
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

/// Returns the state of a snapshot that has no records but its header.
fn empty_state(header: &Header) -> State {
    State {
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
        keyring: Keyring::default(),
        access: AccessTable::default(),
        audit: AuditTrail::default(),
    }
}

fn bad(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the snapshot can't be read: {what}"),
    )
}
