//! The body of a request: bounded in size, and in how long the client may be silent.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep, timeout};

use super::envelope::Refusal;
use crate::service::{
    headers::strip_trailers,
    upload::{Source, Upload, UploadError},
};

/// How much of a body that nobody wants is read, so that the connection can be kept.
const UNWANTED_BYTES_MAX: usize = 64 << 10;
const UNWANTED_WAIT: Duration = Duration::from_millis(500);

/// A body on its way in.
pub(super) struct RequestBody {
    state: State,
    /// The client waits for leave to send it; reading it would be that leave.
    waits_for_leave: bool,
    ended: bool,
}

enum State {
    Unread(Incoming),
    /// It is passed on as it comes.
    Passed(Upload),
    Read,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, headers: &HeaderMap) -> RequestBody {
        RequestBody {
            ended: incoming.is_end_stream(),
            waits_for_leave: headers.contains_key(header::EXPECT),
            state: State::Unread(incoming),
        }
    }

    /// Reads it all, or says why not.
    pub(super) async fn read(
        &mut self,
        bytes_max: u64,
        silence: Duration,
    ) -> Result<Bytes, Refusal> {
        let source = self.source(bytes_max, silence).map_err(refusal)?;
        let Some(mut source) = source else {
            return Ok(Bytes::new());
        };
        self.waits_for_leave = false;
        let mut whole = BytesMut::new();
        while let Some(frame) = source.frame().await {
            // Trailers are not for services in code.
            let Ok(data) = frame.map_err(refusal)?.into_data() else {
                continue;
            };
            if whole.is_empty() && source.is_end_stream() {
                self.ended = true;
                return Ok(data);
            }
            whole.extend_from_slice(&data);
        }
        self.ended = true;
        Ok(whole.freeze())
    }

    /// The body for an upstream, which is read when the upstream takes it.
    pub(super) fn pass_on(
        &mut self,
        bytes_max: u64,
        silence: Duration,
    ) -> Result<Option<Upload>, Refusal> {
        if self.ended {
            return Ok(None);
        }
        let source = self.source(bytes_max, silence).map_err(refusal)?;
        let upload = source.map(|source| Upload::new(source.boxed_unsync()));
        if let Some(upload) = &upload {
            self.state = State::Passed(upload.clone());
        }
        Ok(upload)
    }

    /// Why a body that was passed on did not come to its end, if it didn't.
    pub(super) fn failure(&self) -> Option<Refusal> {
        match &self.state {
            State::Passed(upload) => upload.failure().map(refusal),
            _ => None,
        }
    }

    /// Whether it has been read to its end.
    pub(super) fn is_ended(&self) -> bool {
        match &self.state {
            State::Passed(upload) => upload.is_ended(),
            _ => self.ended,
        }
    }

    /// Reads a small body that nobody wants. Whether it has ended; if not, what is left
    /// of it would be taken for the next request, so the connection can't be used again.
    pub(super) async fn discard(&mut self) -> bool {
        if self.is_ended() {
            return true;
        }
        let left = match std::mem::replace(&mut self.state, State::Read) {
            State::Unread(incoming) => Some(incoming.map_err(unreadable).boxed_unsync()),
            State::Passed(upload) => {
                let (left, begun) = upload.take_back();
                self.waits_for_leave &= !begun;
                left
            }
            State::Read => None,
        };
        if let Some(left) = left.filter(|_| !self.waits_for_leave) {
            self.ended = timeout(UNWANTED_WAIT, ends(left)).await == Ok(true);
        }
        self.ended
    }

    fn source(
        &mut self,
        bytes_max: u64,
        silence: Duration,
    ) -> Result<Option<Bounded>, UploadError> {
        match std::mem::replace(&mut self.state, State::Read) {
            State::Unread(incoming) if incoming.size_hint().lower() > bytes_max => {
                self.state = State::Unread(incoming);
                Err(UploadError::TooLarge(bytes_max))
            }
            State::Unread(incoming) => Ok(Some(Bounded {
                incoming,
                left: bytes_max,
                bytes_max,
                silence,
                quiet: None,
            })),
            _ => Ok(None),
        }
    }
}

/// Whether a body ends within a few bytes.
async fn ends(mut left: Source) -> bool {
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
struct Bounded {
    incoming: Incoming,
    left: u64,
    bytes_max: u64,
    silence: Duration,
    quiet: Option<Pin<Box<Sleep>>>,
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            let silence = this.silence;
            let quiet = this.quiet.get_or_insert_with(|| Box::pin(sleep(silence)));
            return quiet
                .as_mut()
                .poll(cx)
                .map(|()| Some(Err(UploadError::Silent(silence))));
        };
        this.quiet = None;
        Poll::Ready(frame.map(|frame| {
            let mut frame = frame.map_err(unreadable)?;
            if let Some(trailers) = frame.trailers_mut() {
                strip_trailers(trailers);
            }
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            this.left = this
                .left
                .checked_sub(length)
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

fn unreadable(error: hyper::Error) -> UploadError {
    UploadError::Unreadable(error.to_string())
}

fn refusal(error: UploadError) -> Refusal {
    let status = match &error {
        UploadError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        UploadError::Silent(_) => StatusCode::REQUEST_TIMEOUT,
        UploadError::Unreadable(_) | UploadError::Closed => StatusCode::BAD_REQUEST,
    };
    Refusal::new(status, error.to_string())
}
