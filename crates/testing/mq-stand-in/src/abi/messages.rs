//! Messages: MQGET, MQPUT and MQPUT1.

use libmqm_sys as mq;

use super::{
    handles::{ask, tell},
    memory::{bytes, fill, set_text},
    objects,
    structure::{Lent, Structure},
};
use crate::{
    descriptor::LENGTH,
    wire::{Answer, Object, Request},
};

/// A caller's buffer: how long it is, and where.
type Buffer = (mq::MQLONG, mq::PMQVOID);

/// What each of these verbs is lent: a message descriptor, options, and a buffer.
///
/// # Safety
/// Descriptor and options are as long as those of the versions that they say, and may be
/// written.
unsafe fn lent<O: Structure>(
    descriptor: mq::PMQVOID,
    options: *mut O,
    (length, buffer): Buffer,
) -> Result<(Lent<mq::MQMD2>, Lent<O>), mq::MQLONG> {
    // SAFETY: as the caller says.
    let lent = unsafe { (Lent::read(descriptor.cast())?, Lent::read(options)?) };
    match length {
        ..=-1 => Err(mq::MQRC_BUFFER_LENGTH_ERROR),
        1.. if buffer.is_null() => Err(mq::MQRC_BUFFER_ERROR),
        _ => Ok(lent),
    }
}

/// MQGET.
///
/// # Safety
/// Descriptor and options are as long as those of the versions that they say, and the buffer
/// has as much room as is said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn MQGET(
    hconn: mq::MQHCONN,
    hobj: mq::MQHOBJ,
    descriptor: mq::PMQVOID,
    options: *mut mq::MQGMO,
    room: mq::MQLONG,
    buffer: mq::PMQVOID,
    length: &mut mq::MQLONG,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    let to = (room, buffer);
    // SAFETY: as the caller says.
    let got = unsafe { lent(descriptor, options, to) }
        // SAFETY: as the caller says.
        .and_then(|lent| unsafe { get((hconn, hobj), lent, to, length) });
    tell((completion, reason), got);
}

/// Gets a message.
///
/// # Safety
/// The buffer has as much room as is said.
unsafe fn get(
    (hconn, handle): (mq::MQHCONN, mq::MQHOBJ),
    (mut descriptor, mut options): (Lent<mq::MQMD2>, Lent<mq::MQGMO>),
    (room, buffer): Buffer,
    length: &mut mq::MQLONG,
) -> Result<Answer, mq::MQLONG> {
    let said = &options.value;
    let both = mq::MQMO_MATCH_MSG_ID | mq::MQMO_MATCH_CORREL_ID;
    let request = Request::Get {
        handle,
        options: said.Options,
        matching: if said.Version == mq::MQGMO_VERSION_1 {
            both
        } else {
            said.MatchOptions
        },
        wait_ms: said.WaitInterval,
        room,
    };
    let (told, got) = ask(hconn, &request, &descriptor.bytes())?;
    let Some((head, message)) = got.split_at_checked(LENGTH) else {
        return Ok(told);
    };
    *length = mq::MQLONG::try_from(told.number).unwrap_or(0);
    descriptor.give(head);
    if let Some((queue, _)) = &told.resolved {
        set_text(&mut options.value.ResolvedQName, queue);
    }
    options.value.ReturnedLength = mq::MQLONG::try_from(message.len()).unwrap_or(0);
    options.give_back();
    // SAFETY: as the caller says.
    unsafe { fill(buffer, message, usize::try_from(room).unwrap_or(0)) };
    Ok(told)
}

/// Puts a message on an open object or on one that is named.
///
/// # Safety
/// The buffer is as long as is said.
unsafe fn put(
    hconn: mq::MQHCONN,
    (handle, object): (mq::MQHOBJ, Option<Object>),
    (mut descriptor, mut options): (Lent<mq::MQMD2>, Lent<mq::MQPMO>),
    (length, buffer): Buffer,
) -> Result<Answer, mq::MQLONG> {
    // SAFETY: as the caller says.
    let sent = [&*descriptor.bytes(), unsafe { bytes(buffer, length) }].concat();
    let said = &options.value;
    if said.RecsPresent > 0 || said.OriginalMsgHandle > 0 || said.NewMsgHandle > 0 {
        return Err(mq::MQRC_FUNCTION_NOT_SUPPORTED);
    }
    let request = Request::Put {
        handle,
        object,
        options: said.Options,
        context: said.Context,
    };
    let (told, head) = ask(hconn, &request, &sent)?;
    if told.completion == mq::MQCC_FAILED {
        return Ok(told);
    }
    descriptor.give(&head);
    if let Some((queue, manager)) = &told.resolved {
        set_text(&mut options.value.ResolvedQName, queue);
        set_text(&mut options.value.ResolvedQMgrName, manager);
        options.give_back();
    }
    Ok(told)
}

/// MQPUT.
///
/// # Safety
/// Descriptor and options are as long as those of the versions that they say, and the buffer
/// as long as is said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn MQPUT(
    hconn: mq::MQHCONN,
    hobj: mq::MQHOBJ,
    descriptor: mq::PMQVOID,
    options: *mut mq::MQPMO,
    length: mq::MQLONG,
    buffer: mq::PMQVOID,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    let from = (length, buffer);
    // SAFETY: as the caller says.
    let did = unsafe { lent(descriptor, options, from) }
        // SAFETY: as the caller says.
        .and_then(|lent| unsafe { put(hconn, (hobj, None), lent, from) });
    tell((completion, reason), did);
}

/// MQPUT1.
///
/// # Safety
/// The descriptors and the options are as long as those of the versions that they say, and the
/// buffer as long as is said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn MQPUT1(
    hconn: mq::MQHCONN,
    object: *mut mq::MQOD,
    descriptor: mq::PMQVOID,
    options: *mut mq::MQPMO,
    length: mq::MQLONG,
    buffer: mq::PMQVOID,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    let from = (length, buffer);
    // SAFETY: as the caller says.
    let object = unsafe { Lent::read(object) }.and_then(|it| objects::object(&it.value));
    let did = object.and_then(|object| {
        let to = (mq::MQHO_UNUSABLE_HOBJ, Some(object));
        // SAFETY: as the caller says.
        unsafe { put(hconn, to, lent(descriptor, options, from)?, from) }
    });
    tell((completion, reason), did);
}
