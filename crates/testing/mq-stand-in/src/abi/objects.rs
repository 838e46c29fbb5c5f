//! Opening and closing objects: MQOPEN and MQCLOSE.

use libmqm_sys as mq;

use super::{
    handles::{ask_plain, tell},
    memory::{set_text, text},
    structure::Lent,
};
use crate::wire::{Answer, Object, Request};

/// What an object descriptor names.
pub(super) fn object(descriptor: &mq::MQOD) -> Result<Object, mq::MQLONG> {
    let selector = &descriptor.SelectionString;
    let selects = !selector.VSPtr.is_null() && selector.VSLength != 0;
    if descriptor.RecsPresent > 0 || selects {
        return Err(mq::MQRC_FUNCTION_NOT_SUPPORTED);
    }
    Ok(Object {
        kind: descriptor.ObjectType,
        name: text(&descriptor.ObjectName),
        manager: text(&descriptor.ObjectQMgrName),
        dynamic: text(&descriptor.DynamicQName),
    })
}

/// MQOPEN.
///
/// # Safety
/// The descriptor is as long as one of the version that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn MQOPEN(
    hconn: mq::MQHCONN,
    descriptor: *mut mq::MQOD,
    options: mq::MQLONG,
    hobj: &mut mq::MQHOBJ,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    *hobj = mq::MQHO_UNUSABLE_HOBJ;
    // SAFETY: as the caller says.
    let opened = unsafe { Lent::read(descriptor) }.and_then(|it| open(hconn, it, options, hobj));
    tell((completion, reason), opened);
}

fn open(
    hconn: mq::MQHCONN,
    mut descriptor: Lent<mq::MQOD>,
    options: mq::MQLONG,
    hobj: &mut mq::MQHOBJ,
) -> Result<Answer, mq::MQLONG> {
    let object = object(&descriptor.value)?;
    let told = ask_plain(hconn, &Request::Open { object, options })?;
    if told.completion == mq::MQCC_FAILED {
        return Ok(told);
    }
    *hobj = mq::MQLONG::try_from(told.number).unwrap_or(mq::MQHO_UNUSABLE_HOBJ);
    if let Some((name, manager)) = &told.resolved {
        let value = &mut descriptor.value;
        // A model's name becomes that of the queue that was made by it.
        if value.ObjectType == mq::MQOT_Q && text(&value.ObjectName) != *name {
            set_text(&mut value.ObjectName, name);
            set_text(&mut value.ObjectQMgrName, manager);
        }
        set_text(&mut value.ResolvedQName, name);
        set_text(&mut value.ResolvedQMgrName, manager);
        descriptor.give_back();
    }
    Ok(told)
}

/// MQCLOSE.
#[unsafe(no_mangle)]
pub extern "C" fn MQCLOSE(
    hconn: mq::MQHCONN,
    hobj: &mut mq::MQHOBJ,
    options: mq::MQLONG,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    let request = Request::Close {
        handle: *hobj,
        options,
    };
    let told = ask_plain(hconn, &request);
    let closed = told.as_ref().map(|it| it.completion != mq::MQCC_FAILED);
    if closed == Ok(true) {
        *hobj = mq::MQHO_UNUSABLE_HOBJ;
    }
    tell((completion, reason), told);
}
