//! A member whose log holds a command of a newer version ends, and says so.

use std::io::{self, Read, Write};

use bytes::Bytes;
use quorate_clock::Instant;
use quorate_raft::{CommittedCommand, MachineSnapshot, StateMachine};
use quorate_state::Command as Put;
use quorate_types::Timing;
use tokio::time::timeout;

use super::*;

/// A newer version, which knows every command, and the snapshots that it writes.
struct Newer(Vec<u8>);

impl StateMachine for Newer {
    fn apply(&mut self, _: CommittedCommand<'_>) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn publish(&mut self, _: u64) {}

    fn freeze(&self) -> Box<dyn MachineSnapshot> {
        Box::new(Newer(self.0.clone()))
    }

    fn restore(&mut self, _: &mut dyn Read) -> io::Result<()> {
        Ok(())
    }
}

impl MachineSnapshot for Newer {
    fn write_to(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.0)
    }
}

fn put() -> Vec<u8> {
    let put = Put::PutKey {
        key: "k".into(),
        value: "v".into(),
        precondition: None,
    };
    put.encode().into()
}

/// A resource with a field that this version does not know.
fn newer_resource() -> Bytes {
    let put = Put::PutResource {
        kind: quorate_resources::Kind::Service,
        name: "orders".into(),
        spec: r#"{"name":"orders","upstream":"http://127.0.0.1:9","zone":"a"}"#.into(),
        precondition: None,
    };
    put.encode()
}

/// One that is not known, two of which a part is not known, and one that asks for what this
/// version can't do.
fn newer_commands() -> [(Bytes, &'static str); 4] {
    let added = [put(), vec![0xa0, 0x38, 0x01]].concat();
    let promise = Put::SetFailover {
        failover_ms: 90_000,
        first: false,
    };
    [
        (
            newer_resource(),
            "(service/orders is not as this program knows it (zone: there is no such field",
        ),
        (
            promise.encode(),
            "(failover_ms is 90000; it must be from 100 to 60000)",
        ),
        (
            Bytes::from_static(b"\xfa\x7f\x02\x08\x01"),
            "(command 2047 is not one that this version knows)",
        ),
        (
            added.into(),
            "(command 3 has a part that this version does not know)",
        ),
    ]
}

fn says(error: &ServerError, what: &str) {
    let text = error.to_string();
    for part in [
        what,
        "the log's entry",
        "a newer version wrote it",
        "Start that version, or a later one, on this member",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

// guarantee: DATA-4
#[tokio::test(flavor = "multi_thread")]
async fn applying_newer_command_ends_member_with_reason() {
    for (bytes, what) in newer_commands() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), ports());
        let server = Server::builder(settings).start_mode(StartMode::Bootstrap);
        let mut running = server.build().unwrap().start().await.unwrap();
        let node = running.cluster.node().clone();
        let deadline = Instant::now() + SOON;
        node.propose(put().into(), deadline).await.unwrap();
        let told = node.propose(bytes, deadline).await;
        assert!(told.is_err(), "it was answered: {told:?}");
        let lost = timeout(SOON, running.tasks.wait_for_loss())
            .await
            .expect("its end");
        says(&lost, what);
        drain::at_once(running).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_command_in_log_keeps_member_from_serving() {
    for (bytes, what) in newer_commands() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), ports());
        let timing = Timing::from_failover_ms(settings.failover_ms).unwrap();
        let node = Node::start(
            node_options(&settings, timing.into(), None),
            quorate_raft::NodeStartMode::Bootstrap,
            Newer(Vec::new()),
        );
        let node = node.await.unwrap();
        let deadline = Instant::now() + SOON;
        node.propose(bytes, deadline).await.unwrap();
        node.propose(put().into(), deadline).await.unwrap();
        node.shutdown().await;
        let admin = settings.admin.bind;
        let server = Server::builder(settings).build().unwrap();
        let run = timeout(SOON, server.run(std::future::pending()));
        says(&run.await.expect("its end").unwrap_err(), what);
        assert!(TcpListener::bind(admin).is_ok(), "something still listens");
    }
}

/// A snapshot in which a service has a field that this version does not know.
fn newer_snapshot() -> Vec<u8> {
    let mut machine = quorate_state::Machine::default();
    let put = Put::PutResource {
        kind: quorate_resources::Kind::Service,
        name: "orders".into(),
        spec: r#"{"name":"orders","upstream":"http://127.0.0.1:9","retries":1}"#.into(),
        precondition: None,
    };
    machine.apply(1, 1, 1, &put);
    let mut bytes = Vec::new();
    machine.state().write_to(&mut bytes).unwrap();
    let (known, newer) = (b"\"retries\"", b"\"entries\"");
    let at = bytes.windows(known.len()).position(|it| it == known);
    bytes[at.unwrap()..][..known.len()].copy_from_slice(newer);
    bytes
}

// guarantee: DATA-4
#[tokio::test(flavor = "multi_thread")]
async fn member_with_newer_snapshot_field_does_not_serve() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path(), ports());
    settings.snapshot.entries = 100;
    let timing = Timing::from_failover_ms(settings.failover_ms).unwrap();
    let node = Node::start(
        node_options(&settings, timing.into(), None),
        quorate_raft::NodeStartMode::Bootstrap,
        Newer(newer_snapshot()),
    );
    let node = node.await.unwrap();
    let deadline = Instant::now() + SOON;
    let folder = settings.data_dir.join("snapshots");
    let is_there = || {
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        files
            .map(|file| file.path())
            .any(|path| path.extension().is_some_and(|it| it == "snapshot"))
    };
    while !is_there() {
        assert!(Instant::now() < deadline, "no snapshot in time");
        node.propose(put().into(), deadline).await.unwrap();
    }
    node.shutdown().await;
    let admin = settings.admin.bind;
    let server = Server::builder(settings).build().unwrap();
    let run = timeout(SOON, server.run(std::future::pending()));
    let told = run.await.expect("its end").unwrap_err().to_string();
    for part in [
        "service/orders is not as this program knows it (entries: there is no such field",
        "run the version that wrote it",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    assert!(TcpListener::bind(admin).is_ok(), "something still listens");
}
