//! URL template of an upstream, filled with what the HTTP channel's path matched.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::{Url, form_urlencoded::parse};

use crate::{ServiceError, params::Params};

/// Everything but the unreserved characters of RFC 3986: a value of the query stays one value.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Everything but the characters of a path segment in RFC 3986 (`pchar`): a segment stays one
/// segment, and looks as most clients write it.
const SEGMENT: &AsciiSet = &QUERY_VALUE
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Replaces each `{name}` and adds the request's query to the URL's own, but for parameters that the
/// URL has itself: of two with one name some servers take the last, and a client could replace what
/// the template says. A value keeps its segments: a slash of the client's path stays one, an encoded
/// slash stays encoded.
pub(super) fn fill(
    template: &str,
    params: &Params,
    query: Option<&str>,
) -> Result<Url, ServiceError> {
    let broken = |why: String| ServiceError::NotRun(format!("upstream {template:?}: {why}"));
    // A client may choose the path, never the host.
    let authority = template.find("://").map_or(0, |at| at + 3);
    let path = template[authority..]
        .find(['/', '?'])
        .map_or(template.len(), |at| authority + at);
    let (base, mut rest) = template.split_at(path);
    if base.contains('{') {
        return Err(broken(
            "parameters can only stand in its path and query".into(),
        ));
    }
    let mut filled = base.to_owned();
    let mut in_path = true;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| broken("'{' without '}'".into()))?;
        let segments = params
            .segments(name)
            .ok_or_else(|| broken(format!("the call has no parameter {name:?}")))?;
        in_path &= !before.contains('?');
        if in_path {
            segments.iter().try_for_each(|it| check(name, it))?;
        }
        filled.push_str(before);
        let encoded = if in_path { SEGMENT } else { QUERY_VALUE };
        for (at, segment) in segments.iter().enumerate() {
            if at > 0 {
                filled.push('/');
            }
            filled.extend(utf8_percent_encode(segment, encoded));
        }
        rest = after;
    }
    filled.push_str(rest);
    let mut url = Url::parse(&filled).map_err(|error| broken(format!("{filled:?}: {error}")))?;
    if let Some(query) = query {
        let joined = match url.query() {
            Some(own) if !own.is_empty() => with_others(own, query),
            _ => query.to_owned(),
        };
        url.set_query(Some(&joined));
    }
    Ok(url)
}

/// Returns the URL's own parameters, and those of the client with other names, as they were sent.
fn with_others(own: &str, query: &str) -> String {
    let names: Vec<_> = parse(own.as_bytes()).map(|(name, _)| name).collect();
    let is_other = |part: &&str| {
        // Some servers take `;` for `&`.
        let mut pairs = part.split(';').flat_map(|it| parse(it.as_bytes()));
        !pairs.any(|(name, _)| names.contains(&name))
    };
    let others = query.split('&').filter(is_other);
    [own]
        .into_iter()
        .chain(others)
        .collect::<Vec<_>>()
        .join("&")
}

/// Refuses a segment that would lead out of the upstream's path. Servers decode before they look
/// for steps, and some take `\` for `/` or leave out of a segment what stands behind its `;`, so it
/// is the decoded value that counts, without that.
fn check(name: &str, segment: &str) -> Result<(), ServiceError> {
    let refused = |what: &str| {
        let why = format!("the path's parameter {name:?} has {what}, which a path can't carry");
        Err(ServiceError::BadRequest(why))
    };
    let is_step = |it: &str| matches!(it.split(';').next(), Some("." | ".."));
    if segment.split(['/', '\\']).any(is_step) {
        return refused("a step `.` or `..`");
    }
    if segment.chars().any(char::is_control) {
        return refused("a control character");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        let mut params = Params::default();
        for (name, value) in pairs {
            params.insert(name.to_string(), value.to_string());
        }
        params
    }

    fn rest(segments: &[&str]) -> Params {
        let mut params = Params::default();
        let segments = segments.iter().map(|it| it.to_string()).collect();
        params.insert_rest("rest".into(), segments);
        params
    }

    fn filled(
        template: &str,
        params: &Params,
        query: Option<&str>,
    ) -> Result<String, ServiceError> {
        fill(template, params, query).map(String::from)
    }

    #[test]
    fn parameters_and_queries_are_put_in() {
        let none = params(&[]);
        assert_eq!(filled("http://h:1/a", &none, None).unwrap(), "http://h:1/a");
        assert_eq!(
            filled("http://h/a/{id}", &params(&[("id", "4 2/x?y")]), None).unwrap(),
            "http://h/a/4%202%2Fx%3Fy"
        );
        assert_eq!(
            filled("http://h/a?k=1", &none, Some("x=2")).unwrap(),
            "http://h/a?k=1&x=2"
        );
        assert_eq!(
            filled("http://h/a", &none, Some("x=%20")).unwrap(),
            "http://h/a?x=%20"
        );
    }

    #[test]
    fn own_parameters_cannot_be_replaced() {
        let id = params(&[("id", "7")]);
        for (template, query, expected) in [
            ("http://h/a?k=1", "k=2", "k=1"),
            ("http://h/a?k=1", "x=1&k=2&y=%20&z", "k=1&x=1&y=%20&z"),
            ("http://h/a?k=1", "%6B=2&k&k=&K=3", "k=1&K=3"),
            ("http://h/a?k=1", "x=1;k=2&y=2", "k=1&y=2"),
            ("http://h/a?k=1", "kk=2&a=k=2", "k=1&kk=2&a=k=2"),
            ("http://h/a?k={id}&flag", "flag=0&k=8&n=1", "k=7&flag&n=1"),
            ("http://h/a", "k=1&k=2", "k=1&k=2"),
        ] {
            let url = filled(template, &id, Some(query)).unwrap();
            assert_eq!(
                url.split_once('?').unwrap().1,
                expected,
                "{template} {query}"
            );
        }
    }

    #[test]
    fn path_remainder_keeps_plain_and_encoded_slashes() {
        for (segments, expected) in [
            (&["a", "b/c", ""][..], "http://h/files/a/b%2Fc/"),
            (&["a", "b", "c.txt"], "http://h/files/a/b/c.txt"),
            (&["a", "", "b"], "http://h/files/a//b"),
            (&["a b", "c%2Fd"], "http://h/files/a%20b/c%252Fd"),
            (&[""], "http://h/files/"),
            (&[], "http://h/files/"),
        ] {
            let url = filled("http://h/files/{rest}", &rest(segments), None);
            assert_eq!(url.unwrap(), expected, "{segments:?}");
        }
    }

    #[test]
    fn path_keeps_reserved_characters_query_encodes_them() {
        let id = params(&[("id", "a;v=1,2:@!$&'()*+-._~")]);
        assert_eq!(
            filled("http://h/{id}/x", &id, None).unwrap(),
            "http://h/a;v=1,2:@!$&'()*+-._~/x"
        );
        assert_eq!(
            filled("http://h/x?k={id}", &id, None).unwrap(),
            "http://h/x?k=a%3Bv%3D1%2C2%3A%40%21%24%26%27%28%29%2A%2B-._~"
        );
        assert_eq!(
            filled("http://h/{id}", &params(&[("id", "a\"#?[]%|")]), None).unwrap(),
            "http://h/a%22%23%3F%5B%5D%25%7C"
        );
    }

    #[test]
    fn missing_template_value_is_named() {
        let error = filled("http://h/{id}", &params(&[]), None).unwrap_err();
        assert!(error.to_string().contains("\"id\""), "{error}");
        let id = params(&[("id", "1")]);
        for template in ["http://h/{id", "http://{id}/x", "http://h:{id}"] {
            let error = filled(template, &id, None).unwrap_err();
            assert!(matches!(error, ServiceError::NotRun(_)), "{error:?}");
        }
    }

    #[test]
    fn only_paths_refuse_dot_segments_and_control_characters() {
        for bad in [
            ".",
            "..",
            "../x",
            "a/../b",
            "a/.",
            "..\\x",
            "a\\..",
            "x/../../y",
            "..;",
            "..;v=1/x",
            "a/.;v=1",
            "a\0",
            "a\nb",
            "\u{7f}",
            "\u{85}",
        ] {
            for template in ["http://h/a/{id}", "http://h/{id}/b?x={id}"] {
                let error = filled(template, &params(&[("id", bad)]), None).unwrap_err();
                assert!(
                    matches!(error, ServiceError::BadRequest(_)),
                    "{bad:?}: {error:?}"
                );
            }
            let query = filled("http://h/a?x={id}", &params(&[("id", bad)]), None);
            assert!(query.is_ok(), "{bad:?}: {query:?}");
        }
        for good in [
            "...", "a..b", ".a", "..a/b..", "a\\b", "é", "a;..", "a;.", ";",
        ] {
            let url = filled("http://h/a/{id}", &params(&[("id", good)]), None);
            assert!(url.is_ok(), "{good:?}: {url:?}");
        }
        for bad in [
            &["..", "x"][..],
            &["a", ".."],
            &["a", "..\\b"],
            &["a", "b/.."],
            &["."],
        ] {
            let error = filled("http://h/{rest}", &rest(bad), None).unwrap_err();
            assert!(matches!(error, ServiceError::BadRequest(_)), "{bad:?}");
        }
    }

    proptest! {
        /// Test 65: whatever a client sends, the call goes to the template's host and below its
        /// path, with the template's own parameters.
        #[test]
        fn any_request_stays_with_host_and_path(id in ".{0,20}", query in "[ -~]{0,30}") {
            let template = "https://api.example:8443/v1/orders/{id}?key=own";
            if let Ok(url) = fill(template, &params(&[("id", &id)]), Some(&query)) {
                prop_assert_eq!(url.host_str(), Some("api.example"));
                prop_assert_eq!((url.port(), url.username()), (Some(8443), ""));
                prop_assert!(url.path().starts_with("/v1/orders/"), "{}", url);
                prop_assert_eq!(url.path().matches('/').count(), 3, "{}", url);
                let own: Vec<_> = url.query_pairs().filter(|(name, _)| name == "key").collect();
                prop_assert_eq!(own.len(), 1, "{}", url);
                prop_assert_eq!(&own[0].1, "own", "{}", url);
            }
        }
    }
}
