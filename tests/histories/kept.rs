//! Histories that once broke a rule, shrunk, and lived through for ever.

use crate::{
    history::{History, Host, Move},
    world::World,
};

fn holds(history: &History) {
    let (verdict, _, tale) = World::new(history, true).run();
    if let Err(violation) = verdict {
        panic!("{violation}\n{history}\n{}", tale.join("\n"));
    }
}

fn group(seed: u64, promises: &[u64], moves: &[(u64, Move)]) -> History {
    let host = |failover_ms: &u64| Host {
        ppm: 0,
        failover_ms: *failover_ms,
    };
    History {
        seed,
        hosts: promises.iter().map(host).collect(),
        voters: promises.len(),
        lag_us: 0,
        moves: moves.to_vec(),
    }
}

/// The successor waited for a lease of its own length, and not of the one that was granted.
#[test]
fn successor_waits_for_lease_actually_granted() {
    let cut = Move::Isolate {
        member: 0,
        held: false,
        us: 86_577,
    };
    holds(&group(135_244, &[100, 500, 200], &[(24_500, cut)]));
}

/// A release whose outcome was unknown was forgotten, and its epoch acted under again.
#[test]
fn epoch_with_pending_release_is_not_reused() {
    let moves = [
        (1_000, Move::Stuck { us: 1_118_106 }),
        (
            13_000,
            Move::HandOver {
                to: 1,
                drain_us: 35,
                refused: true,
            },
        ),
        (1_200_000, Move::Write),
    ];
    holds(&group(77_195, &[500, 500, 500], &moves));
}

/// What a member that was stopping still answered was left out of the vote that it gave.
#[test]
fn vote_includes_leases_answered_while_stopping() {
    let moves = [
        (
            0,
            Move::HandOver {
                to: 1,
                drain_us: 28,
                refused: false,
            },
        ),
        (
            0,
            Move::Stop {
                member: 2,
                answers_us: 2_950,
                us: 34_804,
            },
        ),
    ];
    holds(&group(304_592, &[1_000, 1_000, 1_000], &moves));
}
