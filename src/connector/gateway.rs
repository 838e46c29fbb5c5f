//! Deliveries in, calls of services out, answers back.
//!
//! The last check on this side stands here: immediately before the call, and again before
//! it is passed on from a member that did not take it to the next, the lease page must let
//! the delivery's epoch act, and no newer reign may have been applied. So a member that was
//! paused and resumed runs nothing from its buffers. The member that runs the service
//! compares epochs once more.
//!
//! An answer with `Quorate-Send: KIND/NAME` is sent by that outgoing as part of the same
//! handling (see [`onward`]).

mod onward;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_proto::connector::{self, Delivery, Header, outcome::Result as Outcome};
use tokio::sync::watch;

use super::{
    lease::{self, Tenure},
    outlets::Outlets,
    spec::Spec,
    view::View,
};
use crate::service::api::{Dispatch, Message, Origin, Reply, Request, ServiceError};

/// How much of a service's refusal is kept as the reason.
const REASON_MAX: usize = 300;

/// Most headers of a message's own that are handed on, and most bytes of them: with what else
/// a request has it stays below the 100 headers and 8 KiB that common servers take. More
/// would be answered with 431 each time, and the message never handled.
const OWN_HEADERS: usize = 64;
const OWN_BYTES: usize = 6 << 10;

/// Hands deliveries on.
pub struct Gateway {
    dispatch: Arc<dyn Dispatch>,
    lease: lease::View,
    view: watch::Receiver<Arc<View>>,
    outlets: Arc<Outlets>,
}

impl Gateway {
    /// Over this dispatcher, under this page. Answers that are to be sent go to `outlets`.
    pub fn new(
        dispatch: Arc<dyn Dispatch>,
        lease: lease::View,
        view: watch::Receiver<Arc<View>>,
        outlets: Arc<Outlets>,
    ) -> Self {
        Gateway {
            dispatch,
            lease,
            view,
            outlets,
        }
    }

    /// Runs the channel's service for a delivery of this epoch.
    pub async fn deliver(&self, spec: &Spec, epoch: u64, delivery: Delivery) -> Outcome {
        let over = || match self.lease.tenure(epoch) {
            // It may be renewed: the message stays where it is, and is no worse for it.
            Tenure::Lapsed(..) => Outcome::NotRun(format!("the lease of epoch {epoch} has lapsed")),
            _ => Outcome::Fenced(format!("the lease of epoch {epoch} is over")),
        };
        let any = planted(Mutant::GatewayIgnoresEpochs);
        let held = || any || self.lease.holds(epoch);
        let applied = self.view.borrow().reign.epoch;
        if applied > epoch && !any {
            return Outcome::Fenced(format!("epoch {applied} has been applied"));
        }
        if !held() {
            return over();
        }
        let Some(service) = &spec.service else {
            return Outcome::Failed(format!("{} has no service", spec.key));
        };
        let cid = delivery.cid.clone();
        let request = request(spec, epoch, delivery);
        let deadline = request.deadline;
        let answer = match self.dispatch.dispatch(service, request, &held).await {
            // Not the service's fault, nor its members'.
            Err(ServiceError::NotRun(_)) if !held() => return over(),
            answer => answer,
        };
        match judge(service, answer) {
            Ok(reply) => match onward::read(&reply, cid) {
                Ok(None) => Outcome::Handled(handled(reply)),
                Ok(Some(onward)) => {
                    match onward.send(&self.outlets, service, deadline, reply).await {
                        // The next connector server's to send, not a failure of the service.
                        Outcome::Failed(_) if !held() => over(),
                        outcome => outcome,
                    }
                }
                Err(why) => Outcome::Failed(format!("{service} answered {why}")),
            },
            Err(outcome) => outcome,
        }
    }
}

/// What a service is asked, as the contract has it.
fn request(spec: &Spec, epoch: u64, delivery: Delivery) -> Request {
    let Delivery {
        message_id,
        content_type,
        headers: own,
        body,
        attempt,
        cid,
        properties,
        ..
    } = delivery;
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &[u8]| {
        // Names and values that HTTP can't carry stay behind: the message itself matters.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    };
    let (mut count, mut bytes) = (0, 0);
    for Header { name, value } in &own {
        let size = "quorate-header-: \r\n".len() + name.len() + value.len();
        if count < OWN_HEADERS && bytes + size <= OWN_BYTES {
            (count, bytes) = (count + 1, bytes + size);
            put(&format!("quorate-header-{name}"), value);
        }
    }
    if count < own.len() {
        let left_out = own.len() - count;
        put("quorate-headers-left-out", left_out.to_string().as_bytes());
    }
    for Header { name, value } in &properties {
        put(&format!("quorate-property-{name}"), value);
        if name == header::CONTENT_ENCODING.as_str() {
            put(name, value);
        }
    }
    put(header::CONTENT_TYPE.as_str(), content_type.as_bytes());
    put("quorate-channel", spec.key.name.as_bytes());
    put("quorate-epoch", epoch.to_string().as_bytes());
    put("quorate-message-id", message_id.as_bytes());
    put("quorate-attempt", attempt.to_string().as_bytes());
    put("x-zato-cid", cid.as_bytes());
    if content_type.is_empty() {
        headers.remove(header::CONTENT_TYPE);
    }
    let origin = Message {
        kind: spec.key.kind.to_owned(),
        channel: spec.key.name.clone(),
        epoch,
        id: message_id,
        attempt,
    };
    Request {
        cid,
        method: Method::POST,
        path: "/".to_owned(),
        query: None,
        params: Default::default(),
        headers,
        body,
        origin: Origin::Message(origin),
        deadline: Instant::now() + spec.finish,
    }
}

/// The service's answer, or what another one means for the message.
fn judge(service: &str, answer: Result<Reply, ServiceError>) -> Result<Reply, Outcome> {
    match answer {
        Ok(reply) if reply.status.is_success() => Ok(reply),
        Ok(reply) => Err(refused(service, &reply)),
        Err(ServiceError::NotRun(why)) => Err(Outcome::NotRun(format!(
            "no member could run {service}: {why}"
        ))),
        Err(fenced @ ServiceError::Fenced(_)) => Err(Outcome::Fenced(fenced.to_string())),
        Err(failed) => Err(Outcome::Failed(format!("{service} failed: {failed}"))),
    }
}

/// What is told of an answer that means done.
fn handled(reply: Reply) -> connector::Reply {
    let content_type = reply.headers.get(header::CONTENT_TYPE);
    connector::Reply {
        content_type: content_type
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        body: reply.body,
    }
}

fn refused(service: &str, reply: &Reply) -> Outcome {
    let says_fenced = reply
        .headers
        .get("quorate-fenced")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if reply.status == StatusCode::CONFLICT && says_fenced {
        return Outcome::Fenced(format!("{service} has seen a newer epoch"));
    }
    let text = String::from_utf8_lossy(&reply.body);
    let text: String = text.trim().chars().take(REASON_MAX).collect();
    let colon = if text.is_empty() { "" } else { ": " };
    Outcome::Failed(format!("{service} answered {}{colon}{text}", reply.status))
}

#[cfg(test)]
mod tests;
