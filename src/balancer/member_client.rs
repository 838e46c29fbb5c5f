//! The client that asks a member for the cluster's list of members.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use quorate_types::error_chain::root_cause;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::members_tls::MembersTls;

/// The time for a member's whole answer.
const ANSWER: Duration = Duration::from_secs(1);
/// The longest answer that is read.
const ANSWER_BYTES: usize = 1 << 20;

/// A member as the balancer needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BalancedMember {
    /// The order of the members is the order of their ids.
    pub(super) id: u64,
    pub(super) name: String,
    /// `host:port` of the services.
    pub(super) http: String,
    /// `host:port` of the administration, where `/health/ready` is.
    pub(super) admin: String,
}

/// A member's answer about the cluster.
#[derive(Deserialize)]
pub(super) struct ClusterAnswer {
    /// The members, ordered by their ids.
    pub(super) members: Vec<BalancedMember>,
    /// The longest time for which a member may send nothing on a request, in milliseconds; 0 from a
    /// member of a version that doesn't send the field.
    #[serde(default)]
    pub(super) longest_wait_ms: u64,
}

/// Reason why a member gave no list of members.
#[derive(Debug, thiserror::Error)]
pub(super) enum MemberClientError {
    #[error("no answer within {} ms", ANSWER.as_millis())]
    Late,
    #[error("{0} is not a URL that can be asked")]
    NotAUrl(String),
    #[error("{}", root_cause(.0))]
    Unreachable(hyper_util::client::legacy::Error),
    #[error("its answer can't be read: {0}")]
    Unreadable(Box<dyn std::error::Error + Send + Sync>),
    #[error("its answer is not a list of members: {0}")]
    NotAList(serde_json::Error),
    #[error("it answered with no member at all")]
    NoMember,
    #[error("it answered {0}")]
    Refused(StatusCode),
    #[error(
        "it answered {0}: it asks who the balancer is. Give it a token whose identity may read the cluster, `token_file` in its settings"
    )]
    NotKnown(StatusCode),
    #[error("the token file {}: {problem}", path.display())]
    Token { path: PathBuf, problem: String },
    #[error(
        "it answered {status}, since it does not answer to the name in {admin}: add the name to admin.allowed_hosts of that member, or put the name in its admin.advertise into `members` of the balancer"
    )]
    ForbiddenHost { status: StatusCode, admin: String },
}

/// The client that asks members. hyper's own and not the one of [`quorate_platform::http_client`],
/// which speaks TLS as well and so can't be made on a machine without CA certificates.
pub(super) struct MemberClient {
    client: SchemeClient,
    scheme: &'static str,
    token_file: Option<PathBuf>,
}

/// hyper's client, by the scheme that members speak.
enum SchemeClient {
    Http(Client<HttpConnector, Empty<Bytes>>),
    Https(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>),
}

impl MemberClient {
    /// `token_file` has the token that is shown to the members; it is read for each call, so that it
    /// can be replaced.
    pub(super) fn new(tls: Option<&MembersTls>, token_file: Option<PathBuf>) -> MemberClient {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(ANSWER / 2));
        connector.set_nodelay(true);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(1);
        let Some(tls) = tls else {
            return MemberClient {
                client: SchemeClient::Http(builder.build(connector)),
                scheme: "http",
                token_file,
            };
        };
        connector.enforce_http(false);
        let mut config = tls.client();
        // The connector asks for HTTP/1.1 by itself, and wants to be the only one that does.
        config.alpn_protocols.clear();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .wrap_connector(connector);
        MemberClient {
            client: SchemeClient::Https(builder.build(connector)),
            scheme: "https",
            token_file,
        }
    }

    /// Asks the member whose administration is at `admin` (`host:port`).
    pub(super) async fn members(&self, admin: &str) -> Result<ClusterAnswer, MemberClientError> {
        let answer = timeout(ANSWER, self.ask(admin)).await;
        answer.map_err(|_| MemberClientError::Late)?
    }

    async fn ask(&self, admin: &str) -> Result<ClusterAnswer, MemberClientError> {
        let url = format!("{}://{admin}/v1/cluster/members", self.scheme);
        let mut request = Request::get(&url)
            .body(Empty::new())
            .map_err(|_| MemberClientError::NotAUrl(url.clone()))?;
        if let Some(file) = &self.token_file {
            let token = bearer(file).await?;
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        let reply = match &self.client {
            SchemeClient::Http(client) => client.request(request).await,
            SchemeClient::Https(client) => client.request(request).await,
        };
        let reply = reply.map_err(MemberClientError::Unreachable)?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), ANSWER_BYTES)
            .collect()
            .await;
        if !status.is_success() {
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            return Err(refusal(admin, status, &body));
        }
        let body = body.map_err(MemberClientError::Unreadable)?;
        parse(&body.to_bytes())
    }
}

/// Reads the token, as it is shown.
async fn bearer(file: &Path) -> Result<HeaderValue, MemberClientError> {
    let wrong = |problem: String| MemberClientError::Token {
        path: file.to_owned(),
        problem,
    };
    let text = tokio::fs::read_to_string(file).await;
    let text = text.map_err(|error| wrong(error.to_string()))?;
    let value = HeaderValue::try_from(format!("Bearer {}", text.trim()));
    let mut value = value.map_err(|_| wrong("it must have a token, and nothing else".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads an answer with an error's status.
fn refusal(admin: &str, status: StatusCode, body: &[u8]) -> MemberClientError {
    #[derive(Deserialize)]
    struct ProblemCode {
        code: String,
    }
    let code = serde_json::from_slice::<ProblemCode>(body).map(|it| it.code);
    if code.is_ok_and(|it| it == "forbidden_host") {
        return MemberClientError::ForbiddenHost {
            status,
            admin: admin.to_owned(),
        };
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => MemberClientError::NotKnown(status),
        _ => MemberClientError::Refused(status),
    }
}

/// Reads an answer. An empty list is an error: a balancer in front of no member helps nobody.
pub(super) fn parse(body: &[u8]) -> Result<ClusterAnswer, MemberClientError> {
    let mut answer: ClusterAnswer =
        serde_json::from_slice(body).map_err(MemberClientError::NotAList)?;
    if answer.members.is_empty() {
        return Err(MemberClientError::NoMember);
    }
    answer.members.sort_by_key(|member| member.id);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_host_error_names_the_remedy() {
        let told =
            |body: &[u8]| refusal("quorate.example:17110", StatusCode::FORBIDDEN, body).to_string();
        let error = told(br#"{"code": "forbidden_host", "status": 403}"#);
        for part in [
            "403",
            "quorate.example:17110",
            "admin.allowed_hosts",
            "admin.advertise",
            "`members`",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        for body in [&br#"{"code": "forbidden"}"#[..], b"<html>", b""] {
            let error = told(body);
            assert!(
                error.contains("403") && error.contains("`token_file`"),
                "{error}"
            );
        }
    }
}
