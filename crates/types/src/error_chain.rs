//! Walk along an error's chain of causes, and the texts that are made of it.

use std::error::Error;

/// Lists the error, its cause, the cause of that, and so on.
pub fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause: &&'e (dyn Error + 'static)| {
        (*cause).source()
    })
}

/// Returns the text of an error and of all of its causes, the outermost first.
pub fn whole_chain(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.join(": ")
}

/// Returns the text of the innermost cause: "Connection refused" says more than "error sending
/// request".
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let innermost = causes(error).last().unwrap_or(error);
    innermost.to_string()
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
        assert_eq!(whole_chain(&error), "the file can't be read: no such disk");
        assert_eq!(root_cause(&error), "no such disk");
        assert_eq!(root_cause(&std::fmt::Error), std::fmt::Error.to_string());
    }
}
