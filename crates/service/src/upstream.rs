//! Services that an HTTP server handles: one URL or several, tried in turn.
//!
//! The URL is called as it stands, with the request's method, headers, body and query; `{name}` in
//! it stands for what the HTTP channel's path matched under that name. Another URL is tried only
//! when the request was surely never sent, or when its method is idempotent and the connection
//! broke; an answer is an answer, whatever its status. The same URL is called once: a request that
//! may have run is never sent there again from here, which takes the service's `retries`.
//! `docs/http.md` lists what is passed on and what is changed.

mod access;
mod document;
mod outgoing_body;
mod redirect_rewriting;
mod signature;
#[cfg(test)]
mod tests;
mod upstream_client;
mod upstream_stream;
mod url_rotation;
mod url_template;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body::Body as _;
use hyper_util::client::legacy::connect::capture_connection;
use quorate_clock::Instant;
use tokio::time::timeout_at;
use url::Url;

pub(super) use access::UpstreamClients;
use access::{UpstreamAccess, UpstreamSetupError};
pub(super) use document::{DocumentError, get_document};
use outgoing_body::OutgoingBody;
use quorate_resources::{HostHeader, Service};
use quorate_state::Catalog;
use signature::CallSigner;
pub(super) use upstream_client::{UpstreamClient, is_canceled};
use url_rotation::UrlRotation;

use super::{
    api::{Origin, Request, ServiceError},
    headers,
    prefixed_body::PrefixedBody,
    service_answer::{
        DownloadError, ServiceAnswer, ServiceAnswerBody, UpstreamDownload, UpstreamTunnel,
    },
    stream_options::StreamOptions,
    upload::UploadError,
};

/// Bytes up to which an answer is read whole before it is passed on, when it is announced to be no
/// longer: one that breaks off is a failure then, and not half an answer.
const SMALL_BYTES_MAX: u64 = 64 << 10;

/// Least time for which an answer that has begun may be silent.
pub(super) const STREAM_SILENCE: Duration = Duration::from_secs(60);

/// Most idle connections in a row that may turn out to be closed.
const STALE_MAX: usize = 64;

/// One `upstream` service.
pub(super) struct HttpUpstream {
    urls: Vec<String>,
    host: HostHeader,
    rotation: UrlRotation,
    signer: CallSigner,
    access: Result<UpstreamAccess, UpstreamSetupError>,
}

/// Reason why one URL gave no answer.
enum UpstreamError {
    /// The connection was closed before the request was written; another one may do.
    Stale(String),
    /// The request did not leave this member.
    NeverSent(String),
    /// The request may have arrived.
    Broken(String),
    /// The request arrived, and the answer can't be used.
    Unusable(String),
    TimedOut,
    /// The client did not send all of it.
    Client(UploadError),
}

impl HttpUpstream {
    /// Creates an upstream whose calls are signed by a key of the catalog, where the service asks
    /// for it.
    pub(super) fn new(
        service: &Service,
        catalog: &Catalog,
        clients: &UpstreamClients,
    ) -> HttpUpstream {
        let urls = service.upstream.as_ref();
        let urls = urls.map_or(Vec::new(), |urls| urls.as_slice().to_vec());
        HttpUpstream {
            rotation: UrlRotation::new(urls.len()),
            urls,
            host: service.host,
            signer: match service.signing_key() {
                None => CallSigner::None,
                Some(name) => match catalog.api_key(name) {
                    Some(key) => CallSigner::Key(key.clone()),
                    None => CallSigner::MissingKey(name.to_owned()),
                },
            },
            access: clients.access(service),
        }
    }

    /// Returns true when its calls are signed, the body too.
    pub(super) fn is_signed(&self) -> bool {
        self.signer.is_someone()
    }

    /// Calls it once. The call takes at most until the request's deadline, but for a body that is
    /// sent as it comes: then the upstream may do nothing for `timeout` at most.
    pub(super) async fn call(
        &self,
        request: &Request,
        flow: &StreamOptions,
        timeout: Duration,
    ) -> Result<ServiceAnswer, ServiceError> {
        // Nothing is sent without the credentials that are meant to go with it.
        let access = self.access.as_ref();
        let access = access.map_err(|error| ServiceError::NotRun(error.to_string()))?;
        let idempotent = request.method.is_idempotent();
        let mut outgoing = outgoing_headers(request, flow, self.host);
        access.add_credentials(&mut outgoing);
        let mut misses: Vec<String> = Vec::new();
        let mut may_have_run = false;
        for index in self.rotation.order(Instant::now()) {
            let query = request.query.as_deref();
            let url = match url_template::fill(&self.urls[index], &request.params, query) {
                Ok(url) => url,
                Err(ServiceError::NotRun(why)) => {
                    misses.push(why);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let shown = format!("{}://{}", url.scheme(), url.authority());
            let send = || self.send(&access.http, &url, request, flow, &outgoing, timeout);
            let mut sent = send().await;
            for _ in 0..STALE_MAX {
                if !matches!(sent, Err(UpstreamError::Stale(_))) {
                    break;
                }
                sent = send().await;
            }
            match sent {
                Ok(mut answer) => {
                    self.rotation.worked(index);
                    if self.host == HostHeader::Upstream {
                        let template = &self.urls[index];
                        redirect_rewriting::rewrite(&mut answer.headers, template, &url, request);
                    }
                    return Ok(answer);
                }
                Err(UpstreamError::TimedOut) => {
                    self.rotation.failed(index, Instant::now());
                    return Err(ServiceError::TimedOut(timeout.as_millis() as u64));
                }
                Err(UpstreamError::Unusable(why)) => {
                    return Err(ServiceError::Failed(format!("{shown}: {why}")));
                }
                Err(UpstreamError::Client(why)) => {
                    return Err(ServiceError::Failed(why.to_string()));
                }
                Err(UpstreamError::NeverSent(why) | UpstreamError::Stale(why)) => {
                    self.rotation.failed(index, Instant::now());
                    misses.push(format!("{shown}: {why}"));
                }
                Err(UpstreamError::Broken(why)) => {
                    self.rotation.failed(index, Instant::now());
                    misses.push(format!("{shown}: {why}"));
                    may_have_run = true;
                    if !idempotent {
                        break;
                    }
                }
            }
        }
        let misses = misses.join("; ");
        Err(if may_have_run {
            ServiceError::Failed(misses)
        } else {
            ServiceError::NotRun(misses)
        })
    }

    async fn send(
        &self,
        http: &UpstreamClient,
        url: &Url,
        request: &Request,
        flow: &StreamOptions,
        headers: &HeaderMap,
        timeout: Duration,
    ) -> Result<ServiceAnswer, UpstreamError> {
        let mut outgoing = outgoing_request(url, request, flow, headers)?;
        let whole = flow.upload.is_none().then_some(&request.body);
        self.signer
            .sign(&mut outgoing, whole)
            .map_err(|error| UpstreamError::NeverSent(error.to_string()))?;
        let answered = http.request(outgoing);
        let answered = match &flow.upload {
            Some(upload) => upload.answer_within(timeout, answered).await,
            None => timeout_at(request.deadline, answered).await.ok(),
        };
        let response = answered.ok_or(UpstreamError::TimedOut)?.map_err(|error| {
            let failure = flow.upload.as_ref().and_then(|upload| upload.failure());
            failure.map_or_else(|| upstream_client::classify(&error), UpstreamError::Client)
        })?;
        let until = match flow.upload {
            Some(_) => Instant::now() + timeout,
            None => request.deadline,
        };
        let silence = timeout.max(STREAM_SILENCE);
        receive(response, request, flow, silence, until).await
    }
}

/// Builds an answer of what has come: its head, and its body if that is short.
async fn receive(
    mut response: http::Response<hyper::body::Incoming>,
    request: &Request,
    flow: &StreamOptions,
    silence: Duration,
    until: Instant,
) -> Result<ServiceAnswer, UpstreamError> {
    let status = response.status();
    let switches = flow.websocket && status == StatusCode::SWITCHING_PROTOCOLS;
    if status.is_informational() && !switches {
        return Err(UpstreamError::Unusable(format!(
            "it answered {status}, which is no final answer"
        )));
    }
    let tunnel = switches.then(|| UpstreamTunnel {
        upstream: hyper::upgrade::on(&mut response),
        websocket_permit: None,
    });
    let mut headers = std::mem::take(response.headers_mut());
    headers::strip_answer(&mut headers, status);
    headers.remove(headers::CID);
    let has_body = request.method != Method::HEAD
        && !switches
        && ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    if request.method != Method::HEAD {
        headers.remove(header::CONTENT_LENGTH);
    }
    let mut answer = ServiceAnswer {
        status,
        headers,
        body: ServiceAnswerBody::Whole(Bytes::new()),
        tunnel,
    };
    if !has_body {
        return Ok(answer);
    }
    let incoming = response.into_body();
    let length = incoming.size_hint().exact();
    let upload = flow.upload.clone();
    let download = UpstreamDownload::new(incoming, silence, request.cid.clone(), upload);
    if length.is_none_or(|length| length > SMALL_BYTES_MAX) {
        answer.body = ServiceAnswerBody::Stream(Box::new(download));
        return Ok(answer);
    }
    let whole = match download.whole(SMALL_BYTES_MAX as usize, until).await {
        Err(_) if is_done(&request.origin, &answer) => Bytes::new(),
        whole => whole.map_err(|error| match error {
            DownloadError::TimedOut | DownloadError::Silent(_) => UpstreamError::TimedOut,
            error => UpstreamError::Broken(error.to_string()),
        })?,
    };
    answer.body = ServiceAnswerBody::Whole(whole);
    Ok(answer)
}

/// Returns true when a message has been handled, whatever becomes of the answer's body: the service
/// has answered so, and nothing is to be forwarded.
pub(super) fn is_done(origin: &Origin, answer: &ServiceAnswer) -> bool {
    matches!(origin, Origin::Message(_))
        && answer.status.is_success()
        && !answer.headers.contains_key("quorate-send")
}

fn outgoing_request(
    url: &Url,
    request: &Request,
    flow: &StreamOptions,
    headers: &HeaderMap,
) -> Result<http::Request<OutgoingBody>, UpstreamError> {
    let upload = flow.upload.as_ref().map(|upload| {
        upload.attempt().ok_or_else(|| match upload.failure() {
            Some(failure) => UpstreamError::Client(failure),
            None => UpstreamError::NeverSent(
                "too much of its body has been read to send it again".into(),
            ),
        })
    });
    // A body that is passed on as it comes is not in `request`.
    let content = PrefixedBody {
        prefix: request.body.clone(),
        rest: upload.transpose()?,
    };
    let uri = Uri::try_from(url.as_str()).map_err(|error| {
        UpstreamError::NeverSent(format!("{:?} can't be asked: {error}", url.as_str()))
    })?;
    let mut outgoing = http::Request::new(OutgoingBody::new(content));
    *outgoing.method_mut() = request.method.clone();
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers.clone();
    let length = outgoing.body().size_hint().exact();
    let headers = outgoing.headers_mut();
    if length.is_none() {
        // Stated explicitly, or a GET would lose its body.
        headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    } else if length == Some(0) && expects_a_body(&request.method) {
        headers.insert(header::CONTENT_LENGTH, 0.into());
    }
    let connection = capture_connection(&mut outgoing);
    outgoing.body_mut().on(connection);
    Ok(outgoing)
}

fn outgoing_headers(request: &Request, flow: &StreamOptions, host: HostHeader) -> HeaderMap {
    let mut outgoing = request.headers.clone();
    headers::strip_hop_by_hop(&mut outgoing);
    let from_client = outgoing.remove(header::HOST);
    for name in [header::CONTENT_LENGTH, header::EXPECT] {
        outgoing.remove(name);
    }
    if let (HostHeader::Client, Some(host)) = (host, from_client) {
        outgoing.insert(header::HOST, host);
    }
    if flow.trailers {
        outgoing.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if flow.websocket {
        outgoing.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        outgoing.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    outgoing.insert(headers::CID, headers::to_header_value(&request.cid));
    outgoing
}

/// Returns true for methods that are sent with `Content-Length: 0` rather than without any length.
fn expects_a_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}
