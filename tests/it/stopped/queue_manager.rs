//! The stand-in for a queue manager as a process of its own: what puts messages, takes them
//! and looks who reads. It is not IBM MQ.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    thread,
    time::Duration,
};

use mq_stand_in::{control::Control, descriptor};
use quorate_clock::Instant;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::peers::Peer;
use quorate_testkit::{
    cluster::SOON,
    ports,
    process::{ChildProcess, bound},
    programs,
};

/// The channel's queue, and the outgoing's.
pub const IN: &str = "ORDERS";
pub const OUT: &str = "INVOICES";

/// Between two messages that are put.
const PACE: Duration = Duration::from_millis(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// A queue manager; ends with this. What is persistent outlives its process.
pub struct QueueManager {
    process: Option<ChildProcess>,
    port: u16,
    journal: TempDir,
}

impl QueueManager {
    pub fn start() -> QueueManager {
        let mut manager = QueueManager {
            process: None,
            port: ports::free(),
            journal: tempfile::tempdir().expect("a folder"),
        };
        manager.up();
        manager
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the process.
    pub fn up(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut command = bound(programs::built("mq-stand-in"));
        command
            .args(["--listen", &self.address(), "--journal"])
            .arg(self.journal.path().join("journal"))
            .args([IN, OUT])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        self.process = Some(ChildProcess::spawn(command).expect("the stand-in's process"));
    }

    /// kill -9, and reaps it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// The connection to it, as a resource.
    pub fn connection(&self) -> Value {
        json!({
            "name": "manager", "host": "127.0.0.1", "port": self.port,
            "queue_manager": "STANDIN", "channel": "DEV.APP.SVRCONN",
            "username": "app", "password": "secret", "ssl": false,
            "library": programs::built("libmq_stand_in.so"),
        })
    }

    /// Puts persistent messages on the channel's queue at an even pace. Those that were
    /// surely put, and those of which nobody knows as the queue manager died.
    pub fn source(&self) -> Peer<(BTreeSet<String>, BTreeSet<String>)> {
        let address = self.address();
        Peer::start(move |over| {
            let (mut sure, mut unknown) = (BTreeSet::new(), BTreeSet::new());
            let mut control = connect(&address);
            let mut next = Instant::now();
            for n in 0_u64.. {
                if over() {
                    break;
                }
                let body = format!("order-{n:05}");
                match control.put(IN, &descriptor::utf_8(), body.as_bytes()) {
                    Ok(()) => drop(sure.insert(body)),
                    Err(_) => {
                        unknown.insert(body);
                        control = connect(&address);
                    }
                }
                next = (next + PACE).max(Instant::now() - PACE);
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            (sure, unknown)
        })
    }

    /// Takes what comes on the outgoing's queue; gives how often each body came.
    pub fn taker(&self) -> Peer<BTreeMap<String, usize>> {
        let address = self.address();
        Peer::start(move |over| {
            let mut there = BTreeMap::new();
            let mut control = connect(&address);
            loop {
                // Asked first: what came before it is seen by the look that follows.
                let last = over();
                match control.take(OUT) {
                    Ok(Some(taken)) => {
                        let body = String::from_utf8(taken.message).expect("text");
                        *there.entry(body).or_default() += 1;
                        continue;
                    }
                    Ok(None) if last => return there,
                    Ok(None) => thread::sleep(LOOK),
                    // A take whose answer was lost would be told as a loss.
                    Err(_) => control = connect(&address),
                }
            }
        })
    }

    /// Looks how many read the channel's queue; gives the most at once, and how many looks.
    pub fn watch(&self) -> Peer<(usize, usize)> {
        let address = self.address();
        Peer::start(move |over| {
            let (mut most, mut looks) = (0, 0);
            let mut control = connect(&address);
            while !over() {
                most = most.max(control.readers(IN).expect("an answer"));
                looks += 1;
                thread::sleep(LOOK);
            }
            (most, looks)
        })
    }

    /// How many messages the channel's queue has, those in units of work included.
    pub fn depth(&self) -> usize {
        connect(&self.address()).depth(IN).expect("an answer")
    }
}

/// Waits for a queue manager that answers, with its queues.
fn connect(address: &str) -> Control {
    let deadline = Instant::now() + SOON;
    loop {
        let there = Control::connect(address).and_then(|mut it| {
            it.depth(IN)?;
            it.depth(OUT).map(|_| it)
        });
        match there {
            Ok(control) => return control,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(LOOK);
    }
}
