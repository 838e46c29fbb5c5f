//! Headers that travel through a proxy and with a message.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{CONTROLS, percent_encode};

use super::api::{Message, Request};

/// Correlation id, on every request and every answer.
pub(crate) const CID: HeaderName = HeaderName::from_static("x-zato-cid");

/// Headers with the host that the client asked for, and with its scheme.
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const FORWARDED_FAMILY: &str = "x-forwarded-";
const FORWARDED: &str = "forwarded";
const REAL_IP: &str = "x-real-ip";
const CLIENT_CERT_FAMILY: &str = "client-cert";

const CHANNEL: HeaderName = HeaderName::from_static("quorate-channel");
const EPOCH: HeaderName = HeaderName::from_static("quorate-epoch");
const MESSAGE_ID: HeaderName = HeaderName::from_static("quorate-message-id");
const ATTEMPT: HeaderName = HeaderName::from_static("quorate-attempt");
const OURS: &str = "quorate-";
const OWN: &str = "quorate-header-";

/// Removes the headers that are meant for one connection only (RFC 9110, 7.6.1). Those that are
/// known to be meant for the other end stay, whatever `Connection` lists: a client that names
/// `Authorization` or `X-Forwarded-For` there wants to hide them from a server that relies on them.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = connection_options(headers)
        .filter_map(|name| name.parse().ok())
        .filter(|name| !is_end_to_end(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ] {
        headers.remove(name);
    }
}

/// Removes the headers of an answer that are meant for one connection only, but for those that its
/// status asks of the client: a 426 needs `Upgrade`, a 407 `Proxy-Authenticate`.
pub(crate) fn strip_answer(headers: &mut HeaderMap, status: StatusCode) {
    let asked = match status {
        StatusCode::UPGRADE_REQUIRED => header::UPGRADE,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => header::PROXY_AUTHENTICATE,
        _ => return strip_hop_by_hop(headers),
    };
    let kept: Vec<HeaderValue> = headers.get_all(&asked).iter().cloned().collect();
    strip_hop_by_hop(headers);
    for value in kept {
        headers.append(&asked, value);
    }
}

/// Lists the options of `Connection`, in lower case.
fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = String> + '_ {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
}

/// Returns true when the client wants to change to WebSocket, the only protocol that is passed on.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let wanted = headers.get(header::UPGRADE);
    wanted.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && connection_options(headers).any(|option| option == "upgrade")
}

/// Returns true when the client takes trailers.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::TE).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Returns true for headers that are for the other end by their definition.
fn is_end_to_end(name: &HeaderName) -> bool {
    const FAMILIES: &[&str] = &[
        "accept",
        "access-control-",
        "content-",
        "if-",
        "quorate-",
        "sec-",
        "x-forwarded-",
        "x-zato-",
    ];
    const NAMES: &[&str] = &[
        "age",
        "allow",
        "authorization",
        "cache-control",
        "cookie",
        "date",
        "etag",
        "expect",
        "expires",
        "forwarded",
        "host",
        "last-modified",
        "link",
        "location",
        "origin",
        "pragma",
        "range",
        "referer",
        "retry-after",
        "set-cookie",
        "traceparent",
        "trailer",
        "user-agent",
        "vary",
        "www-authenticate",
        "x-api-key",
        "x-real-ip",
    ];
    let name = name.as_str();
    NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Removes the headers that only this cluster may set: a client could otherwise pass a request off
/// as a message.
pub fn strip_ours(headers: &mut HeaderMap) {
    remove(headers, |name| hyphenated(name).starts_with(OURS));
}

/// Removes headers that name the client. Those that a trusted proxy has set stay; but not under
/// names that only look like these, which a proxy passes on as its client has sent them.
pub(crate) fn strip_claims(headers: &mut HeaderMap, is_trusted: bool) {
    remove(headers, |name| {
        let claim = hyphenated(name);
        let is_claim = claim.starts_with(FORWARDED_FAMILY)
            || claim.starts_with(CLIENT_CERT_FAMILY)
            || matches!(&*claim, FORWARDED | REAL_IP);
        is_claim && (!is_trusted || name.contains('_'))
    });
}

/// Removes from a client's trailers the names that decide something as headers: many servers treat
/// both alike.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    strip_ours(trailers);
    strip_claims(trailers, false);
    for name in [CID, header::AUTHORIZATION, header::COOKIE, header::HOST] {
        trailers.remove(name);
    }
}

/// Returns a name as CGI and its kin know it, which can't tell `X_Forwarded_For` from the real one.
fn hyphenated(name: &str) -> Cow<'_, str> {
    if name.contains('_') {
        name.replace('_', "-").into()
    } else {
        name.into()
    }
}

/// Removes a header, and what CGI and its kin can't tell from it.
pub(crate) fn remove_alike(headers: &mut HeaderMap, name: &HeaderName) {
    let wanted = hyphenated(name.as_str());
    remove(headers, |name| hyphenated(name) == wanted);
}

fn remove(headers: &mut HeaderMap, is_unwanted: impl Fn(&str) -> bool) {
    let names = headers.keys().filter(|name| is_unwanted(name.as_str()));
    for name in names.cloned().collect::<Vec<HeaderName>>() {
        headers.remove(name);
    }
}

/// Removes a client's credentials, and what proxies add about it: a request that is passed on by
/// someone else's authority shows neither.
pub fn strip_identity(headers: &mut HeaderMap) {
    const NAMES: &[&str] = &[
        "authorization",
        "cookie",
        "origin",
        "proxy-authorization",
        "referer",
    ];
    // Nobody is trusted here: a proxy's word was meant for this member.
    strip_claims(headers, false);
    remove(headers, |name| {
        let name = hyphenated(name);
        NAMES.contains(&&*name) || name.starts_with("sec-fetch-")
    });
}

/// Gives a message's call the headers that services are promised: its coordinates, and the
/// message's own headers as `Quorate-Header-NAME`. Idempotent.
pub(crate) fn describe_message(request: &mut Request, message: &Message) {
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 5);
    for (name, value) in request.headers.drain_pairs() {
        if keeps_its_name(&name) {
            headers.append(name, value);
        } else if let Ok(renamed) = HeaderName::try_from(format!("{OWN}{name}")) {
            headers.append(renamed, value);
        }
    }
    headers.insert(CHANNEL, to_header_value(&message.channel));
    headers.insert(EPOCH, message.epoch.into());
    headers.insert(MESSAGE_ID, to_header_value(&message.id));
    headers.insert(ATTEMPT, message.attempt.into());
    headers.insert(CID, to_header_value(&request.cid));
    request.headers = headers;
}

fn keeps_its_name(name: &HeaderName) -> bool {
    *name == header::CONTENT_TYPE
        || *name == header::CONTENT_ENCODING
        || *name == CID
        || name.as_str().starts_with(OURS)
}

/// Builds a header's value from any text: characters that can't stand there are percent-encoded.
pub fn to_header_value(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| {
        let encoded = percent_encode(value.as_bytes(), CONTROLS).to_string();
        HeaderValue::from_str(&encoded).expect("invariant: percent-encoded text is visible ASCII")
    })
}

/// Header names and values as pairs, each value with its name.
pub(crate) trait HeaderPairs {
    /// Empties the map into pairs.
    fn drain_pairs(&mut self) -> Vec<(HeaderName, HeaderValue)>;
}

impl HeaderPairs for HeaderMap {
    fn drain_pairs(&mut self) -> Vec<(HeaderName, HeaderValue)> {
        let mut last = None;
        let mut pairs = Vec::with_capacity(self.len());
        for (name, value) in std::mem::take(self) {
            // A name is given once for all of its values.
            if name.is_some() {
                last = name;
            }
            if let Some(name) = &last {
                pairs.push((name.clone(), value));
            }
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_named_by_connection_are_removed() {
        let mut headers = HeaderMap::new();
        headers.append("connection", HeaderValue::from_static("close, X-Secret"));
        headers.append("x-secret", HeaderValue::from_static("1"));
        headers.append("te", HeaderValue::from_static("trailers"));
        headers.append("keep-alive", HeaderValue::from_static("timeout=5"));
        headers.append("accept", HeaderValue::from_static("a"));
        headers.append("accept", HeaderValue::from_static("b"));
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers.get_all("accept").iter().count(), 2);
    }

    #[test]
    fn answer_keeps_headers_its_status_needs() {
        for (status, kept) in [
            (426, Some("upgrade")),
            (407, Some("proxy-authenticate")),
            (200, None),
            (401, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.append("connection", HeaderValue::from_static("upgrade, close"));
            headers.append("upgrade", HeaderValue::from_static("h2c"));
            headers.append("upgrade", HeaderValue::from_static("websocket"));
            headers.append("proxy-authenticate", HeaderValue::from_static("Basic"));
            headers.append("keep-alive", HeaderValue::from_static("timeout=5"));
            strip_answer(&mut headers, StatusCode::from_u16(status).unwrap());
            let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            assert_eq!(names, Vec::from_iter(kept), "{status}");
        }
    }

    #[test]
    fn end_to_end_headers_survive_connection() {
        let kept = [
            "host",
            "authorization",
            "cookie",
            "set-cookie",
            "content-type",
            "content-length",
            "content-encoding",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "forwarded",
            "x-zato-cid",
            "quorate-send",
            "etag",
            "location",
            "accept-encoding",
        ];
        let mut headers = HeaderMap::new();
        headers.append("connection", HeaderValue::from_static("close"));
        for name in kept {
            headers.append(name, HeaderValue::from_static("v"));
            headers.append("connection", HeaderValue::from_static(name));
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), kept.len());
    }

    #[test]
    fn lookalikes_of_our_headers_are_removed() {
        let claims = [
            ("x-forwarded-for", true),
            ("x-forwarded-prefix", true),
            ("forwarded", true),
            ("x-real-ip", true),
            ("x_forwarded_for", false),
            ("x-forwarded_for", false),
            ("x_real_ip", false),
        ];
        for (name, stays) in claims {
            for is_trusted in [true, false] {
                let mut headers = HeaderMap::new();
                headers.insert(name, HeaderValue::from_static("v"));
                headers.insert("x_own", HeaderValue::from_static("v"));
                strip_claims(&mut headers, is_trusted);
                assert_eq!(headers.contains_key(name), stays && is_trusted, "{name}");
                assert!(headers.contains_key("x_own"));
            }
        }
        let mut headers = HeaderMap::new();
        for name in ["quorate-epoch", "quorate_epoch", "x-mine"] {
            headers.insert(name, HeaderValue::from_static("v"));
        }
        strip_ours(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-mine"]);
    }

    #[test]
    fn trailers_say_nothing_that_headers_decide() {
        let mut trailers = HeaderMap::new();
        for name in [
            "quorate-epoch",
            "x-forwarded-for",
            "forwarded",
            "x-zato-cid",
            "authorization",
            "host",
            "transfer-encoding",
            "x-sum",
        ] {
            trailers.insert(name, HeaderValue::from_static("v"));
        }
        strip_trailers(&mut trailers);
        assert_eq!(trailers.keys().collect::<Vec<_>>(), ["x-sum"]);
    }

    #[test]
    fn a_websocket_is_asked_for_by_both_headers() {
        for (connection, upgrade, is_one) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "WebSocket", true),
            ("close", "websocket", false),
            ("upgrade", "h2c", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("connection", HeaderValue::from_static(connection));
            headers.insert("upgrade", HeaderValue::from_static(upgrade));
            assert_eq!(is_websocket(&headers), is_one, "{connection} {upgrade}");
        }
    }

    #[test]
    fn repeated_values_keep_their_name() {
        let mut headers = HeaderMap::new();
        headers.append("a", HeaderValue::from_static("1"));
        headers.append("a", HeaderValue::from_static("2"));
        headers.append("b", HeaderValue::from_static("3"));
        let pairs = headers.drain_pairs();
        assert_eq!(pairs.len(), 3);
        assert_eq!(pairs.iter().filter(|(name, _)| name == "a").count(), 2);
    }

    #[test]
    fn any_text_can_be_a_value() {
        assert_eq!(to_header_value("plain"), "plain");
        assert_eq!(to_header_value("a\nb"), "a%0Ab");
        assert_eq!(to_header_value("nul\0"), "nul%00");
    }
}
