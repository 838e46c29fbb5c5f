//! A guard against web pages that use a browser on the operator's machine.
//!
//! Such a browser reaches the admin port, and every page that it shows may have it do so.
//!
//! 1. `Host` must name this member: a page whose own name was made to point here (DNS
//!    rebinding) is of one origin with it, and every other check would let it through. An
//!    address can't be made to point elsewhere, so any address will do.
//! 2. `Origin`, and `Sec-Fetch-Site` where there is one, must be of this very face: no other
//!    page's requests are answered.
//! 3. A browser's write bears `Quorate-Requested-By`, which no form can send, and a body of
//!    a type that none can send either.
//!
//! Programs send neither `Origin` nor `Sec-Fetch-Site`: for them the first rule alone holds.
//! Health is answered to everyone, by status alone.

use std::{collections::BTreeSet, net::IpAddr};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, Method, StatusCode, Uri,
    header::{CONTENT_TYPE, HOST, ORIGIN},
    uri::Authority,
};

use super::{AdminContext, health, problem::ApiProblem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The header that a browser's write must bear, with any value.
pub(super) const REQUESTED_BY: HeaderName = HeaderName::from_static("quorate-requested-by");

/// The types of body that any page may send to anyone (the CORS-safelisted ones).
const SENT_BY_ANY_PAGE: [&str; 3] = [
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
];

/// The names, beside addresses and `localhost`, under which this face may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    /// The member's own name.
    advertised: Option<String>,
    /// `admin.allowed_hosts`: pages from there are trusted too.
    listed: BTreeSet<String>,
}

impl AllowedHosts {
    /// `advertise` is the `host:port` that others are told; `listed` are names or `host:port`.
    pub fn new(advertise: &str, listed: &[String]) -> AllowedHosts {
        let bare = |text: &str| {
            let host = text.parse::<Authority>().ok();
            host.map(|it| bare_host(&it))
        };
        AllowedHosts {
            advertised: bare(advertise),
            listed: listed.iter().filter_map(|it| bare(it)).collect(),
        }
    }

    fn names(&self, host: &str) -> bool {
        self.advertised.as_deref() == Some(host) || self.listed.contains(host)
    }
}

/// Refuses what a page may have had its browser send.
pub(super) async fn check(
    State(context): State<AdminContext>,
    request: Request,
    next: Next,
) -> Response {
    if health::PATHS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let is_member = |host: &str| {
        let members = context.cluster.node().members();
        let admin = |text: &str| text.parse::<Authority>().ok().map(|it| bare_host(&it));
        members
            .iter()
            .any(|it| admin(&it.member.admin).as_deref() == Some(host))
    };
    let asked = RequestHead {
        method: request.method(),
        uri: request.uri(),
        headers: request.headers(),
    };
    match asked.check(&context.allowed_hosts, is_member) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// The head of a request.
struct RequestHead<'r> {
    method: &'r Method,
    uri: &'r Uri,
    headers: &'r HeaderMap,
}

impl RequestHead<'_> {
    fn check(
        &self,
        allowed: &AllowedHosts,
        is_member: impl Fn(&str) -> bool,
    ) -> Result<(), ApiProblem> {
        let host = self.host(|host| allowed.names(host) || is_member(host))?;
        self.check_origin(host.as_ref(), allowed)?;
        let by_browser =
            self.headers.contains_key(ORIGIN) || self.headers.contains_key(SEC_FETCH_SITE);
        if by_browser && !self.method.is_safe() {
            self.check_write()?;
        }
        Ok(())
    }

    /// The host that was asked for: every one that is named must be allowed. HTTP/1.0, which
    /// no browser speaks, may name none.
    fn host(&self, is_ours: impl Fn(&str) -> bool) -> Result<Option<Authority>, ApiProblem> {
        let mut host = None;
        let in_headers = self.headers.get_all(HOST).iter();
        let named = in_headers.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
        let in_target = self.uri.authority().map(ToString::to_string);
        for text in named.chain(in_target) {
            let authority = text.parse::<Authority>().ok();
            let ours = authority.filter(|it| {
                let bare = bare_host(it);
                is_loopback_name(&bare) || bare.parse::<IpAddr>().is_ok() || is_ours(&bare)
            });
            let Some(ours) = ours else {
                return Err(forbidden(
                    "forbidden_host",
                    format!(
                        "Host is {text:?}, which is none of this member's names; ask by an address or by the name in admin.advertise, or put the name into admin.allowed_hosts"
                    ),
                ));
            };
            host = Some(ours);
        }
        Ok(host)
    }

    fn check_origin(
        &self,
        host: Option<&Authority>,
        allowed: &AllowedHosts,
    ) -> Result<(), ApiProblem> {
        for origin in self.headers.get_all(ORIGIN) {
            let uri = origin.to_str().ok().and_then(|it| it.parse::<Uri>().ok());
            let ours = uri.is_some_and(|it| is_same_origin(&it, host) || is_listed(&it, allowed));
            if !ours {
                return Err(forbidden(
                    "forbidden_origin",
                    format!(
                        "Origin is {origin:?}: pages from elsewhere are not answered; if that page is yours, put its host into admin.allowed_hosts"
                    ),
                ));
            }
        }
        if self.headers.contains_key(ORIGIN) {
            return Ok(());
        }
        let Some(site) = self.headers.get(SEC_FETCH_SITE) else {
            return Ok(());
        };
        // To follow a link to here is no page's doing, and reads only.
        let follows_link = self.method.is_safe()
            && self
                .headers
                .get(SEC_FETCH_MODE)
                .is_some_and(|it| it == "navigate");
        if site == "same-origin" || site == "none" || follows_link {
            return Ok(());
        }
        Err(forbidden(
            "forbidden_origin",
            format!("Sec-Fetch-Site is {site:?}: pages from elsewhere are not answered"),
        ))
    }

    fn check_write(&self) -> Result<(), ApiProblem> {
        let kind = self.headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if SENT_BY_ANY_PAGE
            .iter()
            .any(|it| kind.eq_ignore_ascii_case(it))
        {
            return Err(ApiProblem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                format!(
                    "a browser may not send a body of type {kind:?} here, as any page can; send application/json, or application/octet-stream for plain bytes"
                ),
            ));
        }
        if !self.headers.contains_key(REQUESTED_BY) {
            return Err(forbidden(
                "header_required",
                "a browser's write must bear the header Quorate-Requested-By, with any value: it shows that no form has sent it",
            ));
        }
        Ok(())
    }
}

fn forbidden(code: &'static str, detail: impl Into<String>) -> ApiProblem {
    ApiProblem::new(StatusCode::FORBIDDEN, code, detail)
}

/// In small letters, without port, brackets and the dot that may end a name.
fn bare_host(authority: &Authority) -> String {
    let host = authority.host().trim_matches(['[', ']']);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn is_loopback_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// An origin is a scheme, a host and a port. The scheme is not compared: what ends TLS in
/// front of this face is not seen from here.
fn is_same_origin(origin: &Uri, host: Option<&Authority>) -> bool {
    let implied = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let whole = |it: &Authority| (bare_host(it), it.port_u16().unwrap_or(implied));
    let (Some(origin), Some(host)) = (origin.authority(), host) else {
        return false;
    };
    whole(origin) == whole(host)
}

fn is_listed(origin: &Uri, allowed: &AllowedHosts) -> bool {
    let has_scheme = origin.scheme().is_some();
    let authority = origin.authority().filter(|_| has_scheme);
    authority.is_some_and(|it| allowed.listed.contains(&bare_host(it)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1:17110";

    /// The status that the guard gives, 200 if it lets the request through.
    fn status(method: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = http::Request::builder().method(method).uri("/v1/config");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let asked = RequestHead {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
        };
        let listed = ["console.example.com".to_owned()];
        let allowed = AllowedHosts::new("One.example:17110", &listed);
        let checked = asked.check(&allowed, |host| host == "two.example");
        checked.map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    // guarantee: SECURITY-4
    #[test]
    fn foreign_host_header_is_refused() {
        for host in [
            HERE,
            "localhost:17110",
            "LOCALHOST",
            "a.localhost:1",
            "[::1]:17110",
            "10.0.0.1",
            "one.example:17110",
            "ONE.example.",
            "two.example:17110",
            "console.example.com",
        ] {
            assert_eq!(status("GET", &[("host", host)]), 200, "{host}");
            assert_eq!(status("PUT", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example:17110",
            "evil",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "localhost.evil.example",
            "evil.example#127.0.0.1",
            "",
            "a b",
        ] {
            for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
                assert_eq!(status(method, &[("host", host)]), 403, "{method} {host}");
            }
        }
        let two = [("host", HERE), ("host", "evil.example")];
        assert_eq!(status("GET", &two), 403);
        assert_eq!(status("GET", &[]), 200);
    }

    // guarantee: SECURITY-4
    #[test]
    fn cross_origin_request_is_always_refused() {
        for origin in [
            "http://evil.example",
            "http://127.0.0.1:3000",
            "http://localhost:17110",
            "http://127.0.0.1",
            "https://two.example",
            "null",
            "file://",
            "127.0.0.1:17110",
        ] {
            for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
                let headers = [
                    ("host", HERE),
                    ("origin", origin),
                    ("quorate-requested-by", "x"),
                ];
                assert_eq!(status(method, &headers), 403, "{method} {origin}");
            }
        }
        for site in ["cross-site", "same-site"] {
            let headers = [("host", HERE), ("sec-fetch-site", site)];
            assert_eq!(status("POST", &headers), 403, "{site}");
            assert_eq!(status("GET", &headers), 403, "{site}");
        }
        let link = [
            ("host", HERE),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        assert_eq!(status("GET", &link), 200);
        assert_eq!(status("POST", &link), 403);
    }

    #[test]
    fn browser_write_needs_header_and_no_form_type() {
        for origin in ["http://127.0.0.1:17110", "https://console.example.com"] {
            let own = [("host", HERE), ("origin", origin)];
            assert_eq!(status("GET", &own), 200, "{origin}");
            assert_eq!(status("POST", &own), 403, "{origin}");
            let marked = [own[0], own[1], ("quorate-requested-by", "console")];
            assert_eq!(status("POST", &marked), 200, "{origin}");
            for kind in [
                "text/plain",
                "Text/Plain; charset=utf-8",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
            ] {
                let typed = [marked[0], marked[1], marked[2], ("content-type", kind)];
                assert_eq!(status("POST", &typed), 415, "{origin} {kind}");
            }
        }
        // curl's own type for -d, and a plain text: no browser, no matter
        for kind in ["application/x-www-form-urlencoded", "text/plain"] {
            let headers = [("host", HERE), ("content-type", kind)];
            assert_eq!(status("POST", &headers), 200, "{kind}");
        }
    }
}
