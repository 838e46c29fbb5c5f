//! Opening and closing objects: MQOPEN and MQCLOSE.

use libmqm_sys as mq;

use super::{
    handles::{answer, ask, simple},
    memory::{set_text, text},
    structure::Lent,
};
use crate::wire::{Object, Request};

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
    let out = (completion, reason);
    // SAFETY: as the caller says.
    let read = unsafe { Lent::read(descriptor) };
    let read = read.and_then(|it| object(&it.value).map(|object| (it, object)));
    let (mut descriptor, object) = match read {
        Ok(read) => read,
        Err(reason) => return answer(out, Err(reason)),
    };
    let asked = ask(hconn, &Request::Open { object, options }, &[]).map(|(it, _)| it);
    answer(out, asked.as_ref().map_err(|it| *it));
    let Ok(told) = asked else { return };
    if told.completion == mq::MQCC_FAILED {
        return;
    }
    *hobj = mq::MQLONG::try_from(told.number).unwrap_or(mq::MQHO_UNUSABLE_HOBJ);
    if let Some((name, manager)) = told.resolved {
        let value = &mut descriptor.value;
        // A model's name becomes that of the queue that was made by it.
        if value.ObjectType == mq::MQOT_Q && text(&value.ObjectName) != name {
            set_text(&mut value.ObjectName, &name);
            set_text(&mut value.ObjectQMgrName, &manager);
        }
        set_text(&mut value.ResolvedQName, &name);
        set_text(&mut value.ResolvedQMgrName, &manager);
        descriptor.give_back();
    }
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
    let told = simple(hconn, &request, (completion, reason));
    if told.is_some_and(|it| it.completion != mq::MQCC_FAILED) {
        *hobj = mq::MQHO_UNUSABLE_HOBJ;
    }
}
