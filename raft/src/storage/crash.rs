//! Places at which tests end the process, as a kill would.

/// Ends the process if the environment asks for it at this place. Tests only.
#[cfg(test)]
pub(super) fn point(name: &str) {
    if std::env::var("QUORATE_TEST_CRASH").as_deref() == Ok(name) {
        std::process::abort();
    }
}

#[cfg(not(test))]
pub(super) fn point(_name: &str) {}
