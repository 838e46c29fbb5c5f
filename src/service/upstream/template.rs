//! The URL of an upstream, with what the HTTP channel's path matched put in.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

/// Everything but what RFC 3986 calls unreserved: a parameter stays one segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Replaces each `{name}` and adds the request's query to the URL's own.
pub(super) fn fill(
    template: &str,
    params: &BTreeMap<String, String>,
    query: Option<&str>,
) -> Result<Url, String> {
    // A client may choose what is asked for, never whom.
    let authority = template.find("://").map_or(0, |at| at + 3);
    let path = template[authority..]
        .find(['/', '?'])
        .map_or(template.len(), |at| authority + at);
    let (base, mut rest) = template.split_at(path);
    if base.contains('{') {
        return Err(format!(
            "upstream {template:?}: parameters can only stand in its path and query"
        ));
    }
    let mut filled = base.to_owned();
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| format!("upstream {template:?}: '{{' without '}}'"))?;
        let value = params
            .get(name)
            .ok_or_else(|| format!("upstream {template:?}: the call has no parameter {name:?}"))?;
        filled.push_str(before);
        if value == "." || value == ".." {
            // Would be taken for a step in the path, encoded or not.
            return Err(format!(
                "upstream {template:?}: parameter {name:?} can't be {value:?}"
            ));
        }
        filled.extend(utf8_percent_encode(value, SEGMENT));
        rest = after;
    }
    filled.push_str(rest);
    let mut url = Url::parse(&filled).map_err(|error| format!("upstream {filled:?}: {error}"))?;
    if let Some(query) = query {
        let joined = match url.query() {
            Some(own) if !own.is_empty() => format!("{own}&{query}"),
            _ => query.to_owned(),
        };
        url.set_query(Some(&joined));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(
        template: &str,
        params: &[(&str, &str)],
        query: Option<&str>,
    ) -> Result<String, String> {
        let params = params
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        fill(template, &params, query).map(String::from)
    }

    #[test]
    fn parameters_and_queries_are_put_in() {
        assert_eq!(filled("http://h:1/a", &[], None).unwrap(), "http://h:1/a");
        assert_eq!(
            filled("http://h/a/{id}", &[("id", "4 2/x?y")], None).unwrap(),
            "http://h/a/4%202%2Fx%3Fy"
        );
        assert_eq!(
            filled("http://h/a?k=1", &[], Some("x=2")).unwrap(),
            "http://h/a?k=1&x=2"
        );
        assert_eq!(
            filled("http://h/a", &[], Some("x=%20")).unwrap(),
            "http://h/a?x=%20"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(
            filled("http://h/{id}", &[], None)
                .unwrap_err()
                .contains("\"id\"")
        );
        assert!(filled("http://h/{id", &[("id", "1")], None).is_err());
        assert!(filled("http://h/{id}/x", &[("id", "..")], None).is_err());
        assert!(filled("http://{id}/x", &[("id", "evil")], None).is_err());
        assert!(filled("http://h:{id}", &[("id", "1")], None).is_err());
    }
}
