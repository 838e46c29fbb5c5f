//! Closer of connections that former connector servers left at the broker, by its management API.
//!
//! A holder that hangs, or whose host has vanished, keeps its connection until the broker's
//! heartbeat runs out: with it an exclusive consumer, and the messages that it had been sent. Its
//! successor knows the connection's name from the replicated state and asks the broker (RabbitMQ)
//! to close it. Where two holders were lost in a row, the first may have left a connection that the
//! second never got to close: so the connections of all silent members are closed, as soon as each
//! member has had the time to let itself be heard. A silent one that never was the holder loses a
//! connection that stood by.
//!
//! A close is asked for only once no lease of an earlier epoch can run: before that the old holder
//! may lawfully be handling messages, and the close would hand them out a second time. Nothing
//! waits for the close: an activation that needs it is refused by the broker until it has worked,
//! and tries again; one that doesn't goes on meanwhile.
//!
//! A connection's name is `address:port -> address:port`, and ports are used again. So the
//! connection of that name is closed only if it bears the label that the old holder's process gave
//! it; where addresses are translated on the way, and the name is another, the connection is found
//! by the label.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quorate_clock::Instant;
use quorate_platform::{
    egress::EgressRefusal,
    egress_client::{EgressClient, EgressClientError},
    http_client::{ResponseError, read_bounded},
};
use quorate_state::BrokerConnection;
use quorate_types::{backoff::Backoff, error_chain::whole_chain};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::{task::AbortHandle, time::sleep};
use tracing::{debug, info, warn};

use super::connector_spec::{ConnectorKey, ConnectorSpec};

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Longest answer that is read: a hundred thousand connections, and more.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Time after which the broker's heartbeat has closed the connection, or nothing will.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for which a connection that isn't listed is looked for again: the broker shows new ones
/// with a delay of some seconds. After it the connection has gone.
const LISTING_DELAY_MAX: Duration = Duration::from_secs(6);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(2);

/// Connections to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StaleConnections {
    /// Epoch of the reign that closes them.
    pub epoch: u64,
    /// Time before which they may not be closed.
    pub from: Instant,
    /// Names and labels of the connections.
    pub connections: Vec<BrokerConnection>,
}

/// Closer of one set of connections at a time; dropping it stops the closing.
#[derive(Default)]
pub(crate) struct ConnectionCloser {
    last: Option<StaleConnections>,
    tasks: Vec<AbortHandle>,
}

impl ConnectionCloser {
    /// Begins to close these connections, unless that has begun before. `None`: there is nothing to
    /// close any more.
    pub(crate) fn follow(
        &mut self,
        http: &EgressClient,
        spec: &ConnectorSpec,
        stale_connections: Option<StaleConnections>,
    ) {
        if self.last == stale_connections {
            return;
        }
        self.stop();
        if let (Some(stale_connections), Some(management)) = (&stale_connections, &spec.management)
        {
            for connection in &stale_connections.connections {
                let api = ManagementApi {
                    http: http.clone(),
                    root: management.trim_end_matches('/').to_owned(),
                    reason: format!(
                        "Quorate: {} was taken over with epoch {}",
                        spec.key, stale_connections.epoch
                    ),
                };
                let closing = close_when_clear(
                    api,
                    spec.key.clone(),
                    stale_connections.from,
                    connection.clone(),
                );
                self.tasks.push(tokio::spawn(closing).abort_handle());
            }
        }
        self.last = stale_connections;
    }

    /// Stops closing: its purpose was reached without it, or otherwise.
    pub(crate) fn stop(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

impl Drop for ConnectionCloser {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Debug, thiserror::Error)]
enum ManagementError {
    #[error(transparent)]
    Refused(EgressRefusal),
    #[error(
        "{0}; is the management plugin enabled there (rabbitmq-plugins enable rabbitmq_management), and is `management_url` right?"
    )]
    Unreachable(String),
    #[error(
        "it refused the user ({0}): it needs the right password and the tag `management`, and `administrator` to close another user's connection"
    )]
    NotAllowed(StatusCode),
    #[error("it answered {0}: is `management_url` the root of RabbitMQ's management face?")]
    NotUnderstood(String),
}

#[derive(Deserialize)]
struct ListedConnection {
    name: String,
    #[serde(default)]
    user_provided_name: Option<String>,
}

/// Closes the connection if it is there. Ends when it is gone, or when it is too late to matter.
async fn close_when_clear(
    api: ManagementApi,
    key: ConnectorKey,
    from: Instant,
    connection: BrokerConnection,
) {
    tokio::time::sleep_until(from).await;
    let (begun, mut retry) = (Instant::now(), Backoff::new(RETRY_FIRST, RETRY_LAST));
    let mut warned = false;
    while begun.elapsed() < CLOSE_TIMEOUT {
        match api.close(&connection).await {
            Ok(true) => {
                let took_ms = begun.elapsed().as_millis() as u64;
                info!(channel = %key, connection = connection.label, took_ms,
                    "the former connector server's connection was closed at the broker");
                return;
            }
            Ok(false) if begun.elapsed() >= LISTING_DELAY_MAX => return,
            Ok(false) => debug!(channel = %key, "the broker doesn't show the former connection"),
            Err(error) if !warned => {
                warned = true;
                warn!(channel = %key, %error, "the former connector server's connection can't be closed: the broker's management face can't be used");
            }
            Err(_) => {}
        }
        sleep(retry.step()).await;
    }
}

struct ManagementApi {
    http: EgressClient,
    /// URL with user and password, without `/` at its end.
    root: String,
    reason: String,
}

impl ManagementApi {
    /// Closes the connection. Returns false when it is not listed.
    async fn close(&self, connection: &BrokerConnection) -> Result<bool, ManagementError> {
        let by_name = self.look_up(&connection.name).await?;
        let ours =
            |it: &ListedConnection| it.user_provided_name.as_deref() == Some(&connection.label);
        let found = match by_name.filter(ours) {
            Some(shown) => Some(shown),
            None => self.all().await?.into_iter().find(ours),
        };
        let Some(shown) = found else {
            return Ok(false);
        };
        let closing = self.http.http().delete(self.url(&path(&shown.name)));
        let closing = closing.header("X-Reason", &self.reason);
        match self.ask(closing).await?.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            status => Err(ManagementError::NotUnderstood(status.to_string())),
        }
    }

    async fn look_up(&self, name: &str) -> Result<Option<ListedConnection>, ManagementError> {
        if name.is_empty() {
            return Ok(None);
        }
        let asking = self.http.http().get(self.url(&path(name)));
        let answer = self.ask(asking).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        read(answer).await.map(Some)
    }

    async fn all(&self) -> Result<Vec<ListedConnection>, ManagementError> {
        let url = self.url("connections?columns=name,user_provided_name");
        read(self.ask(self.http.http().get(url)).await?).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/{path}", self.root)
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Response, ManagementError> {
        let asked = self.http.send(request.timeout(ANSWER)).await;
        let answer = asked.map_err(|error| match error {
            EgressClientError::Refused(refusal) => ManagementError::Refused(refusal),
            EgressClientError::LookUp { .. } => ManagementError::Unreachable(error.to_string()),
            // The URL carries a password: it is not shown.
            EgressClientError::Failed(error) => {
                ManagementError::Unreachable(whole_chain(&error.without_url()))
            }
        })?;
        match answer.status() {
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(ManagementError::NotAllowed(status))
            }
            _ => Ok(answer),
        }
    }
}

async fn read<T: serde::de::DeserializeOwned>(answer: Response) -> Result<T, ManagementError> {
    let status = answer.status();
    if !status.is_success() {
        return Err(ManagementError::NotUnderstood(status.to_string()));
    }
    let not_understood =
        |error: reqwest::Error| ManagementError::NotUnderstood(whole_chain(&error.without_url()));
    let body = match read_bounded(answer, ANSWER_BYTES_MAX).await {
        Ok(body) => body,
        Err(ResponseError::Broken(error)) => return Err(not_understood(error)),
        Err(error @ ResponseError::TooLong(_)) => {
            return Err(ManagementError::NotUnderstood(error.to_string()));
        }
    };
    serde_json::from_slice(&body).map_err(|error| ManagementError::NotUnderstood(error.to_string()))
}

fn path(name: &str) -> String {
    const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'.').remove(b'-');
    format!("connections/{}", utf8_percent_encode(name, &KEPT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_name_is_one_path_segment() {
        assert_eq!(
            path("127.0.0.1:3456 -> [::1]:5672"),
            "connections/127.0.0.1%3A3456%20-%3E%20%5B%3A%3A1%5D%3A5672"
        );
    }
}
