//! Planted bugs by name: where each is planted, and the workload and nemeses that catch it.

/// Place of a planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BugPlace {
    /// The product: the program `quorate-mutants`, told by the variable QUORATE_MUTANT.
    Product,
    /// This harness.
    Harness,
}

/// Planted bug, and what has to catch it.
#[derive(Clone, Copy, Debug)]
pub struct PlantedBug {
    /// The name.
    pub name: &'static str,
    /// The place.
    pub planted: BugPlace,
    /// The workload that catches the bug.
    pub workload: &'static str,
    /// The nemeses that catch the bug.
    pub nemesis: &'static str,
    /// The time for which clients and nemeses are at work.
    pub seconds: u64,
    /// The promise, where the usual one leaves too little of a lease to see an overlap by.
    pub failover_ms: Option<u64>,
}

/// Every planted bug.
pub const PLANTED_BUGS: &[PlantedBug] = &[
    product("follower-reads-locally", "register", "latency", 15),
    product("read-without-quorum", "register", "partition-leader", 15),
    product("log-not-synced", "set", "power", 20),
    product("vote-not-persisted", "register", "kill-all", 15),
    product("ack-before-commit", "set", "partition-leader", 15),
    product("quorum-off-by-one", "set", "partition-leader", 15),
    product("blind-retry", "register", "latency", 24),
    product("unknown-told-as-failed", "register", "partition-leader", 24),
    product("precondition-at-member", "register", "latency", 15),
    product("state-by-member", "register", "kill", 12),
    product("snapshot-without-reign", "register", "kill-follower", 12),
    product("epoch-not-increased", "election", "kill-leader", 12),
    product("lease-check-removed", "mutex", "partition-leader", 15),
    product("lease-too-long", "mutex", "partition-leader", 15),
    product("wall-clock-lease", "mutex", "clock+partition-leader", 30),
    product("takeover-without-wait", "mutex", "forge-death", 30),
    product("promise-by-member", "mutex", "promises-differ", 30),
    product("released-epoch-acts", "mutex", "release-held", 40).promising(1_000),
    product("gateway-ignores-epochs", "mutex", "pause-leader", 24),
    product("acked-before-service", "queue", "pause-leader", 20),
    product("child-takes-parents-signals", "queue", "stop-all", 20),
    product("watch-drops-event", "watch", "kill", 12),
    product("doubt-forgotten", "sends", "rabbit-held", 30),
    product("stream-offset-forgotten", "streams", "kill-leader", 20),
    product("tries-forgotten", "tries", "kill-leader", 40),
    product("return-told-as-refused", "replies", "kill-leader", 15),
    product("unknown-command-passed-over", "set", "kill", 12),
    product("validated-in-apply", "set", "kill", 15),
    harness("timeout-is-fail", "register", "latency", 40),
    harness("infos-ignored", "register", "latency", 40),
    harness("disk-lies", "set", "power", 20),
    harness("heals-nothing", "register", "partition-leader", 12),
];

const fn product(
    name: &'static str,
    workload: &'static str,
    nemesis: &'static str,
    seconds: u64,
) -> PlantedBug {
    PlantedBug {
        name,
        planted: BugPlace::Product,
        workload,
        nemesis,
        seconds,
        failover_ms: None,
    }
}

const fn harness(
    name: &'static str,
    workload: &'static str,
    nemesis: &'static str,
    seconds: u64,
) -> PlantedBug {
    PlantedBug {
        planted: BugPlace::Harness,
        ..product(name, workload, nemesis, seconds)
    }
}

impl PlantedBug {
    const fn promising(mut self, failover_ms: u64) -> PlantedBug {
        self.failover_ms = Some(failover_ms);
        self
    }
}

/// Returns the planted bug of this name.
pub fn named(name: &str) -> Option<&'static PlantedBug> {
    PLANTED_BUGS.iter().find(|mutant| mutant.name == name)
}

/// Returns whether the bug of this name is planted in this harness.
pub fn in_harness(name: &str) -> bool {
    named(name).is_some_and(|mutant| mutant.planted == BugPlace::Harness)
}
