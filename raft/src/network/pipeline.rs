//! The log to one member: requests follow each other without waiting for answers.
//!
//! openraft counts an answer for the latest request that it fits, by log id, and takes that
//! request's sending time for its lease. Two requests can end with the same entry (the
//! second only says that it is committed), so an answer to the first would count for the
//! second, which the other side may never see. Therefore an answer is held back while a
//! later request that ends with the same entry waits for its own; and requests are taken
//! from openraft only when it polls for answers, so that none can slip in between the two.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use openraft::{
    errors::RPCError,
    raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult},
};
use quorate_proto::peer;
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::PollSender;
use tonic::{Response, Status, Streaming};

use super::{
    client::{append_request, append_response},
    errors::{rpc_error, stalled},
    peers::Client,
};
use crate::storage::types::{LogId, Types};

/// Messages that may wait for their answers.
const WINDOW: usize = 32;

/// Without an answer for this long the stream is given up and begun anew. Long, because an
/// answer waits for the other side's disk; a vanished peer is noticed by the connection.
const PATIENCE: Duration = Duration::from_secs(10);

type Answer = Result<StreamAppendResult<Types>, RPCError<Types>>;

type Opening = BoxFuture<'static, Result<Response<Streaming<peer::AppendResponse>>, Status>>;

/// The answers, in the order of the requests. The stream is opened when they are first
/// asked for, and the first request does not wait until it is open.
pub(super) fn open<S>(mut client: Client, input: S) -> BoxStream<'static, Answer>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
{
    let (tx, rx) = mpsc::channel(WINDOW);
    let opening = async move { client.append_stream(ReceiverStream::new(rx)).await };
    Box::pin(Pipeline {
        input: Some(input),
        next: None,
        requests: PollSender::new(tx),
        answers: Answers::Opening(opening.boxed()),
        waiting: VecDeque::new(),
        patience: Box::pin(tokio::time::sleep(PATIENCE)),
        over: false,
    })
}

enum Answers {
    Opening(Opening),
    Open(Streaming<peer::AppendResponse>),
}

impl Answers {
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<peer::AppendResponse, Status>>> {
        loop {
            match self {
                Answers::Open(answers) => return answers.poll_next_unpin(cx),
                Answers::Opening(opening) => match ready!(opening.poll_unpin(cx)) {
                    Ok(opened) => *self = Answers::Open(opened.into_inner()),
                    Err(status) => return Poll::Ready(Some(Err(status))),
                },
            }
        }
    }
}

/// A message that waits for its answer.
struct Waiting {
    previous: Option<LogId>,
    last: Option<LogId>,
}

struct Pipeline<S> {
    /// `None` once it has ended.
    input: Option<S>,
    /// Taken from openraft and still to be sent.
    next: Option<AppendEntriesRequest<Types>>,
    requests: PollSender<peer::AppendRequest>,
    answers: Answers,
    waiting: VecDeque<Waiting>,
    patience: Pin<Box<Sleep>>,
    over: bool,
}

impl<S> Pipeline<S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    fn answered(&mut self, answer: Result<peer::AppendResponse, Status>) -> Option<Answer> {
        let answer = match answer.map_err(|s| rpc_error(&s)).and_then(append_response) {
            Ok(answer) => answer,
            Err(e) => return Some(Err(e)),
        };
        let Some(first) = self.waiting.pop_front() else {
            let status = Status::internal("an answer came without a request");
            return Some(Err(rpc_error(&status)));
        };
        self.patience.as_mut().reset(Instant::now() + PATIENCE);
        if let AppendEntriesResponse::Conflict = answer
            && first.previous.is_none()
        {
            let status = Status::internal("a conflict before the log's beginning");
            return Some(Err(rpc_error(&status)));
        }
        let next = self.next.as_ref().map(last_of);
        let mut later = self.waiting.iter().map(|w| w.last).chain(next);
        let held = later.any(|last| last == first.last);
        let result = answer.into_stream_result(first.previous, first.last);
        (result.is_err() || !held).then_some(Ok(result))
    }

    /// Sends what there is to send. Ready when nothing can follow any more.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RPCError<Types>>> {
        let ended = |_| rpc_error(&Status::unavailable("the stream has ended"));
        loop {
            if self.next.is_some() {
                let reserved = ready!(self.requests.poll_reserve(cx));
                reserved.map_err(ended)?;
            }
            if let Some(request) = self.next.take() {
                if self.waiting.is_empty() {
                    self.patience.as_mut().reset(Instant::now() + PATIENCE);
                }
                self.waiting.push_back(Waiting {
                    previous: request.prev_log_id,
                    last: last_of(&request),
                });
                self.requests
                    .send_item(append_request(request))
                    .map_err(ended)?;
            }
            if self.waiting.len() >= WINDOW {
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

impl<S> Stream for Pipeline<S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        // Send first: what is taken from openraft now is known when the answers are looked at.
        let sent = this.send(cx);
        while let Poll::Ready(answer) = this.answers.poll_next(cx) {
            let Some(answer) = answer else {
                this.over = true;
                let cut = Status::unavailable("the other side ended the stream");
                let lost = !this.waiting.is_empty() || this.input.is_some();
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
        if this.waiting.is_empty() {
            if sent.is_ready() {
                this.over = true;
                return Poll::Ready(None);
            }
        } else if this.patience.as_mut().poll(cx).is_ready() {
            this.over = true;
            return Poll::Ready(Some(Err(stalled(PATIENCE))));
        }
        Poll::Pending
    }
}

/// Where the log of the other side ends when it has taken a request.
fn last_of(request: &AppendEntriesRequest<Types>) -> Option<LogId> {
    let last = request.entries.last().map(|entry| entry.log_id);
    last.or(request.prev_log_id)
}
