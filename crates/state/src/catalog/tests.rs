//! The index against a comparison of each with each, and what a put costs among many.

use std::time::Duration;

use proptest::prelude::*;
use quorate_clock::Instant;
use serde_json::json;

use super::*;
use crate::{
    BatchedPut, Command, Machine, OverQuota, QuotaKind, State,
    announced_programs::AnnouncedPrograms,
};

fn channel(name: &str, path: &str, methods: &[&str]) -> Resource {
    let spec = json!({"name": name, "path": path, "methods": methods, "service": "s"});
    Resource::read(Kind::HttpChannel, &spec).unwrap()
}

fn rules(announced: &AnnouncedPrograms) -> PutRules<'_> {
    PutRules {
        announced,
        oldest_key: 0,
    }
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(&["a", "b", "{x}", "{y}", ""][..]);
    let rest = prop::sample::select(&["", "/{*rest}", "/"][..]);
    (prop::collection::vec(segment, 1..4), rest)
        .prop_map(|(segments, rest)| format!("/{}{rest}", segments.join("/")))
}

fn methods() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(&["GET", "POST", "PUT"][..], 1..3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// The index finds a rival exactly where two templates overlap.
    #[test]
    fn index_agrees_with_pairwise_comparison(
        one in path(), ones in methods(), other in path(), others in methods(),
    ) {
        let (one, other) = (channel("one", &one, &ones), channel("other", &other, &others));
        let mut index = CatalogIndex::default();
        index.add(&other, &StoredSecrets::default());
        let (Resource::HttpChannel(a), Resource::HttpChannel(b)) = (&one, &other) else {
            unreachable!("two channels")
        };
        prop_assert_eq!(!index.rivals(&one).is_empty(), a.overlaps(b));
        index.remove(&other, &StoredSecrets::default());
        prop_assert_eq!(index, CatalogIndex::default());
    }
}

fn command(kind: Kind, spec: serde_json::Value) -> Command {
    Command::PutResource {
        kind,
        name: spec["name"].as_str().unwrap().to_owned(),
        spec: spec.to_string().into(),
        precondition: None,
    }
}

/// How long it takes to put so many channels, which are all of one service.
fn time_of(channels: u64) -> (Duration, State) {
    let mut machine = Machine::default();
    let service = json!({"name": "s", "upstream": "http://127.0.0.1:9"});
    machine.apply(1, 1, 1, &command(Kind::Service, service));
    let puts: Vec<Command> = (0..channels)
        .map(|it| json!({"name": format!("c{it}"), "path": format!("/c/{it}/{{id}}"), "service": "s"}))
        .map(|spec| command(Kind::HttpChannel, spec))
        .collect();
    let begun = Instant::now();
    for (index, put) in (2..).zip(&puts) {
        let (answer, _) = machine.apply(index, 1, 1, put);
        assert!(answer.changed(), "{answer:?}");
    }
    (begun.elapsed(), machine.state().clone())
}

#[test]
fn puts_cost_linear_time() {
    // a comparison with all others costs a hundred times as much
    let best = |channels| (0..3).map(|_| time_of(channels).0).min().unwrap();
    let (few, many) = (best(1_000), best(10_000));
    assert!(many < few * 40, "{few:?} for 1,000 and {many:?} for 10,000");
}

#[test]
fn snapshot_costs_linear_time() {
    let best = |channels| {
        let mut bytes = Vec::new();
        time_of(channels).1.write_to(&mut bytes).unwrap();
        let restore = || {
            let begun = Instant::now();
            let state = State::read_from(&mut &bytes[..]).unwrap();
            (begun.elapsed(), state)
        };
        (0..3).map(|_| restore().0).min().unwrap()
    };
    let (few, many) = (best(1_000), best(10_000));
    assert!(many < few * 40, "{few:?} for 1,000 and {many:?} for 10,000");
}

#[test]
fn changes_are_exactly_the_differences() {
    let before = time_of(3_000).1.catalog().clone();
    let mut machine = Machine::from(time_of(3_000).1);
    let spec = json!({"name": "c7", "path": "/seven", "service": "s"});
    machine.apply(9_000, 1, 1, &command(Kind::HttpChannel, spec));
    let spec = json!({"name": "new", "path": "/new", "service": "s"});
    machine.apply(9_001, 1, 1, &command(Kind::HttpChannel, spec));
    let (kind, name, precondition) = (Kind::HttpChannel, "c8".into(), None);
    let delete = Command::DeleteResource {
        kind,
        name,
        precondition,
    };
    machine.apply(9_002, 1, 1, &delete);
    let after = machine.state().catalog();
    let name = |stored: Option<&StoredResource>| stored.map(|it| it.resource.name().to_owned());
    let changes = |after: &Catalog, before: &Catalog, kind| {
        let changes = after.changes(before, kind);
        changes
            .map(|(was, is)| (name(was), name(is)))
            .collect::<Vec<_>>()
    };
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(
        changes(after, &before, Kind::HttpChannel),
        [
            (some("c7"), some("c7")),
            (some("c8"), None),
            (None, some("new"))
        ]
    );
    assert_eq!(changes(after, &before, Kind::Service), []);
    assert_eq!(changes(after, after, Kind::HttpChannel), []);
}

#[test]
fn refused_value_is_stored_from_the_log() {
    let spec = json!({"name": "s", "upstream": "gopher://nowhere", "retries": 100_000});
    let put = command(Kind::Service, spec);
    assert!(put.check().is_err());
    let mut machine = Machine::default();
    assert!(matches!(machine.state().dry_run(&put), Answer::Invalid(_)));
    let (answer, _) = machine.apply(1, 1, 1, &Command::decode(put.encode()).unwrap());
    assert_eq!(answer, Answer::done(1, true));
    let mut bytes = Vec::new();
    machine.state().write_to(&mut bytes).unwrap();
    let restored = State::read_from(&mut &bytes[..]).unwrap();
    assert_eq!(restored.catalog(), machine.state().catalog());
}

#[test]
fn batch_is_put_whole_or_not() {
    let put = |kind, spec: serde_json::Value| BatchedPut {
        kind,
        name: spec["name"].as_str().unwrap().to_owned(),
        spec: spec.to_string().into(),
    };
    let service = put(
        Kind::Service,
        json!({"name": "s", "upstream": "http://127.0.0.1:9"}),
    );
    let on = |name: &str, path: &str| {
        put(
            Kind::HttpChannel,
            json!({"name": name, "path": path, "service": "s"}),
        )
    };
    let mut machine = Machine::default();
    let clashing = vec![service.clone(), on("a", "/{x}"), on("b", "/{y}")];
    let (answer, events) = machine.apply(1, 1, 1, &Command::PutResources(clashing));
    let Answer::Invalid(errors) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(errors[0].field, "resources[2].path");
    assert!(events.is_empty() && machine.state().catalog().is_empty());
    let good = Command::PutResources(vec![service, on("a", "/{x}")]);
    let good = Command::decode(good.encode()).unwrap();
    let (answer, events) = machine.apply(2, 1, 1, &good);
    assert_eq!((answer, events.len()), (Answer::done(2, true), 2));
    let (answer, events) = machine.apply(3, 1, 1, &good);
    assert!(!answer.changed() && events.is_empty(), "{answer:?}");
}

/// A catalog with these services, each of which has as many bytes of JSON.
fn with_services(names: &[&str]) -> (Catalog, u64) {
    let mut catalog = Catalog::default();
    for name in names {
        let answer = put(&mut catalog, name, 0);
        assert!(answer.changed(), "{answer:?}");
    }
    let each = catalog.spec_bytes() / names.len() as u64;
    (catalog, each)
}

fn batched(name: &str, more: u64) -> BatchedPut {
    let path = "x".repeat(more as usize);
    let spec = json!({"name": name, "upstream": format!("http://127.0.0.1:9/{path}")});
    BatchedPut {
        kind: Kind::Service,
        name: name.to_owned(),
        spec: spec.to_string().into(),
    }
}

/// Puts a service whose JSON is longer by so many bytes.
fn put(catalog: &mut Catalog, name: &str, more: u64) -> Answer {
    let it = batched(name, more);
    catalog.put(
        9,
        it.kind,
        name,
        &it.spec,
        None,
        rules(&AnnouncedPrograms::default()),
    )
}

fn put_all(catalog: &mut Catalog, puts: &[(&str, u64)]) -> Answer {
    let puts: Vec<_> = puts
        .iter()
        .map(|(name, more)| batched(name, *more))
        .collect();
    catalog.put_all(9, &puts, rules(&AnnouncedPrograms::default()))
}

fn full(counted: QuotaKind, now: u64, most: u64) -> Answer {
    Answer::Full(OverQuota { counted, now, most })
}

// guarantee: SECURITY-5
#[test]
fn so_many_resources_and_no_more() {
    let (mut catalog, _) = with_services(&["a", "b"]);
    catalog.limits.count = 2;
    let before = catalog.clone();
    assert_eq!(put(&mut catalog, "c", 0), full(QuotaKind::Resources, 2, 2));
    assert_eq!(
        put_all(&mut catalog, &[("a", 1), ("c", 0)]),
        full(QuotaKind::Resources, 2, 2)
    );
    assert_eq!(catalog, before);
    assert!(put(&mut catalog, "a", 1).changed());
    assert!(put_all(&mut catalog, &[("a", 2), ("b", 2)]).changed());
    catalog.delete(10, Kind::Service, "a", None);
    assert!(put(&mut catalog, "c", 0).changed());
    // Beyond the bound already, as one of before may be: what is there can be changed.
    catalog.limits.count = 1;
    assert!(put(&mut catalog, "c", 1).changed());
    assert!(!put(&mut catalog, "d", 0).changed());
}

// guarantee: SECURITY-5
#[test]
fn a_resource_that_grows_counts_by_its_growth() {
    let (mut catalog, each) = with_services(&["a", "b"]);
    let now = 2 * each;
    catalog.limits.bytes = now + 5;
    let before = catalog.clone();
    let over = full(QuotaKind::ResourceBytes, now, now + 5);
    assert_eq!(put(&mut catalog, "a", 6), over);
    assert_eq!(put(&mut catalog, "c", 0), over);
    for puts in [&[("a", 3), ("b", 3)][..], &[("a", 0), ("a", 6)]] {
        assert_eq!(put_all(&mut catalog, puts), over);
    }
    assert_eq!(catalog, before);
    // The later of two puts is the one that stays, and one makes the room that another takes.
    assert!(put_all(&mut catalog, &[("a", 6), ("a", 4)]).changed());
    assert!(put_all(&mut catalog, &[("b", 5), ("a", 0)]).changed());
    assert_eq!(catalog.spec_bytes(), now + 5);
    catalog.limits.bytes = now;
    assert!(put(&mut catalog, "b", 4).changed());
    assert!(!put(&mut catalog, "a", 1).changed());
}
