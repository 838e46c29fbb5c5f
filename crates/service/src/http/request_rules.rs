//! Rules of HTTP/1.1 that every request must keep, whatever it is for.

use http::{HeaderValue, StatusCode, Version, header, request::Parts, uri::Authority};

use super::error_envelope::HttpRefusal;

/// Checks the rules that every request must keep, whatever it is for.
pub(super) fn check(parts: &Parts) -> Result<(), HttpRefusal> {
    let refused = |status, why: &str| Err(HttpRefusal::new(status, why));
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    if hosts > 1 {
        return refused(
            StatusCode::BAD_REQUEST,
            "the request has two `Host` headers",
        );
    }
    if hosts == 0 && parts.version == Version::HTTP_11 {
        let why = "the request has no `Host` header, which HTTP/1.1 asks for";
        return refused(StatusCode::BAD_REQUEST, why);
    }
    let host = parts.headers.get(header::HOST);
    if host.is_some_and(|host| !is_host(host)) {
        let why = "the request's `Host` is no name or address with or without a port";
        return refused(StatusCode::BAD_REQUEST, why);
    }
    let mut expectations = parts.headers.get_all(header::EXPECT).iter();
    if expectations.any(|it| !it.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        let why = "the request expects something else than 100-continue";
        return refused(StatusCode::EXPECTATION_FAILED, why);
    }
    Ok(())
}

/// Returns true for a valid `Host` (RFC 9110, 7.2). It may be empty, for a request without a name.
fn is_host(host: &HeaderValue) -> bool {
    let text = host.as_bytes();
    text.is_empty() || (!text.contains(&b'@') && Authority::try_from(text).is_ok())
}
