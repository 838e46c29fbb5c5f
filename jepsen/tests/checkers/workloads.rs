//! Sets, queues, watches, configuration and services.

use crate::run_fixture::{HandmadeOperation, MS, fault, judged, kinds, line, op, run};
use quorate_jepsen::{
    checker::RecordedRun,
    history::{FinalState, SinkCall},
};
use serde_json::{Value, json};

fn none() -> Vec<String> {
    Vec::new()
}

fn add(process: u64, value: u64, start: u64) -> HandmadeOperation {
    op(process, "add", json!(value), start, start + 1)
}

fn set(told: &[HandmadeOperation], finals: [Value; 3]) -> RecordedRun {
    let mut told = told.to_vec();
    for (member, value) in (1..).zip(finals) {
        told.push(line(90 + member, "final", value, 900 + member).member(member));
    }
    run("set", &told)
}

#[test]
fn sets() {
    let told = [
        add(1, 1, 0),
        add(2, 2, 0),
        add(3, 3, 0).unknown(),
        add(1, 4, 5).failed(),
    ];
    let all = |value: Value| [value.clone(), value.clone(), value];
    assert_eq!(kinds(&set(&told, all(json!([1, 2])))), none());
    let run = set(&told, all(json!([2, 1, 3])));
    assert_eq!(kinds(&run), none());
    assert_eq!(judged(&run).numbers["set.recovered"], 1);
    let lost = [json!([1, 2]), json!([1, 2]), json!([2])];
    let run = set(&told, lost);
    assert_eq!(kinds(&run), ["lost element"]);
    assert_eq!(judged(&run).findings[0].members, [3]);
    assert_eq!(
        kinds(&set(&told, all(json!([1, 2, 4])))),
        ["unexpected element"]
    );
    assert_eq!(
        kinds(&set(&told, all(json!([1, 2, 9])))),
        ["unexpected element"]
    );
    assert_eq!(kinds(&set(&told, all(json!([1, 2, 2])))), ["element twice"]);
    assert_eq!(
        kinds(&crate::run_fixture::run("set", &told)),
        ["no final read"]
    );
}

#[test]
fn stale_read_of_a_set_is_found() {
    let mut read = op(2, "read", Value::Null, 5, 6);
    let told = [add(1, 1, 0), read.clone()];
    let all = [json!([1]), json!([1]), json!([1])];
    assert_eq!(kinds(&set(&told, all.clone())), none());
    read = crate::run_fixture::read(2, json!([]), 5, 6);
    let told = [add(1, 1, 0), read];
    assert_eq!(kinds(&set(&told, all)), ["stale read"]);
}

fn publish(process: u64, id: &str, start: u64) -> HandmadeOperation {
    op(process, "publish", json!(id), start, start + 1)
}

fn queue(told: &[HandmadeOperation], handled: &[&str], left: &[&str]) -> RecordedRun {
    let calls = handled.iter().zip(10..).map(|(message, at)| SinkCall {
        begun: at * MS,
        ended: at * MS + 1,
        connector: "amqp_channel/q".to_owned(),
        epoch: 5,
        message: (*message).to_owned(),
        attempt: 1,
        accepted: true,
    });
    RecordedRun {
        calls: calls.collect(),
        ending: Some(FinalState {
            left: Some(left.iter().map(|it| (*it).to_owned()).collect()),
            members: crate::run_ends::members(),
            ..FinalState::default()
        }),
        ..run("queue", told)
    }
}

fn of_the_queue(run: &RecordedRun) -> Vec<String> {
    let mut kinds = kinds(run);
    kinds.retain(|it| !it.starts_with("below"));
    kinds
}

#[test]
fn queues() {
    let told = [
        publish(1, "a", 0),
        publish(2, "b", 0),
        publish(3, "c", 0).unknown(),
    ];
    let run = queue(&told, &["a", "b", "a"], &[]);
    assert_eq!(of_the_queue(&run), none());
    assert_eq!(judged(&run).numbers["queue.duplicates"], 1);
    assert_eq!(of_the_queue(&queue(&told, &["a", "b", "c"], &[])), none());
    assert_eq!(
        of_the_queue(&queue(&told, &["a", "c"], &[])),
        ["lost message"]
    );
    assert_eq!(
        of_the_queue(&queue(&told, &["a"], &["b"])),
        ["message not handled"]
    );
    assert_eq!(
        of_the_queue(&queue(&told, &["a", "b", "z"], &[])),
        ["unexpected message"]
    );
    let unread = RecordedRun {
        ending: None,
        ..queue(&told, &["a", "b"], &[])
    };
    assert_eq!(of_the_queue(&unread), ["queues not looked at"]);
}

#[test]
fn orderly_stop_repeats_nothing_in_flight() {
    let repeated = |faults: &[&str], at: u64| {
        let told = [publish(1, "a", 0), publish(2, "b", 0)];
        let run = RecordedRun {
            faults: faults
                .iter()
                .map(|it| fault(it, &[1], at, at + 2))
                .collect(),
            ..queue(&told, &["a", "a", "b"], &[])
        };
        let wrong = "repeated by an orderly stop".to_owned();
        of_the_queue(&run).contains(&wrong)
    };
    assert!(repeated(&["stop-all"], 10));
    // Long before the stop.
    assert!(!repeated(&["stop-all"], 1_000));
    assert!(!repeated(&["stop-all", "kill-one"], 10));
    assert!(!repeated(&["kill-one"], 10));
}

fn tries(attempts: &[u64]) -> Vec<String> {
    let told = [publish(1, "a", 0)];
    let once = queue(&told, &["a"], &[]);
    let calls = attempts.iter().zip(10..).map(|(attempt, at)| SinkCall {
        begun: at * MS,
        ended: at * MS + 1,
        attempt: *attempt,
        ..once.calls[0].clone()
    });
    of_the_queue(&RecordedRun {
        calls: calls.collect(),
        ending: once.ending.clone(),
        ..run("tries", &told)
    })
}

#[test]
fn tries_go_on_but_for_the_last_one() {
    assert_eq!(tries(&[1, 2, 3, 3, 4]), none());
    assert_eq!(tries(&[1, 2, 3, 2, 3]), none());
    assert_eq!(tries(&[1, 2, 3, 1, 2]), ["tries forgotten"]);
}

fn append(process: u64, value: u64, revision: u64) -> HandmadeOperation {
    op(
        process,
        "append",
        json!(value),
        revision * 10,
        revision * 10 + 5,
    )
    .with_key("w/1")
    .at(revision)
}

fn watched(value: u64, revision: u64) -> HandmadeOperation {
    line(70, "watched", json!(value), revision * 10 + 6)
        .with_key("w/1")
        .at(revision)
}

#[test]
fn watches() {
    let resume = |revision: u64| {
        line(70, "resume", Value::Null, 300)
            .without_key()
            .at(revision)
    };
    let end = |revision: u64| {
        line(70, "watch-end", Value::Null, 900)
            .without_key()
            .at(revision)
    };
    let mut told = vec![
        append(1, 1, 1),
        append(1, 2, 3),
        append(2, 3, 4),
        append(2, 4, 40),
    ];
    told.push(op(4, "append", json!(9), 20, 25).with_key("w/1").unknown());
    let judge =
        |more: &[HandmadeOperation]| kinds(&run("watch", &[told.as_slice(), more].concat()));
    let beginning = line(70, "resume", Value::Null, 0).without_key().at(0);
    let right = [
        beginning.clone(),
        watched(1, 1),
        watched(2, 3),
        watched(3, 4),
        watched(9, 20),
        resume(20),
        watched(4, 40),
        end(40),
    ];
    assert_eq!(judge(&right), none());
    let without = |n: usize| {
        let mut less = right.to_vec();
        less.remove(n);
        less
    };
    // What nobody knew of may be left out; what was acknowledged may not, at the end neither.
    assert_eq!(judge(&without(4)), none());
    for n in [1, 2, 3, 6] {
        assert_eq!(judge(&without(n)), ["missed event"], "{n}");
    }
    let with = |n: usize, more: HandmadeOperation| {
        let mut all = right.to_vec();
        all.insert(n, more);
        all
    };
    assert_eq!(judge(&with(3, watched(2, 3))), ["event twice"]);
    assert_eq!(
        judge(&with(
            6,
            line(70, "watched", json!(2), 350).with_key("w/1").at(3)
        )),
        ["events out of order"]
    );
    assert_eq!(judge(&with(4, watched(5, 7))), ["made-up event"]);
    let elsewhere = line(70, "watched", json!(1), 50).with_key("w/1").at(5);
    assert_eq!(judge(&with(4, elsewhere)), ["wrong revision"]);
    // Another stream says otherwise.
    let other = line(71, "watched", json!(1), 500).with_key("w/1").at(4);
    assert_eq!(judge(&with(8, other)), ["wrong event", "wrong revision"]);
    // What was compacted away need not be told, when the stream says so.
    let jumped = [
        beginning,
        watched(1, 1),
        line(70, "compacted", Value::Null, 350).without_key().at(20),
        watched(4, 40),
    ];
    assert_eq!(judge(&jumped), none());
    assert_eq!(judge(&[]), ["no streams"]);
}

#[test]
fn stream_sees_neither_future_nor_failed_writes() {
    let future = [
        line(70, "watched", json!(1), 5).with_key("w/1").at(1),
        append(1, 1, 1),
    ];
    assert_eq!(kinds(&run("watch", &future)), ["future event"]);
    let failed = [append(1, 1, 1).failed(), watched(1, 1)];
    assert_eq!(kinds(&run("watch", &failed)), ["dirty event"]);
}

fn apply(key: &str, spec: Value, revision: u64) -> HandmadeOperation {
    op(1, "apply", spec, revision * 10, revision * 10 + 5)
        .with_key(key)
        .at(revision)
}

#[test]
fn catalogs() {
    let told = [
        apply("service/a", json!({"upstream": "http://x"}), 1),
        apply("http_channel/c", json!({"service": "a", "path": "/c"}), 2),
        op(1, "apply", json!({"upstream": "http://y"}), 40, 45)
            .with_key("service/b")
            .unknown(),
    ];
    let judge = |told: &[HandmadeOperation], finals: [Value; 3]| {
        let mut told = told.to_vec();
        for (member, value) in (1..).zip(finals) {
            told.push(line(90, "final", value, 900 + member).member(member));
        }
        kinds(&run("config", &told))
    };
    let all = |value: Value| [value.clone(), value.clone(), value];
    let a = json!({"upstream": "http://x", "timeout_ms": 10_000});
    let c = json!({"service": "a", "path": "/c"});
    let right = json!({"service/a": a, "http_channel/c": c});
    let more = json!({"service/a": a, "http_channel/c": c, "service/b": {"upstream": "http://y"}});
    assert_eq!(judge(&told, all(right.clone())), none());
    assert_eq!(judge(&told, all(more.clone())), none());
    let apart = [right.clone(), right.clone(), more];
    assert_eq!(judge(&told, apart), ["catalogs differ"]);
    let wrong = json!({"service/a": {"upstream": "http://z"}, "http_channel/c": c});
    assert_eq!(judge(&told, all(wrong)), ["wrong resource"]);
    let lost = json!({"service/a": a});
    assert_eq!(judge(&told, all(lost)), ["lost resource"]);
    let alone = json!({"http_channel/c": c});
    assert_eq!(
        judge(&told, all(alone)),
        ["broken dependency", "lost resource"]
    );
    // Deleted, surely, before something was applied that leans on it.
    let told = [
        apply("service/a", json!({"upstream": "http://x"}), 1),
        op(1, "delete", Value::Null, 20, 25)
            .with_key("service/a")
            .at(2),
        apply("http_channel/c", json!({"service": "a", "path": "/c"}), 3),
    ];
    let kinds = judge(&told, all(json!({"http_channel/c": c})));
    assert_eq!(kinds, ["broken dependency"]);
}

#[test]
fn services() {
    let call = |process: u64, start: u64| {
        op(process, "http", Value::Null, start, start + 5).with_key("/zato/ping")
    };
    let everywhere = [
        call(0, 0),
        call(1, 0),
        call(2, 0),
        call(0, 150),
        call(1, 150),
    ];
    let mut majority = run("http", &everywhere);
    majority.faults = vec![fault("kill-majority", &[2, 3], 100, 200)];
    assert_eq!(kinds(&majority), ["no write after healing"; 0]);
    let failing = [
        &everywhere[..3],
        &[call(1, 150).failed(), call(0, 150).failed()],
    ]
    .concat();
    let mut majority = run("http", &failing);
    majority.faults = vec![fault("kill-majority", &[2, 3], 100, 200)];
    // That of a member that is dead is no fault; that of the one alive is.
    assert_eq!(kinds(&majority), ["no answer", "nothing asked"]);
    let mut ring = run("http", &failing);
    ring.faults = vec![fault("partition-majority-ring", &[1, 2, 3], 100, 200)];
    let wrong = judged(&ring).findings;
    assert_eq!(wrong.iter().filter(|it| it.kind == "no answer").count(), 2);
}
