//! Asks other members' admin faces for what only they know, within a deadline.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST},
};
use serde::de::DeserializeOwned;

use crate::service::headers::strip_hop_by_hop;

/// A member that is there takes a connection at once; one that doesn't was surely not asked.
const CONNECT: Duration = Duration::from_millis(500);

/// Marks a request that a member has passed on: its receiver answers for itself, so that
/// two members that each take the other for the leader don't ask in circles.
pub const PASSED_ON: http::HeaderName = http::HeaderName::from_static("quorate-passed-on");

/// A member's answer.
#[derive(Debug)]
pub struct PeerAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It surely was not asked.
    #[error("{0} can't be reached: {1}")]
    NotAsked(String, reqwest::Error),
    /// It may have been asked.
    #[error("{0} gave no answer: {1}")]
    NoAnswer(String, reqwest::Error),
    /// It does not answer what was expected.
    #[error("the answer of {0} is not understood: {1}")]
    NotUnderstood(String, String),
}

/// A client of the other members' admin faces.
#[derive(Clone, Debug)]
pub struct Peers {
    http: reqwest::Client,
}

impl Peers {
    /// Connections are kept for the next question.
    pub fn new() -> Result<Peers, reqwest::Error> {
        crate::tls::install_provider();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(2)
            .connect_timeout(CONNECT)
            .build()?;
        Ok(Peers { http })
    }

    /// Sends a request to `admin` (`host:port`) and gives its answer, whatever it is.
    pub async fn ask(
        &self,
        method: Method,
        admin: &str,
        path: &str,
        body: Option<serde_json::Value>,
        wait: Duration,
    ) -> Result<PeerAnswer, PeerError> {
        let mut request = self
            .http
            .request(method, format!("http://{admin}{path}"))
            .header(PASSED_ON, "1")
            .timeout(wait);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(admin, request).await
    }

    /// Passes a POST on as it came, but for what belongs to its own connection.
    pub async fn pass_on(
        &self,
        admin: &str,
        path_and_query: &str,
        mut headers: HeaderMap,
        body: Bytes,
        wait: Duration,
    ) -> Result<PeerAnswer, PeerError> {
        strip_hop_by_hop(&mut headers);
        for name in [HOST, CONTENT_LENGTH, EXPECT] {
            headers.remove(name);
        }
        let request = self
            .http
            .post(format!("http://{admin}{path_and_query}"))
            .headers(headers)
            .header(PASSED_ON, "1")
            .body(body)
            .timeout(wait);
        answer(admin, request).await
    }

    /// GET of JSON.
    pub async fn get<T: DeserializeOwned>(
        &self,
        admin: &str,
        path: &str,
        wait: Duration,
    ) -> Result<T, PeerError> {
        let answer = self.ask(Method::GET, admin, path, None, wait).await?;
        let not_understood = |why: String| PeerError::NotUnderstood(admin.to_owned(), why);
        if !answer.status.is_success() {
            return Err(not_understood(format!("it answered {}", answer.status)));
        }
        serde_json::from_slice(&answer.body).map_err(|error| not_understood(error.to_string()))
    }
}

async fn answer(admin: &str, request: reqwest::RequestBuilder) -> Result<PeerAnswer, PeerError> {
    let response = request
        .send()
        .await
        .map_err(|error| match error.is_connect() {
            true => PeerError::NotAsked(admin.to_owned(), error),
            false => PeerError::NoAnswer(admin.to_owned(), error),
        })?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response
        .bytes()
        .await
        .map_err(|error| PeerError::NoAnswer(admin.to_owned(), error))?;
    Ok(PeerAnswer {
        status,
        headers,
        body,
    })
}

/// Told as it came, but for headers of the way.
impl IntoResponse for PeerAnswer {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        for name in [CONTENT_TYPE, super::revision::QUORATE_REVISION] {
            if let Some(value) = self.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }
}
