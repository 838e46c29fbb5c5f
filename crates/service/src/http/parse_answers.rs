//! Answers to requests that hyper can't parse, in place of hyper's own.
//!
//! hyper 1 answers such a request by itself, with an empty 400, 414 or 431, and has no hook for it.
//! Every answer of this listener is promised a CID and an envelope, so [`super::client_stream`]
//! replaces the bytes. The place of the status among them is the one thing about hyper's bytes that
//! is relied on, and the test here asks hyper for it.

use bytes::Bytes;
use http::StatusCode;

use super::error_envelope::last_answer;

/// Builds the answer that goes out in place of this one of hyper's.
pub(super) fn instead_of(head: &[u8]) -> Bytes {
    let status = status(head).unwrap_or(StatusCode::BAD_REQUEST);
    let details = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "the request has too many headers, or too long ones"
        }
        StatusCode::URI_TOO_LONG => "the request's path is too long",
        _ => "the request can't be read as HTTP/1.1",
    };
    last_answer(status, details)
}

/// Reads the status that follows `HTTP/1.1 `.
fn status(head: &[u8]) -> Option<StatusCode> {
    StatusCode::from_bytes(head.get(9..12)?).ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Empty;
    use hyper::{Response, body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn hyper_1_writes_the_status_where_it_is_read() {
        let long_path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
        for (request, expected) in [
            ("GET\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\na: 1\r\nb: 2\r\n\r\n", 431),
            (&long_path, 414),
        ] {
            let (mut client, ours) = duplex(1 << 20);
            let service = service_fn(async |_: hyper::Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            });
            let serving = http1::Builder::new()
                .max_headers(1)
                .serve_connection(TokioIo::new(ours), service);
            client.write_all(request.as_bytes()).await.unwrap();
            serving.await.unwrap_err();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            let answer_status = status(&answer).map(|it| it.as_u16());
            let text = String::from_utf8_lossy(&answer);
            assert_eq!(answer_status, Some(expected), "{text}");
        }
    }
}
