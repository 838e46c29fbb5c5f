//! Body of a request: bounded in size, and in how slowly the client may send it.
//!
//! A body that is read whole needs memory for as long as its call takes, of which all requests
//! together have a bounded amount. One that is passed on as it comes needs next to none.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use quorate_clock::Instant;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep_until, timeout},
};

use super::{
    error_envelope::HttpRefusal,
    transfer_pace::{LEAST_RATE, TooSlow, TransferPace},
};
use crate::{
    call_limiter::count_refused,
    headers::strip_trailers,
    prefixed_body::{FramePoll, PrefixedBody},
    upload::{ReplayableUpload, UploadError, UploadSource},
};

/// Bytes of an unwanted body that are read so that the connection can be kept.
const UNWANTED_BYTES_MAX: usize = 64 << 10;
const UNWANTED_WAIT: Duration = Duration::from_millis(500);

/// Longest body that is kept to be sent again.
const REPEATED_BYTES_MAX: usize = 1 << 20;

/// A body on its way in.
pub(super) struct RequestBody {
    state: RequestBodyState,
    /// The client waits for leave to send it; reading it would be that leave.
    waits_for_leave: bool,
    ended: bool,
    /// Memory of all requests, in KiB.
    memory: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

enum RequestBodyState {
    Unread(Incoming),
    /// The body is passed on as it comes.
    Passed(ReplayableUpload),
    Read,
}

impl RequestBody {
    pub(super) fn new(
        incoming: Incoming,
        headers: &HeaderMap,
        memory: Arc<Semaphore>,
    ) -> RequestBody {
        RequestBody {
            ended: incoming.is_end_stream(),
            waits_for_leave: headers.contains_key(header::EXPECT),
            state: RequestBodyState::Unread(incoming),
            memory,
            held: None,
        }
    }

    /// Reads the whole body, or returns why not.
    pub(super) async fn read(
        &mut self,
        bytes_max: u64,
        pace: TransferPace,
    ) -> Result<Bytes, HttpRefusal> {
        let Some(mut source) = self.source(bytes_max, pace).map_err(refusal)? else {
            return Ok(Bytes::new());
        };
        let whole = self.gather(&mut source, usize::MAX).await?;
        if self.ended {
            return Ok(whole);
        }
        count_refused("body");
        let why = "bodies of requests fill the memory that this member has for them; \
                   this one was not handled";
        Err(HttpRefusal::new(StatusCode::SERVICE_UNAVAILABLE, why))
    }

    /// Returns the body for an upstream, which is read when the upstream takes it.
    pub(super) fn pass_on(
        &mut self,
        bytes_max: u64,
        pace: TransferPace,
    ) -> Result<Option<ReplayableUpload>, HttpRefusal> {
        if self.ended {
            return Ok(None);
        }
        let source = self.source(bytes_max, pace).map_err(refusal)?;
        Ok(source.map(|source| self.upload(source.boxed_unsync())))
    }

    /// Reads a short body whole; a longer one is to be passed on as it comes.
    pub(super) async fn read_or_pass_on(
        &mut self,
        bytes_max: u64,
        pace: TransferPace,
    ) -> Result<(Bytes, Option<ReplayableUpload>), HttpRefusal> {
        if self.ended {
            return Ok((Bytes::new(), None));
        }
        let Some(mut source) = self.source(bytes_max, pace).map_err(refusal)? else {
            return Ok((Bytes::new(), None));
        };
        let mut read = Bytes::new();
        if source.size_hint().lower() <= REPEATED_BYTES_MAX as u64 {
            read = self.gather(&mut source, REPEATED_BYTES_MAX).await?;
            if self.ended {
                return Ok((read, None));
            }
        }
        let body = PrefixedBody {
            prefix: read,
            rest: Some(source),
        };
        Ok((Bytes::new(), Some(self.upload(body.boxed_unsync()))))
    }

    fn upload(&mut self, source: UploadSource) -> ReplayableUpload {
        let upload = ReplayableUpload::new(source);
        self.state = RequestBodyState::Passed(upload.clone());
        upload
    }

    /// Reads until the body has ended, or is longer than this, or there is no memory for more.
    async fn gather(
        &mut self,
        source: &mut BoundedBody,
        bytes_max: usize,
    ) -> Result<Bytes, HttpRefusal> {
        self.waits_for_leave = false;
        let mut whole = BytesMut::new();
        while let Some(frame) = source.frame().await {
            // Trailers are not for services in code, nor for a second try.
            let Ok(data) = frame.map_err(refusal)?.into_data() else {
                continue;
            };
            let is_last = source.is_end_stream();
            let has_room = self.reserve(whole.len() + data.len());
            if is_last && has_room && whole.is_empty() && data.len() <= bytes_max {
                self.ended = true;
                return Ok(data);
            }
            whole.extend_from_slice(&data);
            if whole.len() > bytes_max || !has_room {
                return Ok(whole.freeze());
            }
        }
        self.ended = true;
        Ok(whole.freeze())
    }

    /// Reserves memory for so many bytes. Returns false when there is none.
    fn reserve(&mut self, bytes: usize) -> bool {
        let held = self.held.as_ref().map_or(0, |held| held.num_permits());
        let needed = bytes.div_ceil(1 << 10).saturating_sub(held);
        let Ok(needed) = u32::try_from(needed) else {
            return false;
        };
        let Ok(more) = self.memory.clone().try_acquire_many_owned(needed) else {
            return false;
        };
        match &mut self.held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        true
    }

    /// Returns why a body that was passed on did not come to its end, if it didn't.
    pub(super) fn failure(&self) -> Option<HttpRefusal> {
        match &self.state {
            RequestBodyState::Passed(upload) => upload.failure().map(refusal),
            _ => None,
        }
    }

    /// Returns true when the body has been read to its end.
    pub(super) fn is_ended(&self) -> bool {
        match &self.state {
            RequestBodyState::Passed(upload) => upload.is_ended(),
            _ => self.ended,
        }
    }

    /// Reads a small unwanted body. Returns true when it has ended; if not, the rest would be taken
    /// for the next request, so the connection can't be used again.
    pub(super) async fn discard(&mut self) -> bool {
        if self.is_ended() {
            return true;
        }
        let left = match std::mem::replace(&mut self.state, RequestBodyState::Read) {
            RequestBodyState::Unread(incoming) => Some(incoming.map_err(unreadable).boxed_unsync()),
            RequestBodyState::Passed(upload) => {
                let (left, begun) = upload.take_back();
                self.waits_for_leave &= !begun;
                left
            }
            RequestBodyState::Read => None,
        };
        if let Some(left) = left.filter(|_| !self.waits_for_leave) {
            self.ended = timeout(UNWANTED_WAIT, ends(left)).await == Ok(true);
        }
        self.ended
    }

    fn source(
        &mut self,
        bytes_max: u64,
        pace: TransferPace,
    ) -> Result<Option<BoundedBody>, UploadError> {
        match std::mem::replace(&mut self.state, RequestBodyState::Read) {
            RequestBodyState::Unread(incoming) if incoming.size_hint().lower() > bytes_max => {
                self.state = RequestBodyState::Unread(incoming);
                Err(UploadError::TooLarge(bytes_max))
            }
            RequestBodyState::Unread(incoming) => Ok(Some(BoundedBody {
                incoming,
                left: bytes_max,
                bytes_max,
                pace,
                timer: None,
            })),
            _ => Ok(None),
        }
    }
}

/// Returns true when a body ends within a few bytes.
async fn ends(mut left: UploadSource) -> bool {
    let mut read = 0;
    while read <= UNWANTED_BYTES_MAX && left.size_hint().lower() <= UNWANTED_BYTES_MAX as u64 {
        match left.frame().await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
        }
    }
    false
}

/// A body within its bounds.
struct BoundedBody {
    incoming: Incoming,
    left: u64,
    bytes_max: u64,
    pace: TransferPace,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Body for BoundedBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll<UploadError> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            let (until, slow) = this.pace.wait(Instant::now());
            let timer = this
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            ready!(timer.as_mut().poll(cx));
            return Poll::Ready(Some(Err(too_slow(slow))));
        };
        this.timer = None;
        Poll::Ready(frame.map(|frame| {
            let mut frame = frame.map_err(unreadable)?;
            if let Some(trailers) = frame.trailers_mut() {
                strip_trailers(trailers);
            }
            let length = frame.data_ref().map_or(0, Bytes::len);
            this.pace.moved(length, Instant::now());
            this.left = this
                .left
                .checked_sub(length as u64)
                .ok_or(UploadError::TooLarge(this.bytes_max))?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

fn too_slow(slow: TooSlow) -> UploadError {
    match slow {
        TooSlow::Silent(time) => UploadError::Silent(time),
        TooSlow::Dribbling(time) => UploadError::Slow {
            rate: LEAST_RATE,
            time,
        },
    }
}

fn unreadable(error: hyper::Error) -> UploadError {
    UploadError::Unreadable(error.to_string())
}

fn refusal(error: UploadError) -> HttpRefusal {
    let status = match &error {
        UploadError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        UploadError::Silent(_) | UploadError::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
        UploadError::Unreadable(_) | UploadError::Closed => StatusCode::BAD_REQUEST,
    };
    HttpRefusal::new(status, error.to_string())
}
