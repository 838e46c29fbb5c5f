//! Error envelope as clients of the original system know it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::cid;
use crate::Reply;

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

    /// Refuses a method; `allow` lists those that are taken.
    pub(super) fn wrong_method(method: &Method, allow: &str) -> HttpRefusal {
        let details = format!("{method} is not taken here; {allow} would be");
        let refusal = HttpRefusal::new(StatusCode::METHOD_NOT_ALLOWED, details);
        match HeaderValue::from_str(allow) {
            Ok(allow) => refusal.with(header::ALLOW, allow),
            Err(_) => refusal,
        }
    }

    pub(super) fn into_reply(self, cid: &str) -> Reply {
        let mut reply = Reply::json(error(cid, &self.details));
        reply.status = self.status;
        reply.headers.extend(self.header);
        reply
    }
}

/// Builds the body of an error.
pub(super) fn error(cid: &str, details: &str) -> Bytes {
    let details = serde_json::Value::from(details);
    format!(r#"{{"zato_env": {{"result": "ZATO_ERROR", "cid": "{cid}", "details": {details}}}}}"#)
        .into()
}

/// Builds a whole answer with an envelope, for a connection that ends with it.
pub(super) fn last_answer(status: StatusCode, details: &str) -> Bytes {
    let cid = cid::fresh();
    let body = error(&cid, details);
    let retry_after = match status {
        StatusCode::SERVICE_UNAVAILABLE => "retry-after: 1\r\n",
        _ => "",
    };
    metrics::counter!("quorate_http_requests_total", "channel" => "", "status" => status.as_str().to_owned())
        .increment(1);
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-zato-cid: {cid}\r\n\
         connection: close\r\n{retry_after}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat().into()
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
