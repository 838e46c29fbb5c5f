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

/// Beginnings of further names: the locale and the authorities.
const PREFIXES: [&str; 2] = ["LC_", "SSL_CERT_"];
/// Those of IBM MQ's client, for its connectors alone, but for what is named like a secret of
/// another program (`MQ_APP_PASSWORD` of IBM's container) or like MQTT's.
const MQ_PREFIXES: [&str; 2] = ["MQ", "AMQ_"];
const NOT_MQ: [&str; 4] = ["MQTT", "PASSWORD", "SECRET", "TOKEN"];

/// Returns what a process of this kind is given of these variables, with `more` that the settings
/// name.
pub(crate) fn handed_on<'v>(
    variables: &'v [(OsString, OsString)],
    kind: &'v str,
    more: &'v [String],
) -> impl Iterator<Item = &'v (OsString, OsString)> {
    let is_wanted = move |name: &OsStr| {
        let name = name.to_str();
        name.is_some_and(|name| is_wanted(name, kind, more))
    };
    variables.iter().filter(move |(name, _)| is_wanted(name))
}

fn is_wanted(name: &str, kind: &str, more: &[String]) -> bool {
    let has = |beginnings: &[&str]| beginnings.iter().any(|it| name.starts_with(it));
    let is_mq = || has(&MQ_PREFIXES) && !NOT_MQ.iter().any(|it| name.contains(it));
    NAMES.contains(&name)
        || has(&PREFIXES)
        || kind.starts_with("ibm_mq_") && is_mq()
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
            "MQ_APP_PASSWORD",
            "MQTT_HOST",
            "LD_LIBRARY_PATH",
            "LD_PRELOAD",
            "AWS_SECRET_ACCESS_KEY",
            "QUORATE_TOKEN",
            "QUORATE_DATA_DIR",
            "LCOAL",
        ];
        let given = variables.map(|it| (OsString::from(it), OsString::from("x")));
        let names = |kind: &str, more: &[String]| {
            let kept = handed_on(&given, kind, more);
            kept.map(|(name, _)| name.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let usual = ["PATH", "LC_ALL", "SSL_CERT_FILE"];
        assert_eq!(names("amqp_channel", &[]), usual);
        let mq = names("ibm_mq_channel", &[]);
        assert_eq!(mq, [&usual[..], &["MQSERVER"]].concat());
        let more = names("zmq_channel", &["LD_LIBRARY_PATH".to_owned()]);
        assert_eq!(more, [&usual[..], &["LD_LIBRARY_PATH"]].concat());
    }
}
