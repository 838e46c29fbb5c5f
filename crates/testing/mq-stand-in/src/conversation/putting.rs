//! MQPUT and MQPUT1.

use libmqm_sys as mq;

use super::{Conversation, Did, Outcome, quiet};
use crate::{
    descriptor::{
        ACCOUNTING_TOKEN, APPLICATION, APPLICATION_TYPE, CCSID, CORRELATION_ID, EXPIRY,
        IDENTITY_DATA, LENGTH, MESSAGE_ID, ORIGIN_DATA, PERSISTENCE, PRIORITY, PUT_DATE, REPLY_TO,
        REPLY_TO_MANAGER, TYPE, USER, field, set_field, set_text, text,
    },
    options, put_time,
    queue::Held,
    report,
    shared::{CCSID as OWN_CCSID, Settings},
    store::PRIORITY_MAX,
    wire::{Answer, Fault, Object, Reason},
};

/// The fields of the identity context, and those of the origin context behind them.
const IDENTITY: std::ops::Range<usize> = USER..APPLICATION_TYPE;
const CONTEXT: std::ops::Range<usize> = USER..ORIGIN_DATA + 4;

impl Conversation<'_> {
    pub(super) fn put(
        &mut self,
        handle: i32,
        object: Option<&Object>,
        (options, context): (i32, i32),
        bytes: &[u8],
    ) -> Did {
        options::put(options)?;
        let name = match object {
            Some(object) => {
                self.is_here(object)?;
                object.name.clone()
            }
            None => self.open_for_output(handle, options)?,
        };
        let (said, message) = bytes.split_at_checked(LENGTH).ok_or(mq::MQRC_MD_ERROR)?;
        check(said)?;
        let settings = &self.shared.settings;
        let mut descriptor = complete(said, settings, (&self.user, &self.application));
        self.set_context(&mut descriptor, said, options, context)?;
        let mut store = self.shared.store.lock();
        quiet(&store, options & mq::MQPMO_FAIL_IF_QUIESCING)?;
        if store.fails(Fault::PutUndone) {
            return Ok(Outcome::Break);
        }
        if options & mq::MQPMO_NEW_CORREL_ID != 0 {
            store.new_id(&mut descriptor[CORRELATION_ID..CORRELATION_ID + 24]);
        }
        let no_id = descriptor[MESSAGE_ID..MESSAGE_ID + 24] == [0; 24];
        let new_id = no_id || options & mq::MQPMO_NEW_MSG_ID != 0;
        let in_unit = options & mq::MQPMO_SYNCPOINT != 0;
        let held = if in_unit {
            Held::Put(self.id)
        } else {
            Held::No
        };
        let deleted = |reason| match reason {
            mq::MQRC_UNKNOWN_OBJECT_NAME if object.is_none() => mq::MQRC_Q_DELETED,
            other => other,
        };
        let put = store.put(&name, (descriptor, message), new_id, held);
        let descriptor = put.map_err(deleted)?;
        let breaks = store.fails(Fault::PutDone);
        drop(store);
        self.shared.changed.notify_all();
        if breaks {
            return Ok(Outcome::Break);
        }
        let mut answer = Answer {
            resolved: Some((name, settings.name.clone())),
            ..Answer::default()
        };
        if field(&descriptor, PRIORITY) > PRIORITY_MAX {
            answer.completion = mq::MQCC_WARNING;
            answer.reason = mq::MQRC_PRIORITY_EXCEEDS_MAXIMUM;
        }
        Ok(Outcome::Answer(answer, descriptor))
    }

    /// The queue of a handle, if it is open for what these options need.
    fn open_for_output(&self, handle: i32, options: i32) -> Result<String, Reason> {
        let (name, opened) = self.queue(handle)?;
        if opened & mq::MQOO_OUTPUT == 0 {
            return Err(mq::MQRC_NOT_OPEN_FOR_OUTPUT);
        }
        // Whoever may do more may do less.
        let all = mq::MQOO_PASS_ALL_CONTEXT | mq::MQOO_SET_IDENTITY_CONTEXT;
        for (option, needs, reason) in [
            (
                mq::MQPMO_PASS_IDENTITY_CONTEXT,
                mq::MQOO_PASS_IDENTITY_CONTEXT | all | mq::MQOO_SET_ALL_CONTEXT,
                mq::MQRC_NOT_OPEN_FOR_PASS_IDENT,
            ),
            (
                mq::MQPMO_PASS_ALL_CONTEXT,
                all | mq::MQOO_SET_ALL_CONTEXT,
                mq::MQRC_NOT_OPEN_FOR_PASS_ALL,
            ),
            (
                mq::MQPMO_SET_IDENTITY_CONTEXT,
                mq::MQOO_SET_IDENTITY_CONTEXT | mq::MQOO_SET_ALL_CONTEXT,
                mq::MQRC_NOT_OPEN_FOR_SET_IDENT,
            ),
            (
                mq::MQPMO_SET_ALL_CONTEXT,
                mq::MQOO_SET_ALL_CONTEXT,
                mq::MQRC_NOT_OPEN_FOR_SET_ALL,
            ),
        ] {
            if options & option != 0 && opened & needs == 0 {
                return Err(reason);
            }
        }
        Ok(name)
    }

    /// Who put the message, as the options say.
    fn set_context(
        &self,
        descriptor: &mut [u8],
        said: &[u8],
        options: i32,
        context: i32,
    ) -> Result<(), Reason> {
        if options & mq::MQPMO_SET_ALL_CONTEXT != 0 {
            descriptor[CONTEXT].copy_from_slice(&said[CONTEXT]);
        }
        if options & mq::MQPMO_SET_IDENTITY_CONTEXT != 0 {
            descriptor[IDENTITY].copy_from_slice(&said[IDENTITY]);
        }
        if options & mq::MQPMO_NO_CONTEXT != 0 {
            no_context(descriptor);
        }
        let passes = mq::MQPMO_PASS_ALL_CONTEXT | mq::MQPMO_PASS_IDENTITY_CONTEXT;
        if options & passes == 0 {
            return Ok(());
        }
        let wrong = |_| mq::MQRC_CONTEXT_HANDLE_ERROR;
        let from = self.object(context).map_err(wrong)?;
        if from.options & mq::MQOO_SAVE_ALL_CONTEXT == 0 {
            return Err(mq::MQRC_CONTEXT_HANDLE_ERROR);
        }
        let taken = from.taken.as_ref().ok_or(mq::MQRC_CONTEXT_NOT_AVAILABLE)?;
        let fields = match options & mq::MQPMO_PASS_ALL_CONTEXT {
            0 => IDENTITY,
            _ => CONTEXT,
        };
        descriptor[fields.clone()].copy_from_slice(&taken[fields]);
        Ok(())
    }
}

/// Checks what a caller says of a message.
fn check(descriptor: &[u8]) -> Result<(), Reason> {
    let kind = field(descriptor, TYPE);
    let expiry = field(descriptor, EXPIRY);
    let persistences = mq::MQPER_NOT_PERSISTENT..=mq::MQPER_PERSISTENCE_AS_Q_DEF;
    if !(mq::MQMT_SYSTEM_FIRST..=mq::MQMT_APPL_LAST).contains(&kind) {
        return Err(mq::MQRC_MSG_TYPE_ERROR);
    }
    if expiry <= 0 && expiry != mq::MQEI_UNLIMITED {
        return Err(mq::MQRC_EXPIRY_ERROR);
    }
    if field(descriptor, PRIORITY) < mq::MQPRI_PRIORITY_AS_Q_DEF {
        return Err(mq::MQRC_PRIORITY_ERROR);
    }
    if !persistences.contains(&field(descriptor, PERSISTENCE)) {
        return Err(mq::MQRC_PERSISTENCE_ERROR);
    }
    let nowhere = text(&descriptor[REPLY_TO..REPLY_TO + 48]).is_empty();
    if nowhere && report::needs_reply_to(descriptor) {
        return Err(mq::MQRC_MISSING_REPLY_TO_Q);
    }
    Ok(())
}

/// What a caller says of a message, and what the queue manager adds to it: whose it is, and
/// what was left to the queue manager.
pub(super) fn complete(said: &[u8], own: &Settings, (user, program): (&str, &str)) -> Vec<u8> {
    let mut all = said.to_vec();
    set_text(&mut all[USER..USER + 12], user);
    all[ACCOUNTING_TOKEN..ACCOUNTING_TOKEN + 32].fill(0);
    set_text(&mut all[IDENTITY_DATA..IDENTITY_DATA + 32], "");
    set_field(&mut all, APPLICATION_TYPE, mq::MQAT_UNIX);
    set_text(&mut all[APPLICATION..APPLICATION + 28], program);
    set_text(&mut all[PUT_DATE..PUT_DATE + 16], &put_time::now());
    set_text(&mut all[ORIGIN_DATA..ORIGIN_DATA + 4], "");
    // The rest of a text behind a zero is blank to whoever gets it.
    for (at, length) in [(REPLY_TO, 48), (REPLY_TO_MANAGER, 48)] {
        let name = text(&all[at..at + length]);
        set_text(&mut all[at..at + length], &name);
    }
    if text(&all[REPLY_TO_MANAGER..REPLY_TO_MANAGER + 48]).is_empty() {
        set_text(&mut all[REPLY_TO_MANAGER..REPLY_TO_MANAGER + 48], &own.name);
    }
    if field(&all, CCSID) == mq::MQCCSI_Q_MGR {
        set_field(&mut all, CCSID, OWN_CCSID);
    }
    all
}

fn no_context(descriptor: &mut [u8]) {
    for (at, length) in [
        (USER, 12),
        (IDENTITY_DATA, 32),
        (APPLICATION, 28),
        (PUT_DATE, 20),
    ] {
        set_text(&mut descriptor[at..at + length], "");
    }
    set_field(descriptor, APPLICATION_TYPE, mq::MQAT_NO_CONTEXT);
}
