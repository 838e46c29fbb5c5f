//! Gateway from deliveries to services: checks lease and epoch, calls, judges the answer.
//!
//! The last check of the supervising member stands here. Immediately before the call, and again
//! before a call that one member did not take is passed on to the next:
//!
//! 1. the lease page must let the delivery's epoch act, and
//! 2. no newer reign may have been applied.
//!
//! So a member that was paused and resumed runs nothing from its buffers. The member that runs the
//! service compares epochs once more.
//!
//! An answer with `Quorate-Send: KIND/NAME` is sent by that outgoing as part of the same handling
//! (see [`reply_forwarding`]).

mod reply_forwarding;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use quorate_clock::Instant;
use quorate_ipc::lease::{self, LeaseTenure};
use quorate_planted::{Mutant, planted};
use quorate_proto::connector::{self, Delivery, Header, outcome::Result as Outcome};
use quorate_service::{
    api::{Message, Origin, Reply, Request, ServiceDispatch, ServiceError},
    headers::to_header_value,
    message_headers::{PROPERTY, put_headers, put_properties},
};
use tokio::sync::watch;
use tracing::{Instrument, debug_span};

use super::{
    connector_spec::ConnectorSpec, connectors_view::ConnectorsView, send_router::SendRouter,
};

/// Characters of a service's refusal that are kept as the reason.
const REASON_MAX: usize = 300;

/// Gateway from deliveries to services.
pub(crate) struct DeliveryGateway {
    dispatch: Arc<dyn ServiceDispatch>,
    lease: lease::LeaseReader,
    view: watch::Receiver<Arc<ConnectorsView>>,
    send_router: Arc<SendRouter>,
}

impl DeliveryGateway {
    pub(crate) fn new(
        dispatch: Arc<dyn ServiceDispatch>,
        lease: lease::LeaseReader,
        view: watch::Receiver<Arc<ConnectorsView>>,
        send_router: Arc<SendRouter>,
    ) -> Self {
        DeliveryGateway {
            dispatch,
            lease,
            view,
            send_router,
        }
    }

    /// Runs the channel's service for a delivery of this epoch.
    pub(crate) async fn deliver(
        &self,
        spec: &ConnectorSpec,
        epoch: u64,
        delivery: Delivery,
    ) -> Outcome {
        let reign = self.view.borrow().reign;
        let span = debug_span!(
            "message",
            cid = delivery.cid,
            connector = %spec.key,
            epoch,
            term = (reign.epoch == epoch).then_some(reign.term)
        );
        self.call(spec, epoch, delivery).instrument(span).await
    }

    async fn call(&self, spec: &ConnectorSpec, epoch: u64, delivery: Delivery) -> Outcome {
        let over = || match self.lease.tenure(epoch) {
            // The lease may be renewed: the message stays where it is, and its tries are not
            // counted as long as the connector's grace for that lasts.
            LeaseTenure::Lapsed(..) => {
                Outcome::NotRun(format!("the lease of epoch {epoch} has lapsed"))
            }
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
            // Neither the service's fault nor its members'.
            Err(ServiceError::NotRun(_)) if !held() => return over(),
            answer => answer,
        };
        match judge(service, answer) {
            Ok(reply) => match reply_forwarding::read(&reply, cid) {
                Ok(None) => Outcome::Handled(handled(reply)),
                Ok(Some(onward)) => {
                    match onward
                        .send(&self.send_router, service, deadline, reply)
                        .await
                    {
                        // For the next connector server to send, not a failure of the service.
                        Outcome::Failed(_) if !held() => over(),
                        outcome => outcome,
                    }
                }
                Err(why) => Outcome::Refused(format!("{service} answered {why}")),
            },
            Err(outcome) => outcome,
        }
    }
}

/// Builds the request to a service, as the contract has it.
fn request(spec: &ConnectorSpec, epoch: u64, delivery: Delivery) -> Request {
    let Delivery {
        message_id,
        content_type,
        headers: own,
        body,
        attempt,
        cid,
        properties,
        types,
        left_out,
        ..
    } = delivery;
    let mut headers = HeaderMap::new();
    put_properties(&mut headers, property_headers(&properties, &content_type));
    // Last, as they may be left out where there is no room.
    put_headers(&mut headers, &own, &types, left_out);
    let mut put = |name: &'static str, value: &str| {
        headers.insert(HeaderName::from_static(name), to_header_value(value));
    };
    put("quorate-channel", &spec.key.name);
    put("quorate-epoch", &epoch.to_string());
    put("quorate-message-id", &message_id);
    put("quorate-attempt", &attempt.to_string());
    put("x-zato-cid", &cid);
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
        deadline: Instant::now() + spec.drain_timeout,
    }
}

/// Lists the properties of a message beside its own headers, by their names in HTTP and in the
/// message.
fn property_headers<'a>(
    properties: &'a [Header],
    content_type: &'a str,
) -> impl Iterator<Item = (HeaderName, &'a str, &'a [u8])> {
    let named = properties.iter().filter_map(|Header { name, value }| {
        let header = HeaderName::try_from(format!("{PROPERTY}{name}")).ok()?;
        Some((header, name.as_str(), &**value))
    });
    let encoding = properties.iter().find_map(|it| {
        let is_so = it.name == header::CONTENT_ENCODING.as_str();
        is_so.then_some((header::CONTENT_ENCODING, it.name.as_str(), &*it.value))
    });
    let content_type = (!content_type.is_empty()).then_some((
        header::CONTENT_TYPE,
        "content-type",
        content_type.as_bytes(),
    ));
    named.chain(encoding).chain(content_type)
}

/// Returns the service's reply, or the outcome of the message when it is no success.
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

/// Builds the reply to the process for a message that was handled.
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
