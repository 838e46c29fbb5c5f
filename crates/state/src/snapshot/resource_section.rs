//! Section of a snapshot about resources: themselves, operations on connectors, their progress.

use std::io::{self, Write};

use quorate_resources::Kind;

use super::{
    bad,
    record_framing::RecordWriter,
    records::{Body, OperationRecord, ProgressRecord, ResourceRecord},
};
use crate::{Catalog, ConnectorOperation, State, field_errors::not_as_known};

pub(super) fn write<W: Write>(state: &State, out: &mut RecordWriter<W>) -> io::Result<()> {
    for (kind, name, stored) in state.catalog.all() {
        out.record(Body::Resource(ResourceRecord {
            kind: kind.as_str().into(),
            name: name.into(),
            revision: stored.revision,
            spec: stored.spec().into(),
            created: stored.created,
        }))?;
    }
    for (kind, name, ConnectorOperation { paused, restarted }) in state.operations.all() {
        out.record(Body::Operation(OperationRecord {
            kind: kind.as_str().into(),
            name: name.into(),
            paused,
            restarted,
        }))?;
    }
    for (kind, name, progress) in state.progress.all() {
        out.record(Body::Progress(ProgressRecord {
            kind: kind.as_str().into(),
            name: name.into(),
            kept: progress.clone(),
        }))?;
    }
    Ok(())
}

pub(super) fn restore_resource(catalog: &mut Catalog, it: &ResourceRecord) -> io::Result<()> {
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

pub(super) fn restore_operation(state: &mut State, it: &OperationRecord) -> io::Result<()> {
    let operation = ConnectorOperation {
        paused: it.paused,
        restarted: it.restarted,
    };
    state.operations.keep(known(&it.kind)?, &it.name, operation);
    Ok(())
}

pub(super) fn restore_progress(state: &mut State, it: ProgressRecord) -> io::Result<()> {
    state.progress.keep(known(&it.kind)?, &it.name, it.kept);
    Ok(())
}

fn known(kind: &str) -> io::Result<Kind> {
    kind.parse()
        .map_err(|problem| bad(format!("{problem}: run the version that wrote it")))
}
