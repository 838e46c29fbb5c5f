//! Simulated group of members with one register each key.
//!
//! It is right, unless it is told to be wrong, with delays, lost answers and writes that are done
//! late.

use crate::run_fixture::MS;
use quorate_jepsen::history::{EventType, HistoryEvent};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

/// Planted bug of the simulated register.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SimulatedBug {
    None,
    /// Reads answer an older state at times.
    StaleReads(f64),
    /// Writes are acknowledged and not done at times.
    LostWrites(f64),
    /// Compare-and-sets don't compare at times.
    BlindSwaps(f64),
    /// Writes that are answered as failed are done at times.
    DirtyFailures(f64),
    /// Timeouts are recorded as failures: the harness is wrong, not the register.
    TimeoutsAsFailures,
}

/// Settings of the simulated group.
pub struct SimulatorSettings {
    pub seed: u64,
    pub operations: usize,
    pub clients: u64,
    pub operations_a_key: usize,
    pub bug: SimulatedBug,
}

struct PendingEffect {
    at: u64,
    client: u64,
    event: HistoryEvent,
}

/// Plays the simulation. Everything takes effect at a moment between asking and answering; what is
/// answered with `info` takes effect later, or never.
pub fn history(world: &SimulatorSettings) -> Vec<HistoryEvent> {
    let mut rng = StdRng::seed_from_u64(world.seed);
    // Each key's states along the log: (revision, value).
    let mut states: Vec<Vec<(u64, Value)>> = vec![vec![(0, Value::Null)]];
    let mut revision = 0;
    let mut processes: Vec<u64> = (0..world.clients).collect();
    let mut free: Vec<u64> = vec![0; world.clients as usize];
    let mut events: Vec<HistoryEvent> = Vec::new();
    let mut effects: Vec<PendingEffect> = Vec::new();
    let mut next = 1_u64;
    let mut begun = 0;
    while begun < world.operations || !effects.is_empty() {
        let soonest = free.iter().enumerate().min_by_key(|(_, at)| **at);
        let (client, asked_at) = soonest.map_or((0, 0), |(client, at)| (client, *at));
        effects.sort_by_key(|it| it.at);
        let due = effects.first().is_some_and(|it| it.at <= asked_at);
        if due || begun >= world.operations {
            let pending = effects.remove(0);
            take_effect(
                pending,
                world,
                &mut rng,
                &mut states,
                &mut revision,
                &mut events,
                &mut processes,
            );
            continue;
        }
        begun += 1;
        let key = begun / world.operations_a_key;
        if states.len() <= key {
            states.push(vec![(0, Value::Null)]);
        }
        next += 1;
        let (f, value) = match rng.random_range(0..10) {
            0..5 => ("read", Value::Null),
            5..8 => ("write", json!(next)),
            _ => {
                // What it believes to be there, which may be long gone.
                let known = &states[key][states[key].len() - 1].1;
                ("cas", json!([known, next]))
            }
        };
        let event = HistoryEvent {
            process: processes[client],
            kind: EventType::Invoke,
            f: f.to_owned(),
            key: Some(format!("k{key}")),
            value,
            time: asked_at,
            member: client as u64 % 3 + 1,
            revision: None,
            error: None,
        };
        events.push(event.clone());
        let effect = asked_at + rng.random_range(1..4 * MS);
        effects.push(PendingEffect {
            at: effect,
            client: client as u64,
            event,
        });
        free[client] = effect + rng.random_range(4 * MS..8 * MS);
    }
    events.sort_by_key(|it| (it.time, it.kind == EventType::Invoke));
    events
}

fn take_effect(
    pending: PendingEffect,
    world: &SimulatorSettings,
    rng: &mut StdRng,
    states: &mut [Vec<(u64, Value)>],
    revision: &mut u64,
    events: &mut Vec<HistoryEvent>,
    processes: &mut [u64],
) {
    let PendingEffect { at, client, event } = pending;
    let mut chance = |p: f64| rng.random_bool(p);
    let key: usize = event
        .key
        .as_deref()
        .map_or(0, |key| key[1..].parse().unwrap_or(0));
    let state = &mut states[key];
    let (latest, there) = state[state.len() - 1].clone();
    let mut answer = HistoryEvent {
        kind: EventType::Ok,
        time: at + MS / 2,
        ..event.clone()
    };
    if event.f == "read" {
        let stale = matches!(world.bug, SimulatedBug::StaleReads(p) if chance(p));
        let seen = if stale && state.len() > 1 {
            state[state.len() - 2].clone()
        } else {
            (latest, there)
        };
        if chance(0.05) {
            answer.kind = EventType::Fail;
        } else {
            (answer.revision, answer.value) = (Some(seen.0), seen.1);
        }
        events.push(answer);
        return;
    }
    let (unknown, refused) = (chance(0.05), chance(0.05));
    let done_anyway = !unknown || chance(0.6);
    let dirty = matches!(world.bug, SimulatedBug::DirtyFailures(p) if chance(p));
    let lost = matches!(world.bug, SimulatedBug::LostWrites(p) if chance(p));
    let blind = matches!(world.bug, SimulatedBug::BlindSwaps(p) if chance(p));
    let matches = event.f != "cas" || event.value[0] == there || blind;
    if refused && !unknown {
        answer.kind = EventType::Fail;
    }
    if (!refused || dirty || unknown) && matches && done_anyway {
        *revision += 1;
        answer.revision = Some(*revision);
        if !lost {
            let value = if event.f == "cas" {
                event.value[1].clone()
            } else {
                event.value.clone()
            };
            state.push((*revision, value));
        }
    }
    if !matches {
        answer.kind = EventType::Fail;
    }
    if unknown {
        answer.kind = match world.bug {
            SimulatedBug::TimeoutsAsFailures => EventType::Fail,
            _ => EventType::Info,
        };
        if answer.kind == EventType::Info {
            processes[client as usize] += world.clients;
        }
        // The client gives up before it is done.
        answer.time = at.min(event.time + MS);
    }
    if answer.kind != EventType::Ok {
        answer.revision = None;
    }
    events.push(answer);
}
