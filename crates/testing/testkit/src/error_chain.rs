//! Text of an error with all of its causes, for files and the terminal.
//!
//! Not that of `crates/types`: the suite knows the product as a program alone.

use std::error::Error;

/// Returns an error and its causes in one line, the outermost first.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the file can't be read")]
    struct OuterError(#[source] std::io::Error);

    #[test]
    fn causes_follow_the_error() {
        let error = OuterError(std::io::Error::other("no such disk"));
        assert_eq!(chain(&error), "the file can't be read: no such disk");
    }
}
