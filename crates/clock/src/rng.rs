//! Random numbers: for ids, and for pauses that must not fall together.

use rand::Rng;

/// Returns the generator of all random numbers. The generator belongs to the thread: callers
/// ask for it anew where a task may have moved, and never hold it across an await.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where it is asked for"
)]
pub fn rng() -> impl Rng {
    rand::rng()
}

/// Returns an id of 128 bits that nobody else draws.
pub fn id128() -> u128 {
    rng().random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        assert_ne!(id128(), id128());
    }
}
