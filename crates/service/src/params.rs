//! Path parameters: what the braces in an HTTP channel's path have matched.

use std::{collections::BTreeMap, ops::Deref};

/// Path parameters of a request, by name. Read as a map it has their decoded values; in the value
/// of `{*rest}` a `/` may then be one of the path or an encoded one, which [`Params::segments`]
/// keeps apart.
///
/// The values are as the client has sent them. A value may be `..` or `../x` (sent as `..%2Fx`),
/// `\`, or hold a NUL or a line break: only on the way into the path of an upstream are these
/// refused. A service that makes a file's path or a line of them checks them first, and one that
/// makes a URL encodes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    values: BTreeMap<String, String>,
    rest: Option<RestParam>,
}

/// The parameter that takes the rest of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RestParam {
    name: String,
    segments: Vec<String>,
}

impl Params {
    /// Adds a parameter that is one segment of the path.
    pub fn insert(&mut self, name: String, value: String) {
        self.values.insert(name, value);
    }

    /// Adds the parameter that takes the rest of the path, by its decoded segments. No segment, or
    /// an empty one, is a path that ends where the rest would begin.
    pub fn insert_rest(&mut self, name: String, segments: Vec<String>) {
        self.values.insert(name.clone(), segments.join("/"));
        self.rest = Some(RestParam { name, segments });
    }

    /// Returns the decoded segments of a parameter: one for `{id}`, as many as the path has for
    /// `{*rest}`. `/files/a/b%2Fc/` gives `["a", "b/c", ""]` for `/files/{*rest}`.
    pub fn segments(&self, name: &str) -> Option<Vec<&str>> {
        match &self.rest {
            Some(rest) if rest.name == name => {
                Some(rest.segments.iter().map(String::as_str).collect())
            }
            _ => self.values.get(name).map(|value| vec![value.as_str()]),
        }
    }

    /// Returns the name and segments of the parameter that took the rest of the path.
    pub fn rest(&self) -> Option<(&str, &[String])> {
        let rest = self.rest.as_ref()?;
        Some((&rest.name, &rest.segments))
    }
}

impl Deref for Params {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &BTreeMap<String, String> {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_distinguish_encoded_from_real_slash() {
        let mut params = Params::default();
        params.insert("id".into(), "x/y".into());
        params.insert_rest("rest".into(), vec!["a".into(), "b/c".into(), String::new()]);
        assert_eq!(params["id"], "x/y");
        assert_eq!(params["rest"], "a/b/c/");
        assert_eq!(params.segments("id").unwrap(), ["x/y"]);
        assert_eq!(params.segments("rest").unwrap(), ["a", "b/c", ""]);
        assert_eq!(params.segments("none"), None);
    }
}
