//! A thousand histories a second: the real deciders of votes, takeovers and target states, in an
//! abstract group, with a clock for each host, in which everything goes wrong that can.
//!
//! `HISTORIES_SECONDS` says for how long, `HISTORIES_SEED` where to begin; with no seconds it
//! is the one history of that seed. One that breaks a rule is shrunk and told in words.
//!
//! Real are what `quorate_raft::decision_harness` and `quorate_supervisor::decision_core` export,
//! and the state machine. Consensus (`votes`, `log`), the connections and the processes are made
//! up, after what openraft and the peer server do; `reigns` and `deaths` repeat what
//! `ReignDriver` and `election::early_election` do around their deciders. Disks lose nothing.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for whoever runs it"
)]

mod befall;
mod chance;
mod checks;
mod clocks;
mod deaths;
mod group;
mod history;
mod kept;
mod links;
mod log;
#[cfg(feature = "mutants")]
mod planted;
mod reigns;
mod shrink;
mod votes;
mod world;

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use checks::Violation;
use history::History;
use quorate_clock::Instant;
use world::World;

/// Without `HISTORIES_SECONDS`.
const SHORT: u64 = 5;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|e| panic!("{name} is {value:?}; it must be a number: {e}")))
}

/// How often what is worth testing has happened.
#[derive(Debug, Default)]
struct Reached {
    histories: u64,
    takeovers: u64,
    acted: u64,
    releases: u64,
    unknown: u64,
    deaths: u64,
    joint: u64,
}

impl Reached {
    fn add(&mut self, other: &Reached) {
        self.histories += other.histories;
        self.takeovers += other.takeovers;
        self.acted += other.acted;
        self.releases += other.releases;
        self.unknown += other.unknown;
        self.deaths += other.deaths;
        self.joint += other.joint;
    }
}

/// One history, and what it came to.
fn live(history: &History) -> (Result<(), Violation>, Reached) {
    let (verdict, book, _) = World::new(history, false).run();
    let reached = Reached {
        histories: 1,
        takeovers: book.takeovers,
        acted: book.acted,
        releases: book.releases,
        unknown: book.unknown,
        deaths: book.deaths,
        joint: book.joint,
    };
    (verdict, reached)
}

/// A failure, as somebody wants to read it.
fn told(seed: u64, history: &History, violation: &Violation) -> String {
    let small = shrink::shrink(history.clone(), violation.rule);
    let (verdict, _, tale) = World::new(&small, true).run();
    let violation = verdict.expect_err("it broke a rule before");
    format!(
        "{violation}\n\nmake histories SEED={seed} SECONDS=0 lives it through again. Shrunk:\n{small}\n\
         What happens:\n{}\n\nTo be kept:\n{small:#?}",
        tale.join("\n")
    )
}

/// Beyond all seeds.
const STOP: u64 = u64::MAX / 2;

/// Each one takes the next seed, until the time is over or one has broken a rule.
fn work(next: &AtomicU64, until: Instant, first: u64) -> (Reached, Option<(u64, Violation)>) {
    let mut reached = Reached::default();
    loop {
        let seed = next.fetch_add(1, Relaxed);
        if seed != first && (seed >= STOP || Instant::now() >= until) {
            return (reached, None);
        }
        let (verdict, one) = live(&History::of_seed(seed));
        reached.add(&one);
        if let Err(violation) = verdict {
            // The others stop too: nobody waits until the end of an hour.
            next.store(STOP, Relaxed);
            return (reached, Some((seed, violation)));
        }
    }
}

#[test]
fn histories_hold() {
    #[cfg(feature = "mutants")]
    quorate_planted::plant_as_asked().expect("a bug that there is");
    let first = number("HISTORIES_SEED").unwrap_or_else(|| {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        since.as_micros() as u64
    });
    let seconds = number("HISTORIES_SECONDS").unwrap_or(SHORT);
    let workers = match seconds {
        0 => 1,
        _ => std::thread::available_parallelism().map_or(1, |it| it.get()),
    };
    let (next, began) = (AtomicU64::new(first), Instant::now());
    let until = began + Duration::from_secs(seconds);
    let ends: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..workers)
            .map(|_| scope.spawn(|| work(&next, until, first)))
            .collect();
        let ends = all.into_iter().map(|it| it.join());
        ends.map(|end| end.expect("a history that goes on for ever"))
            .collect()
    });
    let mut reached = Reached::default();
    ends.iter().for_each(|(one, _)| reached.add(one));
    if let Some((seed, violation)) = ends.iter().find_map(|(_, broken)| broken.as_ref()) {
        let history = History::of_seed(*seed);
        panic!("after {reached:?}: {}", told(*seed, &history, violation));
    }
    let a_second = reached.histories as f64 / began.elapsed().as_secs_f64();
    println!("from seed {first} on: {reached:?}, {a_second:.0} a second");
}
