//! Sending on this member, as the connector server.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use quorate_proto::connector::Send;

use super::outcome::Outcome;
use crate::{
    admin::{Context, problem::Problem},
    connector::NoWay,
    http::cid,
    service::sending,
    state::Kind,
};

/// A message and the outgoing that is to send it.
pub struct Order {
    kind: Kind,
    name: String,
    message: Send,
}

impl Order {
    /// Reads it.
    pub fn read(
        kind: Kind,
        name: String,
        headers: &HeaderMap,
        query: Option<&str>,
        body: Bytes,
    ) -> Result<Order, Problem> {
        let cid = cid::fresh();
        let mut message = sending::read(headers, query, body, cid)
            .map_err(|what| Problem::bad_request(format!("the request has {what}")))?;
        if message.message_id.is_empty() {
            message.message_id.clone_from(&message.cid);
        }
        Ok(Order {
            kind,
            name,
            message,
        })
    }

    /// The message's body.
    pub fn body(&self) -> Bytes {
        self.message.body.clone()
    }

    /// Sends it, if this member is the connector server.
    pub async fn send(&self, context: &Context, deadline: Instant) -> Outcome {
        let sending = context.connectors.send(
            self.kind.as_str(),
            &self.name,
            self.message.clone(),
            deadline,
        );
        match sending.await {
            Ok(sent) => sent.into(),
            Err(NoWay::Elsewhere) => Outcome::NotSent(NoWay::Elsewhere.to_string()),
            Err(NoWay::Missing) => Outcome::Problem(Problem::not_found(format!(
                "there is no {} {:?}",
                self.kind, self.name
            ))),
            Err(NoWay::Paused) => Outcome::Problem(Problem::new(
                StatusCode::CONFLICT,
                "paused",
                format!(
                    "the message was not sent: {}/{} is not at work; {}",
                    self.kind,
                    self.name,
                    NoWay::Paused
                ),
            )),
        }
    }
}
