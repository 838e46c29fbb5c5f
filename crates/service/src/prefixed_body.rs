//! Body that begins with bytes in memory, and may go on with another body.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Outcome of a look for the next frame of a body.
pub(crate) type FramePoll<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

/// The bytes, then the rest.
pub(crate) struct PrefixedBody<B> {
    pub prefix: Bytes,
    pub rest: Option<B>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for PrefixedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll<B::Error> {
        if !self.prefix.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut self.prefix)))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let prefix = self.prefix.len() as u64;
        let Some(rest) = self.rest.as_ref().map(Body::size_hint) else {
            return SizeHint::with_exact(prefix);
        };
        let mut both = SizeHint::new();
        both.set_lower(prefix + rest.lower());
        if let Some(upper) = rest.upper() {
            both.set_upper(prefix + upper);
        }
        both
    }
}
