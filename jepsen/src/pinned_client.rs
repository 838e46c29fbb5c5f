//! Client that is pinned to one member, and tells apart what it knows of its requests.
//!
//! It repeats nothing and follows nothing, and each request has a connection of its own:
//! on one that was kept, a request that died with it could have been sent or not.

use std::time::Duration;

use quorate_testkit::http;
use reqwest::{Client, Method, StatusCode, header::HeaderMap};

/// Outcome of a request.
#[derive(Clone, Debug)]
pub enum RequestOutcome {
    /// The request was answered.
    Answer(HttpAnswer),
    /// The request surely never left: nobody took the connection.
    NotSent(String),
    /// The request had no answer in time, or the connection broke: anything may have happened, or
    /// may yet.
    Unknown(String),
}

/// Answer to a request.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// The `code` of a problem, if the answer is a problem.
    pub code: Option<String>,
    /// The `Quorate-Revision` of the answer.
    pub revision: Option<u64>,
    /// The `ETag`, if it is a revision.
    pub etag: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// Describes the failure in a few words.
    pub fn describe(&self) -> String {
        match &self.code {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }

    /// Returns whether the answer promises that nothing was or will be done (`docs/operations.md`).
    pub fn surely_not_done(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        match self.status {
            503 => ["no_quorum", "no_leader", "unavailable"].contains(&code),
            400..=499 => true,
            _ => false,
        }
    }
}

/// Client for requests to one member.
#[derive(Clone)]
pub struct PinnedClient {
    client: Client,
    timeout: Duration,
}

impl PinnedClient {
    /// Makes a client that waits so long for an answer.
    pub fn new(timeout: Duration) -> PinnedClient {
        let client = http::builder()
            .build()
            .expect("invariant: the client's options are right");
        PinnedClient { client, timeout }
    }

    /// Sends one request.
    pub async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, String)],
        body: impl Into<reqwest::Body>,
    ) -> RequestOutcome {
        let mut request = self.client.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let asked = async {
            let response = request.send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response.bytes().await?.to_vec();
            Ok((status, headers, body))
        };
        match tokio::time::timeout(self.timeout, asked).await {
            Err(_) => RequestOutcome::Unknown("timeout".to_owned()),
            Ok(Ok((status, headers, body))) => {
                RequestOutcome::Answer(answer(status, &headers, body))
            }
            Ok(Err(error)) => broken(&error),
        }
    }
}

fn broken(error: &reqwest::Error) -> RequestOutcome {
    if error.is_connect() && !error.is_timeout() {
        return RequestOutcome::NotSent("not connected".to_owned());
    }
    RequestOutcome::Unknown(format!("{error:?}"))
}

fn answer(status: StatusCode, headers: &HeaderMap, body: Vec<u8>) -> HttpAnswer {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let problem = text("content-type").is_some_and(|kind| kind.contains("problem+json"));
    let code = problem
        .then(|| serde_json::from_slice::<serde_json::Value>(&body).ok())
        .flatten()
        .and_then(|told| Some(told["code"].as_str()?.to_owned()));
    HttpAnswer {
        status: status.as_u16(),
        code,
        revision: text("quorate-revision").and_then(|value| value.parse().ok()),
        etag: text("etag").and_then(|value| value.trim_matches('"').parse().ok()),
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: Option<&str>) -> bool {
        let answer = HttpAnswer {
            status,
            code: code.map(str::to_owned),
            revision: None,
            etag: None,
            body: Vec::new(),
        };
        answer.surely_not_done()
    }

    #[test]
    fn only_promises_are_failures() {
        assert!(refused(503, Some("no_quorum")) && refused(412, Some("precondition_failed")));
        assert!(!refused(504, Some("unknown_outcome")) && !refused(503, None));
        assert!(!refused(500, Some("internal")) && !refused(200, None));
    }

    #[tokio::test]
    async fn timeout_is_unknown_and_refused_connection_not_sent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let client = PinnedClient::new(Duration::from_millis(100));
        let silent = client.ask(Method::GET, &url, &[], "").await;
        assert!(matches!(silent, RequestOutcome::Unknown(_)), "{silent:?}");
        drop(listener);
        let refused = client.ask(Method::GET, &url, &[], "").await;
        assert!(matches!(refused, RequestOutcome::NotSent(_)), "{refused:?}");
    }

    #[tokio::test]
    async fn connection_cut_after_the_request_is_unknown() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.readable().await.unwrap();
                drop(stream);
            }
        });
        let client = PinnedClient::new(Duration::from_secs(2));
        let cut = client.ask(Method::PUT, &url, &[], "x").await;
        assert!(matches!(cut, RequestOutcome::Unknown(_)), "{cut:?}");
    }
}
