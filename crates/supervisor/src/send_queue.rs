//! Queue of one outgoing's messages until its process can take them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::Send;
use tokio::sync::{Notify, oneshot};

/// Most messages that wait.
const QUEUED_MAX: usize = 1000;
/// Time before the deadline at which the process gives up, so that its report still arrives in
/// time.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// A message on its way to the process.
pub(crate) struct SendRequest {
    /// The message; the process counts its number.
    pub message: Send,
    deadline: Instant,
    answer: oneshot::Sender<SendOutcome>,
}

impl SendRequest {
    /// Creates a request that a caller awaits until the deadline.
    pub(crate) fn new(
        message: Send,
        deadline: Instant,
        answer: oneshot::Sender<SendOutcome>,
    ) -> Self {
        SendRequest {
            message,
            deadline,
            answer,
        }
    }

    /// Answers the caller.
    pub(crate) fn answer(self, sent: SendOutcome) {
        // The caller may have gone.
        let _ = self.answer.send(sent);
    }

    /// Returns the time left for the process: until the deadline, less a margin for the answer.
    pub(crate) fn within(&self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        left.saturating_sub(ANSWER_MARGIN.min(left / 4))
    }
}

/// Messages in the order in which they came. Clones are the same queue.
#[derive(Clone, Default)]
pub(crate) struct SendQueue(Arc<SendQueueState>);

#[derive(Default)]
struct SendQueueState {
    /// Requests by number, with the number of the next.
    requests: Mutex<(u64, BTreeMap<u64, SendRequest>)>,
    arrived: Notify,
}

impl SendQueue {
    /// Queues a message; `None` when the queue is full.
    pub(crate) fn put(&self, request: SendRequest) -> Option<QueueTicket> {
        let mut requests = self.0.requests.lock();
        if requests.1.len() >= QUEUED_MAX {
            return None;
        }
        let number = requests.0;
        requests.0 += 1;
        requests.1.insert(number, request);
        drop(requests);
        self.0.arrived.notify_one();
        Some(QueueTicket {
            queue: self.clone(),
            number,
        })
    }

    /// Pops the oldest request, or waits. Cancel safe.
    pub(crate) async fn take(&self) -> SendRequest {
        loop {
            let arrived = self.0.arrived.notified();
            if let Some((_, request)) = self.0.requests.lock().1.pop_first() {
                return request;
            }
            arrived.await;
        }
    }
}

/// Handle of a queued message; dropping it withdraws the message.
pub(crate) struct QueueTicket {
    queue: SendQueue,
    number: u64,
}

impl QueueTicket {
    /// Withdraws the message. Returns false when the process has taken it.
    pub(crate) fn withdraw(&self) -> bool {
        let taken = self.queue.0.requests.lock().1.remove(&self.number);
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

    fn request(id: &str) -> SendRequest {
        let message = Send {
            message_id: id.into(),
            ..Send::default()
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        SendRequest::new(message, deadline, oneshot::channel().0)
    }

    #[tokio::test]
    async fn message_is_taken_once_or_withdrawn() {
        let queue = SendQueue::default();
        let [first, second, third] = ["a", "b", "c"].map(|id| queue.put(request(id)).unwrap());
        assert!(second.withdraw() && !second.withdraw());
        assert_eq!(queue.take().await.message.message_id, "a");
        assert!(!first.withdraw());
        drop(third);
        assert!(queue.take().now_or_never().is_none());
        let waiting = queue.clone();
        let taking = tokio::spawn(async move { waiting.take().await.message.message_id });
        let _place = queue.put(request("d")).unwrap();
        assert_eq!(taking.await.unwrap(), "d");
    }

    #[test]
    fn abandoned_requests_free_their_room() {
        let queue = SendQueue::default();
        let tickets: Vec<_> = (0..QUEUED_MAX)
            .map(|_| queue.put(request("x")).unwrap())
            .collect();
        assert!(queue.put(request("x")).is_none());
        drop(tickets);
        assert!(queue.put(request("x")).is_some());
    }
}
