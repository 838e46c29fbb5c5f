//! Report messages, which a queue manager makes of what becomes of a message.
//!
//! Exceptions are not among them: they are reported by whoever can't hand a message on, a
//! message channel agent or an application, and a put that fails says so itself.

use libmqm_sys as mq;

use crate::{
    descriptor::{
        ACCOUNTING_TOKEN, APPLICATION, APPLICATION_TYPE, BACKOUT_COUNT, CORRELATION_ID, EXPIRY,
        FEEDBACK, MESSAGE_ID, ORIGIN_DATA, ORIGINAL_LENGTH, PUT_DATE, REPLY_TO, REPLY_TO_MANAGER,
        REPORT, TYPE, field, set_field, set_text, text,
    },
    put_time,
};

/// How much of the message a report has that is asked for with data, in bytes.
const DATA: usize = 100;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is on its queue.
    Arrival,
    /// It was taken.
    Delivery,
    /// It was not taken in time.
    Expiration,
}

/// A report, and the queue that it goes to.
pub(crate) struct Report {
    pub(crate) queue: String,
    pub(crate) descriptor: Vec<u8>,
    pub(crate) message: Vec<u8>,
    /// A message id is to be made for it.
    pub(crate) new_id: bool,
}

impl Event {
    /// Its options, without data, with data and with full data, and its feedback.
    fn codes(self) -> ([i32; 3], i32) {
        match self {
            Event::Arrival => (
                [
                    mq::MQRO_COA,
                    mq::MQRO_COA_WITH_DATA,
                    mq::MQRO_COA_WITH_FULL_DATA,
                ],
                mq::MQFB_COA,
            ),
            Event::Delivery => (
                [
                    mq::MQRO_COD,
                    mq::MQRO_COD_WITH_DATA,
                    mq::MQRO_COD_WITH_FULL_DATA,
                ],
                mq::MQFB_COD,
            ),
            Event::Expiration => (
                [
                    mq::MQRO_EXPIRATION,
                    mq::MQRO_EXPIRATION_WITH_DATA,
                    mq::MQRO_EXPIRATION_WITH_FULL_DATA,
                ],
                mq::MQFB_EXPIRATION,
            ),
        }
    }
}

/// Whether a message asks for reports or for an answer, which need somewhere to go to.
pub(crate) fn needs_reply_to(descriptor: &[u8]) -> bool {
    let asks = mq::MQRO_EXCEPTION
        | mq::MQRO_EXPIRATION
        | mq::MQRO_COA
        | mq::MQRO_COD
        | mq::MQRO_PAN
        | mq::MQRO_NAN
        | mq::MQRO_ACTIVITY;
    field(descriptor, REPORT) & asks != 0 || field(descriptor, TYPE) == mq::MQMT_REQUEST
}

/// The report of an event, if the message asks for it.
pub(crate) fn report(
    event: Event,
    descriptor: &[u8],
    message: &[u8],
    manager: &str,
) -> Option<Report> {
    let asked = field(descriptor, REPORT);
    let ([plain, data, full], feedback) = event.codes();
    if asked & plain == 0 {
        return None;
    }
    let message = match asked & full {
        all if all == full => message,
        some if some & data == data => &message[..message.len().min(DATA)],
        _ => &[],
    };
    let mut of = descriptor.to_vec();
    let passes_id = asked & mq::MQRO_PASS_MSG_ID != 0;
    if asked & mq::MQRO_PASS_CORREL_ID == 0 {
        of.copy_within(MESSAGE_ID..MESSAGE_ID + 24, CORRELATION_ID);
    }
    if asked & mq::MQRO_PASS_DISCARD_AND_EXPIRY == 0 {
        set_field(&mut of, EXPIRY, mq::MQEI_UNLIMITED);
    }
    set_field(&mut of, REPORT, mq::MQRO_NONE);
    set_field(&mut of, TYPE, mq::MQMT_REPORT);
    set_field(&mut of, FEEDBACK, feedback);
    set_field(&mut of, BACKOUT_COUNT, 0);
    set_field(&mut of, ORIGINAL_LENGTH, mq::MQOL_UNDEFINED);
    set_text(&mut of[REPLY_TO..REPLY_TO + 48], "");
    set_text(&mut of[REPLY_TO_MANAGER..REPLY_TO_MANAGER + 48], manager);
    of[ACCOUNTING_TOKEN..ACCOUNTING_TOKEN + 32].fill(0);
    set_field(&mut of, APPLICATION_TYPE, mq::MQAT_QMGR);
    set_text(&mut of[APPLICATION..APPLICATION + 28], manager);
    set_text(&mut of[PUT_DATE..PUT_DATE + 16], &put_time::now());
    set_text(&mut of[ORIGIN_DATA..ORIGIN_DATA + 4], "");
    Some(Report {
        queue: text(&descriptor[REPLY_TO..REPLY_TO + 48]),
        descriptor: of,
        message: message.to_vec(),
        new_id: !passes_id,
    })
}
