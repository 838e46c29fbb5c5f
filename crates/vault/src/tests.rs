use quorate_resources::{Kind, Resource};
use quorate_state::{Command, Machine, State, keyring::KeyringCommand};
use serde_json::{Value, json};

use super::*;

const CLUSTER: &str = "c1";

/// A log that members with vaults share.
#[derive(Default)]
struct SharedLog {
    machine: Machine,
    index: u64,
}

impl SharedLog {
    /// Returns the log with the vaults of so many members, and the first cluster key.
    fn with_members(count: u64) -> (SharedLog, Vec<Vault>) {
        let mut log = SharedLog::default();
        let vaults: Vec<Vault> = (1..=count).map(vault).collect();
        for vault in &vaults {
            log.announce(vault);
        }
        let members: Vec<MemberId> = (1..=count).collect();
        let first = vaults[0].add_version(log.state().keyring(), &members);
        log.keys(first.unwrap());
        (log, vaults)
    }

    fn state(&self) -> &State {
        self.machine.state()
    }

    fn apply(&mut self, command: Command) -> quorate_state::Answer {
        self.index += 1;
        let command = Command::decode(command.encode()).unwrap();
        self.machine.apply(self.index, 1, 1, &command).0
    }

    fn keys(&mut self, command: KeyringCommand) {
        let answer = self.apply(Command::Keyring(command.into()));
        assert!(answer.changed(), "{answer:?}");
    }

    fn announce(&mut self, vault: &Vault) {
        self.keys(KeyringCommand::Announce {
            member: vault.me,
            public_key: vault.public_key(),
        });
    }

    /// Puts a resource through the vault of a member; returns true if that changed it.
    fn put(&mut self, by: &Vault, kind: Kind, spec: Value) -> bool {
        let name = spec["name"].as_str().unwrap().to_owned();
        let spec = spec.to_string();
        let sealed = by.seal(self.state(), kind, &name, spec.as_bytes()).unwrap();
        let put = Command::PutResource {
            kind,
            name,
            spec: sealed.unwrap_or_else(|| spec.into()),
            precondition: None,
        };
        let answer = self.apply(put);
        assert!(
            matches!(answer, quorate_state::Answer::Done { .. }),
            "{answer:?}"
        );
        answer.changed()
    }

    fn reseal(&mut self, by: &Vault) -> usize {
        let mut count = 0;
        let mut from = None;
        loop {
            let step = by.reseal(self.state(), from).unwrap();
            count += step.resources.len();
            if !step.resources.is_empty() {
                assert!(
                    self.apply(Command::ResealResources(step.resources))
                        .changed()
                );
            }
            from = step.next;
            if from.is_none() {
                return count;
            }
        }
    }

    fn snapshot(&self) -> String {
        let mut bytes = Vec::new();
        self.state().write_to(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn vault(me: MemberId) -> Vault {
    Vault::new(CLUSTER, me, SealKey::generate().unwrap())
}

fn connection(password: &str) -> Value {
    json!({"name": "rabbit", "host": "h", "username": "u", "password": password,
           "management_url": "http://admin:s3cret@h:15672"})
}

fn secret_of(state: &State, kind: Kind, name: &str) -> Option<String> {
    let stored = state.catalog().get(kind, name).unwrap();
    stored.resource.secret().map(str::to_owned)
}

/// Security tests 38 and 45, as far as the state goes: nothing in a snapshot shows a secret, and
/// every member opens it.
// guarantee: SECURITY-20
#[test]
fn sealed_secrets_open_at_members_alone() {
    let (mut log, vaults) = SharedLog::with_members(3);
    log.put(&vaults[1], Kind::AmqpConnection, connection("hunter2"));
    log.put(
        &vaults[2],
        Kind::ApiKey,
        json!({"name": "k", "key": "hunter3"}),
    );
    let snapshot = log.snapshot();
    for text in ["hunter2", "hunter3", "s3cret"] {
        assert!(!snapshot.contains(text), "{text}");
    }
    for vault in &vaults {
        let opened = vault.opened(log.state());
        let stored = opened
            .catalog()
            .get(Kind::AmqpConnection, "rabbit")
            .unwrap();
        let Resource::AmqpConnection(it) = &*stored.resource else {
            panic!("a connection")
        };
        assert_eq!(it.password.as_deref(), Some("hunter2"));
        assert_eq!(
            it.management_url.as_deref(),
            Some("http://admin:s3cret@h:15672")
        );
        assert_eq!(
            secret_of(&opened, Kind::ApiKey, "k").as_deref(),
            Some("hunter3")
        );
    }
    let stranger = vault(1);
    let opened = stranger.opened(log.state());
    let stored = opened
        .catalog()
        .get(Kind::AmqpConnection, "rabbit")
        .unwrap();
    assert_eq!(stored.resource.secret(), None);
    assert!(stored.unopened().unwrap().contains("version 1"));
    assert_eq!(
        stranger.missing_key(log.state().keyring()),
        Some(NoKey::OtherKey)
    );
    assert_eq!(stored.shown()["management_url"], "http://h:15672/");
}

/// Security test 41 and pitfall P7.
#[test]
fn same_secret_is_unchanged_after_a_rotation() {
    let (mut log, vaults) = SharedLog::with_members(2);
    assert!(log.put(&vaults[0], Kind::AmqpConnection, connection("one")));
    assert!(!log.put(&vaults[1], Kind::AmqpConnection, connection("one")));
    let next = vaults[0].add_version(log.state().keyring(), &[1, 2]);
    log.keys(next.unwrap());
    assert!(!log.put(&vaults[1], Kind::AmqpConnection, connection("one")));
    assert!(log.put(&vaults[1], Kind::AmqpConnection, connection("two")));
    let catalog = log.state().catalog();
    // The URL kept its form.
    assert_eq!((catalog.sealed_by(1), catalog.sealed_by(2)), (1, 1));
}

/// Security test 43: a rotation loses nothing and changes nothing that is opened.
#[test]
fn rotation_reseals_all_and_drops_the_old_key() {
    let (mut log, vaults) = SharedLog::with_members(2);
    let in_clear = Command::PutResource {
        kind: Kind::ApiKey,
        name: "old".into(),
        spec: json!({"name": "old", "key": "of an older version"})
            .to_string()
            .into(),
        precondition: None,
    };
    log.apply(in_clear);
    log.put(&vaults[0], Kind::AmqpConnection, connection("one"));
    for n in 0..250 {
        let spec = json!({"name": format!("k{n}"), "key": format!("key {n}")});
        log.put(&vaults[0], Kind::ApiKey, spec);
    }
    assert_eq!(log.reseal(&vaults[0]), 1, "the one in clear");
    let before = vaults[1].opened(log.state());
    let next = vaults[1].add_version(log.state().keyring(), &[1, 2]);
    log.keys(next.unwrap());
    assert_eq!(log.reseal(&vaults[0]), 252);
    assert_eq!(log.reseal(&vaults[0]), 0);
    log.keys(KeyringCommand::DropVersion { version: 1 });
    let after = vaults[1].opened(log.state());
    for (kind, name, stored) in before.catalog().all() {
        let now = after.catalog().get(kind, name).unwrap();
        assert_eq!(
            (&now.resource, now.revision),
            (&stored.resource, stored.revision)
        );
    }
    assert!(!log.snapshot().contains("of an older version"));
}

/// Security test 44: boxes for a member that was admitted later, and for one whose key was accepted
/// anew.
#[test]
fn newcomer_is_given_the_key_by_a_holder() {
    let (mut log, vaults) = SharedLog::with_members(1);
    log.put(&vaults[0], Kind::ApiKey, json!({"name": "k", "key": "x"}));
    let newcomer = vault(2);
    log.announce(&newcomer);
    assert_eq!(
        newcomer.missing_key(log.state().keyring()),
        Some(NoKey::NoBox)
    );
    let opened = newcomer.opened(log.state());
    assert_eq!(secret_of(&opened, Kind::ApiKey, "k"), None);
    assert!(
        newcomer
            .missing_boxes(log.state().keyring(), &[1, 2])
            .unwrap()
            .is_empty()
    );
    let boxes = vaults[0]
        .missing_boxes(log.state().keyring(), &[1, 2])
        .unwrap();
    assert_eq!(boxes.len(), 1);
    log.keys(KeyringCommand::AddBoxes { boxes });
    assert_eq!(newcomer.missing_key(log.state().keyring()), None);
    let opened = newcomer.opened(log.state());
    assert_eq!(secret_of(&opened, Kind::ApiKey, "k").as_deref(), Some("x"));
    assert_eq!(opened.catalog().openings(), 1);
}

#[test]
fn nothing_is_sealed_without_a_key() {
    let mut log = SharedLog::default();
    let vault = vault(1);
    let seal = |log: &SharedLog, spec: Value| {
        vault.seal(log.state(), Kind::ApiKey, "k", spec.to_string().as_bytes())
    };
    let with = json!({"name": "k", "key": "x"});
    assert_eq!(seal(&log, with.clone()), Err(NoKey::NotMade.into()));
    // Nothing to be sealed needs no key.
    assert_eq!(seal(&log, json!({"name": "k"})), Ok(None));
    assert_eq!(
        seal(&log, json!({"name": "k", "key": {"secret": "s"}})),
        Ok(None)
    );
    log.announce(&vault);
    assert_eq!(seal(&log, with), Err(NoKey::NotMade.into()));
}

/// A `secret` that is changed reaches those who use it by name.
#[test]
fn named_secret_reaches_its_users() {
    let (mut log, vaults) = SharedLog::with_members(1);
    let vault = &vaults[0];
    let opened = |log: &SharedLog| secret_of(&vault.opened(log.state()), Kind::ApiKey, "k");
    log.put(vault, Kind::Secret, json!({"name": "s", "value": "one"}));
    log.put(
        vault,
        Kind::ApiKey,
        json!({"name": "k", "key": {"secret": "s"}}),
    );
    assert_eq!(opened(&log).as_deref(), Some("one"));
    // As connectors are told of it.
    let last_change = |log: &SharedLog| {
        let opened = vault.opened(log.state());
        let catalog = opened.catalog();
        catalog.last_change(catalog.get(Kind::ApiKey, "k").unwrap())
    };
    let before = last_change(&log);
    log.put(vault, Kind::Secret, json!({"name": "s", "value": "two"}));
    assert_eq!(opened(&log).as_deref(), Some("two"));
    assert!(last_change(&log) > before);
    log.put(vault, Kind::ApiKey, json!({"name": "k", "key": "own"}));
    assert_eq!(opened(&log).as_deref(), Some("own"));
}

/// Security test 40: a text that was moved to another resource does not open, and holds up no
/// other.
// guarantee: SECURITY-21
#[test]
fn moved_sealed_text_does_not_open() {
    let (mut log, vaults) = SharedLog::with_members(1);
    log.put(&vaults[0], Kind::ApiKey, json!({"name": "a", "key": "x"}));
    let stored = log.state().catalog().get(Kind::ApiKey, "a").unwrap();
    let mut moved: Value = serde_json::from_str(stored.stored_spec()).unwrap();
    moved["name"] = "b".into();
    log.apply(Command::PutResource {
        kind: Kind::ApiKey,
        name: "b".into(),
        spec: moved.to_string().into(),
        precondition: None,
    });
    let opened = vaults[0].opened(log.state());
    assert_eq!(secret_of(&opened, Kind::ApiKey, "a").as_deref(), Some("x"));
    let moved = opened.catalog().get(Kind::ApiKey, "b").unwrap();
    assert_eq!(moved.resource.secret(), None);
    assert!(moved.unopened().unwrap().contains("another place"));
}

/// Security test 38: whatever is declared as a secret, of whatever kind.
// guarantee: SECURITY-20
#[test]
fn secrets_of_every_kind_are_sealed() {
    let canary = "canary-0123456789-0123456789-0123456789";
    let specs = [
        (Kind::Secret, json!({"name": "a", "value": canary})),
        (
            Kind::BasicAuth,
            json!({"name": "a", "username": "u", "password": canary}),
        ),
        (Kind::ApiKey, json!({"name": "a", "key": canary})),
        (
            Kind::Jwt,
            json!({"name": "a", "issuer": "i", "audience": ["a"], "algorithms": ["HS256"],
                   "key": canary}),
        ),
        (
            Kind::Hmac,
            json!({"name": "a", "header": "X-Signature", "secret": canary}),
        ),
        (
            Kind::Service,
            json!({"name": "a", "upstream": "https://h", "auth": {"scheme": "bearer"},
                   "auth_secret": canary}),
        ),
        (
            Kind::AmqpConnection,
            json!({"name": "a", "host": "h", "username": "u", "password": canary,
                   "management_url": format!("http://u:{canary}@h:15672")}),
        ),
        (
            Kind::IbmMqConnection,
            json!({"name": "a", "host": "h", "queue_manager": "Q", "channel": "C",
                   "username": "u", "password": canary}),
        ),
    ];
    let with_secrets = Kind::ALL
        .into_iter()
        .filter(|kind| kind.sealed_fields().next().is_some());
    let covered = specs.iter().map(|(kind, _)| *kind);
    assert!(
        with_secrets.eq(covered),
        "a kind with a secret has no row here"
    );
    let (mut log, vaults) = SharedLog::with_members(1);
    for (kind, spec) in &specs {
        log.put(&vaults[0], *kind, spec.clone());
        let opened = vaults[0].opened(log.state());
        assert_eq!(secret_of(&opened, *kind, "a").as_deref(), Some(canary));
    }
    assert!(!log.snapshot().contains(canary));
    let catalog = log.state().catalog();
    assert_eq!((catalog.sealed_by(0), catalog.secret_count()), (0, 9));
}

/// A snapshot of a version that sealed nothing: it is read, its secrets are used, and are sealed
/// once there is a key.
#[test]
fn clear_secrets_of_older_versions_get_sealed() {
    let mut old = SharedLog::default();
    for (kind, spec) in [
        (Kind::ApiKey, json!({"name": "k", "key": "hunter3"})),
        (Kind::AmqpConnection, connection("hunter2")),
    ] {
        old.apply(Command::PutResource {
            kind,
            name: spec["name"].as_str().unwrap().into(),
            spec: spec.to_string().into(),
            precondition: None,
        });
    }
    let mut snapshot = Vec::new();
    old.state().write_to(&mut snapshot).unwrap();
    let mut log = SharedLog {
        machine: State::read_from(&mut &snapshot[..]).unwrap().into(),
        index: old.index,
    };
    let vault = vault(1);
    let key = |log: &SharedLog| secret_of(&vault.opened(log.state()), Kind::ApiKey, "k");
    assert_eq!(key(&log).as_deref(), Some("hunter3"));
    log.announce(&vault);
    let first = vault.add_version(log.state().keyring(), &[1]);
    log.keys(first.unwrap());
    assert_eq!(log.reseal(&vault), 2);
    assert_eq!(key(&log).as_deref(), Some("hunter3"));
    let snapshot = log.snapshot();
    for text in ["hunter2", "hunter3", "s3cret"] {
        assert!(!snapshot.contains(text), "{text}");
    }
    assert_eq!(log.state().catalog().sealed_by(0), 0);
}

/// Whoever names a secret may not know that its value is none for the field.
#[test]
fn named_value_that_does_not_fit_is_not_used() {
    let (mut log, vaults) = SharedLog::with_members(1);
    let vault = &vaults[0];
    log.put(vault, Kind::Secret, json!({"name": "s", "value": "short"}));
    let hooks = json!({"name": "h", "header": "X-Signature", "secret": {"secret": "s"}});
    log.put(vault, Kind::Hmac, hooks);
    let why = |log: &SharedLog| {
        let opened = vault.opened(log.state());
        let stored = opened.catalog().get(Kind::Hmac, "h").unwrap();
        stored.unopened().map(str::to_owned)
    };
    let refused = why(&log).unwrap();
    assert!(
        refused.contains("its value must be 16 to 1024"),
        "{refused}"
    );
    let long = json!({"name": "s", "value": "0123456789abcdef"});
    log.put(vault, Kind::Secret, long);
    assert_eq!(why(&log), None);
}
