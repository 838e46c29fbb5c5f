//! Precondition of a write, by the revision of what it changes.

/// Precondition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePrecondition {
    /// The thing exists and has this revision.
    Revision(u64),
    /// The thing does not exist.
    Absent,
}

impl WritePrecondition {
    /// Returns true when it holds for a thing with this revision (`None`: there is no such thing).
    pub fn holds(self, revision: Option<u64>) -> bool {
        match self {
            WritePrecondition::Revision(expected) => revision == Some(expected),
            WritePrecondition::Absent => revision.is_none(),
        }
    }
}
