//! Which headers travel: through a proxy, and with a message.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{CONTROLS, percent_encode};

use super::api::{Message, Request};

/// The correlation id, on every request and every answer.
pub(crate) const CID: HeaderName = HeaderName::from_static("x-zato-cid");

const CHANNEL: HeaderName = HeaderName::from_static("quorate-channel");
const EPOCH: HeaderName = HeaderName::from_static("quorate-epoch");
const MESSAGE_ID: HeaderName = HeaderName::from_static("quorate-message-id");
const ATTEMPT: HeaderName = HeaderName::from_static("quorate-attempt");
const OURS: &str = "quorate-";
const OWN: &str = "quorate-header-";

/// Takes out what is meant for one connection only (RFC 9110, 7.6.1).
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
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
        "trailer",
        "transfer-encoding",
        "upgrade",
    ] {
        headers.remove(name);
    }
}

/// Takes out the headers that only this cluster may set: a client could otherwise pass a
/// request off as a message.
pub(crate) fn strip_ours(headers: &mut HeaderMap) {
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(OURS))
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
}

/// Takes out what a client shows to whom it asks, and what proxies say of it: a request that
/// is passed on by someone else's authority shows neither.
pub(crate) fn strip_identity(headers: &mut HeaderMap) {
    for name in [
        "authorization",
        "cookie",
        "forwarded",
        "origin",
        "proxy-authorization",
        "referer",
        "client-cert",
        "client-cert-chain",
    ] {
        headers.remove(name);
    }
    let more: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.starts_with("x-forwarded-") || name.starts_with("sec-fetch-")
        })
        .cloned()
        .collect();
    for name in more {
        headers.remove(name);
    }
}

/// Gives a message's call the headers that services are promised: its coordinates, and the
/// message's own headers as `Quorate-Header-NAME`. Doing so twice changes nothing.
pub(crate) fn describe_message(request: &mut Request, message: &Message) {
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 5);
    for (name, value) in request.headers.drain_pairs() {
        if keeps_its_name(&name) {
            headers.append(name, value);
        } else if let Ok(renamed) = HeaderName::try_from(format!("{OWN}{name}")) {
            headers.append(renamed, value);
        }
    }
    headers.insert(CHANNEL, text(&message.channel));
    headers.insert(EPOCH, message.epoch.into());
    headers.insert(MESSAGE_ID, text(&message.id));
    headers.insert(ATTEMPT, message.attempt.into());
    headers.insert(CID, text(&request.cid));
    request.headers = headers;
}

fn keeps_its_name(name: &HeaderName) -> bool {
    *name == header::CONTENT_TYPE
        || *name == header::CONTENT_ENCODING
        || *name == CID
        || name.as_str().starts_with(OURS)
}

/// A header's value from any text: what can't stand there is percent-encoded.
pub(crate) fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| {
        let encoded = percent_encode(value.as_bytes(), CONTROLS).to_string();
        HeaderValue::from_str(&encoded).expect("invariant: percent-encoded text is visible ASCII")
    })
}

/// Header names and values as pairs, each value with its name.
pub(crate) trait Pairs {
    /// Empties the map into pairs.
    fn drain_pairs(&mut self) -> Vec<(HeaderName, HeaderValue)>;
}

impl Pairs for HeaderMap {
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
    fn what_connection_names_is_taken_out_too() {
        let mut headers = HeaderMap::new();
        headers.append("connection", HeaderValue::from_static("close, X-Secret"));
        headers.append("x-secret", HeaderValue::from_static("1"));
        headers.append("te", HeaderValue::from_static("trailers"));
        headers.append("accept", HeaderValue::from_static("a"));
        headers.append("accept", HeaderValue::from_static("b"));
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers.get_all("accept").iter().count(), 2);
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
        assert_eq!(text("plain"), "plain");
        assert_eq!(text("a\nb"), "a%0Ab");
        assert_eq!(text("nul\0"), "nul%00");
    }
}
