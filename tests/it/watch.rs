//! Following changes of keys at real members: across kills, restarts, snapshots and joins,
//! by readers that are slow, and by too many of them.

mod command;

use std::time::Duration;

use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    event_stream::{END, EventStream, of},
    eventually::eventually,
    http,
};
use reqwest::Method;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const SMALL_LOG: &str = "snapshot.entries = 100\nsnapshot.keep = 10";
const MIB: usize = 1 << 20;

fn url(cluster: &TestCluster, at: usize, query: &str) -> String {
    cluster.members[at].admin_url(&format!("/v1/watch{query}"))
}

async fn put(cluster: &TestCluster, at: usize, key: &str, value: impl Into<reqwest::Body>) -> u64 {
    let url = cluster.members[at].admin_url(&format!("/v1/kv/{key}"));
    http::put(url, value).await.expect("a write")
}

async fn delete(cluster: &TestCluster, at: usize, key: &str) -> u64 {
    let url = cluster.members[at].admin_url(&format!("/v1/kv/{key}"));
    let answer = http::call(Method::DELETE, url, &[], "").await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 200);
    http::revision(&answer).expect("a revision")
}

/// Every change that `at` has, from the first on, up to `last`.
async fn history(cluster: &TestCluster, at: usize, last: u64) -> Vec<Value> {
    let mut stream = EventStream::open(&url(cluster, at, "?from=1"), None)
        .await
        .expect("a stream");
    stream.until(last).await
}

/// Reads on through every loss, at the next member each time, from where it was.
async fn follow(urls: Vec<String>, last: tokio::sync::oneshot::Receiver<u64>) -> (Vec<Value>, u32) {
    let (mut seen, mut place, mut lost) = (Vec::<Value>::new(), None, 0);
    let mut last = std::pin::pin!(last);
    let mut end = None;
    for url in urls.iter().cycle() {
        let Ok(mut stream) = EventStream::open(url, place).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        loop {
            tokio::select! {
                event = stream.next() => match event {
                    Some(event) => {
                        assert_ne!(event.name, "compacted");
                        place = event.id.or(place);
                        if event.name.is_empty() && !event.data.is_null() {
                            seen.push(event.data);
                        }
                    }
                    None => {
                        lost += 1;
                        break;
                    }
                },
                told = &mut last, if end.is_none() => end = Some(told.expect("an end")),
            }
            if end.is_some_and(|end| seen.last().is_some_and(|it| of(it) >= end)) {
                return (seen, lost);
            }
        }
    }
    unreachable!("the members go round")
}

/// Kills of the member that is watched, of the leader, of all, and orderly ends, while keys
/// change all the time and the log is cut behind snapshots.
// guarantee: WATCH-1
#[tokio::test]
async fn resumed_watch_sees_every_change_once_in_order() {
    let mut cluster = TestCluster::start(3, 500, SMALL_LOG).await;
    let (ended, end) = tokio::sync::oneshot::channel();
    let urls = (0..3)
        .map(|at| url(&cluster, at, "?from=1&prefix=w"))
        .collect();
    let follower = tokio::spawn(follow(urls, end));
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        for n in 0..60 {
            let at = (0..3).find(|at| cluster.members[*at].running());
            let key = format!("w{}", n % 7);
            acknowledged.push(put(&cluster, at.expect("one"), &key, format!("{round}")).await);
            put(&cluster, at.expect("one"), "other", "x").await;
        }
        let at = round % 3;
        match round {
            0..=2 => cluster.members[at].kill(),
            3 | 4 => assert!(cluster.members[at].stop().success()),
            _ => {
                for member in &mut cluster.members {
                    member.kill();
                }
            }
        }
        if round < 5 {
            cluster.leader_but(Some(at)).await;
            put(&cluster, (at + 1) % 3, "w", "while one is away").await;
        }
        for member in &mut cluster.members {
            if !member.running() {
                member.start(&[]);
            }
        }
        cluster.voters(3).await;
    }
    let last = delete(&cluster, 0, "w1").await;
    ended.send(last).expect("a follower");
    let (seen, lost) = timeout(SOON, follower)
        .await
        .expect("in time")
        .expect("no panic");
    println!("{} changes seen across {lost} losses", seen.len());
    assert!(lost >= 3, "only {lost} losses");
    let revisions: Vec<u64> = seen.iter().map(of).collect();
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
    for revision in &acknowledged {
        assert!(revisions.contains(revision), "{revision} was missed");
    }
    // each member tells the same, though each was restored from snapshots of its own
    for at in 0..3 {
        let mut all = history(&cluster, at, last).await;
        all.retain(|it| it["key"] != "other");
        assert_eq!(all, seen, "at member {at}");
    }
    assert_eq!(seen.last().expect("a change")["kind"], "delete");
    // and so does one that has just joined
    let new = cluster.add_member();
    let join = cluster.members[0].admin_url("");
    cluster.members[new].start(&["--join", &join]);
    cluster.voters(4).await;
    let mut all = history(&cluster, new, last).await;
    all.retain(|it| it["key"] != "other");
    assert_eq!(all, seen, "at the new member");
}

#[tokio::test]
async fn prefixes_places_and_bad_input() {
    let cluster = TestCluster::start(1, 500, "").await;
    let first = put(&cluster, 0, "a/1", "one").await;
    put(&cluster, 0, "b", "x").await;
    let third = put(&cluster, 0, "a/1", "two").await;
    let open = |query: &str, last| {
        let url = url(&cluster, 0, query);
        async move { EventStream::open(&url, last).await }
    };

    // without a place: only what comes from now on, and the place is told first
    let mut now = open("", None).await.expect("a stream");
    let watching = now.next().await.expect("an event");
    assert_eq!(watching.name, "watching");
    let place = watching.id.expect("a place");
    assert!(place >= third, "{watching:?}");
    assert_eq!(watching.data["from"], place + 1);
    let fourth = delete(&cluster, 0, "a/1").await;
    let told = now.change().await.expect("a change");
    assert_eq!((of(&told), &told["kind"]), (fourth, &"delete".into()));
    assert_eq!(told["previous_revision"], third);
    drop(now);
    let mut again = open("", Some(place)).await.expect("a stream");
    assert_eq!(of(&again.change().await.expect("a change")), fourth);

    // from is the first, Last-Event-ID is behind and wins
    for (query, last, expected) in [
        ("?from=0", None, first),
        (&*format!("?from={first}&prefix=a/"), None, first),
        (&*format!("?from={}&prefix=a%2F", first + 1), None, third),
        (&*format!("?from={third}"), None, third),
        (&*format!("?from={first}"), Some(third), fourth),
    ] {
        let mut stream = open(query, last).await.expect("a stream");
        let change = stream.change().await.expect("a change");
        assert_eq!(of(&change), expected, "{query} {last:?}");
    }
    let mut stream = open(&format!("?from={third}"), None)
        .await
        .expect("a stream");
    let change = stream.change().await.expect("a change");
    assert_eq!(change["value_base64"], "dHdv");

    // the next revision may be waited for; one that no log goes to may not
    let end = put(&cluster, 0, "z", "").await;
    let mut next = open(&format!("?from={}", end + 1), None)
        .await
        .expect("a stream");
    assert_eq!(next.next().await.expect("an event").id, Some(end));
    for (query, last, status, code, says) in [
        ("?from=abc", None, 400, "bad_request", "whole number"),
        ("?from=-1", None, 400, "bad_request", "whole number"),
        ("?from=", None, 400, "bad_request", "whole number"),
        ("?since=1", None, 400, "bad_request", "since"),
        ("?prefix=%zz", None, 400, "bad_request", "hexadecimal"),
        (
            "?from=123456789",
            None,
            400,
            "future_revision",
            "another cluster",
        ),
        (
            "",
            Some(123_456_789),
            400,
            "future_revision",
            "another cluster",
        ),
    ] {
        let (seen, problem) = open(query, last).await.err().expect(query);
        assert_eq!(
            (seen, problem["code"].as_str()),
            (status, Some(code)),
            "{query}"
        );
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(says), "{query}: {problem}");
    }
    let answer = http::call(Method::POST, url(&cluster, 0, ""), &[], "").await;
    assert_eq!(answer.expect("an answer").status(), 405);
}

// guarantee: WATCH-2
#[tokio::test]
async fn compacted_revision_answers_410_with_oldest_revision() {
    let mut cluster = TestCluster::start(1, 500, SMALL_LOG).await;
    let first = put(&cluster, 0, "first", "x").await;
    let mut last = 0;
    for n in 0..20 {
        last = put(&cluster, 0, &format!("big{}", n % 3), vec![b'x'; MIB]).await;
    }
    for restart in [false, true] {
        if restart {
            assert!(cluster.members[0].stop().success());
            cluster.members[0].start(&[]);
            cluster.voters(1).await;
        }
        for (query, place) in [
            (format!("?from={first}"), None),
            (String::new(), Some(first)),
        ] {
            let gone = EventStream::open(&url(&cluster, 0, &query), place).await;
            let (status, problem) = gone.err().expect("gone");
            assert_eq!((status, &problem["code"]), (410, &"compacted".into()));
            let oldest = problem["oldest_revision"].as_u64().expect("a revision");
            assert!(oldest > first && oldest <= last, "{problem}");
            let kept = format!("?from={oldest}");
            let mut stream = EventStream::open(&url(&cluster, 0, &kept), None)
                .await
                .expect("kept");
            let changes = stream.until(last).await;
            assert!(changes.len() >= 15, "only {}", changes.len());
        }
    }
}

/// A reader that takes nothing costs a buffer, falls out of the history, is told so when it
/// reads again, and its stream ends.
// guarantee: WATCH-2
#[tokio::test]
async fn slow_reader_is_notified_of_falling_behind() {
    let cluster = TestCluster::start(1, 500, "").await;
    let mut slow = TcpStream::connect(("127.0.0.1", cluster.members[0].admin))
        .await
        .expect("a connection");
    slow.write_all(b"GET /v1/watch?from=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .expect("a request");
    put(&cluster, 0, "first", "x").await;
    let start = Instant::now();
    for n in 0..32 {
        put(&cluster, 0, &format!("big{}", n % 3), vec![b'x'; MIB]).await;
    }
    assert!(
        start.elapsed() < Duration::from_secs(25),
        "it would be cut off by now"
    );
    let mut text = Vec::new();
    let mut buffer = vec![0; MIB];
    let end = async {
        while !text.ends_with(b"0\r\n\r\n") {
            let n = slow.read(&mut buffer).await.expect("bytes");
            assert!(n > 0, "cut off without a word");
            text.extend_from_slice(&buffer[..n]);
        }
    };
    timeout(SOON, end).await.expect("an end in time");
    let text = String::from_utf8_lossy(&text);
    let compacted = text.find("event: compacted").expect("a last event");
    assert!(
        text[compacted..].contains("\"oldest_revision\":"),
        "{}",
        &text[compacted..]
    );
    assert!(text.len() < 20 * MIB, "{} bytes came", text.len());
}

// guarantee: WATCH-3
#[tokio::test]
async fn member_without_quorum_serves_applied_changes() {
    let mut cluster = TestCluster::three().await;
    let last = put(&cluster, 0, "before", "x").await;
    let alone = cluster.follower().await;
    let held = url(&cluster, alone, "");
    eventually("the write at the follower", SOON, || async {
        let stale = cluster.members[alone].admin_url("/v1/kv/before?consistency=stale");
        match http::call(Method::GET, stale, &[], "").await?.status() {
            reqwest::StatusCode::OK => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    for at in 0..3 {
        if at != alone {
            cluster.members[at].kill();
        }
    }
    let all = history(&cluster, alone, last).await;
    assert_eq!(all.last().expect("a change")["key"], "before");
    // nobody can say whether there is such a revision yet: it is waited for
    let mut later = EventStream::open(&held, Some(last + 1000))
        .await
        .expect("a stream");
    assert_eq!(later.next().await.expect("an event").id, Some(last + 1000));
    let mut stream = EventStream::open(&held, Some(last))
        .await
        .expect("a stream");
    while stream.next().await.expect("a sign").name != "cut_off" {}
    for at in 0..3 {
        if at != alone {
            cluster.members[at].start(&[]);
        }
    }
    cluster.voters(3).await;
    let after = put(&cluster, (alone + 1) % 3, "after", "x").await;
    assert_eq!(of(&stream.change().await.expect("a change")), after);
}

// guarantee: WATCH-4
#[tokio::test]
async fn watchers_are_bounded_and_never_delay_the_stop() {
    let mut cluster = TestCluster::start(1, 500, "").await;
    let held = url(&cluster, 0, "");
    let mut streams = Vec::new();
    let refused = loop {
        match EventStream::open(&held, None).await {
            Ok(stream) => streams.push(stream),
            Err(refused) => break refused,
        }
        assert!(streams.len() < 512, "without bounds");
    };
    assert_eq!(
        (refused.0, &refused.1["code"]),
        (503, &"too_many_watchers".into())
    );
    assert_eq!(streams.len(), 128);
    // everything else goes on
    put(&cluster, 0, "k", "v").await;
    let metrics = cluster.members[0].admin_url("/metrics");
    let text = http::call(Method::GET, metrics, &[], "")
        .await
        .expect("metrics");
    let text = text.text().await.expect("text");
    assert!(text.contains("quorate_watchers 128"), "{text}");
    streams.pop();
    let room = eventually("room for one", SOON, || async {
        let opened = EventStream::open(&held, None).await;
        opened.map_err(|(status, _)| status.to_string())
    });
    streams.push(room.await);
    let start = Instant::now();
    assert!(cluster.members[0].stop().success());
    let took = start.elapsed();
    assert!(took < END, "{took:?}");
    for stream in &mut streams {
        while stream.next().await.is_some() {}
    }
    let log = std::fs::read_to_string(cluster.members[0].log()).expect("the log");
    assert!(!log.contains("did not finish in time"), "{log}");
}
