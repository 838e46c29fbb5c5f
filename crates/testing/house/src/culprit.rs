//! Place in the tree that keeps a figure from its goal.

use std::fmt;

use serde::Serialize;

/// Place of a culprit, printed as `path:line: text`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CulpritPlace {
    /// File, from the root of the checkout.
    pub path: String,
    /// Line in it, counted from 1.
    pub line: usize,
    /// Name of the culprit, and the figure that is too high.
    pub text: String,
}

impl fmt::Display for CulpritPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CulpritPlace { path, line, text } = self;
        write!(f, "{path}:{line}: {text}")
    }
}
