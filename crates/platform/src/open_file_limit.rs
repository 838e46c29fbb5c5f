//! Limit of open files of this process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit to the most that this user may have. Shells and service managers set a
/// low one, 1024 mostly, for programs that look through all numbers; a thousand connectors
/// take more.
pub fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(limit, most)| match limit < most {
        true => setrlimit(Resource::RLIMIT_NOFILE, most, most),
        false => Ok(()),
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
