//! GET of a small document, by the client of upstreams: whole or not at all.
//!
//! The rules of egress hold for it as for any call, no redirect is followed, and neither its length
//! nor its time is up to who answers.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use quorate_types::error_chain::root_cause;
use tokio::time::timeout;

use super::{outgoing_body::OutgoingBody, upstream_client::UpstreamClient};
use crate::prefixed_body::PrefixedBody;

/// Reason for which there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("its URL can't be asked: {0}")]
    Url(#[from] http::Error),
    #[error("{0}")]
    NoAnswer(String),
    #[error("it was answered with {0}")]
    Status(StatusCode),
    #[error("its answer broke off, or has more than {0} bytes")]
    Body(usize),
    #[error("there was no whole answer within {} s", .0.as_secs())]
    Slow(Duration),
}

/// Returns the document of a URL.
pub(crate) async fn get_document(
    http: &UpstreamClient,
    url: &str,
    bytes_max: usize,
    limit: Duration,
) -> Result<Bytes, DocumentError> {
    let body = OutgoingBody::new(PrefixedBody {
        prefix: Bytes::new(),
        rest: None,
    });
    let request = Request::get(url)
        .header(header::ACCEPT, "application/json")
        .body(body)?;
    let getting = async {
        let answer = http.request(request).await;
        let answer = answer.map_err(|error| DocumentError::NoAnswer(root_cause(&error)))?;
        if answer.status() != StatusCode::OK {
            return Err(DocumentError::Status(answer.status()));
        }
        let whole = Limited::new(answer.into_body(), bytes_max).collect().await;
        let whole = whole.map_err(|_| DocumentError::Body(bytes_max))?;
        Ok(whole.to_bytes())
    };
    timeout(limit, getting)
        .await
        .unwrap_or(Err(DocumentError::Slow(limit)))
}
