//! Codec of calls and their outcomes between members.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use quorate_clock::Instant;
use quorate_proto::peer::{
    self, Header, HttpOrigin, Invocation, InvocationResult, ServiceReply, invocation::From,
    invocation_result::Outcome,
};

use crate::{
    api::{Message, Origin, Reply, Request, ServiceError},
    headers::HeaderPairs,
    params::Params,
};

pub(super) fn to_invocation(service: &str, request: Request, now: Instant) -> Invocation {
    let timeout_ms = request.deadline.saturating_duration_since(now).as_millis() as u64;
    let from = match request.origin {
        Origin::Message(message) => From::Origin(peer::Origin {
            kind: message.kind,
            channel: message.channel,
            epoch: message.epoch,
            message_id: message.id,
            attempt: message.attempt,
        }),
        Origin::Http(channel) => From::Http(HttpOrigin {
            admin: false,
            channel,
        }),
        Origin::Admin => From::Http(HttpOrigin {
            admin: true,
            channel: None,
        }),
    };
    let rest = request.params.rest();
    let (rest, rest_segments) = rest
        .map(|(name, segments)| (name.to_owned(), segments.to_vec()))
        .unzip();
    Invocation {
        service: service.to_owned(),
        cid: request.cid,
        headers: to_headers(request.headers),
        body: request.body,
        timeout_ms,
        from: Some(from),
        method: request.method.to_string(),
        path: request.path,
        query: request.query,
        params: request
            .params
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        rest,
        rest_segments: rest_segments.unwrap_or_default(),
    }
}

/// Part of a call or an answer that can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvocationError {
    #[error("an invocation without an origin")]
    NoOrigin,
    #[error("{0:?} is no method")]
    Method(String),
    #[error("{0} is no status")]
    Status(u32),
    #[error("the value of header {0:?} can't be one")]
    HeaderValue(String),
    #[error("{0:?} is no header's name")]
    HeaderName(String),
}

/// Decodes a call. The error names the caller's mistake.
pub(super) fn to_request(
    invocation: Invocation,
    now: Instant,
) -> Result<(String, Request), InvocationError> {
    let origin = match invocation.from {
        None => return Err(InvocationError::NoOrigin),
        Some(From::Http(HttpOrigin { admin: true, .. })) => Origin::Admin,
        Some(From::Http(http)) => Origin::Http(http.channel),
        Some(From::Origin(message)) => Origin::Message(Message {
            kind: message.kind,
            channel: message.channel,
            epoch: message.epoch,
            id: message.message_id,
            attempt: message.attempt,
        }),
    };
    let or = |given: String, default: &str| {
        if given.is_empty() {
            default.to_owned()
        } else {
            given
        }
    };
    let method = or(invocation.method, "POST");
    let method = Method::try_from(method.as_str()).map_err(|_| InvocationError::Method(method))?;
    let mut params = Params::default();
    invocation
        .params
        .into_iter()
        .for_each(|(name, value)| params.insert(name, value));
    if let Some(name) = invocation.rest {
        params.insert_rest(name, invocation.rest_segments);
    }
    let request = Request {
        cid: invocation.cid,
        method,
        path: or(invocation.path, "/"),
        query: invocation.query,
        params,
        headers: from_headers(invocation.headers)?,
        body: invocation.body,
        origin,
        deadline: now + Duration::from_millis(invocation.timeout_ms),
    };
    Ok((invocation.service, request))
}

pub(super) fn to_result(outcome: Result<Reply, ServiceError>) -> InvocationResult {
    let outcome = match outcome {
        Ok(reply) => Outcome::Reply(ServiceReply {
            status: reply.status.as_u16().into(),
            headers: to_headers(reply.headers),
            body: reply.body,
        }),
        Err(ServiceError::NotRun(why)) => Outcome::NotRun(why),
        Err(ServiceError::Failed(why)) => Outcome::Failed(why),
        Err(ServiceError::TimedOut(ms)) => Outcome::TimedOut(ms),
        Err(ServiceError::Fenced(epoch)) => Outcome::Fenced(epoch),
        // Not `NotRun`, after which the next member would be asked: it is the caller's mistake
        // everywhere. A reply is understood by members of any version.
        Err(ServiceError::BadRequest(why)) => return to_result(Ok(Reply::text(400, why))),
    };
    InvocationResult {
        outcome: Some(outcome),
    }
}

pub(super) fn from_result(result: InvocationResult) -> Result<Reply, ServiceError> {
    match result.outcome {
        Some(Outcome::Reply(reply)) => from_reply(reply)
            .map_err(|why| ServiceError::Failed(format!("an answer that can't be read: {why}"))),
        Some(Outcome::NotRun(why)) => Err(ServiceError::NotRun(why)),
        Some(Outcome::Failed(why)) => Err(ServiceError::Failed(why)),
        Some(Outcome::TimedOut(ms)) => Err(ServiceError::TimedOut(ms)),
        Some(Outcome::Fenced(epoch)) => Err(ServiceError::Fenced(epoch)),
        None => Err(ServiceError::Failed("an answer without an outcome".into())),
    }
}

fn from_reply(reply: ServiceReply) -> Result<Reply, InvocationError> {
    let status = u16::try_from(reply.status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or(InvocationError::Status(reply.status))?;
    Ok(Reply {
        status,
        headers: from_headers(reply.headers)?,
        body: reply.body,
    })
}

fn to_headers(mut headers: HeaderMap) -> Vec<Header> {
    headers
        .drain_pairs()
        .into_iter()
        .map(|(name, value)| Header {
            name: name.as_str().to_owned(),
            value: bytes::Bytes::copy_from_slice(value.as_bytes()),
        })
        .collect()
}

fn from_headers(headers: Vec<Header>) -> Result<HeaderMap, InvocationError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for Header { name, value } in headers {
        let value = HeaderValue::from_maybe_shared(value)
            .map_err(|_| InvocationError::HeaderValue(name.clone()))?;
        let name =
            HeaderName::try_from(&name).map_err(|_| InvocationError::HeaderName(name.clone()))?;
        map.append(name, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_outcomes_survive_the_way() {
        let now = Instant::now();
        for origin in [
            Origin::Admin,
            Origin::Http(None),
            Origin::Http(Some("orders".into())),
            Origin::Message(Message {
                kind: "amqp_channel".into(),
                channel: "c".into(),
                epoch: 7,
                id: "m".into(),
                attempt: 2,
            }),
        ] {
            let mut request = crate::testing::request(origin);
            request.method = Method::PUT;
            request.query = Some("a=b".into());
            request.params.insert("id".into(), "1".into());
            request
                .params
                .insert_rest("rest".into(), vec!["a".into(), "b/c".into()]);
            request
                .headers
                .append("x", HeaderValue::from_bytes(b"\xff").unwrap());
            request.headers.append("x", HeaderValue::from_static("2"));
            request.deadline = now + Duration::from_millis(1500);
            let (service, back) =
                to_request(to_invocation("s", request.clone(), now), now).unwrap();
            assert_eq!(service, "s");
            assert_eq!(format!("{back:?}"), format!("{request:?}"));
        }
        for outcome in [
            Err(ServiceError::NotRun("a".into())),
            Err(ServiceError::Failed("b".into())),
            Err(ServiceError::TimedOut(3)),
            Err(ServiceError::Fenced(4)),
        ] {
            let back = from_result(to_result(outcome.clone()));
            assert_eq!(back.unwrap_err(), outcome.unwrap_err());
        }
        let mistake = to_result(Err(ServiceError::BadRequest("a step".into())));
        let reply = from_result(mistake).unwrap();
        assert_eq!(
            (reply.status.as_u16(), &reply.body[..]),
            (400, &b"a step"[..])
        );
        let reply = from_result(to_result(Ok(Reply::text(404, "no")))).unwrap();
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (404, &b"no"[..]));
    }

    #[test]
    fn call_without_segments_is_understood() {
        let now = Instant::now();
        let mut request = crate::testing::request(Origin::Http(None));
        let segments = vec!["a".into(), "b".into()];
        request.params.insert_rest("rest".into(), segments);
        let mut older = to_invocation("s", request, now);
        older.rest = None;
        older.rest_segments.clear();
        let (_, back) = to_request(older, now).unwrap();
        assert_eq!(back.params["rest"], "a/b");
    }

    #[test]
    fn invalid_invocation_is_refused() {
        let now = Instant::now();
        assert!(to_request(Invocation::default(), now).is_err());
        let from = Some(From::Http(HttpOrigin::default()));
        let bad = Invocation {
            from: from.clone(),
            method: "not a method".into(),
            ..Default::default()
        };
        assert!(to_request(bad, now).is_err());
        let header = Header {
            name: "a b".into(),
            value: "c".into(),
        };
        assert!(
            to_request(
                Invocation {
                    from,
                    headers: vec![header],
                    ..Default::default()
                },
                now
            )
            .is_err()
        );
        let result = InvocationResult {
            outcome: Some(Outcome::Reply(ServiceReply {
                status: 7,
                ..Default::default()
            })),
        };
        assert!(matches!(from_result(result), Err(ServiceError::Failed(_))));
    }
}
