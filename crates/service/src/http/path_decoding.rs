//! Decoding of percent-encoded paths in which an encoded slash never becomes a real one.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A path that can't be decoded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum BadPath {
    #[error("the path has a `%` that is not followed by two hexadecimal digits")]
    Escape,
    #[error("the path is not UTF-8 once its percent-encoding is undone")]
    Utf8,
}

/// Returns the form in which paths and templates are compared: decoded, but for `%2F` and `%25`,
/// which would otherwise be mistaken for a separator and for the start of an escape.
pub(super) fn normalize_path(raw: &str) -> Result<Cow<'_, str>, BadPath> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let digit = |offset: usize| {
            bytes
                .get(at + offset)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        let (Some(high), Some(low)) = (digit(1), digit(2)) else {
            return Err(BadPath::Escape);
        };
        match (high * 16 + low) as u8 {
            b'/' => out.extend_from_slice(b"%2F"),
            b'%' => out.extend_from_slice(b"%25"),
            byte => out.push(byte),
        }
        at += 3;
    }
    String::from_utf8(out)
        .map(Cow::Owned)
        .map_err(|_| BadPath::Utf8)
}

/// Decodes a piece of a normalized path fully.
pub(super) fn value(piece: &str) -> String {
    // UTF-8 stays UTF-8 when only these two are decoded.
    percent_decode_str(piece).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bad_escapes_are_distinguished() {
        for bad in ["/%", "/%4", "/%zz", "/a%2", "/%+1"] {
            assert_eq!(normalize_path(bad), Err(BadPath::Escape), "{bad}");
        }
        assert_eq!(normalize_path("/%ff"), Err(BadPath::Utf8));
        assert_eq!(normalize_path("/caf%C3%A9").unwrap(), "/café");
        assert_eq!(normalize_path("/a%2fb").unwrap(), "/a%2Fb");
    }

    proptest! {
        #[test]
        fn decoding_restores_any_encoded_text(text in ".*") {
            let encoded = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
            let piece = normalize_path(&encoded).unwrap();
            prop_assert!(!piece.contains('/'));
            prop_assert_eq!(value(&piece), text);
        }

        #[test]
        fn anything_gives_an_answer(text in "[/%0-9a-fA-Fxyz]*") {
            let _ = normalize_path(&text);
        }
    }
}
