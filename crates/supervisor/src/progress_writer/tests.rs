use async_trait::async_trait;
use quorate_state::{ConnectionsByConnector, Takeover};
use quorate_types::{MemberId, ProposeError};

use super::*;

fn key(name: &str) -> ConnectorKey {
    ConnectorKey {
        kind: "amqp_channel",
        name: name.to_owned(),
    }
}

fn names(batch: &ProgressBatch) -> Vec<&str> {
    let names = batch.progress.iter().map(|(key, _)| key.name.as_str());
    names.collect()
}

#[test]
fn connectors_take_turns_and_older_progress_is_ignored() {
    let writer = ProgressWriter::default();
    assert!(writer.next(None).is_none());
    for name in ["a", "b", "c"] {
        writer.set(&key(name), (1, 2), "one".into());
    }
    let after = |last: Option<&str>| {
        let last = last.map(key);
        names(&writer.next(last.as_ref()).unwrap()).join(" ")
    };
    assert_eq!(after(None), "a b c");
    assert_eq!(after(Some("a")), "b c a");
    assert_eq!(after(Some("c")), "a b c");
    writer.set(&key("a"), (1, 1), "of a former reign".into());
    assert_eq!(writer.unwritten(&key("a"), (1, 2)), Some("one".into()));
    assert_eq!(writer.unwritten(&key("a"), (1, 1)), None);
    // What was said under another epoch goes by itself.
    writer.set(&key("b"), (1, 3), "of this one".into());
    let (first, next) = (writer.next(None).unwrap(), writer.next(Some(&key("a"))));
    assert_eq!((first.epoch, names(&first)), (2, vec!["a", "c"]));
    assert_eq!(names(&next.unwrap()), ["b"]);
}

#[test]
fn progress_of_deleted_connector_reaches_no_namesake() {
    let writer = ProgressWriter::default();
    writer.set(&key("a"), (1, 2), "of the deleted one".into());
    assert_eq!(writer.unwritten(&key("a"), (5, 2)), None);
    writer.set(&key("a"), (5, 2), "of this one".into());
    writer.set(&key("a"), (1, 2), "its last word".into());
    assert_eq!(
        writer.unwritten(&key("a"), (5, 2)),
        Some("of this one".into())
    );
    assert_eq!(writer.next(None).unwrap().connectors()[0].created, 5);
}

#[test]
fn one_command_stays_within_its_bounds() {
    let writer = ProgressWriter::default();
    for n in 0..=ADVANCE_MAX {
        writer.set(&key(&format!("{n:04}")), (1, 2), "one".into());
    }
    let batch = writer.next(None).unwrap();
    assert_eq!(batch.progress.len(), ADVANCE_MAX);
    let last = batch.progress.last().unwrap().0.clone();
    writer.done(batch);
    assert_eq!(names(&writer.next(Some(&last)).unwrap()), ["0500"]);
    let writer = ProgressWriter::default();
    for name in ["a", "b", "c", "d", "e"] {
        writer.set(&key(name), (1, 2), vec![0; PROGRESS_BYTES_MAX].into());
    }
    let fit = ADVANCE_BYTES_MAX / PROGRESS_BYTES_MAX;
    assert_eq!(writer.next(None).unwrap().progress.len(), fit);
    writer.set(&key("f"), (1, 2), vec![0; PROGRESS_BYTES_MAX + 1].into());
    assert_eq!(writer.unwritten(&key("f"), (1, 2)), None);
}

#[test]
fn release_waits_for_the_last_report() {
    let writer = ProgressWriter::default();
    assert_eq!(writer.wanted_until(), None);
    writer.set(&key("a"), (1, 2), "one".into());
    let first = writer.wanted_until().unwrap();
    let batch = writer.next(None).unwrap();
    writer.set(&key("b"), (1, 2), "two".into());
    assert!(writer.wanted_until().unwrap() >= first);
    writer.done(batch);
    assert!(writer.wanted_until().is_some());
    writer.done(writer.next(None).unwrap());
    assert_eq!(writer.wanted_until(), None);
}

/// A log far away, that takes one write after the other.
#[derive(Default)]
struct FarLog {
    writes: Mutex<Vec<usize>>,
}

const WRITE: Duration = Duration::from_millis(100);

#[async_trait]
impl CommandProposer for FarLog {
    async fn advance(
        &self,
        _: u64,
        connectors: Vec<ConnectorProgress>,
        _: Instant,
    ) -> Result<(), ProposeError> {
        sleep(WRITE).await;
        self.writes.lock().push(connectors.len());
        Ok(())
    }

    async fn take_over(&self, _: MemberId, _: u64, _: Instant) -> Result<(), ProposeError> {
        unreachable!("it writes progress")
    }

    async fn release(&self, _: u64, _: u64, _: Instant) -> Result<(), ProposeError> {
        unreachable!("it writes progress")
    }

    async fn record_takeover(&self, _: Takeover, _: Instant) -> Result<(), ProposeError> {
        unreachable!("it writes progress")
    }

    async fn record_broker_connections(
        &self,
        _: MemberId,
        _: ConnectionsByConnector,
        _: Instant,
    ) -> Result<(), ProposeError> {
        unreachable!("it writes progress")
    }
}

/// Those whose progress comes one after the other share an entry of the log.
// guarantee: MESSAGE-9
#[tokio::test]
async fn progress_within_a_tick_is_one_entry() {
    let writer = Arc::new(ProgressWriter::default());
    let log = Arc::new(FarLog::default());
    tokio::spawn(writer.clone().run(log.clone(), || ()));
    let began = Instant::now();
    for n in 0..100 {
        writer.set(&key(&format!("{n:03}")), (1, 2), "one".into());
        sleep(Duration::from_millis(5)).await;
    }
    let ticks = began.elapsed().as_millis() / TICK.as_millis() + 2;
    let writes = log.writes.lock().len();
    assert!(writes as u128 <= ticks, "{writes} writes in {ticks} ticks");
}

// guarantee: MESSAGE-9
#[tokio::test]
async fn many_connectors_wait_at_most_two_writes() {
    let writer = Arc::new(ProgressWriter::default());
    let log = Arc::new(FarLog::default());
    tokio::spawn(writer.clone().run(log.clone(), || ()));
    let keys: Vec<ConnectorKey> = (0..200).map(|n| key(&format!("{n:03}"))).collect();
    writer.set(&keys[0], (1, 2), "first".into());
    sleep(WRITE / 2).await;
    for key in &keys {
        writer.set(key, (1, 2), "next".into());
    }
    let written = async {
        while writer.wanted_until().is_some() {
            sleep(WRITE / 10).await;
        }
    };
    timeout(ANSWER, written).await.unwrap();
    let writes = log.writes.lock().clone();
    // One more where this task was held up between two of them.
    assert!(writes.len() <= 3, "{writes:?}");
}
