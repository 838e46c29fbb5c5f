//! Units of work: MQCMIT and MQBACK.

use libmqm_sys as mq;

use super::handles::{ask_plain, tell};
use crate::wire::Request;

/// MQCMIT.
#[unsafe(no_mangle)]
pub extern "C" fn MQCMIT(hconn: mq::MQHCONN, completion: &mut mq::MQLONG, reason: &mut mq::MQLONG) {
    tell((completion, reason), ask_plain(hconn, &Request::Commit));
}

/// MQBACK.
#[unsafe(no_mangle)]
pub extern "C" fn MQBACK(hconn: mq::MQHCONN, completion: &mut mq::MQLONG, reason: &mut mq::MQLONG) {
    tell((completion, reason), ask_plain(hconn, &Request::BackOut));
}
