//! MQINQ.

use libmqm_sys as mq;

use super::{Conversation, Did, Outcome};
use crate::{
    queue::Queue,
    shared::CCSID,
    store::PRIORITY_MAX,
    wire::{Answer, Attribute, Dynamic, Reason},
};

/// Of a queue's or a queue manager's name.
const NAME: usize = 48;
/// Of a description.
const DESCRIPTION: usize = 64;
/// As of a queue manager of version 9.3.
const COMMAND_LEVEL: i32 = 930;
/// The longest message that a queue manager can have.
const MESSAGE_MAX: i32 = 100 << 20;

impl Conversation<'_> {
    pub(super) fn inquire(&mut self, handle: i32, selectors: &[i32]) -> Did {
        let object = self.object(handle)?;
        if object.options & mq::MQOO_INQUIRE == 0 {
            return Err(mq::MQRC_NOT_OPEN_FOR_INQUIRE);
        }
        let known = |it: &i32| {
            let numbers = mq::MQIA_FIRST..=mq::MQIA_LAST;
            numbers.contains(it) || (mq::MQCA_FIRST..=mq::MQCA_LAST).contains(it)
        };
        if !selectors.iter().all(known) {
            return Err(mq::MQRC_SELECTOR_ERROR);
        }
        let mut answer = Answer::default();
        let mut store = self.shared.store.lock();
        let queue = match &object.queue {
            Some(name) => Some((name, &*store.queue(name).map_err(|_| mq::MQRC_Q_DELETED)?)),
            None => None,
        };
        for selector in selectors {
            let value = match queue {
                Some((name, queue)) => of_queue(*selector, name, queue),
                None => self.of_manager(*selector),
            };
            match value {
                Ok(value) => answer.attributes.push(value),
                Err(reason) => {
                    (answer.completion, answer.reason) = (mq::MQCC_WARNING, reason);
                    answer.attributes.push(nothing(*selector));
                }
            }
        }
        Ok(Outcome::Answer(answer, Vec::new()))
    }

    fn of_manager(&self, selector: i32) -> Result<Attribute, Reason> {
        let name = || Attribute::Text(self.shared.settings.name.clone(), NAME);
        Ok(match selector {
            mq::MQCA_Q_MGR_NAME | mq::MQCA_Q_MGR_IDENTIFIER => name(),
            mq::MQCA_Q_MGR_DESC => Attribute::Text("not IBM MQ".to_owned(), DESCRIPTION),
            mq::MQCA_DEAD_LETTER_Q_NAME => Attribute::Text(String::new(), NAME),
            mq::MQIA_CODED_CHAR_SET_ID => Attribute::Number(CCSID),
            mq::MQIA_COMMAND_LEVEL => Attribute::Number(COMMAND_LEVEL),
            mq::MQIA_MAX_PRIORITY => Attribute::Number(PRIORITY_MAX),
            mq::MQIA_MAX_MSG_LENGTH => Attribute::Number(MESSAGE_MAX),
            mq::MQIA_PLATFORM => Attribute::Number(mq::MQPL_UNIX),
            mq::MQIA_SYNCPOINT => Attribute::Number(mq::MQSP_AVAILABLE),
            _ => return Err(mq::MQRC_SELECTOR_NOT_FOR_TYPE),
        })
    }
}

fn of_queue(selector: i32, name: &str, queue: &Queue) -> Result<Attribute, Reason> {
    let count = |count: usize| Attribute::Number(i32::try_from(count).unwrap_or(i32::MAX));
    let own = &queue.attributes;
    Ok(match selector {
        mq::MQCA_Q_NAME => Attribute::Text(name.to_owned(), NAME),
        mq::MQCA_Q_DESC => Attribute::Text(String::new(), DESCRIPTION),
        mq::MQCA_BACKOUT_REQ_Q_NAME => Attribute::Text(own.backout_queue.clone(), NAME),
        mq::MQIA_BACKOUT_THRESHOLD => Attribute::Number(own.backout_threshold),
        mq::MQIA_HARDEN_GET_BACKOUT => Attribute::Number(mq::MQQA_BACKOUT_HARDENED),
        mq::MQIA_OPEN_INPUT_COUNT => count(queue.readers.len()),
        mq::MQIA_OPEN_OUTPUT_COUNT => count(queue.writers.len()),
        mq::MQIA_CURRENT_Q_DEPTH => count(queue.messages.len()),
        mq::MQIA_MAX_Q_DEPTH => count(own.max_depth),
        mq::MQIA_MAX_MSG_LENGTH => count(own.max_length),
        mq::MQIA_INHIBIT_GET => Attribute::Number(own.get_inhibited.into()),
        mq::MQIA_INHIBIT_PUT => Attribute::Number(own.put_inhibited.into()),
        mq::MQIA_DEF_PRIORITY => Attribute::Number(own.priority),
        mq::MQIA_DEF_PERSISTENCE => Attribute::Number(own.persistent.into()),
        mq::MQIA_SHAREABILITY => Attribute::Number(own.shareable.into()),
        mq::MQIA_DEF_INPUT_OPEN_OPTION => Attribute::Number(own.default_input()),
        mq::MQIA_MSG_DELIVERY_SEQUENCE => Attribute::Number(mq::MQMDS_PRIORITY),
        mq::MQIA_USAGE => Attribute::Number(mq::MQUS_NORMAL),
        mq::MQIA_Q_TYPE => Attribute::Number(mq::MQQT_LOCAL),
        mq::MQIA_DEFINITION_TYPE => Attribute::Number(match queue.made {
            None => mq::MQQDT_PREDEFINED,
            Some((Dynamic::Temporary, _)) => mq::MQQDT_TEMPORARY_DYNAMIC,
            Some((Dynamic::Permanent, _)) => mq::MQQDT_PERMANENT_DYNAMIC,
        }),
        _ => return Err(mq::MQRC_SELECTOR_NOT_FOR_TYPE),
    })
}

/// The value of what an object doesn't have.
fn nothing(selector: i32) -> Attribute {
    if selector <= mq::MQIA_LAST {
        return Attribute::Number(mq::MQIAV_NOT_APPLICABLE);
    }
    Attribute::Text("*".repeat(NAME), NAME)
}
