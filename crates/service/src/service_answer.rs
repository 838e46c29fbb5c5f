//! Answer of a service on its way to an HTTP client: whole, or a stream.
//!
//! Services in code answer whole. An upstream's answer is a stream that is read no further than the
//! client takes it; a caller that wants it whole reads it within a bound.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use quorate_clock::Instant;
use quorate_log::RateLimit;
use quorate_types::error_chain::root_cause;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep, timeout_at},
};

use super::{
    api::{Reply, format_duration},
    call_limiter::CallPermit,
    prefixed_body::FramePoll,
    upload::ReplayableUpload,
};

/// Each answer may bring the line about.
static CUT_SHORT: RateLimit = RateLimit::each_second();

/// Answer of a service.
pub(crate) struct ServiceAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: ServiceAnswerBody,
    /// With 101.
    pub tunnel: Option<UpstreamTunnel>,
}

/// Connection to an upstream, once it speaks another protocol.
pub(crate) struct UpstreamTunnel {
    pub upstream: OnUpgrade,
    /// Permit that is kept until it ends.
    pub websocket_permit: Option<OwnedSemaphorePermit>,
}

/// Body of an answer.
pub(crate) enum ServiceAnswerBody {
    Whole(Bytes),
    Stream(Box<UpstreamDownload>),
}

impl ServiceAnswer {
    /// Keeps the call's place until the body has come to its end.
    pub(crate) fn hold(&mut self, call_permit: CallPermit) {
        if let ServiceAnswerBody::Stream(download) = &mut self.body {
            download.call_permit = Some(call_permit);
        }
    }
}

impl From<Reply> for ServiceAnswer {
    fn from(reply: Reply) -> ServiceAnswer {
        ServiceAnswer {
            status: reply.status,
            headers: reply.headers,
            body: ServiceAnswerBody::Whole(reply.body),
            tunnel: None,
        }
    }
}

/// Reason why a body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    #[error("the answer broke off: {0}")]
    Broken(String),
    #[error("the answer did not go on within {}", format_duration(*.0))]
    Silent(Duration),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("the answer has not ended in time")]
    TimedOut,
}

impl DownloadError {
    /// Returns a text that is the same for all errors of a kind: their own texts may differ each
    /// time.
    fn kind(&self) -> &'static str {
        match self {
            DownloadError::Broken(_) => "broken",
            DownloadError::Silent(_) => "silent",
            DownloadError::TooLong(_) => "too long",
            DownloadError::TimedOut => "timed out",
        }
    }
}

/// Body of an upstream's answer.
pub(crate) struct UpstreamDownload {
    incoming: Incoming,
    /// Longest time for which nothing may come.
    silence: Duration,
    quiet: Option<Pin<Box<Sleep>>>,
    /// Correlation id of its request, for the log.
    cid: String,
    /// Body that is still being sent to the upstream.
    upload: Option<ReplayableUpload>,
    call_permit: Option<CallPermit>,
}

impl UpstreamDownload {
    pub(crate) fn new(
        incoming: Incoming,
        silence: Duration,
        cid: String,
        upload: Option<ReplayableUpload>,
    ) -> UpstreamDownload {
        UpstreamDownload {
            incoming,
            silence,
            quiet: None,
            cid,
            upload,
            call_permit: None,
        }
    }

    /// Returns all of it, within bounds.
    pub(crate) async fn whole(
        self,
        bytes_max: usize,
        deadline: Instant,
    ) -> Result<Bytes, DownloadError> {
        if self.size_hint().lower() > bytes_max as u64 {
            return Err(DownloadError::TooLong(bytes_max));
        }
        let reading = Limited::new(self, bytes_max).collect();
        match timeout_at(deadline, reading).await {
            Err(_) => Err(DownloadError::TimedOut),
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(error)) => Err(match error.downcast::<DownloadError>() {
                Ok(error) => *error,
                Err(_) => DownloadError::TooLong(bytes_max),
            }),
        }
    }

    /// Returns the part that comes within bounds.
    pub(crate) async fn beginning(mut self, bytes_max: usize, deadline: Instant) -> Bytes {
        let mut read = bytes::BytesMut::new();
        while read.len() < bytes_max {
            let Ok(Some(Ok(frame))) = timeout_at(deadline, self.frame()).await else {
                break;
            };
            read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
        }
        read.truncate(bytes_max);
        read.freeze()
    }
}

impl Body for UpstreamDownload {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll<DownloadError> {
        let this = &mut *self;
        let error =
            match Pin::new(&mut this.incoming).poll_frame(cx) {
                Poll::Ready(Some(Err(error))) => DownloadError::Broken(root_cause(&error)),
                Poll::Ready(frame) => {
                    this.quiet = None;
                    return Poll::Ready(frame.map(|frame| {
                        frame.map_err(|error| DownloadError::Broken(error.to_string()))
                    }));
                }
                Poll::Pending => {
                    let silence = this.silence;
                    let quiet = this.quiet.get_or_insert_with(|| Box::pin(sleep(silence)));
                    if quiet.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    DownloadError::Silent(silence)
                }
            };
        if let Some(left_out) = CUT_SHORT.due(error.kind()) {
            tracing::warn!(cid = this.cid, %error, left_out, "an answer was cut short");
        }
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for UpstreamDownload {
    fn drop(&mut self) {
        // The rest of the request is of no use to an upstream that has answered.
        if let Some(upload) = self.upload.take() {
            upload.take_back();
        }
    }
}
