//! The body of a request: whole, bounded in size and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::envelope::Refusal;

/// How much of a body that nobody wants is read, so that the connection can be kept.
const UNWANTED_BYTES_MAX: u64 = 64 << 10;
const UNWANTED_WAIT: Duration = Duration::from_millis(500);

/// Reads it all, or says why not.
pub(super) async fn read(
    body: &mut Incoming,
    bytes_max: u64,
    wait: Duration,
) -> Result<Bytes, Refusal> {
    let too_large = || {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {bytes_max} bytes, the most that this channel takes"),
        )
    };
    if body.size_hint().lower() > bytes_max {
        return Err(too_large());
    }
    let whole = async {
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
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
                return Err(too_large());
            }
            if whole.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    timeout(wait, whole).await.unwrap_or_else(|_| {
        Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {} ms", wait.as_millis()),
        ))
    })
}

/// Reads a small body that nobody wants. Whether it has ended; if not, the connection can't
/// be used again.
pub(super) async fn discard(body: &mut Incoming) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if body
        .size_hint()
        .upper()
        .is_none_or(|upper| upper > UNWANTED_BYTES_MAX)
    {
        return false;
    }
    let rest = async {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    timeout(UNWANTED_WAIT, rest).await.unwrap_or(false)
}
