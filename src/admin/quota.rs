//! How much may be kept: all of it is in the memory of every member and in each snapshot.
//!
//! Asked by the member that proposes a write, of the state as it is there, and by none that
//! applies it; so what is under way at the same moment may go over a bound by as much. What
//! takes room back, a deletion or a smaller value, is always let through.

use std::collections::BTreeMap;

use http::StatusCode;

use super::problem::Problem;
use crate::state::{BatchedPut, Command, Kind, State};

/// The bytes of all keys and values together.
const KV_BYTES_MAX: u64 = 1 << 30;
/// The resources.
const MOST: ResourcesMax = ResourcesMax {
    count: 250_000,
    bytes: 512 << 20,
};

/// How many resources there may be, and of how many bytes of JSON together.
#[derive(Clone, Copy)]
struct ResourcesMax {
    count: usize,
    bytes: u64,
}

/// Refuses a write for which there is no room.
pub fn check(state: &State, command: &Command) -> Result<(), Problem> {
    match command {
        Command::PutKey { key, value, .. } => check_key(state, key, value.len(), KV_BYTES_MAX),
        Command::PutResource {
            kind, name, spec, ..
        } => check_resources(state, &[(*kind, name, spec.len())], MOST),
        Command::PutResources(puts) => {
            let put = |it: &BatchedPut| (it.kind, it.name.clone(), it.spec.len());
            let puts: Vec<_> = puts.iter().map(put).collect();
            check_resources(state, &puts, MOST)
        }
        _ => Ok(()),
    }
}

fn check_key(state: &State, key: &str, value: usize, most: u64) -> Result<(), Problem> {
    let kv = state.kv();
    let now = kv.get(key).map_or(0, |it| key.len() + it.value.len()) as u64;
    let then = (key.len() + value) as u64;
    if then <= now || kv.bytes() - now + then <= most {
        return Ok(());
    }
    Err(full(format!(
        "the keys and values have {} bytes, and the cluster keeps at most {most}; delete some (`quorate kv delete KEY`)",
        kv.bytes()
    )))
}

fn check_resources(
    state: &State,
    puts: &[(Kind, impl AsRef<str>, usize)],
    most: ResourcesMax,
) -> Result<(), Problem> {
    let catalog = state.catalog();
    // Of two puts of one resource the later stays.
    let puts: BTreeMap<(Kind, &str), usize> = puts
        .iter()
        .map(|(kind, name, spec)| ((*kind, name.as_ref()), *spec))
        .collect();
    let (mut fresh, mut before, mut then) = (0, 0, 0);
    for ((kind, name), spec) in puts {
        match catalog.get(kind, name) {
            Some(stored) => before += stored.spec_bytes(),
            None => fresh += 1,
        }
        then += spec as u64;
    }
    if fresh > 0 && catalog.len() + fresh > most.count {
        return Err(full(format!(
            "there are {} resources, and the cluster keeps at most {}; delete some (`quorate delete KIND NAME`)",
            catalog.len(),
            most.count
        )));
    }
    if then > before && catalog.spec_bytes() - before + then > most.bytes {
        return Err(full(format!(
            "the resources have {} bytes of JSON, and the cluster keeps at most {}; delete some (`quorate delete KIND NAME`)",
            catalog.spec_bytes(),
            most.bytes
        )));
    }
    Ok(())
}

fn full(detail: String) -> Problem {
    let detail = format!("nothing was written: {detail}");
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "quota", detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::Machine;

    fn put_key(key: &str, bytes: usize) -> Command {
        Command::PutKey {
            key: key.into(),
            value: vec![7_u8; bytes].into(),
            precondition: None,
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_takes_room_back_is_let_through() {
        let mut machine = Machine::default();
        machine.apply(1, 1, 1, &put_key("a", 99));
        machine.apply(2, 1, 1, &put_key("b", 99));
        machine.apply(3, 1, 1, &put_key("b", 49));
        let state = machine.state();
        assert_eq!(state.kv().bytes(), 150);
        let code = |it: Result<(), Problem>| it.err().map(|it| (it.status().as_u16(), it.code()));
        let quota = Some((507, "quota"));
        assert_eq!(code(check_key(state, "c", 49, 200)), None);
        assert_eq!(code(check_key(state, "c", 50, 200)), quota);
        assert_eq!(code(check_key(state, "b", 99, 200)), None);
        assert_eq!(code(check_key(state, "b", 100, 200)), quota);
        // Over the bound already: a smaller value helps.
        assert_eq!(code(check_key(state, "a", 98, 100)), None);
        assert_eq!(code(check(state, &put_key("c", 1000))), None);

        machine.apply(
            4,
            1,
            1,
            &Command::DeleteKey {
                key: "a".into(),
                precondition: None,
            },
        );
        assert_eq!(machine.state().kv().bytes(), 50);
    }

    #[test]
    fn so_many_resources_and_no_more() {
        let mut machine = Machine::default();
        let spec = json!({"name": "a", "upstream": "http://127.0.0.1:9"}).to_string();
        let put = Command::PutResource {
            kind: Kind::Service,
            name: "a".into(),
            spec: spec.into(),
            precondition: None,
        };
        machine.apply(1, 1, 1, &put);
        let state = machine.state();
        assert!(state.catalog().spec_bytes() > 0);
        let ask = |names: &[&str], count| {
            let puts: Vec<_> = names.iter().map(|it| (Kind::Service, *it, 40)).collect();
            check_resources(state, &puts, ResourcesMax { count, ..MOST }).is_ok()
        };
        assert!(ask(&["a"], 1));
        assert!(ask(&["a", "b"], 2));
        assert!(!ask(&["b"], 1));
        assert!(!ask(&["b", "c"], 2));
        assert!(check(state, &put).is_ok());
    }

    #[test]
    fn a_resource_that_grows_counts_by_its_growth() {
        let mut machine = Machine::default();
        for (index, name) in [(1, "a"), (2, "b")] {
            let spec = json!({"name": name, "upstream": "http://127.0.0.1:9"}).to_string();
            let put = Command::PutResource {
                kind: Kind::Service,
                name: name.into(),
                spec: spec.into(),
                precondition: None,
            };
            machine.apply(index, 1, 1, &put);
        }
        let state = machine.state();
        let now = state.catalog().spec_bytes();
        let each = usize::try_from(now / 2).unwrap();
        let ask = |puts: &[(&str, usize)], bytes| {
            let puts: Vec<_> = puts
                .iter()
                .map(|(name, spec)| (Kind::Service, *name, *spec))
                .collect();
            check_resources(state, &puts, ResourcesMax { bytes, ..MOST }).is_ok()
        };
        assert!(ask(&[("a", each + 5)], now + 5));
        assert!(!ask(&[("a", each + 6)], now + 5));
        assert!(ask(&[("a", each + 6), ("b", each - 1)], now + 5));
        assert!(!ask(&[("a", each + 3), ("b", each + 3)], now + 5));
        assert!(!ask(&[("a", each), ("c", 6)], now + 5));
        // The later of two puts is the one that stays.
        assert!(ask(&[("a", each + 100), ("a", each)], now));
        assert!(!ask(&[("a", each), ("a", each + 100)], now));
        // Over the bound already: what doesn't grow helps.
        assert!(ask(&[("a", each)], now - 1));
        assert!(ask(&[("a", each - 1)], now - 50));
    }
}
