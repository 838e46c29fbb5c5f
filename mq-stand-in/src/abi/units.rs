//! Units of work: MQCMIT and MQBACK.

use libmqm_sys as mq;

use super::handles::simple;
use crate::wire::Request;

/// MQCMIT.
#[unsafe(no_mangle)]
pub extern "C" fn MQCMIT(hconn: mq::MQHCONN, completion: &mut mq::MQLONG, reason: &mut mq::MQLONG) {
    simple(hconn, &Request::Commit, (completion, reason));
}

/// MQBACK.
#[unsafe(no_mangle)]
pub extern "C" fn MQBACK(hconn: mq::MQHCONN, completion: &mut mq::MQLONG, reason: &mut mq::MQLONG) {
    simple(hconn, &Request::BackOut, (completion, reason));
}
