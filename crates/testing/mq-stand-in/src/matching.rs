//! Which message a get asks for.

use libmqm_sys as mq;

use crate::{
    descriptor::{CORRELATION_ID, GROUP_ID, MESSAGE_ID, SEQUENCE_NUMBER, field},
    wire::Reason,
};

/// Ids that a message must have; none of nothing but zeros.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    ids: Vec<(usize, [u8; 24])>,
    sequence: Option<i32>,
}

impl Wanted {
    /// What descriptor and match options of a get ask for.
    pub(crate) fn new(descriptor: &[u8], matching: i32) -> Result<Self, Reason> {
        let known = mq::MQMO_MATCH_MSG_ID
            | mq::MQMO_MATCH_CORREL_ID
            | mq::MQMO_MATCH_GROUP_ID
            | mq::MQMO_MATCH_MSG_SEQ_NUMBER;
        if matching & !known != 0 {
            return Err(mq::MQRC_MATCH_OPTIONS_ERROR);
        }
        let mut wanted = Wanted::default();
        for (option, at) in [
            (mq::MQMO_MATCH_MSG_ID, MESSAGE_ID),
            (mq::MQMO_MATCH_CORREL_ID, CORRELATION_ID),
            (mq::MQMO_MATCH_GROUP_ID, GROUP_ID),
        ] {
            let id = descriptor.get(at..).and_then(|rest| rest.first_chunk());
            let id = id.filter(|id| matching & option != 0 && **id != [0; 24]);
            wanted.ids.extend(id.map(|id| (at, *id)));
        }
        if matching & mq::MQMO_MATCH_MSG_SEQ_NUMBER != 0 {
            wanted.sequence = Some(field(descriptor, SEQUENCE_NUMBER));
        }
        Ok(wanted)
    }

    /// Whether the message of this descriptor is asked for.
    pub(crate) fn takes(&self, descriptor: &[u8]) -> bool {
        self.ids
            .iter()
            .all(|(at, id)| descriptor[*at..].starts_with(id))
            && self
                .sequence
                .is_none_or(|it| it == field(descriptor, SEQUENCE_NUMBER))
    }
}
