//! Correlation ids: `K` and 39 digits.

use http::HeaderMap;
use quorate_clock::id128;

use crate::headers;

/// Creates a new id, from 128 random bits.
pub fn fresh() -> String {
    format!("K{:039}", id128())
}

/// Returns the caller's id if it is a valid one, so that one id follows a request through several
/// systems; otherwise a new one.
pub(super) fn from_headers(headers: &HeaderMap) -> String {
    headers
        .get(headers::CID)
        .and_then(|value| value.to_str().ok())
        .filter(|text| is_valid(text))
        .map_or_else(fresh, str::to_owned)
}

fn is_valid(text: &str) -> bool {
    text.len() == 40 && text.starts_with('K') && text[1..].bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ones_are_valid_and_differ() {
        assert!(is_valid(&fresh()));
        assert_ne!(fresh(), fresh());
        assert_eq!(format!("K{:039}", u128::MAX).len(), 40);
    }

    #[test]
    fn only_good_ones_are_kept() {
        let mut headers = HeaderMap::new();
        for (sent, kept) in [
            ("K000000000000000000000000000000000000001", true),
            ("K00000000000000000000000000000000000001", false),
            ("K00000000000000000000000000000000000000x", false),
            ("X000000000000000000000000000000000000001", false),
            ("", false),
        ] {
            headers.insert(headers::CID, sent.parse().unwrap());
            assert_eq!(from_headers(&headers) == sent, kept, "{sent}");
        }
    }
}
