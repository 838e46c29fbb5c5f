//! Body of a request as the HTTP client sends it.

use std::{
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::Context,
};

use bytes::Bytes;
use http::Extensions;
use http_body::{Body, SizeHint};
use hyper_util::client::legacy::connect::CaptureConnection;

use super::upstream_stream::RequestMark;
use crate::{
    prefixed_body::{FramePoll, PrefixedBody},
    upload::{UploadBody, UploadError},
};

/// A body that marks the beginning of its request at the connection that sends it: hyper asks
/// whether there is one right before it writes the head.
pub(crate) struct OutgoingBody {
    content: PrefixedBody<UploadBody>,
    connection: Option<CaptureConnection>,
    begun: AtomicBool,
}

impl OutgoingBody {
    pub(super) fn new(content: PrefixedBody<UploadBody>) -> OutgoingBody {
        OutgoingBody {
            content,
            connection: None,
            begun: AtomicBool::new(false),
        }
    }

    /// Sets the connection that its request goes to.
    pub(super) fn on(&mut self, connection: CaptureConnection) {
        self.connection = Some(connection);
    }

    fn mark_beginning(&self) {
        let Some(connection) = &self.connection else {
            return;
        };
        if self.begun.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(connected) = &*connection.connection_metadata() {
            let mut extras = Extensions::new();
            connected.get_extras(&mut extras);
            if let Some(mark) = extras.get::<RequestMark>() {
                mark.begin();
            }
        }
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll<UploadError> {
        Pin::new(&mut self.content).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.mark_beginning();
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
