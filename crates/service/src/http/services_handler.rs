//! Handler of one request: from its headers to its answer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};
use hyper::body::Incoming;
use quorate_clock::Instant;
use quorate_log::RateLimit;
use quorate_state::State;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field::Empty};

use super::{
    caller_admission::{AdmittedCaller, CallerAdmission},
    channel_router::ChannelRouter,
    cid,
    client_limits::ClientLimits,
    client_stream::AnsweringGuard,
    error_envelope::HttpRefusal,
    forwarded,
    request_body::RequestBody,
    request_metrics, request_rules,
};
use crate::{
    Origin, Params, Reply, Request, ServiceError, Services,
    api::format_duration,
    call_limiter::count_refused,
    derived_view::DerivedView,
    headers::{self, is_websocket, strip_answer, strip_hop_by_hop, strip_ours, takes_trailers},
    service_answer::{ServiceAnswer, ServiceAnswerBody},
    stream_options::{BodyMode, StreamOptions},
};

/// Path of the one built-in route.
const PING_PATH: &str = "/zato/ping";
const PING_BODY_BYTES_MAX: u64 = 64 << 10;

/// Time beyond a service's own limit; a call ends by that limit, and by this one where it has none.
const BEYOND: Duration = Duration::from_secs(1);

/// Everything that a connection needs to answer requests.
pub(super) struct ServicesHandler {
    services: Arc<Services>,
    router: DerivedView<ChannelRouter>,
    pub(super) limits: ClientLimits,
    stop: CancellationToken,
    log_limit: RateLimit,
    /// WebSockets that may still be opened.
    websockets: Arc<Semaphore>,
    /// Memory for bodies that are read whole, in KiB.
    whole_bodies: Arc<Semaphore>,
    admission: CallerAdmission,
}

/// A request that has found its service.
struct RoutedRequest<'c> {
    service: &'c str,
    channel: Option<&'c str>,
    params: Params,
    body_bytes_max: u64,
    admitted: AdmittedCaller,
}

/// Client that an answer is for.
#[derive(Clone, Copy)]
pub(super) struct ClientContext<'a> {
    pub peer: SocketAddr,
    pub answering: &'a AnsweringGuard,
}

impl ServicesHandler {
    pub(super) fn new(
        services: Arc<Services>,
        state: watch::Receiver<Arc<State>>,
        limits: ClientLimits,
        stop: CancellationToken,
    ) -> ServicesHandler {
        let open = services.opener();
        let router = DerivedView::new(state, move |state, before| {
            ChannelRouter::from_catalog(open(state).catalog(), before)
        });
        let admission = CallerAdmission::new(services.http_client());
        ServicesHandler {
            services,
            router,
            websockets: Arc::new(Semaphore::new(limits.websockets_max())),
            whole_bodies: Arc::new(Semaphore::new(limits.bodies_bytes_max >> 10)),
            admission,
            limits,
            stop,
            log_limit: RateLimit::each_second(),
        }
    }

    /// Answers a request, whatever it is.
    pub(super) async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        client: ClientContext<'_>,
    ) -> Response<ServiceAnswerBody> {
        let observed = request_metrics::RequestMetrics::begin();
        let (mut parts, body) = request.into_parts();
        let mut body = RequestBody::new(body, &parts.headers, self.whole_bodies.clone());
        let cid = cid::from_headers(&parts.headers);
        let head = parts.method == Method::HEAD;
        let span = tracing::info_span!(
            "request",
            %cid,
            method = %parts.method,
            path = parts.uri.path(),
            channel = Empty,
            service = Empty,
        );
        let mut channel = None;
        let outcome = self
            .handle(&mut parts, &mut body, &cid, client.peer, &mut channel)
            .instrument(span.clone())
            .await;

        let mut answer = outcome.unwrap_or_else(|refusal| refusal.into_reply(&cid).into());
        self.finish(&mut answer, head, channel.as_deref());
        // While an answer flows the rest of the body may still be on its way to the upstream.
        let ended = match &answer.body {
            ServiceAnswerBody::Whole(_) => body.discard().await,
            ServiceAnswerBody::Stream(_) => body.is_ended(),
        };
        if !ended {
            client.answering.progress().leave_unread();
        }
        answer
            .headers
            .insert(headers::CID, headers::to_header_value(&cid));
        let closes = answer.tunnel.is_none() && (!ended || self.stop.is_cancelled());
        if let Some(tunnel) = answer.tunnel {
            client.answering.progress().open_tunnel(tunnel);
            answer
                .headers
                .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        let upgrades = answer.headers.contains_key(header::UPGRADE);
        if let Some(options) = match (closes, upgrades) {
            (true, true) => Some("close, upgrade"),
            (true, false) => Some("close"),
            (false, true) => Some("upgrade"),
            (false, false) => None,
        } {
            let options = HeaderValue::from_static(options);
            answer.headers.insert(header::CONNECTION, options);
        }
        span.in_scope(|| observed.end(channel.as_deref(), answer.status));
        let mut response = Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }

    async fn handle(
        &self,
        parts: &mut Parts,
        body: &mut RequestBody,
        cid: &str,
        peer: SocketAddr,
        channel_label: &mut Option<Arc<str>>,
    ) -> Result<ServiceAnswer, HttpRefusal> {
        request_rules::check(parts)?;
        let path = parts.uri.path();
        if path == PING_PATH {
            *channel_label = Some("ping".into());
            if ![Method::GET, Method::HEAD].contains(&parts.method) {
                return Err(HttpRefusal::wrong_method(&parts.method, "GET, HEAD"));
            }
            let call = RoutedRequest {
                service: "ping",
                channel: None,
                params: Default::default(),
                body_bytes_max: PING_BODY_BYTES_MAX,
                admitted: AdmittedCaller::default(),
            };
            return self.call(call, parts, body, cid, peer).await;
        }
        if !path.starts_with('/') {
            return Err(HttpRefusal::new(
                StatusCode::BAD_REQUEST,
                "the request's target must be a path that begins with `/`",
            ));
        }
        let router = self.router.get();
        let (channel, params) = router.route(parts)?;
        *channel_label = Some(channel.name.as_str().into());
        let (span, service) = (Span::current(), channel.service.as_str());
        tracing::record_all!(span, channel = channel.name.as_str(), service = service);
        let guard = router.guard(&channel);
        let headers = &mut parts.headers;
        let admitting = self
            .admission
            .admit(&guard, &channel, headers, body, peer, &self.limits);
        let admitted = admitting.await?;
        let call = RoutedRequest {
            service: &channel.service,
            channel: Some(&channel.name),
            params,
            body_bytes_max: channel.max_body_bytes,
            admitted,
        };
        self.call(call, parts, body, cid, peer).await
    }

    fn websocket_permit(&self) -> Result<OwnedSemaphorePermit, HttpRefusal> {
        self.websockets.clone().try_acquire_owned().map_err(|_| {
            count_refused("websocket");
            let why = format!(
                "{} WebSockets are open to this member, as many as it takes \
                 (half of http.connections_max)",
                self.limits.websockets_max()
            );
            HttpRefusal::new(StatusCode::SERVICE_UNAVAILABLE, why)
        })
    }

    async fn call(
        &self,
        call: RoutedRequest<'_>,
        parts: &mut Parts,
        body: &mut RequestBody,
        cid: &str,
        peer: SocketAddr,
    ) -> Result<ServiceAnswer, HttpRefusal> {
        // Any other request stays what it is: `Upgrade` may be passed over.
        let may_switch =
            parts.method == Method::GET && parts.version == Version::HTTP_11 && body.is_ended();
        let mut flow = StreamOptions {
            streams: true,
            websocket: may_switch && is_websocket(&parts.headers),
            trailers: takes_trailers(&parts.headers),
            upload: None,
        };
        if flow.websocket && !self.services.is_upstream(call.service) {
            let why = format!("service {:?} takes no WebSocket", call.service);
            return Err(HttpRefusal::new(StatusCode::NOT_IMPLEMENTED, why));
        }
        let origin = Origin::Http(call.channel.map(str::to_owned));
        let Some(call_permit) = self.services.admit(&origin) else {
            let why = "as many requests are being answered by this member as it takes; \
                       this one was not handled";
            return Err(HttpRefusal::new(StatusCode::SERVICE_UNAVAILABLE, why));
        };
        let websocket_permit = flow
            .websocket
            .then(|| self.websocket_permit())
            .transpose()?;
        let (bytes_max, pace) = (call.body_bytes_max, self.limits.sending());
        let whole = match (call.admitted.body, self.services.body_mode(call.service)) {
            (Some(whole), _) => whole,
            (None, BodyMode::Stream) => {
                flow.upload = body.pass_on(bytes_max, pace)?;
                Bytes::new()
            }
            (None, BodyMode::ShortWhole) => {
                let (whole, upload) = body.read_or_pass_on(bytes_max, pace).await?;
                flow.upload = upload;
                whole
            }
            (None, BodyMode::Whole) => body.read(bytes_max, pace).await?,
        };
        let mut headers = self.headers(parts, cid, peer);
        if let Some(caller) = &call.admitted.caller {
            caller.describe(&mut headers);
        }
        let patience = self.services.patience(call.service);
        let request = Request {
            cid: cid.to_owned(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            params: call.params,
            headers,
            body: whole,
            origin,
            deadline: Instant::now() + patience + BEYOND,
        };
        let serving = self
            .services
            .serve(call.service, request, &flow, call_permit);
        // A body that the client did not send is no fault of the service's.
        let mut answer = serving.await.map_err(|error| {
            let failure = body.failure();
            failure.unwrap_or_else(|| self.explain(call.service, &error))
        })?;
        if let Some(tunnel) = &mut answer.tunnel {
            tunnel.websocket_permit = websocket_permit;
        }
        Ok(answer)
    }

    /// Builds the headers that the service gets.
    fn headers(&self, parts: &mut Parts, cid: &str, peer: SocketAddr) -> http::HeaderMap {
        let mut headers = std::mem::take(&mut parts.headers);
        strip_hop_by_hop(&mut headers);
        strip_ours(&mut headers);
        // An absolute target goes before `Host` (RFC 9112, 3.2.2).
        let asked = parts.uri.authority().map(|it| it.as_str());
        // Without `user:password@`, which is for nobody behind this member.
        let asked = asked.and_then(|it| it.rsplit('@').next());
        if let Some(asked) = asked.and_then(|it| HeaderValue::from_str(it).ok()) {
            headers.insert(header::HOST, asked);
        }
        let host = headers.get(header::HOST).cloned();
        forwarded::describe(
            &mut headers,
            peer,
            host.as_ref(),
            &self.limits.trusted_proxies,
        );
        headers.insert(headers::CID, headers::to_header_value(cid));
        headers
    }

    /// Returns the refusal for the client. The log has the rest: addresses of upstreams are nobody
    /// else's business.
    fn explain(&self, service: &str, error: &ServiceError) -> HttpRefusal {
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
                    format!(
                        "gave no answer within {}; the request may have been handled",
                        format_duration(waited)
                    ),
                )
            }
            ServiceError::Fenced(epoch) => (
                "fenced",
                StatusCode::CONFLICT,
                format!("refused an epoch older than {epoch}"),
            ),
            ServiceError::BadRequest(why) => {
                tracing::debug!(service, %error, "request refused");
                return HttpRefusal::new(StatusCode::BAD_REQUEST, why.clone());
            }
        };
        if let Some(left_out) = self.log_limit.due(&format!("{service}: {cause}")) {
            tracing::warn!(service, %error, left_out, "service call failed");
        }
        HttpRefusal::new(status, format!("service {service:?} {what}"))
    }

    /// Makes a service's answer one that HTTP/1.1 can carry.
    fn finish(&self, answer: &mut ServiceAnswer, head: bool, channel: Option<&str>) {
        if answer.status.is_informational() && answer.tunnel.is_none() {
            if let Some(left_out) = self.log_limit.due(channel.unwrap_or_default()) {
                tracing::warn!(channel, status = %answer.status, left_out, "a service answered with a status that is not final");
            }
            *answer = Reply::empty(StatusCode::INTERNAL_SERVER_ERROR).into();
        }
        fit_to_http(answer, head);
    }
}

/// Removes what doesn't go with the message on the wire.
fn fit_to_http(answer: &mut ServiceAnswer, head: bool) {
    strip_answer(&mut answer.headers, answer.status);
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&answer.status);
    if head {
        // The length that a GET would have had, where it is known: an upstream may not have sent
        // it, and a 204 has none.
        let length = match &answer.body {
            ServiceAnswerBody::Whole(body) if !body.is_empty() && !bodiless => Some(body.len()),
            _ => None,
        };
        if let Some(length) =
            length.filter(|_| !answer.headers.contains_key(header::CONTENT_LENGTH))
        {
            answer.headers.insert(header::CONTENT_LENGTH, length.into());
        }
        if answer.status == StatusCode::NO_CONTENT {
            answer.headers.remove(header::CONTENT_LENGTH);
        }
    } else {
        answer.headers.remove(header::CONTENT_LENGTH);
    }
    if head || bodiless {
        answer.body = ServiceAnswerBody::Whole(Bytes::new());
    }
}
