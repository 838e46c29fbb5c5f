//! From a history that breaks a rule to the smallest that does.

use crate::{
    checks::Rule,
    history::{History, Move},
    world::World,
};

/// Whether it breaks this rule.
fn breaks(history: &History, rule: Rule) -> bool {
    let (verdict, ..) = World::new(history, false).run();
    verdict.is_err_and(|violation| violation.rule == rule)
}

/// Leaves out and makes smaller what is not needed for the rule to be broken.
pub fn shrink(mut history: History, rule: Rule) -> History {
    for _ in 0..4 {
        let before = history.clone();
        let tried = |history: &mut History, change: &dyn Fn(&mut History)| {
            let mut smaller = history.clone();
            change(&mut smaller);
            if smaller != *history && breaks(&smaller, rule) {
                *history = smaller;
            }
        };
        let mut chunk = history.moves.len();
        while chunk > 0 {
            let mut at = 0;
            while at < history.moves.len() {
                let left = history.moves.len();
                tried(&mut history, &|it| leave_out(it, at, chunk));
                if history.moves.len() == left {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
        tried(&mut history, &|it| it.lag_us = 0);
        tried(&mut history, &|it| {
            it.hosts.iter_mut().for_each(|host| host.ppm = 0)
        });
        tried(&mut history, &|it| {
            let promise = it.hosts[0].failover_ms;
            it.hosts
                .iter_mut()
                .for_each(|host| host.failover_ms = promise);
        });
        tried(&mut history, &|it| it.voters = it.hosts.len());
        for count in 3..history.hosts.len() {
            tried(&mut history, &|it| {
                it.hosts.truncate(count);
                it.voters = it.voters.min(count);
            });
        }
        for n in 0..history.moves.len() {
            for part in [2, 4, 8] {
                tried(&mut history, &|it| it.moves[n].0 -= it.moves[n].0 / part);
                tried(&mut history, &|it| shorten(&mut it.moves[n].1, part));
            }
            tried(&mut history, &|it| it.moves[n].0 -= it.moves[n].0 % 1_000);
        }
        if history == before {
            break;
        }
    }
    history
}

/// What comes later stays where it is in time.
fn leave_out(history: &mut History, at: usize, count: usize) {
    let end = (at + count).min(history.moves.len());
    let gap: u64 = history.moves.drain(at..end).map(|(gap, _)| gap).sum();
    if let Some((later, _)) = history.moves.get_mut(at) {
        *later += gap;
    }
}

fn shorten(it: &mut Move, part: u64) {
    match it {
        Move::Cut { us, .. }
        | Move::Isolate { us, .. }
        | Move::Stuck { us }
        | Move::Late { us, .. }
        | Move::Pause { us, .. }
        | Move::Suspend { us, .. }
        | Move::Kill { us, .. }
        | Move::Forge { us, .. } => *us -= *us / part,
        Move::Stop { answers_us, us, .. } => {
            *answers_us -= *answers_us / part;
            *us -= *us / part;
        }
        Move::HandOver { drain_us, .. } => *drain_us -= *drain_us / part,
        _ => {}
    }
}
