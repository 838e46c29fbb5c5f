//! Progress of connectors: what must outlive a process and a takeover and no broker keeps.
//!
//! Of a stream it is the offset, of messages that failed how often they were tried.
//!
//! Progress belongs to the connector, and means nothing to the state: bytes that its process has
//! written and that the next process, here or on another member, is given. They belong to the reign
//! under which they were written, so that a former holder overwrites nothing, and to the resource
//! as it was created, so that the process of a deleted one, which ends in order and may still
//! report, leaves nothing to another one of its name.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use quorate_proto::command::FieldError;
use quorate_resources::Kind;

use super::{Answer, Catalog, ConnectorProgress, Reign, field_errors::error};

/// Most bytes that one connector can keep.
pub const PROGRESS_BYTES_MAX: usize = 64 << 10;
/// Most connectors of one command.
pub const ADVANCE_MAX: usize = 500;
/// Most bytes of their progress: a bound by which one command does not hold up the log.
pub const ADVANCE_BYTES_MAX: usize = 256 << 10;

/// Progress of each connector that has any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProgressTable {
    by_connector: OrdMap<(Kind, Arc<str>), Bytes>,
}

impl ProgressTable {
    /// Returns the progress of a connector; empty where it has kept none.
    pub fn get(&self, kind: Kind, name: &str) -> Bytes {
        let found = self.by_connector.get(&(kind, name.into()));
        found.cloned().unwrap_or_default()
    }

    /// Lists the connectors that have kept progress, by kind and name.
    pub fn all(&self) -> impl Iterator<Item = (Kind, &str, &Bytes)> {
        let entries = self.by_connector.iter();
        entries.map(|((kind, name), kept)| (*kind, &**name, kept))
    }

    /// Returns true when nothing was kept since `before`. Cheap where that is so.
    pub fn is_as(&self, before: &ProgressTable) -> bool {
        self.by_connector.ptr_eq(&before.by_connector) || self == before
    }

    /// Keeps the progress of connectors. One whose resource is gone keeps nothing, and does not
    /// affect the others.
    pub(super) fn advance(
        &mut self,
        index: u64,
        epoch: u64,
        connectors: &[ConnectorProgress],
        reign: &Reign,
        catalog: &Catalog,
    ) -> Answer {
        if epoch != reign.epoch {
            return Answer::Ignored(format!(
                "epoch {epoch} is not that of the reign, which is {}",
                reign.epoch
            ));
        }
        let mut changed = false;
        for ConnectorProgress {
            kind,
            name,
            created,
            progress,
        } in connectors
        {
            // The creation of a resource from a log or snapshot of before that was recorded is not
            // known: 0.
            let is_the_same = |known: u64| known == *created || known == 0 || *created == 0;
            let stored = catalog.get(*kind, name);
            if stored.is_some_and(|it| is_the_same(it.created))
                && self.get(*kind, name) != *progress
            {
                self.keep(*kind, name, progress.clone());
                changed = true;
            }
        }
        Answer::Done {
            revision: index,
            changed,
            created: false,
        }
    }

    /// Forgets a connector whose resource was deleted: another one of its name begins anew.
    pub(super) fn forget(&mut self, kind: Kind, name: &str) {
        self.by_connector.remove(&(kind, name.into()));
    }

    pub(super) fn keep(&mut self, kind: Kind, name: &str, progress: Bytes) {
        if progress.is_empty() {
            self.forget(kind, name);
        } else {
            self.by_connector.insert((kind, name.into()), progress);
        }
    }
}

pub(super) fn check(connectors: &[ConnectorProgress]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for it in connectors {
        if !it.kind.has_connector() {
            errors.push(error("kind", it.kind.as_str(), "has no connectors"));
        }
        if it.progress.len() > PROGRESS_BYTES_MAX {
            let value = format!("{}: {} bytes", it.name, it.progress.len());
            let problem = format!("must have at most {PROGRESS_BYTES_MAX}");
            errors.push(error("progress", value, problem));
        }
    }
    let bytes: usize = connectors.iter().map(|it| it.progress.len()).sum();
    if connectors.len() > ADVANCE_MAX || bytes > ADVANCE_BYTES_MAX {
        let value = format!("{} of them, {bytes} bytes", connectors.len());
        let problem = format!("must be at most {ADVANCE_MAX} with {ADVANCE_BYTES_MAX} bytes");
        errors.push(error("connectors", value, problem));
    }
    errors
}

#[cfg(test)]
mod tests {
    use quorate_resources::Kind;
    use serde_json::json;

    use super::*;
    use crate::{Command, Machine, State};

    fn put(name: &str) -> Command {
        let spec = json!({"name": name, "address": "tcp://127.0.0.1:5555", "socket_type": "PUSH",
                          "method": "connect"});
        Command::PutResource {
            kind: Kind::ZmqOutgoing,
            name: name.into(),
            spec: spec.to_string().into(),
            precondition: None,
        }
    }

    fn progress(name: &str, progress: impl Into<Bytes>) -> ConnectorProgress {
        ConnectorProgress {
            kind: Kind::ZmqOutgoing,
            name: name.into(),
            created: 0,
            progress: progress.into(),
        }
    }

    fn advance(epoch: u64, kept: &'static [u8]) -> Command {
        let connectors = vec![progress("a", kept)];
        Command::AdvanceProgress { epoch, connectors }
    }

    #[test]
    fn progress_outlives_reign_and_goes_with_resource() {
        let mut machine = Machine::default();
        let mut index = 0;
        let mut apply = |machine: &mut Machine, command: &Command| {
            index += 1;
            machine.apply(index, 1, 1, command).0
        };
        let kept = |machine: &Machine| machine.state().progress().get(Kind::ZmqOutgoing, "a");
        let take_over = Command::TakeOver { member: 1, term: 1 };
        apply(&mut machine, &put("a"));
        apply(&mut machine, &take_over);
        assert!(apply(&mut machine, &advance(2, b"one")).changed());
        assert!(!apply(&mut machine, &advance(2, b"one")).changed());
        // The next reign has it, and the one before can't change it any more.
        apply(&mut machine, &Command::Release { epoch: 2 });
        apply(&mut machine, &take_over);
        assert_eq!(kept(&machine), "one");
        let late = apply(&mut machine, &advance(2, b"late"));
        assert!(matches!(late, Answer::Ignored(_)), "{late:?}");
        assert!(apply(&mut machine, &advance(6, b"two")).changed());
        assert_eq!(kept(&machine), "two");
        let mut snapshot = Vec::new();
        machine.state().write_to(&mut snapshot).unwrap();
        let restored = State::read_from(&mut &snapshot[..]).unwrap();
        assert_eq!(restored.progress(), machine.state().progress());
        let command = advance(6, b"two");
        assert_eq!(Command::decode(command.encode()), Ok(command));
        apply(
            &mut machine,
            &Command::DeleteResource {
                kind: Kind::ZmqOutgoing,
                name: "a".into(),
                precondition: None,
            },
        );
        assert_eq!(kept(&machine), "");
        assert!(!apply(&mut machine, &advance(6, b"three")).changed());
        assert_eq!(kept(&machine), "");
    }

    #[test]
    fn late_progress_of_deleted_connector_is_ignored() {
        let mut machine = Machine::default();
        let report = |created: u64, kept: &'static str| {
            let mut it = progress("a", kept);
            it.created = created;
            let (epoch, connectors) = (1, vec![it]);
            Command::AdvanceProgress { epoch, connectors }
        };
        let delete = Command::DeleteResource {
            kind: Kind::ZmqOutgoing,
            name: "a".into(),
            precondition: None,
        };
        let take_over = Command::TakeOver { member: 1, term: 1 };
        for (index, (command, kept)) in [
            (take_over, ""),
            (put("a"), ""),
            (report(2, "first"), "first"),
            (delete, ""),
            (put("a"), ""),
            (report(2, "the last word"), ""),
            (report(5, "second"), "second"),
            (report(2, "the last word"), "second"),
        ]
        .into_iter()
        .enumerate()
        {
            machine.apply(index as u64 + 1, 1, 1, &command);
            let now = machine.state().progress().get(Kind::ZmqOutgoing, "a");
            assert_eq!(now, kept, "after {command:?}");
        }
        // A change is no creation, and a snapshot keeps when that was.
        let mut changed = put("a");
        if let Command::PutResource { spec, .. } = &mut changed {
            *spec = String::from_utf8_lossy(spec).replace("5555", "5556").into();
        }
        machine.apply(9, 1, 1, &changed);
        let mut snapshot = Vec::new();
        machine.state().write_to(&mut snapshot).unwrap();
        let restored = State::read_from(&mut &snapshot[..]).unwrap();
        let stored = restored.catalog().get(Kind::ZmqOutgoing, "a").unwrap();
        assert_eq!((stored.created, stored.revision), (5, 9));
    }

    #[test]
    fn missing_resource_holds_up_no_other() {
        let mut machine = Machine::default();
        machine.apply(1, 1, 1, &put("a"));
        machine.apply(2, 1, 1, &Command::TakeOver { member: 1, term: 1 });
        let connectors = vec![progress("gone", "one"), progress("a", "two")];
        let epoch = machine.state().reign().epoch;
        let command = Command::AdvanceProgress { epoch, connectors };
        assert!(machine.apply(3, 1, 1, &command).0.changed());
        let all: Vec<_> = machine.state().progress().all().collect();
        assert_eq!(all, [(Kind::ZmqOutgoing, "a", &Bytes::from("two"))]);
    }

    #[test]
    fn too_much_progress_is_refused_when_proposed() {
        let check = |connectors: Vec<ConnectorProgress>| {
            let command = Command::AdvanceProgress {
                epoch: 1,
                connectors,
            };
            command.check().is_ok()
        };
        let of = |bytes: usize| progress("a", vec![0; bytes]);
        assert!(check(vec![of(PROGRESS_BYTES_MAX)]));
        assert!(!check(vec![of(PROGRESS_BYTES_MAX + 1)]));
        assert!(check(vec![of(1); ADVANCE_MAX]));
        assert!(!check(vec![of(1); ADVANCE_MAX + 1]));
        let fit = ADVANCE_BYTES_MAX / PROGRESS_BYTES_MAX;
        assert!(check(vec![of(PROGRESS_BYTES_MAX); fit]));
        assert!(!check(vec![of(PROGRESS_BYTES_MAX); fit + 1]));
    }
}
