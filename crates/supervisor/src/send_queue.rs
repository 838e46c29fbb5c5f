//! Where the messages of one outgoing wait until its process can take them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::Send;
use tokio::sync::{Notify, oneshot};

/// Most messages that wait.
const QUEUED_MAX: usize = 1000;
/// How long before the deadline the process gives up, so that its word is heard.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// A message on its way to the process.
pub struct SendRequest {
    /// The message; its number is the process's.
    pub message: Send,
    deadline: Instant,
    answer: oneshot::Sender<SendOutcome>,
}

impl SendRequest {
    /// A message that somebody waits for until the deadline.
    pub fn new(message: Send, deadline: Instant, answer: oneshot::Sender<SendOutcome>) -> Self {
        SendRequest {
            message,
            deadline,
            answer,
        }
    }

    /// Answers it.
    pub fn answer(self, sent: SendOutcome) {
        // The one who asked may have gone.
        let _ = self.answer.send(sent);
    }

    /// What is left until the deadline, less than which the process may use.
    pub fn within(&self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        left.saturating_sub(ANSWER_MARGIN.min(left / 4))
    }
}

/// Messages in the order in which they came. Clones are the same mailbox.
#[derive(Clone, Default)]
pub struct SendQueue(Arc<SendQueueState>);

#[derive(Default)]
struct SendQueueState {
    /// With the number of the next.
    jobs: Mutex<(u64, BTreeMap<u64, SendRequest>)>,
    arrived: Notify,
}

impl SendQueue {
    /// Puts a message in, if there is room.
    pub fn put(&self, job: SendRequest) -> Option<QueueTicket> {
        let mut jobs = self.0.jobs.lock();
        if jobs.1.len() >= QUEUED_MAX {
            return None;
        }
        let number = jobs.0;
        jobs.0 += 1;
        jobs.1.insert(number, job);
        drop(jobs);
        self.0.arrived.notify_one();
        Some(QueueTicket {
            mailbox: self.clone(),
            number,
        })
    }

    /// Takes the first out; waits for ever when there is none. Can be dropped and called
    /// again.
    pub async fn take(&self) -> SendRequest {
        loop {
            let arrived = self.0.arrived.notified();
            if let Some((_, job)) = self.0.jobs.lock().1.pop_first() {
                return job;
            }
            arrived.await;
        }
    }
}

/// A message that waits, or was taken out. Dropped, it waits no more.
pub struct QueueTicket {
    mailbox: SendQueue,
    number: u64,
}

impl QueueTicket {
    /// Takes the message out again; false: somebody else has taken it.
    pub fn withdraw(&self) -> bool {
        let taken = self.mailbox.0.jobs.lock().1.remove(&self.number);
        taken.is_some()
    }
}

impl Drop for QueueTicket {
    fn drop(&mut self) {
        self.withdraw();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn job(id: &str) -> SendRequest {
        let message = Send {
            message_id: id.into(),
            ..Send::default()
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        SendRequest::new(message, deadline, oneshot::channel().0)
    }

    #[tokio::test]
    async fn a_message_is_taken_once_by_the_process_or_by_the_one_who_gives_up() {
        let mailbox = SendQueue::default();
        let [first, second, third] = ["a", "b", "c"].map(|id| mailbox.put(job(id)).unwrap());
        assert!(second.withdraw() && !second.withdraw());
        assert_eq!(mailbox.take().await.message.message_id, "a");
        assert!(!first.withdraw());
        drop(third);
        assert!(mailbox.take().now_or_never().is_none());
        let waiting = mailbox.clone();
        let taking = tokio::spawn(async move { waiting.take().await.message.message_id });
        let _place = mailbox.put(job("d")).unwrap();
        assert_eq!(taking.await.unwrap(), "d");
    }

    #[test]
    fn those_who_gave_up_leave_their_room() {
        let mailbox = SendQueue::default();
        let places: Vec<_> = (0..QUEUED_MAX)
            .map(|_| mailbox.put(job("x")).unwrap())
            .collect();
        assert!(mailbox.put(job("x")).is_none());
        drop(places);
        assert!(mailbox.put(job("x")).is_some());
    }
}
