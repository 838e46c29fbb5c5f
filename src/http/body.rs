//! The body of a request: whole, bounded in size and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::envelope::Refusal;

/// How much of a body that nobody wants is read, so that the connection can be kept.
const UNWANTED_BYTES_MAX: u64 = 64 << 10;
const UNWANTED_WAIT: Duration = Duration::from_millis(500);

/// A body on its way in.
pub(super) struct RequestBody {
    incoming: Incoming,
    /// The client waits for leave to send it; reading it would be that leave.
    waits_for_leave: bool,
    ended: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, headers: &HeaderMap) -> RequestBody {
        RequestBody {
            ended: incoming.is_end_stream(),
            waits_for_leave: headers.contains_key(header::EXPECT),
            incoming,
        }
    }

    /// Reads it all, or says why not.
    pub(super) async fn read(&mut self, bytes_max: u64, wait: Duration) -> Result<Bytes, Refusal> {
        timeout(wait, self.read_bounded(bytes_max))
            .await
            .unwrap_or_else(|_| {
                Err(Refusal::new(
                    StatusCode::REQUEST_TIMEOUT,
                    format!("the body did not arrive within {} ms", wait.as_millis()),
                ))
            })
    }

    /// Reads a small body that nobody wants. Whether it has ended; if not, what is left
    /// of it would be taken for the next request, so the connection can't be used again.
    pub(super) async fn discard(&mut self) -> bool {
        let announced = self.incoming.size_hint().lower();
        if !self.ended && !self.waits_for_leave && announced <= UNWANTED_BYTES_MAX {
            let _ = timeout(UNWANTED_WAIT, self.read_bounded(UNWANTED_BYTES_MAX)).await;
        }
        self.ended
    }

    async fn read_bounded(&mut self, bytes_max: u64) -> Result<Bytes, Refusal> {
        if self.incoming.size_hint().lower() > bytes_max {
            return Err(too_large(bytes_max));
        }
        self.waits_for_leave = false;
        let mut whole = BytesMut::new();
        while let Some(frame) = self.incoming.frame().await {
            let frame = frame.map_err(|error| {
                Refusal::new(
                    StatusCode::BAD_REQUEST,
                    format!("the body can't be read: {error}"),
                )
            })?;
            // Trailers are not for services.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if (whole.len() + data.len()) as u64 > bytes_max {
                return Err(too_large(bytes_max));
            }
            if whole.is_empty() && self.incoming.is_end_stream() {
                self.ended = true;
                return Ok(data);
            }
            whole.extend_from_slice(&data);
        }
        self.ended = true;
        Ok(whole.freeze())
    }
}

fn too_large(bytes_max: u64) -> Refusal {
    let details = format!("the body is larger than {bytes_max} bytes, the most that is taken here");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, details)
}
