//! Rewriting of an upstream's redirects, so that its client can follow them.
//!
//! An upstream that does not get the client's host sends its own in `Location`, and the path as it
//! knows it. Both are turned into what leads back through the HTTP channel. A redirect to another
//! host is left alone.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use url::Url;

use crate::{
    api::{Origin, Request},
    headers::{FORWARDED_HOST, FORWARDED_PROTO},
};

/// Rewrites `Location` and `Content-Location` of the answer of `url`, which was made of `template`.
pub(super) fn rewrite(headers: &mut HeaderMap, template: &str, url: &Url, request: &Request) {
    if !matches!(request.origin, Origin::Http(_)) {
        return;
    }
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let given = headers.get(&name).and_then(|value| value.to_str().ok());
        let Some(given) = given else { continue };
        let rewritten = location(given, template, url, request);
        if let Some(value) = rewritten.and_then(|it| HeaderValue::try_from(it).ok()) {
            headers.insert(name, value);
        }
    }
}

/// Returns the location for the client; `None` where it can stay as it is.
fn location(given: &str, template: &str, url: &Url, request: &Request) -> Option<String> {
    let is_path = given.starts_with('/') && !given.starts_with("//");
    let is_absolute = given.starts_with("//") || Url::parse(given).is_ok();
    if !is_path && !is_absolute {
        // Relative to the path asked for, which has the same form here and there.
        return None;
    }
    let target = url.join(given).ok()?;
    if target.origin() != url.origin() {
        return None;
    }
    let path = mounted(target.path(), template, url, request);
    if is_path && path.is_none() {
        return None;
    }
    let path = path.as_deref().unwrap_or(target.path());
    let mut out = String::new();
    // Alone `//name/` would lead to another host, one that the client has chosen.
    if !is_path || path.starts_with("//") {
        let (proto, host) = (
            first(&request.headers, &FORWARDED_PROTO)?,
            first(&request.headers, &FORWARDED_HOST)?,
        );
        out = format!("{proto}://{host}");
    }
    out += path;
    for (sign, part) in [('?', target.query()), ('#', target.fragment())] {
        if let Some(part) = part {
            out.push(sign);
            out += part;
        }
    }
    Some(out)
}

/// Returns the value that the outermost of the trusted proxies has set.
fn first<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split(',').next().map(str::trim)
}

/// Returns a path of the upstream below what the channel's `{*rest}` stands for, as the client
/// knows it.
fn mounted(path: &str, template: &str, url: &Url, request: &Request) -> Option<String> {
    let (name, segments) = request.params.rest()?;
    if !template.ends_with(&format!("/{{{name}}}")) {
        return None;
    }
    let count = segments.len().max(1);
    let theirs = without_last(url.path(), count)?;
    let ours = without_last(&request.path, count)?;
    Some(format!("{ours}{}", path.strip_prefix(theirs)?))
}

/// Returns a path up to and with the slash before its last so many segments.
fn without_last(path: &str, segments: usize) -> Option<&str> {
    let (at, _) = path.rmatch_indices('/').nth(segments - 1)?;
    Some(&path[..=at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn request(path: &str, rest: Option<&[&str]>) -> Request {
        let mut request = testing::request(Origin::Http(Some("c".into())));
        request.path = path.into();
        request
            .headers
            .insert(FORWARDED_PROTO, HeaderValue::from_static("https, http"));
        request
            .headers
            .insert(FORWARDED_HOST, HeaderValue::from_static("shop.example"));
        if let Some(rest) = rest {
            let segments = rest.iter().map(|it| it.to_string()).collect();
            request.params.insert_rest("rest".into(), segments);
        }
        request
    }

    #[test]
    fn redirect_to_upstream_leads_through_channel() {
        let plain = request("/orders", None);
        let below = request("/f/a/b", Some(&["a", "b"]));
        let root = request("//evil.example", Some(&["", "evil.example"]));
        let one = "http://up:9200/base";
        let many = "http://up:9200/files/{rest}";
        for (request, template, url, given, expected) in [
            (
                &plain,
                one,
                one,
                "http://up:9200/login?x=1#y",
                Some("https://shop.example/login?x=1#y"),
            ),
            (
                &plain,
                one,
                one,
                "//up:9200/login",
                Some("https://shop.example/login"),
            ),
            (&plain, one, one, "/login", None),
            (&plain, one, one, "login", None),
            (&plain, one, one, "?page=2", None),
            (&plain, one, one, "http://up:9201/login", None),
            (&plain, one, one, "https://up:9200/login", None),
            (&plain, one, one, "http://elsewhere.example/", None),
            (&plain, one, one, "mailto:a@b", None),
            (&plain, one, one, "login?next=http://up:9200/", None),
            (
                &root,
                many,
                "http://up:9200/files//evil.example",
                "/files//evil.example/",
                Some("https://shop.example//evil.example/"),
            ),
            (
                &below,
                many,
                "http://up:9200/files/a/b",
                "/files/a/b/",
                Some("/f/a/b/"),
            ),
            (
                &below,
                many,
                "http://up:9200/files/a/b",
                "http://up:9200/files/c",
                Some("https://shop.example/f/c"),
            ),
            (
                &below,
                many,
                "http://up:9200/files/a/b",
                "http://up:9200/login",
                Some("https://shop.example/login"),
            ),
            (&below, many, "http://up:9200/files/a/b", "/login", None),
        ] {
            let url = Url::parse(url).unwrap();
            let found = location(given, template, &url, request);
            assert_eq!(found.as_deref(), expected, "{given}");
        }
    }
}
