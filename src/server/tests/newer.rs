//! A member whose log holds a command of a newer version ends, and says so.

use std::io::{self, Read, Write};

use bytes::Bytes;
use quorate_raft::{Command, Frozen, Machine};
use tokio::time::timeout;

use super::*;
use crate::state::Command as Put;

/// A newer version, which knows every command.
struct Newer;

impl Machine for Newer {
    fn apply(&mut self, _: Command<'_>) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn publish(&mut self, _: u64) {}

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(Newer)
    }

    fn restore(&mut self, _: &mut dyn Read) -> io::Result<()> {
        Ok(())
    }
}

impl Frozen for Newer {
    fn write_to(self: Box<Self>, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
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

/// One that is not known, and one of which a part is not known.
fn newer_commands() -> [(Bytes, &'static str); 2] {
    let added = [put(), vec![0xa0, 0x38, 0x01]].concat();
    [
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

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_to_apply_a_command_of_a_newer_version_ends_and_says_so() {
    for (bytes, what) in newer_commands() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), ports());
        let server = Server::builder(settings).birth(Birth::Bootstrap);
        let mut running = server.build().unwrap().start().await.unwrap();
        let node = running.cluster.node().clone();
        let deadline = Instant::now() + SOON;
        node.propose(put().into(), deadline).await.unwrap();
        let told = node.propose(bytes, deadline).await;
        assert!(told.is_err(), "it was answered: {told:?}");
        let lost = timeout(SOON, running.vital.lost()).await.expect("its end");
        says(&lost, what);
        drain::at_once(running).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_log_holds_a_command_of_a_newer_version_does_not_serve() {
    for (bytes, what) in newer_commands() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), ports());
        let timing = Timing::from_failover_ms(settings.failover_ms).unwrap();
        let node = Node::start(
            options(&settings, timing.into()),
            quorate_raft::Birth::Bootstrap,
            Newer,
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
