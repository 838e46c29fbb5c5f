//! The sending of a message on this member, as the connector server.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::Send;
use quorate_resources::Kind;
use quorate_service::{http::cid, message_parsing};
use quorate_state::SendKey;
use quorate_supervisor::SendUnavailable;
use tokio::task::{JoinError, spawn_blocking};

use super::fingerprint::fingerprint;
use crate::admin::{AdminContext, problem::ApiProblem};

/// The body size from which a message is hashed on a thread where it holds up nothing else.
const LARGE: usize = 1 << 20;

/// A message and the outgoing that is to send it.
#[derive(Clone)]
pub(super) struct SendCall {
    kind: Kind,
    name: String,
    message: Send,
    /// True if the id was generated here.
    id_generated: bool,
    /// The header `Quorate-Idempotency-Key`.
    key: Option<String>,
}

impl SendCall {
    /// Reads a message from a request.
    pub(super) fn read(
        kind: Kind,
        name: String,
        headers: &HeaderMap,
        query: Option<&str>,
        body: Bytes,
    ) -> Result<SendCall, ApiProblem> {
        let key = headers.get("quorate-idempotency-key").map(|key| {
            let text = key.to_str().map(str::to_owned);
            text.map_err(|_| {
                ApiProblem::bad_request("Quorate-Idempotency-Key must be visible ASCII characters")
            })
        });
        let cid = cid::fresh();
        tracing::Span::current().record("cid", &cid);
        let mut message = message_parsing::parse_message(headers, query, body, cid)
            .map_err(|what| ApiProblem::bad_request(format!("the request has {what}")))?;
        let id_generated = message.message_id.is_empty();
        if id_generated {
            message.message_id.clone_from(&message.cid);
        }
        Ok(SendCall {
            kind,
            name,
            message,
            id_generated,
            key: key.transpose()?,
        })
    }

    /// Returns true if the message is sent under a key.
    pub(super) fn is_keyed(&self) -> bool {
        self.key.is_some()
    }

    /// Returns the correlation id of the message.
    pub(super) fn cid(&self) -> &str {
        &self.message.cid
    }

    /// Returns the message's body.
    pub(super) fn body(&self) -> Bytes {
        self.message.body.clone()
    }

    /// Returns the fingerprint of the message as it came. An error: this member is ending.
    pub(super) async fn fingerprint(&self) -> Result<[u8; 32], JoinError> {
        let mut message = self.message.clone();
        if self.id_generated {
            message.message_id.clear();
        }
        if message.body.len() < LARGE {
            return Ok(fingerprint(&message));
        }
        spawn_blocking(move || fingerprint(&message)).await
    }

    /// Returns the key under which the message is sent, if it came with one.
    pub(super) fn send_key(&self) -> Option<SendKey> {
        let key = self.key.clone()?;
        Some(SendKey {
            kind: self.kind,
            name: self.name.clone(),
            key,
        })
    }

    /// Sends the message if this member is the connector server, whatever was sent before. An
    /// error: the request is refused as it is, before any attempt.
    pub(super) async fn send_once(
        &self,
        context: &AdminContext,
        deadline: Instant,
    ) -> Result<SendOutcome, ApiProblem> {
        let sending = context.connectors.send(
            self.kind.as_str(),
            &self.name,
            self.message.clone(),
            deadline,
        );
        sending.await.or_else(|unavailable| match unavailable {
            SendUnavailable::Elsewhere => Ok(SendOutcome::NotSent(unavailable.to_string())),
            SendUnavailable::Missing => Err(ApiProblem::not_found(format!(
                "there is no {} {:?}",
                self.kind, self.name
            ))),
            SendUnavailable::Paused => Err(ApiProblem::new(
                StatusCode::CONFLICT,
                "paused",
                format!(
                    "the message was not sent: {}/{} is not at work; {unavailable}",
                    self.kind, self.name
                ),
            )),
        })
    }
}
