use quorate_resources::Kind;
use serde_json::{Value, json};

use super::*;
use crate::{Command, Machine, ResealedResource, State};

fn key(byte: u8) -> SealPublicKey {
    [byte; SEAL_KEY_BYTES]
}

fn key_box(version: u32, owner: MemberId, public_key: u8) -> KeyBox {
    KeyBox {
        version,
        owner,
        public_key: key(public_key),
        content: format!("{version} for {public_key}").into(),
    }
}

/// A log of the keyring, applied to a machine and through a snapshot.
#[derive(Default)]
struct KeyringLog {
    machine: Machine,
    index: u64,
}

impl KeyringLog {
    fn apply(&mut self, command: Command) -> Answer {
        self.index += 1;
        let command = Command::decode(command.encode()).unwrap();
        let answer = self.machine.apply(self.index, 1, 1, &command).0;
        let mut bytes = Vec::new();
        self.machine.state().write_to(&mut bytes).unwrap();
        let restored = State::read_from(&mut &bytes[..]).unwrap();
        assert_eq!(restored.keyring(), self.keyring(), "through a snapshot");
        answer
    }

    fn keys(&mut self, command: KeyringCommand) -> Answer {
        self.apply(Command::Keyring(command.into()))
    }

    fn announce(&mut self, member: MemberId, public_key: u8) -> Answer {
        self.keys(KeyringCommand::Announce {
            member,
            public_key: key(public_key),
        })
    }

    fn add_version(&mut self, version: u32, boxes: Vec<KeyBox>) -> Answer {
        self.keys(KeyringCommand::AddVersion {
            version,
            check: "c".into(),
            boxes,
        })
    }

    fn keyring(&self) -> &Keyring {
        self.machine.state().keyring()
    }

    fn owners(&self, version: u32) -> Vec<MemberId> {
        let version = self.keyring().version(version).unwrap();
        version.boxes.keys().copied().collect()
    }

    fn put(&mut self, spec: Value) -> Answer {
        self.apply(Command::PutResource {
            kind: Kind::ApiKey,
            name: "k".into(),
            spec: spec.to_string().into(),
            precondition: None,
        })
    }

    fn reseal(&mut self, revision: u64, spec: Value) -> bool {
        let resealed = ResealedResource {
            kind: Kind::ApiKey,
            name: "k".into(),
            revision,
            spec: spec.to_string().into(),
        };
        self.apply(Command::ResealResources(vec![resealed]))
            .changed()
    }

    fn spec(&self) -> Value {
        let stored = self.machine.state().catalog().get(Kind::ApiKey, "k");
        serde_json::from_str(stored.unwrap().stored_spec()).unwrap()
    }
}

fn ignored(answer: Answer) {
    assert!(matches!(answer, Answer::Ignored(_)), "{answer:?}");
}

fn sealed(version: u32, salt: &str, fingerprint: &str) -> Value {
    let sealed = json!({"v": 1, "k": version, "s": salt, "c": "c", "f": fingerprint});
    json!({"name": "k", "key": {"$sealed": sealed}})
}

#[test]
fn two_leaders_can_not_make_two_keys() {
    let mut log = KeyringLog::default();
    assert!(log.announce(1, 1).changed());
    assert!(!log.announce(1, 1).changed());
    assert!(log.add_version(1, vec![key_box(1, 1, 1)]).changed());
    ignored(log.add_version(1, vec![key_box(1, 1, 1)]));
    ignored(log.add_version(3, vec![]));
    assert_eq!((log.keyring().newest(), log.owners(1)), (1, vec![1]));
    assert!(log.add_version(2, vec![]).changed());
}

#[test]
fn boxes_count_for_present_keys_alone() {
    let mut log = KeyringLog::default();
    log.announce(1, 1);
    log.announce(2, 2);
    log.add_version(1, vec![key_box(1, 1, 1), key_box(1, 2, 9)]);
    assert_eq!(log.owners(1), [1]);
    let more = KeyringCommand::AddBoxes {
        boxes: vec![
            key_box(1, 2, 2),
            key_box(7, 2, 2),
            key_box(1, 3, 3),
            key_box(1, RECOVERY, 5),
        ],
    };
    assert!(log.keys(more.clone()).changed());
    assert!(!log.keys(more.clone()).changed());
    assert_eq!(log.owners(1), [1, 2]);
    let public_key = key(5);
    log.keys(KeyringCommand::SetRecovery { public_key });
    assert!(log.keys(more).changed());
    assert_eq!(log.owners(1), [RECOVERY, 1, 2]);
    let public_key = key(6);
    log.keys(KeyringCommand::SetRecovery { public_key });
    assert_eq!(log.owners(1), [1, 2]);
}

/// Security test 44: a copy of a member's data, or a member that lost its key, gets no box by
/// itself.
// guarantee: SECURITY-22
#[test]
fn another_key_of_a_member_waits_for_acceptance() {
    let mut log = KeyringLog::default();
    log.announce(1, 1);
    log.add_version(1, vec![key_box(1, 1, 1)]);
    assert!(log.announce(1, 2).changed());
    let boxes = vec![key_box(1, 1, 2)];
    let add = KeyringCommand::AddBoxes { boxes };
    assert!(!log.keys(add.clone()).changed());
    // The old key is found again.
    log.announce(1, 1);
    assert_eq!(log.keyring().members()[&1].pending, None);
    let accept = |public_key| KeyringCommand::Accept {
        member: 1,
        public_key: key(public_key),
    };
    ignored(log.keys(accept(2)));
    log.announce(1, 2);
    ignored(log.keys(accept(3)));
    assert!(log.keys(accept(2)).changed());
    assert_eq!(log.owners(1), [] as [MemberId; 0]);
    assert!(log.keys(add).changed());
    assert_eq!(log.owners(1), [1]);
}

#[test]
fn version_in_use_is_not_dropped() {
    let mut log = KeyringLog::default();
    log.announce(1, 1);
    log.add_version(1, vec![key_box(1, 1, 1)]);
    log.put(sealed(1, "s", "f"));
    let drop = |version| KeyringCommand::DropVersion { version };
    ignored(log.keys(drop(1)));
    log.add_version(2, vec![key_box(2, 1, 1)]);
    ignored(log.keys(drop(1)));
    let revision = log.machine.state().catalog().get(Kind::ApiKey, "k");
    let revision = revision.unwrap().revision;
    assert!(log.reseal(revision, sealed(2, "t", "g")));
    assert!(log.keys(drop(1)).changed());
    ignored(log.keys(drop(1)));
    ignored(log.keys(drop(2)));
    // What was sealed before the drop and is applied after.
    let late = log.put(sealed(1, "s", "late"));
    assert!(matches!(late, Answer::Invalid(_)), "{late:?}");
}

/// Pitfall P6: a put at the same time is not undone, and a late reseal takes nothing back.
#[test]
fn reseal_changes_the_form_alone() {
    let mut log = KeyringLog::default();
    log.put(json!({"name": "k", "key": "in clear"}));
    assert_eq!(log.machine.state().catalog().sealed_by(0), 1);
    assert!(!log.reseal(9, sealed(1, "s", "f")), "of another revision");
    let mut other = sealed(1, "s", "f");
    other["header"] = "X-Other".into();
    assert!(!log.reseal(1, other), "of another field");
    assert!(!log.reseal(1, json!({"name": "k", "key": "other"})));
    assert!(log.reseal(1, sealed(1, "s", "f")));
    assert!(!log.reseal(1, sealed(1, "t", "f")), "to the same version");
    assert!(log.reseal(1, sealed(3, "s", "h")));
    assert!(!log.reseal(1, sealed(2, "s", "g")), "to an older version");
    let catalog = log.machine.state().catalog();
    assert_eq!(log.spec(), sealed(3, "s", "h"));
    assert_eq!(
        [0, 1, 2, 3].map(|version| catalog.sealed_by(version)),
        [0, 0, 0, 1]
    );
    assert_eq!(catalog.get(Kind::ApiKey, "k").unwrap().revision, 1);
}

/// Security test 41, where a put is applied: without a key, equal texts are known by their
/// fingerprint.
#[test]
fn same_secret_sealed_twice_is_unchanged() {
    let mut log = KeyringLog::default();
    assert!(log.put(sealed(1, "s", "f")).changed());
    assert!(!log.put(sealed(1, "other salt", "f")).changed());
    assert_eq!(log.spec(), sealed(1, "s", "f"));
    assert!(log.put(sealed(1, "s", "other text")).changed());
    // One that is left out is kept as it is.
    assert!(!log.put(json!({"name": "k"})).changed());
    assert!(log.put(json!({"name": "k", "header": "X-B"})).changed());
    assert_eq!(log.spec()["key"], sealed(1, "s", "other text")["key"]);
}
