//! One text or a list of texts, as users write fields that mostly have one value.

use serde::Serialize;

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// `upstream: http://a`
    One(String),
    /// `upstream: [http://a, http://b]`
    Many(Vec<String>),
}

impl OneOrMany {
    /// The texts as a slice.
    pub fn as_slice(&self) -> &[String] {
        match self {
            OneOrMany::One(text) => std::slice::from_ref(text),
            OneOrMany::Many(texts) => texts,
        }
    }
}
