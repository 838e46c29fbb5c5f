//! A history: a group, and its faults and moves. It can be printed in words, and is its own replay.

use std::fmt;

use crate::chance::Chance;

/// Everything that happens follows from this.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// Of latencies and of the random part of timers.
    pub seed: u64,
    pub hosts: Vec<Host>,
    /// How many of them are voters at the beginning.
    pub voters: usize,
    /// Up to how long what has arrived, or is to be published, waits for its turn.
    pub lag_us: u64,
    /// What is done, each so many microseconds after the one before.
    pub moves: Vec<(u64, Move)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Host {
    /// How much faster than true time its clocks are, in millionths.
    pub ppm: i64,
    /// The promise in its settings when its process first starts.
    pub failover_ms: u64,
}

/// Members are counted from the one that was elected last: that is 0, the next one is 1.
/// `us` is how long it lasts, in microseconds.
#[rustfmt::skip]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Move {
    /// From one to another nothing gets through, or nothing of the log. It comes later or never.
    Cut { from: usize, to: usize, log_only: bool, held: bool, us: u64 },
    /// As `Cut`, all links of a member, both ways.
    Isolate { member: usize, held: bool, us: u64 },
    /// The log stands still everywhere; heartbeats and votes do not.
    Stuck { us: u64 },
    /// The next message from one to another is this much later.
    Late { from: usize, to: usize, us: u64 },
    /// The next one never comes.
    Lose { from: usize, to: usize },
    /// The process stands still.
    Pause { member: usize, us: u64 },
    /// The host sleeps.
    Suspend { member: usize, us: u64 },
    /// The process is killed, and started again later.
    Kill { member: usize, us: u64, failover_ms: u64 },
    /// The process is stopping and answers on for a while; then as `Kill`.
    Stop { member: usize, answers_us: u64, us: u64 },
    /// Connections to the leader are reset and refused, at these members (a bit for each).
    Forge { at: u8, us: u64 },
    /// An orderly end of the reign, and a transfer, unless that is refused.
    HandOver { to: usize, drain_us: u64, refused: bool },
    /// The next proposal's outcome is not known for as long as it may be true.
    Doubt,
    /// A client writes.
    Write,
    /// Other voters (a bit for each), by way of a joint configuration.
    Voters { set: u8 },
    /// A follower's timer runs out.
    Impatience { member: usize },
    /// The wall clock jumps.
    Wall { member: usize, us: i64 },
    /// The promise becomes another one at this member, while its process runs.
    Promise { member: usize, failover_ms: u64 },
}

const PROMISES: [u64; 5] = [100, 200, 500, 1_000, 2_000];

/// What may happen to a group. Each history has only some of it: with everything at once
/// nothing ever gets done.
const KINDS: u64 = 17;

impl History {
    pub fn of_seed(seed: u64) -> History {
        let mut chance = Chance::new(seed);
        let count = chance.pick(&[3, 3, 3, 4, 5]);
        let promise = chance.pick(&PROMISES);
        let alike = !chance.one_in(3);
        let skewed = chance.one_in(2);
        let hosts: Vec<Host> = (0..count)
            .map(|_| Host {
                ppm: match skewed {
                    true => chance.pick(&[-4_900, 0, 4_900]),
                    false => 0,
                },
                failover_ms: match alike {
                    true => promise,
                    false => chance.pick(&PROMISES),
                },
            })
            .collect();
        let voters = match chance.one_in(4) {
            true => 1 + chance.below(count) as usize,
            false => count as usize,
        };
        let lag_us = chance.pick(&[0, 0, 500, 5_000]);
        let kinds: Vec<u64> = (0..2 + chance.below(5))
            .map(|_| chance.below(KINDS))
            .collect();
        let moves = (0..3 + chance.below(14))
            .map(|_| {
                let gap = chance.micros(100, promise * 700);
                let kind = chance.pick(&kinds);
                (gap, a_move(kind, &mut chance, count, promise, alike))
            })
            .collect();
        History {
            seed: chance.next() % 1_000_000,
            hosts,
            voters,
            lag_us,
            moves,
        }
    }
}

fn a_move(kind: u64, chance: &mut Chance, count: u64, promise: u64, alike: bool) -> Move {
    let member = chance.below(count) as usize;
    let other = (member + 1 + chance.below(count - 1) as usize) % count as usize;
    let us = chance.micros(500, promise * 1_500);
    let held = chance.one_in(2);
    let failover_ms = match alike {
        true => promise,
        false => chance.pick(&PROMISES),
    };
    let any = chance.next() as u8;
    match kind {
        0 => Move::Cut {
            from: member,
            to: other,
            log_only: chance.one_in(4),
            held,
            us,
        },
        1 => Move::Isolate { member, held, us },
        2 => Move::Stuck { us: us * 3 },
        3 => Move::Late {
            from: member,
            to: other,
            us,
        },
        4 => Move::Lose {
            from: member,
            to: other,
        },
        5 => Move::Pause { member, us },
        6 => Move::Suspend { member, us },
        7 => Move::Kill {
            member,
            us,
            failover_ms,
        },
        8 => Move::Stop {
            member,
            answers_us: chance.micros(100, promise * 300),
            us,
        },
        9 => Move::Forge {
            at: any | any >> 4,
            us,
        },
        10 => Move::HandOver {
            to: member,
            drain_us: chance.micros(100, promise * 100),
            refused: chance.one_in(2),
        },
        11 => Move::Doubt,
        12 => Move::Write,
        13 => Move::Voters { set: any },
        14 => Move::Impatience { member },
        15 => Move::Wall {
            member,
            us: (us as i64) * if held { -1_000 } else { 1_000 },
        },
        _ => Move::Promise {
            member,
            failover_ms,
        },
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Host { failover_ms, .. } = self.hosts[0];
        write!(
            f,
            "{} members, {} of them voters",
            self.hosts.len(),
            self.voters
        )?;
        if self
            .hosts
            .iter()
            .all(|host| host.failover_ms == failover_ms)
        {
            write!(f, ", promise {failover_ms} ms")?;
        } else {
            let all = self.hosts.iter().map(|host| host.failover_ms.to_string());
            write!(f, ", promises {} ms", all.collect::<Vec<_>>().join(", "))?;
        }
        if self.hosts.iter().any(|host| host.ppm != 0) {
            let all = self.hosts.iter().map(|host| host.ppm.to_string());
            write!(
                f,
                ", clocks ahead by {} ppm",
                all.collect::<Vec<_>>().join(", ")
            )?;
        }
        writeln!(f, ", lag {}; seed {}", Time(self.lag_us), self.seed)?;
        let mut at = 0;
        for (gap, it) in &self.moves {
            at += gap;
            writeln!(f, "  at {}: {it}", Time(at))?;
        }
        Ok(())
    }
}

/// Told in milliseconds.
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ms", self.0 / 1_000, self.0 % 1_000)
    }
}

fn who(member: usize) -> String {
    match member {
        0 => "the leader".to_owned(),
        n => format!("member {n} after the leader"),
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Move::Cut {
                from,
                to,
                log_only,
                held,
                us,
            } => write!(
                f,
                "{} from {} to {} is {} for {}",
                if log_only { "the log" } else { "everything" },
                who(from),
                who(to),
                if held { "held back" } else { "lost" },
                Time(us)
            ),
            Move::Isolate { member, held, us } => write!(
                f,
                "everything from and to {} is {} for {}",
                who(member),
                if held { "held back" } else { "lost" },
                Time(us)
            ),
            Move::Stuck { us } => write!(f, "no log gets anywhere for {}", Time(us)),
            Move::Late { from, to, us } => write!(
                f,
                "the next message from {} to {} is {} late",
                who(from),
                who(to),
                Time(us)
            ),
            Move::Lose { from, to } => write!(
                f,
                "the next message from {} to {} is lost",
                who(from),
                who(to)
            ),
            Move::Pause { member, us } => {
                write!(
                    f,
                    "the process of {} stands still for {}",
                    who(member),
                    Time(us)
                )
            }
            Move::Suspend { member, us } => {
                write!(f, "the host of {} sleeps for {}", who(member), Time(us))
            }
            Move::Kill {
                member,
                us,
                failover_ms,
            } => write!(
                f,
                "{} is killed, and started after {} with a promise of {failover_ms} ms",
                who(member),
                Time(us)
            ),
            Move::Stop {
                member,
                answers_us,
                us,
            } => write!(
                f,
                "{} stops, answers for another {}, and is started after {}",
                who(member),
                Time(answers_us),
                Time(us)
            ),
            Move::Forge { at, us } => write!(
                f,
                "connections to the leader are refused at members {} after it for {}",
                bits(at),
                Time(us)
            ),
            Move::HandOver {
                to,
                drain_us,
                refused,
            } => write!(
                f,
                "the leader hands over to {} (drain {}{})",
                who(to),
                Time(drain_us),
                if refused {
                    "; refused after the release"
                } else {
                    ""
                }
            ),
            Move::Doubt => write!(f, "the outcome of the next proposal stays unknown"),
            Move::Write => write!(f, "a client writes"),
            Move::Voters { set } => write!(f, "the voters become {}", bits(set)),
            Move::Impatience { member } => {
                write!(f, "the election timer of {} runs out", who(member))
            }
            Move::Wall { member, us } => {
                write!(
                    f,
                    "the wall clock of {} jumps by {} ms",
                    who(member),
                    us / 1_000
                )
            }
            Move::Promise {
                member,
                failover_ms,
            } => {
                write!(f, "the promise at {} becomes {failover_ms} ms", who(member))
            }
        }
    }
}

fn bits(set: u8) -> String {
    let all = (0..8).filter(|n| set & (1 << n) != 0);
    all.map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
}
