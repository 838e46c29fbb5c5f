//! Pipeline of the log to one member: requests that do not wait for each other's answers.
//!
//! openraft counts an answer for the latest request that it fits, by log id, and takes that
//! request's sending time for its lease. Two requests can end with the same entry (the
//! second only carries that it is committed), so an answer to the first would count for the
//! second, which the other side may never see. Therefore an answer is held back while a
//! later request that ends with the same entry waits for its own; and requests are taken
//! from openraft only when it polls for answers, so that none can slip in between the two.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use openraft::{
    errors::RPCError,
    raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult},
};
use quorate_clock::Instant;
use quorate_proto::peer;
use tokio::{sync::mpsc, time::Sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::PollSender;
use tonic::{Response, Status, Streaming};

use super::{
    call_errors::{rpc_error, stalled},
    peers::PeerClient,
    raft_messages::{append_request, append_response},
};
use crate::{
    node::LeadershipTracker,
    storage::raft_types::{LogEntryId, Types},
};

/// Number of messages that may wait for their answers.
const WINDOW: usize = 32;

/// Time without an answer after which the stream is given up and begun anew. Long, because an
/// answer waits for the other side's disk; a vanished peer is noticed by the connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time after which a planted bug takes an answer for given.
const BELIEVED_AFTER: Duration = Duration::from_millis(60);

type AppendOutcome = Result<StreamAppendResult<Types>, RPCError<Types>>;

type StreamOpening = BoxFuture<'static, Result<Response<Streaming<peer::AppendResponse>>, Status>>;

/// Returns the answers, in the order of the requests. The stream is opened when they are first
/// asked for, and the first request does not wait until it is open. `believed`: the other
/// side is taken to have done what it does not answer, which is a planted bug.
pub(super) fn open<S>(
    mut client: PeerClient,
    input: S,
    tracker: Arc<LeadershipTracker>,
    believed: bool,
) -> BoxStream<'static, AppendOutcome>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
{
    let (tx, rx) = mpsc::channel(WINDOW);
    let opening = async move { client.append_stream(ReceiverStream::new(rx)).await };
    Box::pin(AppendPipeline {
        input: Some(input),
        next: None,
        requests: PollSender::new(tx),
        answers: AppendAnswers::Opening(opening.boxed()),
        window: AppendWindow::default(),
        patience: Box::pin(tokio::time::sleep(PATIENCE)),
        tracker,
        believed,
        over: false,
    })
}

enum AppendAnswers {
    Opening(StreamOpening),
    Open(Box<Streaming<peer::AppendResponse>>),
}

impl AppendAnswers {
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<peer::AppendResponse, Status>>> {
        loop {
            match self {
                AppendAnswers::Open(answers) => return answers.poll_next_unpin(cx),
                AppendAnswers::Opening(opening) => match ready!(opening.poll_unpin(cx)) {
                    Ok(opened) => *self = AppendAnswers::Open(Box::new(opened.into_inner())),
                    Err(status) => return Poll::Ready(Some(Err(status))),
                },
            }
        }
    }
}

/// Requests that were sent and wait for their answers.
#[derive(Default)]
struct AppendWindow {
    waiting: VecDeque<UnansweredAppend>,
}

struct UnansweredAppend {
    previous: Option<LogEntryId>,
    last: Option<LogEntryId>,
}

impl AppendWindow {
    fn sent(&mut self, request: &AppendEntriesRequest<Types>) {
        self.waiting.push_back(UnansweredAppend {
            previous: request.prev_log_id,
            last: last_of(request),
        });
    }

    /// Returns what openraft gets for the next answer, if it may have that already. `next` is
    /// the request, if any, that openraft counts as sent and that is still here.
    fn answered(
        &mut self,
        answer: AppendEntriesResponse<Types>,
        next: Option<&AppendEntriesRequest<Types>>,
    ) -> Option<AppendOutcome> {
        let wrong = |what| Some(Err(rpc_error(&Status::internal(what))));
        let Some(first) = self.waiting.pop_front() else {
            return wrong("an answer came without a request");
        };
        if first.previous.is_none() && answer.is_conflict() {
            return wrong("a conflict came before the log's beginning");
        }
        let mut later = self.waiting.iter().map(|w| w.last).chain(next.map(last_of));
        let held = later.any(|last| last == first.last);
        let result = answer.into_stream_result(first.previous, first.last);
        (result.is_err() || !held).then_some(Ok(result))
    }
}

struct AppendPipeline<S> {
    /// `None` once it has ended.
    input: Option<S>,
    /// The request that was taken from openraft and is still to be sent.
    next: Option<AppendEntriesRequest<Types>>,
    requests: PollSender<peer::AppendRequest>,
    answers: AppendAnswers,
    window: AppendWindow,
    patience: Pin<Box<Sleep>>,
    /// Knows which lease a request carries.
    tracker: Arc<LeadershipTracker>,
    believed: bool,
    over: bool,
}

impl<S> AppendPipeline<S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    fn patience(&self) -> Duration {
        if self.believed {
            BELIEVED_AFTER
        } else {
            PATIENCE
        }
    }

    fn answered(&mut self, answer: Result<peer::AppendResponse, Status>) -> Option<AppendOutcome> {
        let until = Instant::now() + self.patience();
        self.patience.as_mut().reset(until);
        match answer.map_err(|s| rpc_error(&s)).and_then(append_response) {
            Ok(answer) => self.window.answered(answer, self.next.as_ref()),
            Err(e) => Some(Err(e)),
        }
    }

    /// Sends the requests that there are. Ready when nothing can follow any more.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RPCError<Types>>> {
        let ended = |_| rpc_error(&Status::unavailable("the stream has ended"));
        loop {
            if self.next.is_some() {
                let reserved = ready!(self.requests.poll_reserve(cx));
                reserved.map_err(ended)?;
            }
            if let Some(request) = self.next.take() {
                if self.window.waiting.is_empty() {
                    let until = Instant::now() + self.patience();
                    self.patience.as_mut().reset(until);
                }
                self.window.sent(&request);
                self.requests
                    .send_item(append_request(request, self.tracker.lease()))
                    .map_err(ended)?;
            }
            if self.window.waiting.len() >= WINDOW {
                return Poll::Pending;
            }
            let Some(input) = &mut self.input else {
                return Poll::Ready(Ok(()));
            };
            match ready!(input.poll_next_unpin(cx)) {
                Some(request) => self.next = Some(request),
                None => {
                    self.input = None;
                    self.requests.close();
                }
            }
        }
    }
}

impl<S> Stream for AppendPipeline<S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    type Item = AppendOutcome;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AppendOutcome>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        // Send first: what is taken from openraft now is known when the answers are looked at.
        let sent = this.send(cx);
        // Opened once there is a request, not before: openraft pauses after a failure by keeping
        // the next request back, and a connection refused meanwhile would end the pause.
        let opens =
            matches!(this.answers, AppendAnswers::Open(_)) || !this.window.waiting.is_empty();
        while opens && let Poll::Ready(answer) = this.answers.poll_next(cx) {
            let Some(answer) = answer else {
                this.over = true;
                let cut = Status::unavailable("the other side ended the stream");
                let lost = !this.window.waiting.is_empty() || this.input.is_some();
                return Poll::Ready(lost.then(|| Err(rpc_error(&cut))));
            };
            if let Some(answer) = this.answered(answer) {
                this.over = !matches!(answer, Ok(Ok(_)));
                return Poll::Ready(Some(answer));
            }
        }
        if let Poll::Ready(Err(e)) = sent {
            // The answers, which may say why, come first.
            this.over = true;
            return Poll::Ready(Some(Err(e)));
        }
        if this.window.waiting.is_empty() {
            if sent.is_ready() {
                this.over = true;
                return Poll::Ready(None);
            }
        } else if this.patience.as_mut().poll(cx).is_ready() {
            if this.believed {
                cx.waker().wake_by_ref();
                let done = AppendEntriesResponse::Success;
                let answer = this.window.answered(done, this.next.as_ref());
                return answer.map_or(Poll::Pending, |answer| Poll::Ready(Some(answer)));
            }
            this.over = true;
            return Poll::Ready(Some(Err(stalled(PATIENCE))));
        }
        Poll::Pending
    }
}

/// Returns where the other side's log ends once it has taken a request.
fn last_of(request: &AppendEntriesRequest<Types>) -> Option<LogEntryId> {
    let last = request.entries.last().map(|entry| entry.log_id);
    last.or(request.prev_log_id)
}

#[cfg(test)]
mod tests {
    use quorate_types::{EffectiveTiming, Member, Timing};
    use tokio::{sync::watch, time::timeout};

    use super::*;
    use crate::{
        network::PeerDirectory,
        node::PressureGauge,
        storage::raft_types::{LogEntry, StoredVote},
    };

    fn id(index: u64) -> LogEntryId {
        let leader = StoredVote::new(3, 1).leader_id;
        LogEntryId::new(leader, index)
    }

    fn request(previous: u64, last: u64) -> AppendEntriesRequest<Types> {
        let entries = (previous + 1..=last).map(|i| LogEntry {
            log_id: id(i),
            payload: openraft::EntryPayload::Blank,
        });
        AppendEntriesRequest {
            vote: StoredVote::new_committed(3, 1),
            prev_log_id: Some(id(previous)),
            entries: entries.collect(),
            leader_commit: None,
        }
    }

    fn acknowledged(answer: Option<AppendOutcome>) -> Option<u64> {
        answer.map(|a| a.unwrap().unwrap().unwrap().index)
    }

    #[tokio::test]
    async fn connection_waits_for_first_request() {
        let timing = Timing::from_failover_ms(500).unwrap();
        let (sender, timings) = watch::channel(EffectiveTiming::from(timing));
        let pressure = Arc::new(PressureGauge::new(1, timings.clone()));
        let tracker = LeadershipTracker::new(1, sender, timing.lease, pressure, Instant::now());
        let peers = PeerDirectory::new("aa11", timings, None, None);
        let nobody = Member {
            peer: "127.0.0.1:1".to_owned(),
            ..Member::default()
        };
        peers.learn(2, &nobody);
        let client = peers.get(2).unwrap().control;
        let (requests, input) = mpsc::channel(1);
        let mut answers = open(client, ReceiverStream::new(input), tracker.into(), false);
        let early = timeout(Duration::from_millis(200), answers.next()).await;
        assert!(
            early.is_err(),
            "a refusal ends the pause before the request"
        );
        requests.send(request(4, 6)).await.unwrap();
        assert!(answers.next().await.unwrap().is_err());
    }

    #[test]
    fn answers_come_out_in_order() {
        let mut window = AppendWindow::default();
        window.sent(&request(4, 6));
        window.sent(&request(6, 9));
        let success = || AppendEntriesResponse::Success;
        assert_eq!(acknowledged(window.answered(success(), None)), Some(6));
        assert_eq!(acknowledged(window.answered(success(), None)), Some(9));
        assert!(window.answered(success(), None).unwrap().is_err());
    }

    #[test]
    fn an_answer_never_counts_for_a_later_request() {
        let mut window = AppendWindow::default();
        let success = || AppendEntriesResponse::Success;
        window.sent(&request(4, 6));
        // These two carry no entry, only what is committed.
        window.sent(&request(6, 6));
        let unsent = request(6, 6);
        assert_eq!(
            acknowledged(window.answered(success(), Some(&unsent))),
            None
        );
        assert_eq!(
            acknowledged(window.answered(success(), Some(&unsent))),
            None
        );
        window.sent(&unsent);
        assert_eq!(acknowledged(window.answered(success(), None)), Some(6));
    }

    #[test]
    fn a_refusal_is_never_held_back() {
        let mut window = AppendWindow::default();
        window.sent(&request(4, 6));
        window.sent(&request(6, 6));
        let answer = window.answered(AppendEntriesResponse::Conflict, None);
        assert!(answer.unwrap().unwrap().is_err());
        let higher = AppendEntriesResponse::HigherVote(StoredVote::new(4, 2));
        assert!(window.answered(higher, None).unwrap().unwrap().is_err());
    }
}
