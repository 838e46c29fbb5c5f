//! Readers of a state that goes on: the events that they are sent, and the end of their streams.

use std::sync::atomic::{AtomicBool, Ordering};

use quorate_state::{CHANGES_BYTES_MAX, CHANGES_MAX, Command, Machine, State, VALUE_BYTES_MAX};
use tokio::{sync::watch as channel, time::timeout};

use super::*;

const SOON: Duration = Duration::from_secs(30);
const ALIVE: Duration = Duration::from_millis(50);

/// A member's state, as it applies.
struct WatchedMember {
    machine: Machine,
    states: channel::Sender<Arc<State>>,
    draining: channel::Sender<bool>,
    hears: Arc<AtomicBool>,
    slots: WatchSlots,
}

impl WatchedMember {
    fn new() -> WatchedMember {
        WatchedMember {
            machine: Machine::default(),
            states: channel::channel(Arc::default()).0,
            draining: channel::channel(false).0,
            hears: Arc::new(AtomicBool::new(true)),
            slots: WatchSlots(Arc::new(Semaphore::new(WATCHERS_MAX))),
        }
    }

    fn apply(&mut self, command: &Command) -> u64 {
        let index = self.machine.state().applied() + 1;
        self.machine.apply(index, 1, 1, command);
        self.states
            .send_replace(Arc::new(self.machine.state().clone()));
        index
    }

    fn put(&mut self, key: &str, value: Vec<u8>) -> u64 {
        self.apply(&Command::PutKey {
            key: key.into(),
            value: value.into(),
            precondition: None,
        })
    }

    fn delete(&mut self, key: &str) -> u64 {
        self.apply(&Command::DeleteKey {
            key: key.into(),
            precondition: None,
        })
    }

    fn reader(&self, after: u64, prefix: &str) -> WatchReader {
        self.reader_with_life(after, prefix, SOON)
    }

    fn reader_with_life(&self, after: u64, prefix: &str, alive: Duration) -> WatchReader {
        let follower = WatchStream::new(
            WatchSource {
                states: self.states.subscribe(),
                draining: self.draining.subscribe(),
                allowed: Box::new(|_| true),
                hears: Box::new({
                    let hears = self.hears.clone();
                    move || hears.load(Ordering::SeqCst)
                }),
            },
            prefix.into(),
            after,
            alive,
            self.slots.take().expect("a slot"),
        );
        WatchReader { follower }
    }
}

struct WatchReader {
    follower: WatchStream,
}

impl WatchReader {
    async fn next(&mut self) -> Option<String> {
        let chunk = timeout(SOON, self.follower.next()).await.expect("in time");
        chunk.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// The ids of the changes in the next chunk.
    async fn ids(&mut self) -> Vec<u64> {
        ids(&self.next().await.expect("a chunk"))
    }
}

fn ids(chunk: &str) -> Vec<u64> {
    let lines = chunk.lines();
    lines
        .filter_map(|line| line.strip_prefix("id: ")?.parse().ok())
        .collect()
}

#[tokio::test]
async fn first_event_has_start_and_changes_follow() {
    let mut member = WatchedMember::new();
    member.put("a/1", b"x".to_vec());
    member.put("b", b"x".to_vec());
    let mut all = member.reader(0, "");
    let mut some = member.reader(1, "a/");
    let first = all.next().await.unwrap();
    assert!(
        first.contains("id: 0\nevent: watching\ndata: {\"from\":1,\"revision\":2}"),
        "{first}"
    );
    assert_eq!(some.ids().await, [1]);
    assert_eq!(all.ids().await, [1, 2]);
    member.delete("b");
    member.delete("none");
    member.put("a/2", b"y".to_vec());
    assert_eq!(all.ids().await, [3, 5]);
    let told = some.next().await.unwrap();
    assert_eq!(ids(&told), [5]);
    assert!(told.contains("\"value_base64\":\"eQ==\""), "{told}");
}

// guarantee: WATCH-3
#[tokio::test]
async fn silent_stream_stays_alive_and_its_position_advances() {
    let mut member = WatchedMember::new();
    let mut reader = member.reader_with_life(0, "rare/", ALIVE);
    reader.next().await;
    let alive = |place| format!(": alive\nid: {place}\n\n");
    assert_eq!(reader.next().await, Some(alive(0)));
    member.hears.store(false, Ordering::SeqCst);
    let told = reader.next().await.unwrap();
    assert!(told.contains("event: cut_off"), "{told}");
    member.hears.store(true, Ordering::SeqCst);
    // more than is kept, and none of it for this reader
    let last = CHANGES_MAX as u64 + 10;
    for n in 1..=last {
        member.put(&format!("often/{}", n % 7), Vec::new());
        if n == last / 2 {
            assert_eq!(reader.next().await, Some(alive(n)));
        }
    }
    assert_eq!(reader.next().await, Some(alive(last)));
    // it resumes there, though what it asked for first is long gone
    let history = member.machine.state().kv().changelog();
    assert!(history.after(0).is_err() && history.after(last).is_ok());
}

/// While nothing is taken nothing is kept for the reader; the gap is reported.
// guarantee: WATCH-4
#[tokio::test]
async fn stream_of_reader_behind_history_ends_with_compacted() {
    let mut member = WatchedMember::new();
    let mut slow = member.reader(0, "");
    let mut fast = member.reader(0, "");
    slow.next().await;
    fast.next().await;
    let writes = 2 * CHANGES_BYTES_MAX / VALUE_BYTES_MAX;
    for n in 0..writes {
        let index = member.put(&format!("k{n}"), vec![0; VALUE_BYTES_MAX]);
        assert_eq!(fast.ids().await, [index]);
    }
    let told = slow.next().await.unwrap();
    let data = told.strip_prefix("event: compacted\ndata: ").expect(&told);
    let problem: serde_json::Value = serde_json::from_str(data).unwrap();
    let oldest = member.machine.state().kv().changelog().floor() + 1;
    assert_eq!(
        (
            &problem["code"],
            problem["status"].as_u64(),
            problem["oldest_revision"].as_u64()
        ),
        (&"compacted".into(), Some(410), Some(oldest))
    );
    assert_eq!(slow.next().await, None);
    // from there on nothing is missing
    let mut again = member.reader(oldest - 1, "");
    again.next().await;
    let mut seen = Vec::new();
    while seen.last() != Some(&(writes as u64)) {
        seen.extend(again.ids().await);
    }
    assert_eq!(seen, (oldest..=writes as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn fast_reader_gets_everything_in_bounded_chunks() {
    let mut member = WatchedMember::new();
    for n in 0..3000 {
        member.put(&format!("k{n}"), vec![7; 1000]);
    }
    let mut reader = member.reader(0, "");
    reader.next().await;
    let mut seen = Vec::new();
    while seen.len() < 3000 {
        let chunk = reader.next().await.unwrap();
        assert!(chunk.len() < 70_000, "{}", chunk.len());
        seen.extend(ids(&chunk));
    }
    assert_eq!(seen, (1..=3000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_member_that_is_stopped_ends_its_streams() {
    let mut member = WatchedMember::new();
    let mut reader = member.reader(0, "");
    reader.next().await;
    let waiting = tokio::spawn(async move {
        let last = reader.next().await;
        (last, reader.next().await)
    });
    member.draining.send_replace(true);
    let (last, end) = waiting.await.unwrap();
    assert!(last.is_some_and(|it| it.starts_with(": this member is being stopped")));
    assert_eq!(end, None);
    // one whose member is gone altogether ends as well
    member.draining.send_replace(false);
    let mut orphan = member.reader(0, "");
    orphan.next().await;
    member.put("k", Vec::new());
    orphan.next().await;
    drop(member);
    assert_eq!(orphan.next().await, None);
}

#[tokio::test]
async fn watchers_are_bounded_and_free_their_slots() {
    let member = WatchedMember::new();
    let mut readers: Vec<_> = (0..WATCHERS_MAX).map(|_| member.reader(0, "")).collect();
    let problem = member.slots.take().err().expect("no room");
    assert_eq!(
        (problem.status().as_u16(), problem.code()),
        (503, "too_many_watchers")
    );
    readers.pop();
    assert!(member.slots.take().is_ok());
}

#[test]
fn unwatchable_revision_error_names_watchable_one() {
    let gone = compacted(9, ChangesCompacted { oldest: 41 });
    assert!(gone.detail().contains("from revision 10") && gone.detail().contains("is 41"));
    let problem = future(u64::MAX, 7);
    assert_eq!(problem.status(), 400);
    assert!(problem.detail().contains("ends at 7, so 8"), "{problem:?}");
}
