//! The rest of a body whose request was answered already, for example because it is too long.
//!
//! The rest is read for a while and thrown away: a connection that is closed over unread data is
//! reset, and the client, which still writes, sees a broken pipe instead of the answer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    middleware::Next,
    response::Response,
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{runtime::Handle, time::timeout};

/// The bytes that are read; a client that sends more is cut off.
const BYTES_MAX: usize = 256 << 20;
/// The time for which they are read.
const WAIT: Duration = Duration::from_secs(10);

/// Answers a request, and drains the rest of its body.
pub(super) async fn drain_unread(request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(DrainedBody(Some(body)))))
        .await
}

/// A body that is drained; dropped once its end was seen.
struct DrainedBody(Option<Body>);

impl HttpBody for DrainedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.0.as_ref().map(HttpBody::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for DrainedBody {
    fn drop(&mut self) {
        let unread = self.0.take().filter(|body| !body.is_end_stream());
        let (Some(body), Ok(runtime)) = (unread, Handle::try_current()) else {
            return;
        };
        // As many at a time as there are connections.
        runtime.spawn(timeout(WAIT, throw_away(body)));
    }
}

async fn throw_away(mut body: Body) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > BYTES_MAX {
            return;
        }
    }
}
