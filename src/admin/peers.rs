//! The client by which a member calls the administration API of others, within a deadline.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST},
};
use quorate_platform::http_client::{self, ResponseError, read_bounded};
use quorate_service::headers::{strip_hop_by_hop, strip_identity};
use quorate_state::State;
use quorate_tls::MemberTls;
use quorate_types::error_chain::root_cause;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use url::{Position, Url};

use super::{
    authenticate::now_ms,
    caller::Caller,
    on_behalf::{self, ON_BEHALF, VouchedPrincipal},
};

/// The time for a connection. A member that is there accepts at once; one that doesn't was surely
/// not asked.
pub const CONNECT: Duration = Duration::from_millis(500);

/// The longest answer that is read. A reply of a queue's other side is at most 16 MiB, and ten
/// thousand connectors take less.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The header that marks a request as passed on by a member: its receiver answers for itself, so
/// that two members that each take the other for the leader don't ask in circles.
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

/// Reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The member surely was not asked.
    #[error("{0} can't be reached: {cause}", cause = peer_cause(.1))]
    NotAsked(String, reqwest::Error),
    /// The member may have been asked.
    #[error("{0} gave no answer: {cause}", cause = peer_cause(.1))]
    NoAnswer(String, reqwest::Error),
    /// The member answers something else than was expected.
    #[error("the answer of {0} is not understood: {1}")]
    NotUnderstood(String, String),
}

/// Returns the cause in the words of a member that asks another.
fn peer_cause(error: &reqwest::Error) -> String {
    match (error.is_timeout(), error.is_connect()) {
        (true, true) => format!(
            "no connection within {} ms; is the name of its host known here, and is its port reachable?",
            CONNECT.as_millis()
        ),
        (true, false) => "it did not answer in time".into(),
        (false, _) => root_cause(error),
    }
}

/// The client of the other members' administration API. What it asks bears the word of this member
/// for whom it asks, as soon as the cluster has a key for it.
#[derive(Clone)]
pub struct AdminPeers {
    http: reqwest::Client,
    scheme: &'static str,
    principal: VouchedPrincipal,
    state: Arc<OnceLock<watch::Receiver<Arc<State>>>>,
    /// The token of a newcomer, which has no state yet.
    token: Option<Arc<str>>,
}

impl fmt::Debug for AdminPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminPeers")
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

impl AdminPeers {
    /// Makes the client; with TLS it speaks nothing else. Connections are kept for the next call.
    pub fn new(tls: Option<&MemberTls>) -> Result<AdminPeers, reqwest::Error> {
        let builder = http_client::builder()
            .pool_max_idle_per_host(2)
            // A member closes a connection that is idle for 30 s, perhaps as the next call sets out.
            .pool_idle_timeout(Duration::from_secs(10))
            .connect_timeout(CONNECT);
        let (builder, scheme) = match tls {
            None => (builder, "http"),
            Some(tls) => {
                let builder = builder.tls_backend_preconfigured(tls.admin_client());
                (builder.https_only(true), "https")
            }
        };
        let http = builder.build()?;
        Ok(AdminPeers {
            http,
            scheme,
            principal: VouchedPrincipal::default(),
            state: Arc::default(),
            token: None,
        })
    }

    /// Has the client, and all copies of it, vouch for whom it asks by the key in this state.
    pub fn vouch_by(&self, state: watch::Receiver<Arc<State>>) {
        let _ = self.state.set(state);
    }

    /// Returns a client that shows a token while it can't vouch for anybody.
    pub fn with_token(self, token: Option<Arc<str>>) -> AdminPeers {
        AdminPeers { token, ..self }
    }

    /// Returns a client that asks on behalf of a caller of this member.
    pub(super) fn on_behalf_of(&self, caller: &Caller) -> AdminPeers {
        AdminPeers {
            principal: VouchedPrincipal::of_caller(caller),
            ..self.clone()
        }
    }

    /// Begins a request at `admin` (`host:port`), marked as one of a member.
    fn request(
        &self,
        method: Method,
        admin: &str,
        path_and_query: &str,
        headers: HeaderMap,
    ) -> reqwest::RequestBuilder {
        let url = format!("{}://{admin}{path_and_query}", self.scheme);
        let mut request = self.http.request(method.clone(), &url).headers(headers);
        request = request.header(PASSED_ON, "1");
        if let Some(voucher) = self.voucher(&method, &url) {
            request = request.header(ON_BEHALF, voucher);
        } else if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request
    }

    /// Signs for a request, as it will be sent.
    fn voucher(&self, method: &Method, url: &str) -> Option<HeaderValue> {
        let state = self.state.get()?.borrow().clone();
        let key = state.access().voucher_key()?;
        let url = Url::parse(url).ok()?;
        let path = &url[Position::BeforePath..Position::AfterQuery];
        on_behalf::sign(key, &self.principal, method, path, now_ms())
    }

    /// Sends a request to `admin` (`host:port`) and returns its answer, whatever the status.
    pub async fn ask(
        &self,
        method: Method,
        admin: &str,
        path: &str,
        body: Option<serde_json::Value>,
        wait: Duration,
    ) -> Result<PeerAnswer, PeerError> {
        let request = self.request(method, admin, path, HeaderMap::new());
        let mut request = request.timeout(wait);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(admin, request).await
    }

    /// Passes a POST on as it came, except for headers of its own connection.
    pub async fn pass_on(
        &self,
        admin: &str,
        path_and_query: &str,
        mut headers: HeaderMap,
        body: Bytes,
        wait: Duration,
    ) -> Result<PeerAnswer, PeerError> {
        strip_hop_by_hop(&mut headers);
        // Credentials that the caller showed to this member are not shown to another.
        strip_identity(&mut headers);
        for name in [HOST, CONTENT_LENGTH, EXPECT] {
            headers.remove(name);
        }
        headers.remove(PASSED_ON);
        let request = self.request(Method::POST, admin, path_and_query, headers);
        let request = request.body(body).timeout(wait);
        answer(admin, request).await
    }

    /// Gets JSON.
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
    let response = request.send().await.map_err(|error| {
        if error.is_connect() {
            PeerError::NotAsked(admin.to_owned(), error)
        } else {
            PeerError::NoAnswer(admin.to_owned(), error)
        }
    })?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = read_bounded(response, ANSWER_BYTES_MAX)
        .await
        .map_err(|error| match error {
            ResponseError::Broken(error) => PeerError::NoAnswer(admin.to_owned(), error),
            ResponseError::TooLong(_) => {
                PeerError::NotUnderstood(admin.to_owned(), error.to_string())
            }
        })?;
    Ok(PeerAnswer {
        status,
        headers,
        body,
    })
}

/// Returns the answer as it came, except for headers of its own connection.
impl IntoResponse for PeerAnswer {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        for name in [CONTENT_TYPE, super::revision_headers::QUORATE_REVISION] {
            if let Some(value) = self.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unreachable_member_error_names_the_cause() {
        let peers = AdminPeers::new(None).unwrap();
        let wait = Duration::from_secs(5);
        for (admin, cause) in [
            ("nowhere.invalid:17110", "lookup"),
            ("127.0.0.1:1", "refused"),
        ] {
            let asked = peers
                .ask(Method::GET, admin, "/health/live", None, wait)
                .await;
            let text = asked.unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("{admin} can't be reached: "))
                    && (text.contains(cause) || text.contains("is the name of its host known"))
                    && !text.contains("error sending request"),
                "{text}"
            );
        }
    }
}
