//! The token that a command shows, and where it is read from.

use std::{env, fs, os::unix::fs::PermissionsExt, path::Path};

use http::HeaderValue;

use crate::cli::error::CliError;

/// The variable with a token itself, which others of the same user can see.
const VARIABLE: &str = "QUORATE_TOKEN";

/// Reads a token from its file.
pub fn read_file(file: &Path) -> Result<String, CliError> {
    let failed =
        |what: String| CliError::Refused(format!("the token file {}: {what}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let mode = fs::metadata(file).map(|it| it.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        quorate_log::print_note(format_args!(
            "others can read the token file {0}: chmod go-rwx {0}",
            file.display()
        ));
    }
    checked(&text).ok_or_else(|| failed("it must have a token, qt1_..., and nothing else".into()))
}

/// Returns the header that shows the token of a file, or else of the environment; `None` without
/// either.
pub(super) fn header(file: Option<&Path>) -> Result<Option<HeaderValue>, CliError> {
    let token = match file {
        Some(file) => Some(read_file(file)?),
        None => of_environment()?,
    };
    let Some(token) = token else {
        return Ok(None);
    };
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value = value.expect("invariant: a token is visible ASCII");
    value.set_sensitive(true);
    Ok(Some(value))
}

fn of_environment() -> Result<Option<String>, CliError> {
    let Ok(text) = env::var(VARIABLE) else {
        return Ok(None);
    };
    quorate_log::print_note(format_args!(
        "{VARIABLE} can be seen by other programs of this user: put the token into a file and give it by --token-file or QUORATE_TOKEN_FILE"
    ));
    let token = checked(&text);
    let refused = || CliError::Usage(format!("{VARIABLE} must have a token, qt1_..."));
    token.map(Some).ok_or_else(refused)
}

fn checked(text: &str) -> Option<String> {
    let token = text.trim();
    let is_token = !token.is_empty() && token.bytes().all(|it| it.is_ascii_graphic());
    is_token.then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_one_word() {
        assert_eq!(checked("qt1_a\n"), Some("qt1_a".into()));
        for none in ["", " \n", "a b", "qt1_\u{fc}"] {
            assert_eq!(checked(none), None, "{none:?}");
        }
    }
}
