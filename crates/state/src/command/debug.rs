//! Debug output of commands, with lengths in place of values that may be secret.

use std::fmt;

use super::{Command, ConnectorProgress};
use crate::{BatchedPut, ResealedResource};

/// Bytes that are not shown, by their number.
struct HiddenBytes(usize);

impl fmt::Debug for HiddenBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0)
    }
}

impl fmt::Debug for BatchedPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchedPut")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("spec", &HiddenBytes(self.spec.len()))
            .finish()
    }
}

impl fmt::Debug for ResealedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResealedResource")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("revision", &self.revision)
            .field("spec", &HiddenBytes(self.spec.len()))
            .finish()
    }
}

impl fmt::Debug for ConnectorProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorProgress")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("created", &self.created)
            .field("progress", &HiddenBytes(self.progress.len()))
            .finish()
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As `derive` does it.
        macro_rules! shown {
            ($name:literal $(, $field:ident)*) => {
                f.debug_struct($name)$(.field(stringify!($field), $field))*.finish()
            };
        }
        match self {
            Command::PutResource {
                kind,
                name,
                spec,
                precondition,
            } => {
                let spec = &HiddenBytes(spec.len());
                shown!("PutResource", kind, name, spec, precondition)
            }
            Command::PutResources(puts) => f.debug_tuple("PutResources").field(puts).finish(),
            Command::DeleteResource {
                kind,
                name,
                precondition,
            } => shown!("DeleteResource", kind, name, precondition),
            Command::PutKey {
                key,
                value,
                precondition,
            } => {
                let value = &HiddenBytes(value.len());
                shown!("PutKey", key, value, precondition)
            }
            Command::DeleteKey { key, precondition } => shown!("DeleteKey", key, precondition),
            Command::TakeOver { member, term } => shown!("TakeOver", member, term),
            Command::Release { epoch } => shown!("Release", epoch),
            Command::AnnounceProgram {
                member,
                services,
                version,
                failover_ms,
            } => shown!("Announce", member, services, version, failover_ms),
            Command::SetFailover { failover_ms, first } => {
                shown!("SetFailover", failover_ms, first)
            }
            Command::FailoverApplied { member, revision } => {
                shown!("FailoverApplied", member, revision)
            }
            Command::FailoverSettled { revision } => shown!("FailoverSettled", revision),
            Command::RecordTakeover(it) => f.debug_tuple("Explain").field(it).finish(),
            Command::RecordBrokerConnections {
                member,
                connections,
            } => shown!("Connected", member, connections),
            Command::OperateConnector { kind, name, order } => shown!("Operate", kind, name, order),
            Command::AdvanceProgress { epoch, connectors } => shown!("Advance", epoch, connectors),
            Command::BeginSend(it) => f.debug_tuple("Intend").field(it).finish(),
            Command::FinishSend(it) => f.debug_tuple("Conclude").field(it).finish(),
            Command::Keyring(it) => f.debug_tuple("Keyring").field(it).finish(),
            Command::ResealResources(it) => f.debug_tuple("ResealResources").field(it).finish(),
            Command::CreateToken(it) => f.debug_tuple("CreateToken").field(it).finish(),
            Command::RevokeToken { id } => shown!("RevokeToken", id),
            Command::CreateVoucherKey(it) => f.debug_tuple("CreateVoucherKey").field(it).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_resources::Kind;

    use super::*;

    #[test]
    fn no_password_is_in_debug_output() {
        let spec = bytes::Bytes::from_static(br#"{"name": "r", "password": "hunter2"}"#);
        let one = Command::PutResource {
            kind: Kind::AmqpConnection,
            name: "r".into(),
            spec: spec.clone(),
            precondition: None,
        };
        let several = Command::PutResources(vec![BatchedPut {
            kind: Kind::AmqpConnection,
            name: "r".into(),
            spec,
        }]);
        let value = Command::PutKey {
            key: "k".into(),
            value: "hunter2".into(),
            precondition: None,
        };
        for command in [one, several, value] {
            let text = format!("{command:?} {command:#?}");
            assert!(
                !text.contains("hunter2") && text.contains("bytes)"),
                "{text}"
            );
        }
    }
}
