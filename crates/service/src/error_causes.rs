//! Errors and their chain of causes.

use std::error::Error;

/// Lists the error, its cause, the cause of that, and so on.
pub(super) fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause: &&'e (dyn Error + 'static)| {
        (*cause).source()
    })
}

/// Returns the innermost cause: "Connection refused" says more than "error sending request".
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// Returns true when hyper reports "canceled", its word for a request that was never taken from its
/// queue and so never written.
pub(super) fn is_canceled(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_canceled)
    })
}
