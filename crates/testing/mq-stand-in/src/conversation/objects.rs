//! Opening and closing.

use libmqm_sys as mq;

use super::{Conversation, Did, Open, Outcome, done, quiet};
use crate::{
    options::{self, INPUT},
    store::Store,
    wire::{Answer, Dynamic, Object, Reason},
};

impl Conversation<'_> {
    pub(super) fn open(&mut self, object: &Object, mut options: i32) -> Did {
        let queue = match object.kind {
            mq::MQOT_Q => true,
            mq::MQOT_Q_MGR => false,
            mq::MQOT_PROCESS | mq::MQOT_NAMELIST => return Err(mq::MQRC_UNKNOWN_OBJECT_NAME),
            mq::MQOT_TOPIC => return Err(mq::MQRC_FUNCTION_NOT_SUPPORTED),
            _ => return Err(mq::MQRC_OBJECT_TYPE_ERROR),
        };
        options::open(options, queue)?;
        self.is_here(object)?;
        let mut store = self.shared.store.lock();
        quiet(&store, options & mq::MQOO_FAIL_IF_QUIESCING)?;
        let name = if queue {
            Some(self.open_queue(&mut store, object, &mut options)?)
        } else {
            None
        };
        drop(store);
        let handle = self.next_handle;
        self.next_handle += 1;
        let answer = Answer {
            number: handle.into(),
            resolved: name
                .clone()
                .map(|name| (name, self.shared.settings.name.clone())),
            ..Answer::default()
        };
        let open = Open {
            queue: name,
            options,
            cursor: None,
            taken: None,
        };
        self.objects.insert(handle, open);
        Ok(Outcome::Answer(answer, Vec::new()))
    }

    fn open_queue(
        &self,
        store: &mut Store,
        object: &Object,
        options: &mut i32,
    ) -> Result<String, Reason> {
        let model = store.queue(&object.name)?.attributes.model;
        let name = match model {
            Some(_) => store.make(&object.name, &object.dynamic, self.id)?,
            None => object.name.clone(),
        };
        let queue = store.queue(&name)?;
        if *options & mq::MQOO_BROWSE != 0 && queue.attributes.not_browsable {
            return Err(mq::MQRC_NOT_AUTHORIZED);
        }
        if *options & mq::MQOO_INPUT_AS_Q_DEF != 0 {
            *options &= !mq::MQOO_INPUT_AS_Q_DEF;
            *options |= queue.attributes.default_input();
        }
        let alone = *options & mq::MQOO_INPUT_EXCLUSIVE != 0;
        if *options & INPUT != 0 {
            if !queue.admits(alone) {
                return Err(mq::MQRC_OBJECT_IN_USE);
            }
            queue.readers.push((self.id, alone));
        }
        if *options & mq::MQOO_OUTPUT != 0 {
            queue.writers.push(self.id);
        }
        Ok(name)
    }

    /// Whether an object is this queue manager's.
    pub(super) fn is_here(&self, object: &Object) -> Result<(), Reason> {
        if object.manager.is_empty() || object.manager == self.shared.settings.name {
            return Ok(());
        }
        Err(mq::MQRC_UNKNOWN_REMOTE_Q_MGR)
    }

    /// The object of this handle.
    pub(super) fn object(&self, handle: i32) -> Result<&Open, Reason> {
        self.objects.get(&handle).ok_or(mq::MQRC_HOBJ_ERROR)
    }

    /// The queue of this handle, and the options that it was opened with.
    pub(super) fn queue(&self, handle: i32) -> Result<(String, i32), Reason> {
        let object = self.object(handle)?;
        let queue = object.queue.clone().ok_or(mq::MQRC_HOBJ_ERROR)?;
        Ok((queue, object.options))
    }

    pub(super) fn close(&mut self, handle: i32, options: i32) -> Did {
        let object = self.object(handle)?;
        let deletes = mq::MQCO_DELETE | mq::MQCO_DELETE_PURGE;
        if options & !deletes != 0 || options & deletes == deletes {
            return Err(mq::MQRC_OPTIONS_ERROR);
        }
        let Some(name) = object.queue.clone() else {
            if options != 0 {
                return Err(mq::MQRC_OPTION_NOT_VALID_FOR_TYPE);
            }
            self.objects.remove(&handle);
            return Ok(done());
        };
        let opened = object.options;
        let mut store = self.shared.store.lock();
        // It may be deleted already.
        if let Ok(queue) = store.queue(&name) {
            if options != 0 && queue.made.is_none() {
                return Err(mq::MQRC_OPTION_NOT_VALID_FOR_TYPE);
            }
            let permanent = queue
                .made
                .is_some_and(|(kind, _)| kind == Dynamic::Permanent);
            if permanent && options == mq::MQCO_DELETE && !queue.messages.is_empty() {
                return Err(mq::MQRC_Q_NOT_EMPTY);
            }
            if opened & INPUT != 0 {
                forget_one(&mut queue.readers, |(reader, _)| *reader == self.id);
            }
            if opened & mq::MQOO_OUTPUT != 0 {
                forget_one(&mut queue.writers, |writer| *writer == self.id);
            }
            let unused = queue.readers.is_empty() && queue.writers.is_empty();
            let ends = queue.made == Some((Dynamic::Temporary, self.id)) && unused;
            if ends || options != 0 {
                store.queues.remove(&name);
            }
        }
        drop(store);
        self.objects.remove(&handle);
        Ok(done())
    }
}

fn forget_one<T>(all: &mut Vec<T>, is: impl Fn(&T) -> bool) {
    if let Some(at) = all.iter().position(is) {
        all.remove(at);
    }
}
