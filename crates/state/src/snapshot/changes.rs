//! Changelog of keys in a snapshot. A value that its key still has is not written twice.

use std::{io, sync::Arc};

use super::{bad, records::ChangeRecord};
use crate::{KeyChange, KvStore};

pub(super) fn record(kv: &KvStore, change: &KeyChange) -> ChangeRecord {
    let current = change.value.is_some()
        && kv
            .get(&change.key)
            .is_some_and(|entry| entry.revision == change.revision);
    ChangeRecord {
        key: (*change.key).into(),
        revision: change.revision,
        previous: change.previous,
        value: change.value.clone().filter(|_| !current),
        current,
    }
}

/// Restores a change. The keys have been restored before.
pub(super) fn restore(kv: &mut KvStore, it: ChangeRecord) -> io::Result<()> {
    let unlike = |what: &str| {
        bad(format!(
            "the change of {:?} at revision {} {what}",
            it.key, it.revision
        ))
    };
    if it.revision <= kv.changelog().newest() || it.revision > kv.revision() {
        return Err(unlike("is out of order"));
    }
    let value = match kv.get(&it.key) {
        _ if !it.current => it.value.clone(),
        Some(entry) if entry.revision == it.revision => Some(entry.value.clone()),
        _ => return Err(unlike("has its value in a key that is not like this")),
    };
    kv.restore_change(KeyChange {
        revision: it.revision,
        key: Arc::from(it.key.as_str()),
        value,
        previous: it.previous,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            FORMAT, MAGIC,
            record_framing::RecordWriter,
            records::{Body, Header, KeyRecord},
        },
        *,
    };
    use crate::{ChangesCompacted, Command, Machine, State};

    fn header(history_floor: Option<u64>) -> Body {
        Body::Header(Header {
            magic: MAGIC.into(),
            format: FORMAT,
            revision: 9,
            kv_revision: 7,
            history_floor,
            ..Header::default()
        })
    }

    fn read(history_floor: Option<u64>, changes: Vec<ChangeRecord>) -> io::Result<State> {
        let mut bytes = Vec::new();
        let mut out = RecordWriter::new(&mut bytes);
        out.record(header(history_floor))?;
        out.record(Body::Key(KeyRecord {
            key: "a".into(),
            revision: 7,
            value: "v".into(),
        }))?;
        for change in changes {
            out.record(Body::Change(change))?;
        }
        out.end()?;
        State::read_from(&mut &bytes[..])
    }

    fn change(revision: u64, current: bool) -> ChangeRecord {
        ChangeRecord {
            key: "a".into(),
            revision,
            current,
            ..ChangeRecord::default()
        }
    }

    #[test]
    fn snapshot_without_changelog_begins_one() {
        let mut machine = Machine::from(read(None, Vec::new()).unwrap());
        let compacted = ChangesCompacted { oldest: 8 };
        let after = |machine: &Machine, revision| {
            let changes = machine.state().kv().changelog().after(revision);
            changes.map(|it| it.map(|it| it.revision).collect::<Vec<_>>())
        };
        assert_eq!(after(&machine, 6), Err(compacted));
        assert_eq!(after(&machine, 7), Ok(vec![]));
        let (key, precondition) = ("a".into(), None);
        machine.apply(10, 1, 1, &Command::DeleteKey { key, precondition });
        assert_eq!(after(&machine, 6), Err(compacted));
        assert_eq!(after(&machine, 7), Ok(vec![10]));
    }

    #[test]
    fn changes_that_can_not_be_are_refused() {
        let good = read(Some(4), vec![change(5, false), change(7, true)]).unwrap();
        let told: Vec<_> = good
            .kv()
            .changelog()
            .all()
            .map(|it| it.value.clone())
            .collect();
        assert_eq!(told, [None, Some("v".into())]);
        for (changes, says) in [
            (vec![change(4, false)], "out of order"),
            (vec![change(6, false), change(6, false)], "out of order"),
            (vec![change(8, false)], "out of order"),
            (vec![change(6, true)], "not like this"),
        ] {
            let error = read(Some(4), changes).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
