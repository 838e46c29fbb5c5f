//! Permissions as they are decided on apply: by roles, identities and tokens as of each entry.

use quorate_resources::{AccessVerb, Kind};
use serde_json::{Value, json};

use super::*;
use crate::{BatchedPut, Machine, ProposedCommand, WritePrecondition};

/// A machine to which commands are applied one after the other.
#[derive(Default)]
struct TestMachine {
    machine: Machine,
    index: u64,
}

impl TestMachine {
    fn apply_for(&mut self, actor: Option<&Actor>, command: &Command) -> Answer {
        self.index += 1;
        // As it goes through the log.
        let bytes = command.encode_for(actor);
        let ProposedCommand { command, actor } = ProposedCommand::decode(bytes).unwrap();
        let entry = (self.index, 1, 1);
        self.machine.apply_for(actor.as_ref(), entry, &command).0
    }

    fn put(&mut self, kind: Kind, spec: Value) {
        let answer = self.apply_for(None, &put(kind, spec));
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    }

    fn identity(&mut self, name: &str, roles: &[&str]) {
        self.put(Kind::Identity, json!({"name": name, "roles": roles}));
    }

    fn token(&mut self, id: &str, identity: &str, now_ms: u64) -> Answer {
        self.apply_for(None, &create(id, identity, now_ms))
    }

    fn state(&self) -> &State {
        self.machine.state()
    }

    /// Applies on behalf of an identity that is known without a token.
    fn by(&mut self, identity: &str, command: &Command) -> Answer {
        self.apply_for(Some(&actor(identity, "")), command)
    }
}

fn actor(identity: &str, token: &str) -> Actor {
    Actor {
        identity: identity.into(),
        token: token.into(),
        unrestricted: false,
        via: "token".into(),
        source: "127.0.0.1".into(),
        member: 1,
        now_ms: 0,
    }
}

fn put(kind: Kind, spec: Value) -> Command {
    Command::PutResource {
        kind,
        name: spec["name"].as_str().unwrap().to_owned(),
        spec: spec.to_string().into(),
        precondition: None,
    }
}

fn key(key: &str) -> Command {
    Command::PutKey {
        key: key.into(),
        value: "v".into(),
        precondition: None,
    }
}

fn create(id: &str, identity: &str, now_ms: u64) -> Command {
    Command::CreateToken(Box::new(NewToken {
        id: id.into(),
        hash: [7; 32],
        identity: identity.into(),
        now_ms,
        not_after_ms: Some(now_ms + 1000),
    }))
}

fn service(name: &str) -> Value {
    json!({"name": name, "upstream": "http://127.0.0.1:9"})
}

fn done(answer: &Answer) -> bool {
    matches!(answer, Answer::Done { .. })
}

fn forbidden(answer: &Answer) -> bool {
    matches!(answer, Answer::Forbidden(_))
}

/// A machine with a role for services and keys of one team.
fn with_team() -> TestMachine {
    let mut machine = TestMachine::default();
    let grants = json!([
        {"verbs": ["read", "write", "delete"], "kinds": ["service", "http_channel"], "names": ["team-*"]},
        {"verbs": ["write", "delete"], "prefixes": ["team/"]},
        {"verbs": ["grant"], "kinds": ["identity", "role"], "names": ["team-*"]},
    ]);
    machine.put(Kind::AccessRole, json!({"name": "team", "grants": grants}));
    machine.identity("ann", &["team"]);
    machine
}

// guarantee: ACCESS-1
#[test]
fn scoped_grant_reaches_its_scope_alone() {
    let mut machine = with_team();
    for command in [
        put(Kind::Service, service("team-a")),
        key("team/a"),
        put(
            Kind::HttpChannel,
            json!({"name": "team-a", "path": "/a", "service": "team-a"}),
        ),
    ] {
        let answer = machine.by("ann", &command);
        assert!(done(&answer), "{command:?} {answer:?}");
    }
    machine.put(Kind::Service, service("other"));
    for command in [
        put(Kind::Service, service("teams")),
        put(Kind::ApiKey, json!({"name": "team-a", "key": "k"})),
        key("team"),
        key("other/a"),
        Command::DeleteResource {
            kind: Kind::Service,
            name: "other".into(),
            precondition: None,
        },
        // It names a service that she may not use.
        put(
            Kind::HttpChannel,
            json!({"name": "team-b", "path": "/b", "service": "other"}),
        ),
        Command::SetFailover {
            failover_ms: 900,
            first: false,
        },
    ] {
        let before = machine.state().revision();
        let answer = machine.by("ann", &command);
        assert!(forbidden(&answer), "{command:?} {answer:?}");
        assert_eq!(machine.state().revision(), before);
    }
    let nobody = machine.by("bob", &key("team/a"));
    assert_eq!(nobody, Answer::Forbidden("write on key \"team/a\"".into()));
}

/// One document that may not be put refuses the whole batch.
// guarantee: ACCESS-1
#[test]
fn batch_is_checked_for_each_resource() {
    let mut machine = with_team();
    let batch = |names: &[&str]| {
        let one = |name: &&str| BatchedPut {
            kind: Kind::Service,
            name: (*name).to_owned(),
            spec: service(name).to_string().into(),
        };
        Command::PutResources(names.iter().map(one).collect())
    };
    assert!(done(&machine.by("ann", &batch(&["team-a", "team-b"]))));
    assert!(forbidden(&machine.by("ann", &batch(&["team-c", "other"]))));
    assert!(
        machine
            .state()
            .catalog()
            .get(Kind::Service, "team-c")
            .is_none()
    );
}

/// Security test 30: nobody grants more than he has.
// guarantee: ACCESS-3
#[test]
fn nobody_grants_more_than_own() {
    let mut machine = with_team();
    machine.identity("eve", &["editor"]);
    machine.identity("team-root", &["admin"]);
    let role = |grants: Value| {
        put(
            Kind::AccessRole,
            json!({"name": "team-x", "grants": grants}),
        )
    };
    let identity =
        |roles: &[&str]| put(Kind::Identity, json!({"name": "team-bob", "roles": roles}));
    let narrower = json!([{"verbs": ["read"], "kinds": ["service"], "names": ["team-x-*"]}]);
    assert!(done(&machine.by("ann", &role(narrower))));
    assert!(done(&machine.by("ann", &identity(&["team", "team-x"]))));
    for wider in [
        json!([{"verbs": ["read"], "kinds": ["service"]}]),
        json!([{"verbs": ["read"], "kinds": ["*"], "names": ["team-*"]}]),
        json!([{"verbs": ["write"], "prefixes": ["tea"]}]),
        json!([{"verbs": ["read"], "prefixes": ["team/"]}]),
        json!([{"verbs": ["cluster"]}]),
        json!([{"verbs": ["invoke"], "services": ["team-a"]}]),
    ] {
        assert!(
            forbidden(&machine.by("ann", &role(wider.clone()))),
            "{wider}"
        );
    }
    for roles in [["admin"], ["editor"], ["reader"]] {
        assert!(
            forbidden(&machine.by("ann", &identity(&roles))),
            "{roles:?}"
        );
    }
    assert!(forbidden(
        &machine.by("ann", &create("aaaaaaaa", "team-root", 0))
    ));
    assert!(done(&machine.by("ann", &create("aaaaaaaa", "team-bob", 0))));
    assert!(done(&machine.by("ann", &create("bbbbbbbb", "ann", 0))));
    for command in [
        role(json!([{"verbs": ["read"], "kinds": ["service"]}])),
        put(Kind::Identity, json!({"name": "eve", "roles": ["admin"]})),
        create("cccccccc", "ann", 0),
    ] {
        assert!(forbidden(&machine.by("eve", &command)), "{command:?}");
    }
    assert!(done(&machine.by("team-root", &identity(&["admin"]))));
}

/// Who takes away what he doesn't have, or makes a token of someone disabled, would have all of it
/// once it is given back.
// guarantee: ACCESS-3
#[test]
fn what_is_more_than_own_stays_untouched() {
    let mut machine = with_team();
    let wide = json!({"name": "team-wide", "grants": [{"verbs": ["cluster"]}]});
    machine.put(Kind::AccessRole, wide);
    let chief =
        |disabled: bool| json!({"name": "team-chief", "roles": ["admin"], "disabled": disabled});
    let delete = |kind, name: &str| Command::DeleteResource {
        kind,
        name: name.into(),
        precondition: None,
    };
    for disabled in [false, true] {
        machine.put(Kind::Identity, chief(disabled));
        let _ = machine.token("cccccccc", "team-chief", 0);
        for command in [
            create("dddddddd", "team-chief", 0),
            Command::RevokeToken {
                id: "cccccccc".into(),
            },
            put(Kind::Identity, json!({"name": "team-chief"})),
            delete(Kind::Identity, "team-chief"),
            put(
                Kind::AccessRole,
                json!({"name": "team-wide", "grants": [{"verbs": ["read"], "kinds": ["service"], "names": ["team-a"]}]}),
            ),
            delete(Kind::AccessRole, "team-wide"),
        ] {
            let answer = machine.by("ann", &command);
            assert!(forbidden(&answer), "{command:?} {answer:?}");
        }
    }
}

/// Security test 31: what was checked before a revocation is refused after it.
// guarantee: ACCESS-2
#[test]
fn revoked_actor_changes_nothing() {
    let takes_away = [
        Command::RevokeToken {
            id: "aaaaaaaa".into(),
        },
        put(
            Kind::Identity,
            json!({"name": "ann", "roles": ["editor"], "disabled": true}),
        ),
        put(Kind::Identity, json!({"name": "ann", "roles": ["reader"]})),
        Command::DeleteResource {
            kind: Kind::Identity,
            name: "ann".into(),
            precondition: None,
        },
        put(Kind::Identity, json!({"name": "ann"})),
    ];
    for take_away in takes_away {
        let mut machine = TestMachine::default();
        machine.identity("ann", &["editor"]);
        assert!(done(&machine.token("aaaaaaaa", "ann", 0)));
        let ann = actor("ann", "aaaaaaaa");
        assert_eq!(machine.state().refusal(&ann, &key("a")), None);
        assert!(done(&machine.apply_for(Some(&ann), &key("a"))));
        assert!(done(&machine.apply_for(None, &take_away)));
        let revision = machine.state().revision();
        assert!(
            forbidden(&machine.apply_for(Some(&ann), &key("a"))),
            "{take_away:?}"
        );
        assert_eq!(machine.state().revision(), revision);
    }
}

/// Whoever is nobody any more doesn't make a token of his own.
// guarantee: ACCESS-2
#[test]
fn revoked_token_makes_no_other() {
    let mut machine = TestMachine::default();
    machine.identity("ann", &["editor"]);
    machine.token("aaaaaaaa", "ann", 0);
    let ann = actor("ann", "aaaaaaaa");
    let own = create("bbbbbbbb", "ann", 0);
    assert_eq!(machine.state().refusal(&ann, &own), None);
    let revoke = Command::RevokeToken {
        id: "aaaaaaaa".into(),
    };
    assert!(done(&machine.apply_for(Some(&ann), &revoke)));
    assert!(forbidden(&machine.apply_for(Some(&ann), &own)));
    let disabled = json!({"name": "ann", "roles": ["editor"], "disabled": true});
    machine.put(Kind::Identity, disabled);
    assert!(forbidden(&machine.by("ann", &own)));
}

/// A deleted identity's tokens don't come back with another of its name.
#[test]
fn deleted_identity_takes_its_tokens_along() {
    let mut machine = TestMachine::default();
    machine.identity("ann", &["editor"]);
    machine.token("aaaaaaaa", "ann", 0);
    let delete = Command::DeleteResource {
        kind: Kind::Identity,
        name: "ann".into(),
        precondition: None,
    };
    assert!(done(&machine.apply_for(None, &delete)));
    machine.identity("ann", &["editor"]);
    assert_eq!(machine.state().access().tokens().all().count(), 0);
    let old = machine.apply_for(Some(&actor("ann", "aaaaaaaa")), &key("a"));
    assert!(forbidden(&old));
}

#[test]
fn two_tokens_live_and_expired_ones_make_room() {
    let mut machine = TestMachine::default();
    machine.identity("ann", &["reader"]);
    assert_eq!(machine.token("aaaaaaaa", "bob", 0), Answer::NotFound);
    assert!(done(&machine.token("aaaaaaaa", "ann", 0)));
    assert!(done(&machine.token("bbbbbbbb", "ann", 500)));
    let again = machine.token("bbbbbbbb", "ann", 500);
    assert!(
        matches!(again, Answer::Done { changed: false, .. }),
        "{again:?}"
    );
    let third = machine.token("cccccccc", "ann", 900);
    assert!(matches!(third, Answer::Invalid(_)), "{third:?}");
    assert!(done(&machine.token("cccccccc", "ann", 1001)));
    let ids: Vec<&str> = machine
        .state()
        .access()
        .tokens()
        .of("ann")
        .map(|(id, _)| id)
        .collect();
    assert_eq!(ids, ["bbbbbbbb", "cccccccc"]);
}

#[test]
fn first_voucher_key_stays() {
    let mut machine = TestMachine::default();
    for byte in [1, 2] {
        let create = Command::CreateVoucherKey(VoucherKey::from([byte; 32]));
        assert!(done(&machine.apply_for(None, &create)));
    }
    let key = machine.state().access().voucher_key();
    assert_eq!(key, Some(&VoucherKey::from([1; 32])));
    assert_eq!(format!("{key:?}"), "Some((hidden))");
}

#[test]
fn snapshot_carries_tokens_and_key() {
    let mut machine = with_team();
    machine.token("aaaaaaaa", "ann", 5);
    machine.apply_for(None, &Command::CreateVoucherKey(VoucherKey::from([9; 32])));
    let mut bytes = Vec::new();
    machine.state().write_to(&mut bytes).unwrap();
    let mut restored = State::read_from(&mut &bytes[..]).unwrap();
    restored.applied = machine.state().applied();
    assert_eq!(&restored, machine.state());
}

/// The answer to a precondition would tell of what may not be read (security test 29).
// guarantee: ACCESS-4
#[test]
fn precondition_needs_read() {
    let mut machine = with_team();
    let write = |precondition| Command::PutKey {
        key: "team/a".into(),
        value: "v".into(),
        precondition,
    };
    assert!(done(&machine.by("ann", &write(None))));
    let guess = write(Some(WritePrecondition::Revision(1)));
    assert_eq!(
        machine.by("ann", &guess),
        Answer::Forbidden("read on key \"team/a\"".into())
    );
}

#[test]
fn list_needs_one_grant_that_covers_it() {
    let mut machine = TestMachine::default();
    let grants = json!([
        {"verbs": ["read"], "prefixes": ["a/", "b/"]},
        {"verbs": ["read"], "kinds": ["service"]},
        {"verbs": ["read"], "kinds": ["http_channel"], "names": ["x-*"]},
        {"verbs": ["read"], "kinds": ["*"], "names": ["y-*"]},
    ]);
    machine.put(Kind::AccessRole, json!({"name": "lists", "grants": grants}));
    machine.identity("ann", &["lists"]);
    let may = |scope| {
        let required = AccessRequirement::new(AccessVerb::Read, scope);
        machine.state().permissions_of("ann").allow(&required)
    };
    for prefix in ["a/", "a/b", "b/"] {
        assert!(may(AccessScope::Prefix(prefix.into())), "{prefix}");
    }
    for prefix in ["", "a", "c/", "A/"] {
        assert!(!may(AccessScope::Prefix(prefix.into())), "{prefix}");
    }
    assert!(may(AccessScope::Kind(Kind::Service)));
    for kind in [Kind::HttpChannel, Kind::Identity, Kind::ApiKey] {
        assert!(!may(AccessScope::Kind(kind)), "{kind}");
    }
    assert!(!may(AccessScope::AllKinds));
    assert!(!may(AccessScope::Cluster));
}

/// Security test 42, in part: a secret is used by those to whom it is granted by its kind.
// guarantee: ACCESS-1
#[test]
fn secret_by_name_needs_use() {
    let mut machine = with_team();
    machine.identity("eve", &["editor"]);
    let use_own = json!([{"verbs": ["use"], "kinds": ["secret"], "names": ["team-*"]},
        {"verbs": ["write"], "kinds": ["api_key"], "names": ["team-*"]}]);
    machine.put(Kind::AccessRole, json!({"name": "keys", "grants": use_own}));
    machine.identity("bob", &["keys"]);
    for name in ["team-a", "other"] {
        machine.put(Kind::Secret, json!({"name": name, "value": "v"}));
    }
    let key = |secret: &str| {
        put(
            Kind::ApiKey,
            json!({"name": "team-key", "key": {"secret": secret}}),
        )
    };
    assert!(done(&machine.by("bob", &key("team-a"))));
    assert!(forbidden(&machine.by("bob", &key("other"))));
    assert!(forbidden(&machine.by("eve", &key("team-a"))));
    let secret = |name: &str| put(Kind::Secret, json!({"name": name, "value": "w"}));
    for (who, name) in [("bob", "team-a"), ("eve", "team-a"), ("ann", "team-a")] {
        assert!(forbidden(&machine.by(who, &secret(name))), "{who}");
    }
    let permissions = machine.state().permissions_of("eve");
    let read = AccessRequirement::new(AccessVerb::Read, AccessScope::Kind(Kind::Secret));
    assert!(permissions.allow(&read));
    let grants = |verb: &str| {
        let grants = json!([{"verbs": [verb], "kinds": ["secret"]}]);
        let role = json!({"name": "r", "grants": grants});
        let Ok(Resource::AccessRole(it)) = Resource::parse(Kind::AccessRole, &role) else {
            panic!("{role}");
        };
        it.grants.clone()
    };
    assert!(permissions.cover_grants(&grants("read")));
    assert!(
        !permissions.cover_grants(&grants("write")) && !permissions.cover_grants(&grants("use"))
    );
}

#[test]
fn all_kinds_leave_security_kinds_out() {
    let mut machine = TestMachine::default();
    let grants = json!([{"verbs": ["read", "write", "delete", "grant"], "kinds": ["*"]}]);
    machine.put(Kind::AccessRole, json!({"name": "all", "grants": grants}));
    machine.identity("ann", &["all"]);
    let permissions = machine.state().permissions_of("ann");
    for verb in [AccessVerb::Read, AccessVerb::Write, AccessVerb::Grant] {
        let on = |kind| permissions.allow(&AccessRequirement::on_resource(verb, kind, "a"));
        assert!(on(Kind::Service) && !on(Kind::Identity) && !on(Kind::AccessRole));
    }
}
