//! Debug output of messages that have secrets in them, so that no line of a log shows any.
//!
//! `build.rs` has the list of these messages. A field that is not named here is left out.

use std::fmt;

use crate::{command, connector, peer};

macro_rules! show {
    ($($module:ident::$message:ident { $($field:ident),* })*) => {$(
        impl fmt::Debug for $module::$message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($field), &self.$field))*
                    .finish_non_exhaustive()
            }
        }
    )*};
}

show! {
    command::PutResource { kind, name, precondition }
    command::PutKey { key, precondition }
    command::CreateToken { id, identity, now_ms, not_after_ms }
    command::CreateVoucherKey {}
    connector::Configure { kind, name, generation, drain_ms }
    connector::Send { send, message_id, content_type, cid, within_ms }
    connector::Reply { content_type }
    connector::Header { name }
    connector::Delivery { delivery, message_id, content_type, attempt, redelivered, cid }
    peer::Entry { id, payload }
    peer::SnapshotChunk { part }
    peer::ProposeRequest { deadline_ms }
    peer::Header { name }
    peer::Invocation { service, cid, timeout_ms, from, method }
    peer::ServiceReply { status }
}

impl fmt::Debug for peer::entry::Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank(_) => f.write_str("Blank"),
            Self::Command(it) => write!(f, "Command({} bytes)", it.len()),
            Self::Membership(it) => fmt::Debug::fmt(it, f),
        }
    }
}

impl fmt::Debug for peer::snapshot_chunk::Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(it) => fmt::Debug::fmt(it, f),
            Self::Data(it) => write!(f, "Data({} bytes)", it.len()),
        }
    }
}

impl fmt::Debug for peer::invocation::From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(it) => fmt::Debug::fmt(it, f),
            Self::Http(it) => fmt::Debug::fmt(it, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const SECRET: Bytes = Bytes::from_static(b"hunter2");

    #[test]
    fn secrets_are_not_in_debug_output() {
        let write = command::command::Write::PutResource(command::PutResource {
            name: "broker".into(),
            spec: SECRET,
            ..Default::default()
        });
        let command = command::Command {
            write: Some(write),
            actor: None,
        };
        let configure = connector::Configure {
            name: "orders".into(),
            settings: SECRET,
            ..Default::default()
        };
        let invocation = peer::Invocation {
            service: "bill".into(),
            body: SECRET,
            query: Some("key=hunter2".into()),
            ..Default::default()
        };
        let entry = peer::Entry {
            id: None,
            payload: Some(peer::entry::Payload::Command(SECRET)),
        };
        for (shown, part) in [
            (format!("{command:?}"), "broker"),
            (format!("{configure:?}"), "orders"),
            (format!("{invocation:?}"), "bill"),
            (format!("{entry:?}"), "Command(7 bytes)"),
        ] {
            let bytes = format!("{SECRET:?}");
            assert!(shown.contains(part), "{shown}");
            assert!(
                !shown.contains("hunter2") && !shown.contains(&bytes),
                "{shown}"
            );
        }
    }
}
