//! Section of a snapshot about sends under idempotency keys: the clock and the entries.

use std::io::{self, Write};

use bytes::Bytes;
use quorate_proto::command::FieldError;

use super::{
    bad,
    record_framing::RecordWriter,
    records::{Body, ClockRecord, SendingRecord},
};
use crate::{
    IdempotencyEntry, IdempotencyTable, SendKey,
    idempotency::ReignClock,
    idempotent_send::wire::{fingerprint, outcome},
};

pub(super) fn write<W: Write>(
    sends: &IdempotencyTable,
    out: &mut RecordWriter<W>,
) -> io::Result<()> {
    let ReignClock { ms, epoch, read_ms } = sends.clock;
    out.record(Body::Clock(ClockRecord { ms, epoch, read_ms }))?;
    for (key, it) in sends.oldest_first() {
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
    Ok(())
}

impl From<ClockRecord> for ReignClock {
    fn from(it: ClockRecord) -> Self {
        let ClockRecord { ms, epoch, read_ms } = it;
        ReignClock { ms, epoch, read_ms }
    }
}

pub(super) fn restore_send(sends: &mut IdempotencyTable, it: SendingRecord) -> io::Result<()> {
    let unread = |what: String| {
        bad(format!(
            "a send is not as this program knows it ({what}): run the version that wrote it"
        ))
    };
    let unfit = |error: FieldError| unread(format!("{}: {}", error.field, error.problem));
    let key: SendKey = it.key.try_into().map_err(unfit)?;
    let fingerprint = fingerprint(&it.fingerprint).map_err(unfit)?;
    let outcome = outcome(it.outcome).ok_or_else(|| unread("outcome".into()))?;
    let entry = IdempotencyEntry {
        intent: it.intent,
        epoch: it.epoch,
        ticket: it.ticket,
        fingerprint,
        at_ms: it.at_ms,
        outcome,
    };
    sends.keep(key, entry);
    Ok(())
}
