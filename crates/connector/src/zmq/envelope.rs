//! Envelopes: the reply route, and the frames that peers of ROUTER and REP channels send.
//!
//! A ROUTER socket puts the peer's routing id before what the peer sent; proxies between put
//! further frames there, and an empty one, the delimiter, ends them. A REQ peer sends the delimiter
//! always, a DEALER peer may leave it out.

use bytes::Bytes;

/// Longest message id of a peer, in bytes.
pub(super) const ID_MAX: usize = 255;

/// Frames that an answer begins with.
pub(super) type ReplyRoute = Vec<Bytes>;

/// Message whose frames can't be understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MalformedMessage {
    /// Route of the answer, where it is known.
    pub route: Option<ReplyRoute>,
    /// Message id, or the frame in its place.
    pub id: Bytes,
    /// Text that says what would be right.
    pub why: String,
}

/// Splits a request of a REQ peer, or of a DEALER peer that behaves as one: everything up to the
/// first empty frame is given back with the answer, as a REP socket does.
pub(super) fn request(
    mut frames: Vec<Bytes>,
) -> Result<(ReplyRoute, Vec<Bytes>), MalformedMessage> {
    match frames.iter().skip(1).position(Bytes::is_empty) {
        Some(before) if before + 2 < frames.len() => {
            let body = frames.split_off(before + 2);
            Ok((frames, body))
        }
        _ => Err(MalformedMessage {
            route: None,
            id: Bytes::new(),
            why: "a request must begin with an empty frame, as a REQ socket sends it, and have a body".to_owned(),
        }),
    }
}

/// Splits a message of a DEALER peer: message id and body, after the delimiter if there is one.
pub(super) fn identified(
    mut frames: Vec<Bytes>,
) -> Result<(ReplyRoute, Bytes, Bytes), MalformedMessage> {
    let delimiter = frames.iter().skip(1).position(Bytes::is_empty);
    // Two frames follow a delimiter. An empty frame further back is an empty body.
    let head = match delimiter {
        Some(before) if before + 3 < frames.len() => before + 2,
        _ => frames.len().min(1),
    };
    let mut payload = frames.split_off(head);
    let why = match payload.as_slice() {
        [id, _] if id.is_empty() => "the message id is empty".to_owned(),
        [id, _] if id.len() > ID_MAX => {
            format!(
                "the message id has {} bytes; it may have {ID_MAX}",
                id.len()
            )
        }
        [_, _] => {
            let body = payload.pop().unwrap_or_default();
            let id = payload.pop().unwrap_or_default();
            return Ok((frames, id, body));
        }
        other => format!(
            "a message must have two frames, message id and body; this one has {}",
            other.len()
        ),
    };
    let mut id = payload.into_iter().next().unwrap_or_default();
    id.truncate(ID_MAX);
    Err(MalformedMessage {
        route: Some(frames),
        id,
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(of: &[&'static str]) -> Vec<Bytes> {
        of.iter()
            .map(|text| Bytes::from_static(text.as_bytes()))
            .collect()
    }

    #[test]
    fn request_body_follows_first_empty_frame() {
        let (route, body) = request(frames(&["peer", "", "ask"])).unwrap();
        assert_eq!((route, body), (frames(&["peer", ""]), frames(&["ask"])));
        // ZMQ_REQ_CORRELATE, and proxies.
        let (route, body) = request(frames(&["proxy", "peer", "7", "", "a", "", "b"])).unwrap();
        assert_eq!(route, frames(&["proxy", "peer", "7", ""]));
        assert_eq!(body, frames(&["a", "", "b"]));
        // An empty body is one.
        assert_eq!(request(frames(&["peer", "", ""])).unwrap().1, frames(&[""]));
        for bad in [
            &["peer"][..],
            &["peer", ""],
            &["peer", "ask"],
            &["peer", "a", ""],
        ] {
            assert!(request(frames(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn delimiter_before_id_and_body_is_optional() {
        for (sent, head) in [
            (&["peer", "7", "body"][..], 1),
            (&["peer", "", "7", "body"], 2),
            (&["proxy", "peer", "", "7", "body"], 3),
        ] {
            let sent = frames(sent);
            let (route, id, body) = identified(sent.clone()).unwrap();
            assert_eq!(route, sent[..head]);
            assert_eq!((id, body), ("7".into(), "body".into()));
        }
        // Empty bodies.
        for sent in [&["peer", "7", ""][..], &["peer", "", "7", ""]] {
            let (_, id, body) = identified(frames(sent)).unwrap();
            assert_eq!((id, body), ("7".into(), Bytes::new()));
        }
    }

    #[test]
    fn malformed_message_is_answered_to_its_peer() {
        let long: &'static str = Box::leak("x".repeat(ID_MAX + 1).into_boxed_str());
        for (sent, id, why) in [
            (&["peer"][..], "", "this one has 0"),
            (&["peer", "7"], "7", "this one has 1"),
            (&["peer", ""], "", "this one has 1"),
            (&["peer", "7", "a", "b"], "7", "this one has 3"),
            (&["peer", "", ""], "", "the message id is empty"),
            (&["peer", "", "", "body"], "", "the message id is empty"),
            (&["peer", long, "body"], &long[..ID_MAX], "it may have 255"),
        ] {
            let malformed = identified(frames(sent)).unwrap_err();
            assert_eq!(malformed.id, id, "{sent:?}");
            assert_eq!(malformed.route.unwrap()[0], "peer");
            assert!(malformed.why.contains(why), "{sent:?}: {}", malformed.why);
        }
    }
}
