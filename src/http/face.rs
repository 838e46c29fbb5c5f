//! One request: from its headers to its answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use quorate_clock::Instant;
use quorate_log::RateLimit;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    body::RequestBody,
    cid,
    envelope::{self, Refusal},
    limits::Limits,
    observe,
    router::{Found, Router},
    wire::Answering,
};
use crate::{
    service::{
        Origin, Reply, Request, ServiceError, Services,
        follow::Followed,
        headers::{self, strip_hop_by_hop, strip_ours},
    },
    state::{State, resource::HttpChannel},
};

/// The one path that is built in.
const PING_PATH: &str = "/zato/ping";
const PING_BODY_BYTES_MAX: u64 = 64 << 10;

/// All that a connection needs to answer requests.
pub(super) struct Face {
    services: Arc<Services>,
    router: Followed<Router>,
    pub(super) limits: Limits,
    stop: CancellationToken,
    said: RateLimit,
}

/// A request that has found its service.
struct Call<'c> {
    service: &'c str,
    channel: Option<&'c str>,
    params: BTreeMap<String, String>,
    body_bytes_max: u64,
}

impl Face {
    pub(super) fn new(
        services: Arc<Services>,
        state: watch::Receiver<Arc<State>>,
        limits: Limits,
        stop: CancellationToken,
    ) -> Face {
        let router = Followed::new(state, |state, before| Router::of(state.catalog(), before));
        Face {
            services,
            router,
            limits,
            stop,
            said: RateLimit::each_second(),
        }
    }

    /// Answers a request, whatever it is.
    pub(super) async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        answering: &Answering,
    ) -> Response<Bytes> {
        let observed = observe::Observed::begin();
        let (mut parts, body) = request.into_parts();
        let mut body = RequestBody::new(body, &parts.headers);
        let cid = cid::of(&parts.headers);
        let head = parts.method == Method::HEAD;
        let span =
            tracing::info_span!("request", %cid, method = %parts.method, path = parts.uri.path());
        let mut channel = None;
        let outcome = self
            .handle(&mut parts, &mut body, &cid, &mut channel)
            .instrument(span.clone())
            .await;

        let ended = body.discard().await;
        if !ended {
            answering.wire().leave_unread();
        }
        let mut reply = outcome.unwrap_or_else(|refusal| into_reply(refusal, &cid));
        self.finish(&mut reply, head, channel.as_deref());
        reply.headers.insert(headers::CID, headers::text(&cid));
        if !ended || self.stop.is_cancelled() {
            reply
                .headers
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        span.in_scope(|| observed.end(channel.as_deref(), reply.status));
        let mut response = Response::new(reply.body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }

    async fn handle(
        &self,
        parts: &mut Parts,
        body: &mut RequestBody,
        cid: &str,
        channel_label: &mut Option<Arc<str>>,
    ) -> Result<Reply, Refusal> {
        let path = parts.uri.path();
        if path == PING_PATH {
            *channel_label = Some("ping".into());
            if ![Method::GET, Method::HEAD].contains(&parts.method) {
                return Err(wrong_method(&parts.method, "GET, HEAD"));
            }
            let call = Call {
                service: "ping",
                channel: None,
                params: Default::default(),
                body_bytes_max: PING_BODY_BYTES_MAX,
            };
            return self.call(call, parts, body, cid).await;
        }
        if !path.starts_with('/') {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "the request's target must be a path that begins with `/`",
            ));
        }
        let (channel, params) = self.route(parts, channel_label)?;
        let call = Call {
            service: &channel.service,
            channel: Some(&channel.name),
            params,
            body_bytes_max: channel.max_body_bytes,
        };
        self.call(call, parts, body, cid).await
    }

    /// The channel that a request is for, once its guard has let it through.
    fn route(
        &self,
        parts: &mut Parts,
        channel_label: &mut Option<Arc<str>>,
    ) -> Result<(Arc<HttpChannel>, BTreeMap<String, String>), Refusal> {
        let router = self.router.get();
        let path = parts.uri.path();
        let (channel, params) = match router.find(&parts.method, path) {
            Ok(Found::Route { channel, params }) => (channel, params),
            Ok(Found::WrongMethod(allow)) => return Err(wrong_method(&parts.method, &allow)),
            Ok(Found::Nothing) => {
                return Err(Refusal::new(
                    StatusCode::NOT_FOUND,
                    format!("there is no HTTP channel for {path}"),
                ));
            }
            Err(bad) => return Err(Refusal::new(StatusCode::BAD_REQUEST, bad.to_string())),
        };
        *channel_label = Some(channel.name.as_str().into());
        router.guard(&channel).check(&mut parts.headers)?;
        Ok((channel, params))
    }

    async fn call(
        &self,
        call: Call<'_>,
        parts: &mut Parts,
        body: &mut RequestBody,
        cid: &str,
    ) -> Result<Reply, Refusal> {
        let body = body
            .read(call.body_bytes_max, self.limits.body_wait)
            .await?;
        let mut headers = std::mem::take(&mut parts.headers);
        strip_hop_by_hop(&mut headers);
        strip_ours(&mut headers);
        headers.insert(headers::CID, headers::text(cid));
        let request = Request {
            cid: cid.to_owned(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            params: call.params,
            headers,
            body,
            origin: Origin::Http(call.channel.map(str::to_owned)),
            deadline: Instant::now() + self.limits.answer_wait,
        };
        let outcome = self.services.call_anywhere(call.service, request).await;
        outcome.map_err(|error| self.explain(call.service, &error))
    }

    /// What the client is told. The log has the rest: addresses of upstreams are nobody
    /// else's business.
    fn explain(&self, service: &str, error: &ServiceError) -> Refusal {
        let (cause, status, what) = match error {
            ServiceError::NotRun(_) => (
                "not run",
                StatusCode::SERVICE_UNAVAILABLE,
                "can't be run now; the request was not handled".to_owned(),
            ),
            ServiceError::Failed(_) if self.services.is_upstream(service) => (
                "failed",
                StatusCode::BAD_GATEWAY,
                "gave no usable answer; the request may have been handled".to_owned(),
            ),
            ServiceError::Failed(_) => (
                "failed",
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed".to_owned(),
            ),
            ServiceError::TimedOut(ms) => {
                let waited = Duration::from_millis(*ms);
                (
                    "timed out",
                    StatusCode::GATEWAY_TIMEOUT,
                    format!("gave no answer within {waited:?}; the request may have been handled"),
                )
            }
            ServiceError::Fenced(epoch) => (
                "fenced",
                StatusCode::CONFLICT,
                format!("refused an epoch older than {epoch}"),
            ),
        };
        if let Some(left_out) = self.said.due(&format!("{service}: {cause}")) {
            tracing::warn!(service, %error, left_out, "service call failed");
        }
        Refusal::new(status, format!("service {service:?} {what}"))
    }

    /// Makes of what a service answered something that HTTP/1.1 can carry.
    fn finish(&self, reply: &mut Reply, head: bool, channel: Option<&str>) {
        if reply.status.is_informational() {
            if let Some(left_out) = self.said.due(channel.unwrap_or_default()) {
                tracing::warn!(channel, status = %reply.status, left_out, "a service answered with a status that is not final");
            }
            *reply = Reply::empty(StatusCode::INTERNAL_SERVER_ERROR);
        }
        carry(reply, head);
    }
}

fn wrong_method(method: &Method, allow: &str) -> Refusal {
    let refusal = Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not taken here; {allow} would be"),
    );
    match HeaderValue::from_str(allow) {
        Ok(allow) => refusal.with(header::ALLOW, allow),
        Err(_) => refusal,
    }
}

fn into_reply(refusal: Refusal, cid: &str) -> Reply {
    let mut reply = Reply::json(envelope::error(cid, &refusal.details));
    reply.status = refusal.status;
    reply.headers.extend(refusal.header);
    reply
}

/// Leaves out what doesn't go with the message on the wire.
fn carry(reply: &mut Reply, head: bool) {
    strip_hop_by_hop(&mut reply.headers);
    if head {
        // The length that a GET would have had.
        if !reply.headers.contains_key(header::CONTENT_LENGTH) {
            reply
                .headers
                .insert(header::CONTENT_LENGTH, reply.body.len().into());
        }
        reply.body = Bytes::new();
        return;
    }
    reply.headers.remove(header::CONTENT_LENGTH);
    if [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&reply.status) {
        reply.body = Bytes::new();
    }
}
