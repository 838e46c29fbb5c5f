//! Reply frames to peers of REP and ROUTER channels.

use bytes::Bytes;

/// Acknowledgement: the service has succeeded.
pub(super) const ACK: &[u8] = b"ACK";
/// Refusal: the message was given up; the reason follows.
pub(super) const NACK: &[u8] = b"NACK";
/// Longest reason, in bytes.
const REASON_MAX: usize = 1000;

/// Returns the payload behind its route.
pub(super) fn to(route: &[Bytes], payload: Vec<Bytes>) -> Vec<Bytes> {
    let mut frames = route.to_vec();
    frames.extend(payload);
    frames
}

/// Returns the ack of the message with this id.
pub(super) fn acked(id: &Bytes) -> Vec<Bytes> {
    vec![id.clone(), Bytes::from_static(ACK)]
}

/// Returns the refusal of the message with this id, which was not handled and will not be.
pub(super) fn refused(id: &Bytes, why: &str) -> Vec<Bytes> {
    let why = Bytes::copy_from_slice(shortened(why).as_bytes());
    vec![id.clone(), Bytes::from_static(NACK), why]
}

/// Returns an error in the form that clients of the original system know.
pub(super) fn error(cid: &str, details: &str) -> Bytes {
    let (cid, details) = (
        serde_json::Value::from(cid),
        serde_json::Value::from(shortened(details)),
    );
    format!(r#"{{"zato_env": {{"result": "ZATO_ERROR", "cid": {cid}, "details": {details}}}}}"#)
        .into()
}

fn shortened(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_makes_valid_bounded_json() {
        let body = error(
            "K1",
            &format!("a \"quoted\"\nline {}", "ä".repeat(REASON_MAX)),
        );
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["zato_env"]["result"], "ZATO_ERROR");
        assert_eq!(json["zato_env"]["cid"], "K1");
        let details = json["zato_env"]["details"].as_str().unwrap();
        assert!(details.starts_with("a \"quoted\"\nline ä") && details.len() <= REASON_MAX);
    }

    #[test]
    fn answer_takes_the_route_of_its_message() {
        let route = vec![Bytes::from_static(b"peer"), Bytes::new()];
        let frames = to(&route, refused(&Bytes::from_static(b"7"), "why"));
        assert_eq!(frames, ["peer", "", "7", "NACK", "why"]);
        assert_eq!(
            to(&route, acked(&Bytes::from_static(b"7")))[2..],
            ["7", "ACK"]
        );
    }
}
