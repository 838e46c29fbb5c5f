//! What a test orders.

use libmqm_sys as mq;

use super::{Conversation, Did, Outcome, done, number, putting};
use crate::{
    descriptor::{LENGTH, MESSAGE_ID},
    queue::Held,
    wire::{Answer, Order},
};

impl Conversation<'_> {
    pub(super) fn order(&mut self, order: Order, bytes: &[u8]) -> Did {
        let mut store = self.shared.store.lock();
        let outcome = match order {
            Order::Define { queue, attributes } => {
                store.define(queue, attributes);
                done()
            }
            Order::Put { queue } => {
                let (descriptor, message) =
                    bytes.split_at_checked(LENGTH).ok_or(mq::MQRC_MD_ERROR)?;
                let settings = &self.shared.settings;
                let descriptor = putting::complete(descriptor, settings, ("test", "a test"));
                let new_id = descriptor[MESSAGE_ID..MESSAGE_ID + 24] == [0; 24];
                store.put(&queue, (descriptor, message), new_id, Held::No)?;
                done()
            }
            Order::Take { queue } => Outcome::Answer(Answer::default(), store.take(&queue)?),
            Order::Count { queue } => {
                let messages = &store.queue(&queue)?.messages;
                let there = messages
                    .values()
                    .filter(|it| !matches!(it.held, Held::Put(_)));
                number(i64::try_from(there.count()).unwrap_or(0))
            }
            Order::Readers { queue } => {
                number(i64::try_from(store.queue(&queue)?.readers.len()).unwrap_or(0))
            }
            Order::Users(users) => {
                store.users = users;
                done()
            }
            Order::Fault(fault) => {
                store.fault = Some(fault);
                done()
            }
            Order::Quiesce(quiescing) => {
                store.quiescing = quiescing;
                done()
            }
            Order::Hang(hanging) => {
                store.hanging = hanging;
                done()
            }
            Order::Unavailable(unavailable) => {
                store.unavailable = unavailable;
                done()
            }
            Order::Cut => {
                self.shared.connections.lock().cut(false);
                done()
            }
            Order::Connections => {
                let count = self.shared.connections.lock().libraries.len();
                number(i64::try_from(count).unwrap_or(0))
            }
            Order::ConnectOptions => {
                let all = serde_json::to_vec(&self.shared.connections.lock().libraries);
                let all = all.map_err(|_| mq::MQRC_UNEXPECTED_ERROR)?;
                Outcome::Answer(Answer::default(), all)
            }
        };
        drop(store);
        self.shared.changed.notify_all();
        Ok(outcome)
    }
}
