//! What is measured: every case with its number of trials, in the order in which the table
//! shows them.

use crate::{
    fault::Fault::{self, Group, Kill, Partition, Stop, Term},
    options::{Options, System, asked},
    quorate::Fence::{self, Exclusive, Lease, Management},
};

/// What is started for a lap, alone on the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Setup {
    Quorate { failover_ms: u64, channels: usize },
    Etcd { heartbeat: u64, election: u64 },
    ZooKeeper { tick: u64 },
    Redis { down_after: u64 },
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// A message handled by a service, and a write.
    Message(Fence),
    /// A write acknowledged by the next leader.
    Write,
    /// A lock with this TTL in ms, by its next holder.
    Lock(u64),
}

/// One row of the plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    pub setup: Setup,
    pub what: What,
    pub fault: Fault,
    pub trials: usize,
    /// How long one trial takes about, in seconds, the way back to a whole cluster included.
    pub seconds: f64,
}

/// Redis' own default, and the only one whose cluster is made anew for each trial: Sentinel
/// waits minutes before it fails over again.
pub const REDIS_DEFAULT: Setup = Setup::Redis { down_after: 30_000 };

impl Case {
    /// As the table shows it.
    pub fn system(&self) -> &'static str {
        match self.setup {
            Setup::Quorate { .. } => "Quorate",
            Setup::Etcd { .. } => "etcd",
            Setup::ZooKeeper { .. } => "ZooKeeper",
            Setup::Redis { .. } => "Redis + Sentinel",
        }
    }

    /// As the table shows it.
    pub fn setting(&self) -> String {
        let setup = match self.setup {
            Setup::Quorate {
                failover_ms,
                channels: 1,
            } => format!("failover_ms {failover_ms}"),
            Setup::Quorate {
                failover_ms,
                channels,
            } => format!("failover_ms {failover_ms}, {channels} channels"),
            Setup::Etcd {
                heartbeat: 100,
                election: 1000,
            } => "100/1000 ms (default)".to_owned(),
            Setup::Etcd {
                heartbeat,
                election,
            } => format!("{heartbeat}/{election} ms"),
            Setup::ZooKeeper { tick: 2000 } => "tick 2000 ms (default)".to_owned(),
            Setup::ZooKeeper { tick } => format!("tick {tick} ms"),
            Setup::Redis { down_after: 30_000 } => "down-after 30 s (default)".to_owned(),
            Setup::Redis { down_after } => format!("down-after {down_after} ms"),
        };
        match self.what {
            What::Message(fence) => format!("{setup}, {}", fence.name()),
            What::Write => setup,
            What::Lock(ttl) => format!("{setup}, lock TTL {ttl} ms"),
        }
    }

    /// How many of the trials belong to a lap.
    pub fn share(&self, lap: usize, laps: usize) -> usize {
        (lap + 1) * self.trials / laps - lap * self.trials / laps
    }

    fn system_asked(&self, options: &Options) -> bool {
        let system = match self.setup {
            Setup::Quorate { .. } => System::Quorate,
            Setup::Etcd { .. } => System::Etcd,
            Setup::ZooKeeper { .. } => System::Zookeeper,
            Setup::Redis { .. } => System::Redis,
        };
        asked(&options.only, &system)
    }
}

fn quorate(cases: &mut Vec<Case>, failover_ms: u64) {
    let one = Setup::Quorate {
        failover_ms,
        channels: 1,
    };
    let mut add = |setup, fence, fault, trials, seconds| {
        cases.push(Case {
            setup,
            what: What::Message(fence),
            fault,
            trials,
            seconds,
        });
    };
    let promise = failover_ms as f64 / 1000.0;
    let main = failover_ms == 500;
    add(one, Exclusive, Kill, if main { 200 } else { 20 }, 1.2);
    add(one, Lease, Kill, 20, 1.2 + promise * 0.3);
    if main {
        for channels in [10, 100] {
            let setup = Setup::Quorate {
                failover_ms,
                channels,
            };
            add(
                setup,
                Exclusive,
                Kill,
                20,
                if channels == 10 { 2.0 } else { 7.0 },
            );
        }
    }
    add(one, Exclusive, Term, 20, 1.2);
    add(one, Lease, Term, 20, 1.2);
    for fault in [Stop, Group, Partition] {
        for fence in [Exclusive, Lease, Management] {
            // Nobody closes the old connection before the broker's heartbeat is over.
            let slow = fault == Group && fence == Exclusive;
            add(
                one,
                fence,
                fault,
                if slow { 5 } else { 20 },
                if slow { 8.0 } else { 1.2 + promise },
            );
        }
    }
}

fn peer(cases: &mut Vec<Case>, setup: Setup, rows: &[(Fault, usize, f64)]) {
    let case = |(fault, trials, seconds): &(Fault, usize, f64)| Case {
        setup,
        what: What::Write,
        fault: *fault,
        trials: *trials,
        seconds: *seconds,
    };
    cases.extend(rows.iter().map(case));
}

fn lock(cases: &mut Vec<Case>, setup: Setup, ttl_ms: u64) {
    for fault in [Kill, Term, Stop] {
        let seconds = ttl_ms as f64 / 1000.0 * 2.2 + 0.4;
        cases.push(Case {
            setup,
            what: What::Lock(ttl_ms),
            fault,
            trials: 20,
            seconds,
        });
    }
}

/// Everything.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for failover_ms in [500, 200, 1000] {
        quorate(&mut cases, failover_ms);
    }
    let etcd = |heartbeat, election| Setup::Etcd {
        heartbeat,
        election,
    };
    peer(
        &mut cases,
        etcd(100, 1000),
        &[
            (Kill, 20, 3.0),
            (Term, 20, 1.5),
            (Stop, 20, 3.0),
            (Partition, 20, 3.5),
        ],
    );
    peer(
        &mut cases,
        etcd(20, 200),
        &[
            (Kill, 20, 1.3),
            (Term, 20, 1.0),
            (Stop, 20, 1.3),
            (Partition, 20, 1.5),
        ],
    );
    lock(&mut cases, etcd(20, 200), 1000);
    peer(&mut cases, etcd(20, 100), &[(Kill, 20, 1.2)]);
    let zookeeper = |tick| Setup::ZooKeeper { tick };
    peer(
        &mut cases,
        zookeeper(2000),
        &[
            (Kill, 20, 1.5),
            (Term, 20, 1.8),
            (Stop, 5, 13.0),
            (Partition, 5, 13.0),
        ],
    );
    peer(
        &mut cases,
        zookeeper(100),
        &[
            (Kill, 20, 1.2),
            (Term, 20, 1.5),
            (Stop, 20, 1.7),
            (Partition, 20, 1.7),
        ],
    );
    lock(&mut cases, zookeeper(100), 400);
    peer(&mut cases, REDIS_DEFAULT, &[(Kill, 3, 33.0)]);
    let tuned = Setup::Redis { down_after: 200 };
    peer(
        &mut cases,
        tuned,
        &[
            (Kill, 20, 2.5),
            (Term, 20, 2.5),
            (Stop, 20, 2.5),
            (Partition, 20, 2.5),
        ],
    );
    lock(&mut cases, tuned, 300);
    cases
}

/// What these options ask for.
pub fn chosen(options: &Options, partitions: bool) -> Vec<Case> {
    let mut cases = all();
    cases.retain(|case| {
        let quorate = match (case.setup, case.what) {
            (
                Setup::Quorate {
                    failover_ms,
                    channels,
                },
                What::Message(fence),
            ) => {
                asked(&options.failover_ms, &failover_ms)
                    && asked(&options.channels, &channels)
                    && asked(&options.fences, &fence)
            }
            _ => true,
        };
        quorate
            && case.system_asked(options)
            && asked(&options.faults, &case.fault)
            && (partitions || case.fault != Partition)
    });
    for case in &mut cases {
        case.trials = match options.quick {
            true => 1,
            false => options.trials.unwrap_or(case.trials),
        };
    }
    cases
}
