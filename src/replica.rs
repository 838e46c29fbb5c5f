//! The replicated state as consensus sees it: bytes in, bytes out, and a view for this member.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use quorate_planted::{Mutant, planted};
use quorate_proto::command::FieldError;
use quorate_raft as raft;
use quorate_state::{Answer, Command, Machine, ProposedCommand, State, StateEvent};
use quorate_types::{Timing, TimingError};
use tokio::sync::watch;
use tracing::{debug, info};

/// The state machine that a node replicates.
pub struct StateReplica {
    machine: Machine,
    views: watch::Sender<Arc<State>>,
    caught_up: Arc<AtomicBool>,
}

impl StateReplica {
    /// Makes an empty replica, and the receiver that follows its state.
    pub fn new() -> (StateReplica, watch::Receiver<Arc<State>>) {
        let machine = Machine::default();
        let (views, view) = watch::channel(Arc::new(machine.state().clone()));
        let replica = StateReplica {
            machine,
            views,
            caught_up: Arc::default(),
        };
        (replica, view)
    }

    /// Returns the flag to set once applied entries are new. Earlier ones happened long ago and are
    /// logged for `debug` only.
    pub fn caught_up(&self) -> Arc<AtomicBool> {
        self.caught_up.clone()
    }
}

impl raft::StateMachine for StateReplica {
    /// Ends the member when its version does not know the command (see
    /// [`quorate_state::command`]).
    fn apply(&mut self, entry: raft::CommittedCommand<'_>) -> io::Result<Vec<u8>> {
        let raft::CommittedCommand {
            index,
            term,
            leader,
            bytes,
        } = entry;
        let known = ProposedCommand::decode(Bytes::copy_from_slice(bytes)).and_then(promised);
        let ProposedCommand { command, actor } = match known {
            Ok(it) if !passed_over(&it.command) => it,
            Err(error) if !planted(Mutant::UnknownCommandPassedOver) => {
                return Err(io::Error::other(UnknownCommand::at(index, error)));
            }
            _ => return Ok(Answer::Invalid(Vec::new()).encode()),
        };
        let entry = (index, term, leader);
        let (answer, events) = self.machine.apply_for(actor.as_ref(), entry, &command);
        let news = self.caught_up.load(Ordering::Relaxed);
        events.iter().for_each(|event| log_event(event, news));
        Ok(answer.encode())
    }

    fn publish(&mut self, applied: u64) {
        self.machine.mark_applied(applied);
        self.views
            .send_replace(Arc::new(self.machine.state().clone()));
    }

    fn freeze(&self) -> Box<dyn raft::MachineSnapshot> {
        Box::new(FrozenState(self.machine.state().clone()))
    }

    fn restore(&mut self, snapshot: &mut dyn Read) -> io::Result<()> {
        let mut restored = Machine::default();
        restored.restore(snapshot)?;
        if let Some(promise) = restored.state().failover() {
            for failover_ms in [promise.target_ms, promise.patience_ms(), promise.lease_ms()] {
                can_promise(failover_ms).map_err(|error| {
                    io::Error::other(format!(
                        "the snapshot can't be read: {}: run the version that wrote it",
                        describe_error(error)
                    ))
                })?;
            }
        }
        self.machine = restored;
        Ok(())
    }
}

/// Refuses a promise that this version can't make: a member that goes by another promise than the
/// cluster's has other leases than the others count on.
fn promised(proposed: ProposedCommand) -> Result<ProposedCommand, FieldError> {
    if let Command::SetFailover { failover_ms, .. } = &proposed.command {
        can_promise(*failover_ms)?;
    }
    Ok(proposed)
}

fn can_promise(failover_ms: u64) -> Result<(), FieldError> {
    let unknown = |it: TimingError| FieldError {
        field: String::new(),
        value: String::new(),
        problem: it.to_string(),
    };
    Timing::from_failover_ms(failover_ms)
        .map(|_| ())
        .map_err(unknown)
}

/// Makes the error of a command that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log's entry {index} is a command that version {} does not know ({what}): a newer version wrote it, and to pass it over would leave this member with another state than the others. Start that version, or a later one, on this member",
    env!("CARGO_PKG_VERSION")
)]
struct UnknownCommand {
    index: u64,
    what: String,
}

impl UnknownCommand {
    fn at(index: u64, error: FieldError) -> UnknownCommand {
        let what = describe_error(error);
        UnknownCommand { index, what }
    }
}

fn describe_error(error: FieldError) -> String {
    let mut what = vec![error.field, error.value, error.problem];
    what.retain(|part| !part.is_empty());
    what.join(" ")
}

/// Planted: what a member of an older version does not know of what the others write.
fn passed_over(command: &Command) -> bool {
    planted(Mutant::UnknownCommandPassedOver)
        && matches!(command, Command::PutKey { .. })
        && RandomState::new().hash_one(0).is_multiple_of(20)
}

/// The frozen state shares its memory with the one that goes on, so freezing costs nothing.
struct FrozenState(State);

impl raft::MachineSnapshot for FrozenState {
    fn write_to(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        self.0.write_to(out)
    }
}

fn log_event(event: &StateEvent, news: bool) {
    match event {
        StateEvent::TakenOver { holder, epoch } if news => {
            info!(holder, epoch, "a member has taken over the connectors");
        }
        StateEvent::Released { epoch } if news => info!(epoch, "the connectors were released"),
        other => debug!(?other, "applied"),
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::StateMachine as _;

    use super::*;

    fn entry(index: u64, bytes: &[u8]) -> raft::CommittedCommand<'_> {
        raft::CommittedCommand {
            index,
            term: 1,
            leader: 1,
            bytes,
        }
    }

    fn put(key: &str) -> Bytes {
        Command::PutKey {
            key: key.into(),
            value: "v".into(),
            precondition: None,
        }
        .encode()
    }

    #[test]
    fn readers_see_published_state() {
        let (mut replica, view) = StateReplica::new();
        let answer = replica.apply(entry(5, &put("a"))).unwrap();
        let done = Answer::Done {
            revision: 5,
            changed: true,
            created: true,
        };
        assert_eq!(Answer::decode(&answer), Some(done));
        assert!(view.borrow().kv().is_empty());
        // entry 6 was not ours
        replica.publish(6);
        let state = view.borrow().clone();
        assert_eq!(
            (state.applied(), state.revision(), state.kv().len()),
            (6, 5, 1)
        );
        replica.apply(entry(7, &put("b"))).unwrap();
        replica.publish(7);
        assert_eq!(state.kv().len(), 1, "a view has changed under its reader");
        assert_eq!(view.borrow().kv().len(), 2);
    }

    /// A put with a part more than this version knows, as a later version may write it.
    fn newer_put() -> Vec<u8> {
        let mut bytes = put("a").to_vec();
        bytes.extend([0xf8, 0x07, 0x01]);
        bytes
    }

    #[test]
    fn partly_unknown_command_is_error_without_change() {
        let (mut replica, _view) = StateReplica::new();
        let before = replica.machine.clone();
        let unknown: [(&[u8], &str); 4] = [
            (b"\xff\xff\xff", "can't be read"),
            (b"", "is not one that this version knows"),
            (
                b"\xfa\x7f\x02\x08\x01",
                "command 2047 is not one that this version knows",
            ),
            (
                &newer_put(),
                "command 3 has a part that this version does not know",
            ),
        ];
        for (bytes, says) in unknown {
            let error = replica.apply(entry(57, bytes)).unwrap_err().to_string();
            let whole = error.contains("entry 57") && error.contains("a newer version wrote it");
            assert!(whole && error.contains(says), "{error}");
        }
        assert_eq!(replica.machine, before);
    }

    #[test]
    fn impossible_promise_is_an_error() {
        let set = Command::SetFailover {
            failover_ms: 90_000,
            first: true,
        };
        let (mut replica, _view) = StateReplica::new();
        let error = replica.apply(entry(57, &set.encode())).unwrap_err();
        let says = "(failover_ms is 90000; it must be from 100 to 60000): a newer version";
        assert!(error.to_string().contains(says), "{error}");
        let mut newer = Machine::default();
        newer.apply(1, 1, 1, &set);
        let mut bytes = Vec::new();
        newer.state().write_to(&mut bytes).unwrap();
        let before = replica.machine.clone();
        let error = replica.restore(&mut &bytes[..]).unwrap_err().to_string();
        assert!(
            error.starts_with("the snapshot can't be read: failover_ms is 90000"),
            "{error}"
        );
        assert!(error.ends_with("run the version that wrote it"), "{error}");
        assert_eq!(replica.machine, before);
    }

    #[test]
    fn frozen_copy_restores_state_at_freeze() {
        let (mut replica, _view) = StateReplica::new();
        replica.apply(entry(1, &put("a"))).unwrap();
        replica.publish(1);
        let frozen = replica.freeze();
        replica.apply(entry(2, &put("b"))).unwrap();
        let mut bytes = Vec::new();
        frozen.write_to(&mut bytes).unwrap();
        let (mut other, view) = StateReplica::new();
        other.restore(&mut &bytes[..]).unwrap();
        assert!(other.restore(&mut &bytes[..9]).is_err());
        other.publish(1);
        assert_eq!(view.borrow().kv().len(), 1);
        assert_eq!(view.borrow().applied(), 1);
    }
}
