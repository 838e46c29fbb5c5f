//! Errors of values that a manifest's format can hold and JSON can't.

/// Reason why a value has no JSON form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("the number {0} is too large")]
    TooLarge(String),
    #[error("the number {0} is not finite")]
    NotFinite(String),
    #[error(
        "must be a mapping or a list of mappings, as in `<<: *defaults` where `&defaults` stands in the same document"
    )]
    MergeSource,
}
