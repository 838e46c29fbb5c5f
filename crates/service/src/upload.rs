//! Body of an HTTP request on its way from the client to an upstream, piece by piece.
//!
//! It is read once, and no further than the upstream takes it. Its beginning is kept, so that a
//! request which surely never arrived can be sent again. The wait for the upstream's answer learns
//! from it when something moved last: an upload may take as long as it flows.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use parking_lot::Mutex;
use quorate_clock::Instant;
use tokio::time::timeout_at;

use super::{api::format_duration, prefixed_body::FramePoll};

/// Bytes of a body that are kept for another try.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Source of the pieces.
pub(crate) type UploadSource = UnsyncBoxBody<Bytes, UploadError>;

/// Reason why a body did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadError {
    /// Longer than its channel allows, in bytes.
    #[error("the body is larger than {0} bytes, the most that is taken here")]
    TooLarge(u64),
    /// The client sent nothing for so long.
    #[error("the body did not go on within {}", format_duration(*.0))]
    Silent(Duration),
    /// The client sent less than so many bytes a second for so long.
    #[error("the body came with less than {rate} bytes a second for {}", format_duration(*.time))]
    Slow { rate: u32, time: Duration },
    /// The client sent what can't be read, or went.
    #[error("the body can't be read: {0}")]
    Unreadable(String),
    /// Nobody wants the rest of it.
    #[error("the request has been answered")]
    Closed,
}

/// A body that can be sent to one upstream after the other.
#[derive(Clone)]
pub(crate) struct ReplayableUpload(Arc<Mutex<UploadState>>);

struct UploadState {
    source: Option<UploadSource>,
    size: SizeHint,
    begun: bool,
    ended: bool,
    failure: Option<UploadError>,
    /// Frames so far; `None` once they are too many to be kept.
    kept: Option<Vec<KeptFrame>>,
    kept_bytes: usize,
    /// Number of the try; earlier tries get nothing any more.
    attempt: u64,
    moved: Instant,
    /// The upstream waits for the client.
    awaits_client: bool,
    /// Waker of the try that sends it.
    waker: Option<Waker>,
}

#[derive(Clone)]
enum KeptFrame {
    Data(Bytes),
    Trailers(http::HeaderMap),
}

impl ReplayableUpload {
    pub(crate) fn new(source: UploadSource) -> ReplayableUpload {
        ReplayableUpload(Arc::new(Mutex::new(UploadState {
            size: source.size_hint(),
            ended: source.is_end_stream(),
            source: Some(source),
            begun: false,
            failure: None,
            kept: Some(Vec::new()),
            kept_bytes: 0,
            attempt: 0,
            moved: Instant::now(),
            awaits_client: false,
            waker: None,
        })))
    }

    /// Returns the body for another try; `None` when too much of it has been read to begin again.
    pub(crate) fn attempt(&self) -> Option<UploadBody> {
        let mut inner = self.0.lock();
        if inner.failure.is_some() || inner.kept.is_none() {
            return None;
        }
        inner.attempt += 1;
        inner.moved = Instant::now();
        inner.awaits_client = false;
        Some(UploadBody {
            attempt: inner.attempt,
            replayed: 0,
            size: inner.size,
            empty: inner.ended && inner.kept.as_ref().is_some_and(Vec::is_empty),
            upload: self.clone(),
        })
    }

    /// Returns true when all of it has been read.
    pub(crate) fn is_ended(&self) -> bool {
        self.0.lock().ended
    }

    /// Returns why it was not read to its end.
    pub(crate) fn failure(&self) -> Option<UploadError> {
        self.0.lock().failure.clone()
    }

    /// Takes the body away from the try that sends it. Returns the rest of it, and true when it was
    /// begun.
    pub(crate) fn take_back(&self) -> (Option<UploadSource>, bool) {
        let mut inner = self.0.lock();
        inner.attempt += 1;
        inner.kept = None;
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
        (inner.source.take(), inner.begun)
    }

    /// Waits for the upstream's answer while this body is sent; `None` when the upstream did
    /// nothing for so long: it neither took more nor answered.
    pub(crate) async fn answer_within<T>(
        &self,
        silence: Duration,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let until = self.moved() + silence;
            if let Ok(answer) = timeout_at(until, answer.as_mut()).await {
                return Some(answer);
            }
            if self.moved() + silence <= Instant::now() {
                return None;
            }
        }
    }

    fn moved(&self) -> Instant {
        let inner = self.0.lock();
        if inner.awaits_client {
            Instant::now()
        } else {
            inner.moved
        }
    }
}

impl UploadState {
    fn keep(&mut self, piece: KeptFrame) {
        if let KeptFrame::Data(data) = &piece {
            self.kept_bytes += data.len();
        }
        if self.kept_bytes > KEPT_BYTES_MAX {
            self.kept = None;
        } else if let Some(kept) = &mut self.kept {
            kept.push(piece);
        }
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<KeptFrame, UploadError>>> {
        let Some(source) = &mut self.source else {
            return Poll::Ready(Some(Err(UploadError::Closed)));
        };
        self.begun = true;
        let polled = Pin::new(&mut *source).poll_frame(cx);
        self.awaits_client = polled.is_pending();
        let Poll::Ready(frame) = polled else {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        self.moved = Instant::now();
        Poll::Ready(match frame {
            None => {
                self.ended = true;
                None
            }
            Some(Err(error)) => {
                self.failure = Some(error.clone());
                Some(Err(error))
            }
            Some(Ok(frame)) => {
                self.ended = source.is_end_stream();
                let piece = match frame.into_data() {
                    Ok(data) => KeptFrame::Data(data),
                    Err(frame) => KeptFrame::Trailers(frame.into_trailers().unwrap_or_default()),
                };
                self.keep(piece.clone());
                Some(Ok(piece))
            }
        })
    }
}

/// Body of one try.
pub(crate) struct UploadBody {
    upload: ReplayableUpload,
    attempt: u64,
    replayed: usize,
    size: SizeHint,
    empty: bool,
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll<UploadError> {
        let upload = self.upload.clone();
        let mut inner = upload.0.lock();
        if inner.attempt != self.attempt {
            return Poll::Ready(Some(Err(UploadError::Closed)));
        }
        let kept = inner.kept.as_ref().and_then(|kept| kept.get(self.replayed));
        let piece = match kept.cloned() {
            Some(piece) => Some(Ok(piece)),
            None if inner.ended => None,
            None => match inner.poll_source(cx) {
                Poll::Ready(piece) => piece,
                Poll::Pending => return Poll::Pending,
            },
        };
        self.replayed += 1;
        Poll::Ready(piece.map(|piece| {
            Ok(match piece? {
                KeptFrame::Data(data) => Frame::data(data),
                KeptFrame::Trailers(trailers) => Frame::trailers(trailers),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.empty
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn upload(pieces: Vec<Result<Frame<Bytes>, UploadError>>) -> ReplayableUpload {
        ReplayableUpload::new(StreamBody::new(stream::iter(pieces)).boxed_unsync())
    }

    fn data(length: usize) -> Result<Frame<Bytes>, UploadError> {
        Ok(Frame::data(vec![b'x'; length].into()))
    }

    #[tokio::test]
    async fn short_body_can_be_sent_again() {
        let upload = upload(vec![data(3), data(4)]);
        let mut first = upload.attempt().unwrap();
        assert_eq!(
            first
                .frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap()
                .len(),
            3
        );
        let second = upload.attempt().unwrap();
        assert_eq!(
            first.frame().await.unwrap().unwrap_err(),
            UploadError::Closed
        );
        assert_eq!(second.collect().await.unwrap().to_bytes().len(), 7);
        assert!(upload.is_ended());
        let third = upload.attempt().unwrap();
        assert_eq!(third.collect().await.unwrap().to_bytes().len(), 7);
    }

    #[tokio::test]
    async fn long_body_is_sent_whole_only_once() {
        let upload = upload(vec![data(KEPT_BYTES_MAX), data(1), data(5)]);
        let first = upload.attempt().unwrap();
        let whole = first.collect().await.unwrap().to_bytes();
        assert_eq!(whole.len(), KEPT_BYTES_MAX + 6);
        assert!(upload.attempt().is_none());
    }

    #[tokio::test]
    async fn failure_is_remembered_and_ends_upload() {
        let upload = upload(vec![data(3), Err(UploadError::TooLarge(3))]);
        let outcome = upload.attempt().unwrap().collect().await;
        assert_eq!(outcome.unwrap_err(), UploadError::TooLarge(3));
        assert_eq!(upload.failure(), Some(UploadError::TooLarge(3)));
        assert!(upload.attempt().is_none());
    }

    #[tokio::test]
    async fn client_pause_is_not_upstream_silence() {
        let pause = Duration::from_millis(150);
        let pieces = stream::unfold(0, move |n| async move {
            tokio::time::sleep(pause).await;
            (n < 3).then(|| (data(1), n + 1))
        });
        let upload = ReplayableUpload::new(StreamBody::new(Box::pin(pieces)).boxed_unsync());
        let body = upload.attempt().unwrap();
        let takes = upload.answer_within(Duration::from_millis(50), body.collect());
        assert_eq!(takes.await.unwrap().unwrap().to_bytes().len(), 3);
        let hangs = std::future::pending::<()>();
        assert_eq!(
            upload.answer_within(Duration::from_millis(50), hangs).await,
            None
        );
    }
}
