//! What a contender for a lock does, in a process of its own: this program, started with
//! [`MARK`]. It says `waiting` when it has to wait, `held NS` when it has the lock, holds
//! it until it is ended, and gives it back on SIGTERM.

mod etcd;
mod redis;
mod zookeeper;

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::clock::now_ns;

/// The first argument.
pub const MARK: &str = "hold-a-lock";

/// Runs to the end of the process.
pub fn run(arguments: &[String]) {
    let [kind, address, ttl] = arguments else {
        panic!("kind, address and TTL, not {arguments:?}")
    };
    let ttl = Duration::from_millis(ttl.parse().expect("a TTL in ms"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = runtime.expect("a runtime").block_on(async {
        match kind.as_str() {
            "etcd" => etcd::hold(address, ttl).await,
            "zookeeper" => zookeeper::hold(address, ttl).await,
            "redis" => redis::hold(address, ttl).await,
            _ => Err(format!("no lock of kind {kind:?}")),
        }
    });
    if let Err(problem) = ended {
        eprintln!("a contender for {kind}'s lock: {problem}");
    }
}

fn say_waiting() {
    println!("waiting");
}

fn say_held() {
    println!("held {}", now_ns());
}

/// Comes back when the process is asked to end.
pub async fn asked_to_end() {
    let mut term = signal(SignalKind::terminate()).expect("a signal handler");
    term.recv().await;
}
