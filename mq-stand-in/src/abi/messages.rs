//! Messages: MQGET, MQPUT and MQPUT1.

use libmqm_sys as mq;

use super::{
    handles::{Out, answer, ask},
    memory::{bytes, fill, set_text},
    objects,
    structure::Lent,
};
use crate::{
    descriptor::LENGTH,
    wire::{Object, Request},
};

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
    let out = (completion, reason);
    // SAFETY: as the caller says.
    let read = unsafe { Lent::<mq::MQMD2>::read(descriptor.cast()) };
    // SAFETY: as the caller says.
    let read = read.and_then(|it| unsafe { Lent::read(options) }.map(|options| (it, options)));
    let (mut descriptor, mut options) = match read {
        Ok(read) => read,
        Err(reason) => return answer(out, Err(reason)),
    };
    let Ok(space) = usize::try_from(room) else {
        return answer(out, Err(mq::MQRC_BUFFER_LENGTH_ERROR));
    };
    if space > 0 && buffer.is_null() {
        return answer(out, Err(mq::MQRC_BUFFER_ERROR));
    }
    let said = &options.value;
    let both = mq::MQMO_MATCH_MSG_ID | mq::MQMO_MATCH_CORREL_ID;
    let request = Request::Get {
        handle: hobj,
        options: said.Options,
        matching: if said.Version == mq::MQGMO_VERSION_1 {
            both
        } else {
            said.MatchOptions
        },
        wait_ms: said.WaitInterval,
        room,
    };
    let asked = ask(hconn, &request, &descriptor.bytes());
    answer(out, asked.as_ref().map(|(it, _)| it).map_err(|it| *it));
    let Ok((told, got)) = asked else { return };
    let Some((head, message)) = got.split_at_checked(LENGTH) else {
        return;
    };
    *length = mq::MQLONG::try_from(told.number).unwrap_or(0);
    descriptor.give(head);
    if let Some((queue, _)) = &told.resolved {
        set_text(&mut options.value.ResolvedQName, queue);
    }
    options.value.ReturnedLength = mq::MQLONG::try_from(message.len()).unwrap_or(0);
    options.give_back();
    // SAFETY: as the caller says.
    unsafe { fill(buffer, message, space) };
}

/// Puts in both ways.
///
/// # Safety
/// Descriptor and options are as long as those of the versions that they say, and the buffer
/// as long as is said.
unsafe fn put(
    hconn: mq::MQHCONN,
    (handle, object): (mq::MQHOBJ, Option<Object>),
    (descriptor, options): (mq::PMQVOID, *mut mq::MQPMO),
    (length, buffer): (mq::MQLONG, mq::PMQVOID),
    out: Out<'_>,
) {
    // SAFETY: as the caller says.
    let read = unsafe { Lent::<mq::MQMD2>::read(descriptor.cast()) };
    // SAFETY: as the caller says.
    let read = read.and_then(|it| unsafe { Lent::read(options) }.map(|options| (it, options)));
    let (mut descriptor, mut options) = match read {
        Ok(read) => read,
        Err(reason) => return answer(out, Err(reason)),
    };
    if length < 0 {
        return answer(out, Err(mq::MQRC_BUFFER_LENGTH_ERROR));
    }
    if length > 0 && buffer.is_null() {
        return answer(out, Err(mq::MQRC_BUFFER_ERROR));
    }
    // SAFETY: as the caller says.
    let sent = [&*descriptor.bytes(), unsafe { bytes(buffer, length) }].concat();
    let said = &options.value;
    if said.RecsPresent > 0 || said.OriginalMsgHandle > 0 || said.NewMsgHandle > 0 {
        return answer(out, Err(mq::MQRC_FUNCTION_NOT_SUPPORTED));
    }
    let request = Request::Put {
        handle,
        object,
        options: said.Options,
        context: said.Context,
    };
    let asked = ask(hconn, &request, &sent);
    answer(out, asked.as_ref().map(|(it, _)| it).map_err(|it| *it));
    let Ok((told, head)) = asked else { return };
    if told.completion == mq::MQCC_FAILED {
        return;
    }
    descriptor.give(&head);
    if let Some((queue, manager)) = &told.resolved {
        set_text(&mut options.value.ResolvedQName, queue);
        set_text(&mut options.value.ResolvedQMgrName, manager);
        options.give_back();
    }
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
    let (to, how) = ((hobj, None), (descriptor, options));
    // SAFETY: as the caller says.
    unsafe { put(hconn, to, how, (length, buffer), (completion, reason)) }
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
    // SAFETY: as the caller says.
    let read = unsafe { Lent::read(object) };
    let object = match read.and_then(|it| objects::object(&it.value)) {
        Ok(object) => object,
        Err(failed) => return answer((completion, reason), Err(failed)),
    };
    let to = (mq::MQHO_UNUSABLE_HOBJ, Some(object));
    let how = (descriptor, options);
    // SAFETY: as the caller says.
    unsafe { put(hconn, to, how, (length, buffer), (completion, reason)) }
}
