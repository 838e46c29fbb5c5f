//! Error envelope as clients of the original system know it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

/// Refusal of a request that no service answers.
#[derive(Debug)]
pub(super) struct HttpRefusal {
    pub status: StatusCode,
    pub details: String,
    /// Header that goes with the status: `Allow`, `Retry-After`, `WWW-Authenticate`.
    pub header: Option<(HeaderName, HeaderValue)>,
}

impl HttpRefusal {
    pub(super) fn new(status: StatusCode, details: impl Into<String>) -> HttpRefusal {
        // A request that was not handled for want of something may be a moment later.
        let retry_after = status == StatusCode::SERVICE_UNAVAILABLE;
        HttpRefusal {
            status,
            details: details.into(),
            header: retry_after.then(|| (header::RETRY_AFTER, HeaderValue::from_static("1"))),
        }
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> HttpRefusal {
        self.header = Some((name, value));
        self
    }
}

/// Builds the body of an error.
pub(super) fn error(cid: &str, details: &str) -> Bytes {
    let details = serde_json::Value::from(details);
    format!(r#"{{"zato_env": {{"result": "ZATO_ERROR", "cid": "{cid}", "details": {details}}}}}"#)
        .into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_text_makes_good_json() {
        let body = super::error("K1", "a \"quoted\"\nline");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["zato_env"]["details"], "a \"quoted\"\nline");
        assert_eq!(json["zato_env"]["cid"], "K1");
        assert_eq!(json["zato_env"]["result"], "ZATO_ERROR");
    }
}
