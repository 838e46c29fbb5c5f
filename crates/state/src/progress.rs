//! How far connectors have come: what must outlive a process and a takeover and which no
//! broker keeps. Of a stream the offset, of messages that failed how often they were tried.
//!
//! It is the connector's own, and means nothing to the state: bytes that its process has
//! written and that the next one, here or on another member, is given. They belong to the
//! reign under which they were written, so that a former holder overwrites nothing, and to the
//! resource as it was created, so that the process of a deleted one, which ends in order and
//! has its say, leaves nothing to another one of its name.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use quorate_proto::command::FieldError;
use quorate_resources::Kind;

use super::{Answer, Catalog, ConnectorProgress, Reign, command::error};

/// The most bytes that one connector can keep.
pub const PROGRESS_BYTES_MAX: usize = 64 << 10;
/// How many connectors one command tells of at most.
pub const ADVANCE_MAX: usize = 500;
/// How many bytes they keep at most: so much that the log is not held up by one.
pub const ADVANCE_BYTES_MAX: usize = 256 << 10;

/// How far each connector has come that has to know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProgressTable {
    by_connector: OrdMap<(Kind, Arc<str>), Bytes>,
}

impl ProgressTable {
    /// How far a connector has come; empty where it has kept nothing.
    pub fn get(&self, kind: Kind, name: &str) -> Bytes {
        let found = self.by_connector.get(&(kind, name.into()));
        found.cloned().unwrap_or_default()
    }

    /// Those that have kept something, by kind and name.
    pub fn all(&self) -> impl Iterator<Item = (Kind, &str, &Bytes)> {
        let entries = self.by_connector.iter();
        entries.map(|((kind, name), kept)| (*kind, &**name, kept))
    }

    /// Whether nobody has kept anything since `before`. Cheap where that is so.
    pub fn is_as(&self, before: &ProgressTable) -> bool {
        self.by_connector.ptr_eq(&before.by_connector) || self == before
    }

    /// A connector whose resource is gone keeps nothing, and is nothing to the others.
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
            // Of a resource from a log or snapshot of before it was written down it is not
            // known when it was created: 0.
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

    /// Its resource was deleted: another one of its name begins anew.
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
    fn what_a_connector_keeps_outlives_its_reign_and_goes_with_its_resource() {
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
    fn the_last_word_of_a_deleted_connector_is_nothing_to_another_of_its_name() {
        let mut machine = Machine::default();
        let said = |created: u64, kept: &'static str| {
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
            (said(2, "first"), "first"),
            (delete, ""),
            (put("a"), ""),
            (said(2, "the last word"), ""),
            (said(5, "second"), "second"),
            (said(2, "the last word"), "second"),
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
    fn those_whose_resource_is_gone_hold_up_none_of_the_others() {
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
    fn what_is_too_much_is_refused_by_who_proposes_it() {
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
