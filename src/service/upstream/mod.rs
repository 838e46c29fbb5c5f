//! Services that an HTTP server handles: one URL or several, tried in turn.
//!
//! The URL is called as it stands, with the request's method, headers, body and query;
//! `{name}` in it stands for what the HTTP channel's path matched under that name. Another
//! URL is tried only when the request was surely never sent, or when its method is idempotent
//! and the connection broke; an answer is an answer, whatever its status. A POST that may have
//! run is never sent again from here: that takes the service's `retries`.

mod client;
mod rotation;
mod template;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use quorate_clock::Instant;
use reqwest::Url;
use tokio::time::timeout_at;

pub(super) use client::client;
use rotation::Rotation;

use super::{
    api::{Reply, Request, ServiceError},
    headers,
};
use crate::state::resource::Urls;

/// The longest answer that is taken from an upstream, in bytes.
pub(super) const REPLY_BYTES_MAX: usize = 16 << 20;

/// One `upstream` service.
pub(super) struct Upstream {
    urls: Vec<String>,
    rotation: Rotation,
    http: reqwest::Client,
}

/// Why one URL gave no answer.
enum Miss {
    /// The request did not leave this member.
    NeverSent(String),
    /// It may have arrived.
    Broken(String),
    /// It arrived, and what came back can't be used.
    Unusable(String),
    TimedOut,
}

impl Upstream {
    pub(super) fn new(urls: &Urls, http: reqwest::Client) -> Upstream {
        let urls = urls.as_slice().to_vec();
        Upstream {
            rotation: Rotation::new(urls.len()),
            urls,
            http,
        }
    }

    /// One call, within the request's deadline.
    pub(super) async fn call(&self, request: Request) -> Result<Reply, ServiceError> {
        let begun = Instant::now();
        let allowed_ms = request
            .deadline
            .saturating_duration_since(begun)
            .as_millis() as u64;
        let idempotent = request.method.is_idempotent();
        let outgoing = outgoing_headers(&request);

        let mut order = self.rotation.order(begun);
        if let ([only], true) = (order.as_slice(), idempotent) {
            // The connection may just have been too old.
            order.push(*only);
        }
        let mut misses: Vec<String> = Vec::new();
        let mut may_have_run = false;
        for index in order {
            let url = match template::fill(
                &self.urls[index],
                &request.params,
                request.query.as_deref(),
            ) {
                Ok(url) => url,
                Err(why) => {
                    misses.push(why);
                    continue;
                }
            };
            let shown = format!("{}://{}", url.scheme(), url.authority());
            match self.send(url, &request, outgoing.clone()).await {
                Ok(reply) => {
                    self.rotation.worked(index);
                    return Ok(reply);
                }
                Err(Miss::TimedOut) => {
                    self.rotation.failed(index, Instant::now());
                    return Err(ServiceError::TimedOut(allowed_ms));
                }
                Err(Miss::Unusable(why)) => {
                    return Err(ServiceError::Failed(format!("{shown}: {why}")));
                }
                Err(Miss::NeverSent(why)) => {
                    self.rotation.failed(index, Instant::now());
                    misses.push(format!("{shown}: {why}"));
                }
                Err(Miss::Broken(why)) => {
                    self.rotation.failed(index, Instant::now());
                    misses.push(format!("{shown}: {why}"));
                    may_have_run = true;
                    if !idempotent {
                        break;
                    }
                }
            }
        }
        let told = misses.join("; ");
        Err(if may_have_run {
            ServiceError::Failed(told)
        } else {
            ServiceError::NotRun(told)
        })
    }

    async fn send(&self, url: Url, request: &Request, headers: HeaderMap) -> Result<Reply, Miss> {
        let deadline = request.deadline;
        let mut call = self
            .http
            .request(request.method.clone(), url)
            .headers(headers);
        if !request.body.is_empty() || expects_a_body(&request.method) {
            call = call.body(request.body.clone());
        }
        let response = timeout_at(deadline, call.send())
            .await
            .map_err(|_| Miss::TimedOut)?;
        let mut response = response.map_err(|error| client::classify(&error))?;

        let status = response.status();
        if status.is_informational() {
            return Err(Miss::Unusable(format!(
                "it answered {status}, which is no final answer"
            )));
        }
        let mut headers = std::mem::take(response.headers_mut());
        headers::strip_hop_by_hop(&mut headers);
        if request.method != Method::HEAD {
            headers.remove(header::CONTENT_LENGTH);
        }
        headers.remove(headers::CID);
        let body = timeout_at(deadline, read_body(&mut response))
            .await
            .map_err(|_| Miss::TimedOut)??;
        Ok(Reply {
            status,
            headers,
            body,
        })
    }
}

async fn read_body(response: &mut reqwest::Response) -> Result<Bytes, Miss> {
    let too_long = || Miss::Unusable(format!("its answer is longer than {REPLY_BYTES_MAX} bytes"));
    if response
        .content_length()
        .is_some_and(|length| length > REPLY_BYTES_MAX as u64)
    {
        return Err(too_long());
    }
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > REPLY_BYTES_MAX => return Err(too_long()),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) => return Err(Miss::Broken(client::explain(&error))),
        }
    }
}

fn outgoing_headers(request: &Request) -> HeaderMap {
    let mut outgoing = request.headers.clone();
    headers::strip_hop_by_hop(&mut outgoing);
    for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT] {
        outgoing.remove(name);
    }
    outgoing.insert(headers::CID, headers::text(&request.cid));
    outgoing
}

/// These are sent with `Content-Length: 0` rather than without any length.
fn expects_a_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}
