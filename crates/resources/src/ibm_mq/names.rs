//! Rules of names of IBM MQ and its client. The lengths are those of MQI's own fields.

use crate::text_rules::{InvalidText, when};

type NameCheck = Result<(), InvalidText>;

fn is_name(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '%'))
}

/// Queue managers and queues.
pub(super) fn object(text: &str) -> NameCheck {
    when(
        is_name(text, 48),
        "must be a name of IBM MQ: 1 to 48 letters, digits, `.`, `/`, `_` or `%`",
    )
}

/// Channels.
pub(super) fn channel(text: &str) -> NameCheck {
    when(
        is_name(text, 20),
        "must be the name of a server connection channel of IBM MQ: 1 to 20 letters, digits, `.`, `/`, `_` or `%`",
    )
}

/// Users, as they are sent for authentication.
pub(super) fn user(text: &str) -> NameCheck {
    when(
        (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control),
        "must be 1 to 1024 bytes without control characters",
    )
}

/// Passwords.
pub(super) fn password(text: &str) -> NameCheck {
    when(
        (1..=256).contains(&text.len()) && !text.chars().any(char::is_control),
        "must be 1 to 256 bytes without control characters; leave it out to keep the one that is set",
    )
}

/// CipherSpecs.
pub(super) fn cipher_spec(text: &str) -> NameCheck {
    when(
        (1..=32).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
        "must be a CipherSpec such as ANY_TLS12_OR_HIGHER: 1 to 32 letters, digits or `_`",
    )
}

/// Key repositories.
pub(super) fn key_repository(text: &str) -> NameCheck {
    when(
        text.len() <= 256 && text.starts_with('/') && !text.chars().any(char::is_control),
        "must be the absolute path of a key repository on the members, such as /etc/quorate/mq/key.kdb, of at most 256 bytes",
    )
}

/// The client library.
pub(super) fn library(text: &str) -> NameCheck {
    when(
        text.len() <= 1024
            && !text.ends_with('/')
            && !text.is_empty()
            && (text.starts_with('/') || !text.contains('/'))
            && !text.chars().any(char::is_control),
        "must be a file's name, such as libmqic_r.so, or an absolute path, such as /opt/mqm/lib64/libmqic_r.so",
    )
}
