//! Section of a snapshot about the cluster: reign, programs, promise, takeovers, connections.

use std::{
    io::{self, Write},
    sync::Arc,
};

use quorate_planted::{Mutant, planted};

use super::{
    bad,
    record_framing::RecordWriter,
    records::{
        AnnouncedRecord, Body, ConnectedRecord, ConnectionRecord, FailoverRecord, ReignRecord,
    },
};
use crate::{AnnouncedProgram, BrokerConnection, FailoverPromise, Reason, Reign, State, Takeover};

pub(super) fn write<W: Write>(state: &State, out: &mut RecordWriter<W>) -> io::Result<()> {
    let reign = if planted(Mutant::SnapshotWithoutReign) {
        Reign::default()
    } else {
        state.reign
    };
    out.record(Body::Reign(reign.into()))?;
    for (member, program) in &state.announced_programs.by_member {
        out.record(Body::Announced(AnnouncedRecord {
            member: *member,
            services: program.services.clone(),
            version: program.version.clone(),
            failover_ms: program.failover_ms,
        }))?;
    }
    if let Some(promise) = &state.failover {
        out.record(Body::Failover(FailoverRecord {
            target_ms: promise.target_ms,
            former_ms: promise.former_ms,
            revision: promise.revision,
            applied: promise.applied.iter().copied().collect(),
        }))?;
    }
    for takeover in state.takeovers.oldest_first() {
        out.record(Body::Takeover(takeover.clone()))?;
    }
    for (member, connections) in &state.recorded_connections.by_member {
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
    Ok(())
}

impl From<Reign> for ReignRecord {
    fn from(it: Reign) -> Self {
        let Reign {
            holder,
            epoch,
            term,
            released,
            former,
            clear,
        } = it;
        ReignRecord {
            holder,
            epoch,
            term,
            released,
            former,
            clear,
        }
    }
}

impl From<ReignRecord> for Reign {
    fn from(it: ReignRecord) -> Self {
        let ReignRecord {
            holder,
            epoch,
            term,
            released,
            former,
            clear,
        } = it;
        Reign {
            holder,
            epoch,
            term,
            released,
            former,
            clear,
        }
    }
}

impl From<FailoverRecord> for FailoverPromise {
    fn from(it: FailoverRecord) -> Self {
        FailoverPromise {
            target_ms: it.target_ms,
            former_ms: it.former_ms,
            revision: it.revision,
            applied: it.applied.into_iter().collect(),
        }
    }
}

pub(super) fn restore_program(state: &mut State, it: AnnouncedRecord) {
    let program = AnnouncedProgram {
        services: it.services,
        version: it.version,
        failover_ms: it.failover_ms,
    };
    let programs = &mut state.announced_programs.by_member;
    programs.insert(it.member, program.into());
}

pub(super) fn restore_takeover(state: &mut State, it: Takeover) -> io::Result<()> {
    Reason::try_from(it.reason).map_err(|_| {
        bad(format!(
            "a takeover has a reason, {}, that this program does not know: run the version that wrote it",
            it.reason
        ))
    })?;
    state.takeovers.keep(it);
    Ok(())
}

pub(super) fn restore_connections(state: &mut State, it: ConnectedRecord) {
    let connections = it.connections.into_iter().map(|it| {
        let (name, label) = (it.name, it.label);
        (it.connector, BrokerConnection { name, label })
    });
    let connections = Arc::new(connections.collect());
    let recorded = &mut state.recorded_connections.by_member;
    recorded.insert(it.member, connections);
}
