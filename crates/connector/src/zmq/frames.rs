//! Conversion between ZeroMQ's frames and one body.
//!
//! A message of the run loop has one body. Several frames are joined to it, and the property
//! [`FRAMES`] has the length of each, so that nothing is lost; a sender that gives the property has
//! its body cut there.

use bytes::{Bytes, BytesMut};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use quorate_proto::connector::Header;

/// Property with the lengths of the frames, in bytes, as in `3,0,12`; only where there is more than
/// one.
pub(super) const FRAMES: &str = "frames";
/// Property with the topic, percent-encoded where it is not visible ASCII.
pub(super) const TOPIC: &str = "topic";

/// Longest frame that is taken from a peer, and longest message, in bytes.
pub(super) const BYTES_MAX: usize = 64 << 20;
/// Upper bound of the frames of one message.
pub(super) const FRAMES_MAX: usize = 1000;

/// Bytes that can't be in a header as they are.
const PERCENT_ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Returns any bytes as text that a header can carry; visible ASCII stays as it is.
pub(super) fn percent_encoded(bytes: &[u8]) -> String {
    percent_encode(bytes, PERCENT_ENCODED).to_string()
}

/// Returns the bytes that [`percent_encoded`] was given.
pub(super) fn percent_decoded(text: &str) -> Bytes {
    percent_decode_str(text).collect::<Vec<u8>>().into()
}

/// Returns one body, and the property that says how to cut it.
pub(super) fn join(frames: &[Bytes]) -> (Bytes, Option<Header>) {
    match frames {
        [] => (Bytes::new(), None),
        [only] => (only.clone(), None),
        many => {
            let mut body = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
            many.iter().for_each(|frame| body.extend_from_slice(frame));
            let lengths: Vec<String> = many.iter().map(|frame| frame.len().to_string()).collect();
            let property = Header {
                name: FRAMES.to_owned(),
                value: lengths.join(",").into(),
            };
            (body.freeze(), Some(property))
        }
    }
}

/// Value of the property [`FRAMES`] that doesn't fit the body.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidLengths {
    #[error(
        "the property {property} is {lengths:?}: it must be the lengths of the frames in bytes, as in 3,0,12",
        property = FRAMES
    )]
    NotNumbers { lengths: String },
    #[error(
        "the property {property} is {lengths:?}: the body has {body} bytes, and a message at most {max} frames",
        property = FRAMES,
        max = FRAMES_MAX
    )]
    TooMuch { lengths: String, body: usize },
    #[error(
        "the property {property} is {lengths:?}: the lengths must add up to the body's {body} bytes",
        property = FRAMES
    )]
    TooLittle { lengths: String, body: usize },
}

/// Returns the frames of a body, by these lengths.
pub(super) fn cut(body: &Bytes, given: &str) -> Result<Vec<Bytes>, InvalidLengths> {
    let lengths = || given.to_owned();
    let mut rest = body.clone();
    let mut frames = Vec::new();
    for length in given.split(',') {
        let length: usize = length
            .trim()
            .parse()
            .map_err(|_| InvalidLengths::NotNumbers { lengths: lengths() })?;
        if length > rest.len() || frames.len() == FRAMES_MAX {
            return Err(InvalidLengths::TooMuch {
                lengths: lengths(),
                body: body.len(),
            });
        }
        frames.push(rest.split_to(length));
    }
    if rest.is_empty() {
        Ok(frames)
    } else {
        Err(InvalidLengths::TooLittle {
            lengths: lengths(),
            body: body.len(),
        })
    }
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
    fn joined_frames_can_be_cut_again() {
        assert_eq!(join(&frames(&["a,b"])), ("a,b".into(), None));
        for many in [&["a", "", "bcd"][..], &["", ""], &["", "x"]] {
            let many = frames(many);
            let (body, property) = join(&many);
            let lengths = String::from_utf8(property.unwrap().value.to_vec()).unwrap();
            assert_eq!(cut(&body, &lengths).unwrap(), many);
        }
        assert_eq!(join(&frames(&["ab", "", "c"])).1.unwrap().value, "2,0,1");
    }

    #[test]
    fn invalid_lengths_error_names_right_form() {
        let body = Bytes::from_static(b"abc");
        for (lengths, why) in [
            ("1,1", "must add up to the body's 3 bytes"),
            ("1,3", "the body has 3 bytes"),
            ("99999999999999999999999", "as in 3,0,12"),
            ("", "as in 3,0,12"),
            ("1,-1,3", "as in 3,0,12"),
        ] {
            let error = cut(&body, lengths).unwrap_err().to_string();
            assert!(error.contains(why), "{lengths}: {error}");
        }
        let many = vec!["0"; FRAMES_MAX + 1].join(",");
        assert!(cut(&Bytes::new(), &many).is_err());
    }

    #[test]
    fn any_bytes_have_a_text() {
        assert_eq!(percent_encoded(b"orders.eu"), "orders.eu");
        assert_eq!(percent_encoded(b"a b%\x00\xff"), "a%20b%25%00%FF");
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(percent_decoded(&percent_encoded(&all)), all);
    }
}
