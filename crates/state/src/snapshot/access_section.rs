//! Section of a snapshot about access: the voucher key, the tokens, and who did what.

use std::io::{self, Write};

use bytes::Bytes;
use quorate_proto::command::FieldError;

use super::{
    bad,
    record_framing::RecordWriter,
    records::{AccessRecord, AuditRecord, Body, TokenRecord},
};
use crate::{
    AccessTable, AuditLine, AuditTrail, StoredToken,
    access::wire::{bytes_32, voucher_key},
};

/// Writes nothing for a cluster that has no roles, identities and tokens, so that versions which
/// know none read its snapshots.
pub(super) fn write<W: Write>(access: &AccessTable, out: &mut RecordWriter<W>) -> io::Result<()> {
    if *access == AccessTable::default() {
        return Ok(());
    }
    let key = access.voucher_key();
    out.record(Body::Access(AccessRecord {
        revision: access.revision(),
        voucher_key: key.map(|it| Bytes::copy_from_slice(it.bytes())),
    }))?;
    for (id, it) in access.tokens().all() {
        out.record(Body::Token(TokenRecord {
            id: id.to_owned(),
            hash: Bytes::copy_from_slice(&it.hash),
            identity: it.identity.to_string(),
            created_ms: it.created_ms,
            not_after_ms: it.not_after_ms,
            revision: it.revision,
        }))?;
    }
    Ok(())
}

pub(super) fn restore_access(access: &mut AccessTable, it: &AccessRecord) -> io::Result<()> {
    access.revision = it.revision;
    let key = it.voucher_key.as_deref().map(voucher_key);
    access.voucher_key = key.transpose().map_err(unread)?;
    Ok(())
}

pub(super) fn restore_token(access: &mut AccessTable, it: &TokenRecord) -> io::Result<()> {
    let token = StoredToken {
        hash: bytes_32("hash", &it.hash).map_err(unread)?,
        identity: it.identity.as_str().into(),
        created_ms: it.created_ms,
        not_after_ms: it.not_after_ms,
        revision: it.revision,
    };
    access.tokens.keep(&it.id, token);
    Ok(())
}

pub(super) fn write_audit<W: Write>(
    audit: &AuditTrail,
    out: &mut RecordWriter<W>,
) -> io::Result<()> {
    for it in audit.lines_from(0) {
        out.record(Body::Audit(AuditRecord {
            seq: it.seq,
            text: it.text.to_string(),
            prev: Bytes::copy_from_slice(&it.prev),
            hash: Bytes::copy_from_slice(&it.hash),
        }))?;
    }
    Ok(())
}

pub(super) fn restore_audit(audit: &mut AuditTrail, it: AuditRecord) -> io::Result<()> {
    audit.keep(AuditLine {
        seq: it.seq,
        text: it.text.into(),
        prev: bytes_32("prev", &it.prev).map_err(unread)?,
        hash: bytes_32("hash", &it.hash).map_err(unread)?,
    });
    Ok(())
}

fn unread(error: FieldError) -> io::Error {
    bad(format!(
        "a token or key is not as this program knows it ({} {}): run the version that wrote it",
        error.field, error.problem
    ))
}
