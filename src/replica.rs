//! The replicated state as consensus sees it: bytes in, bytes out, and a view of the
//! state for everybody else on this member.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use quorate_raft as raft;
use tokio::sync::watch;
use tracing::{debug, info};

use crate::state::{Answer, Command, Event, Machine, State};

/// The state machine that a node replicates.
pub struct Replica {
    machine: Machine,
    views: watch::Sender<Arc<State>>,
}

impl Replica {
    /// An empty one, and where its state can be followed.
    pub fn new() -> (Replica, watch::Receiver<Arc<State>>) {
        let machine = Machine::default();
        let (views, view) = watch::channel(Arc::new(machine.state().clone()));
        (Replica { machine, views }, view)
    }
}

impl raft::Machine for Replica {
    fn apply(&mut self, entry: raft::Command<'_>) -> Vec<u8> {
        let answer = match Command::decode(Bytes::copy_from_slice(entry.bytes)) {
            Ok(command) => {
                let raft::Command {
                    index,
                    term,
                    leader,
                    ..
                } = entry;
                let (answer, events) = self.machine.apply(index, term, leader, &command);
                events.iter().for_each(tell);
                answer
            }
            // It stands in the log of every member: all of them pass over it alike.
            Err(error) => Answer::Invalid(vec![error]),
        };
        answer.encode()
    }

    fn publish(&mut self, applied: u64) {
        self.machine.passed(applied);
        self.views
            .send_replace(Arc::new(self.machine.state().clone()));
    }

    fn freeze(&self) -> Box<dyn raft::Frozen> {
        Box::new(Frozen(self.machine.state().clone()))
    }

    fn restore(&mut self, snapshot: &mut dyn Read) -> io::Result<()> {
        self.machine.restore(snapshot)
    }
}

/// The state shares its memory with the one that goes on, so freezing it costs nothing.
struct Frozen(State);

impl raft::Frozen for Frozen {
    fn write_to(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        self.0.write_to(out)
    }
}

fn tell(event: &Event) {
    match event {
        Event::TakenOver { holder, epoch } => {
            info!(holder, epoch, "a member has taken over the connectors");
        }
        Event::Released { epoch } => info!(epoch, "the connectors were released"),
        other => debug!(?other, "applied"),
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::Machine as _;

    use super::*;

    fn entry(index: u64, bytes: &[u8]) -> raft::Command<'_> {
        raft::Command {
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
    fn readers_see_what_was_published() {
        let (mut replica, view) = Replica::new();
        let answer = replica.apply(entry(5, &put("a")));
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
        replica.apply(entry(7, &put("b")));
        replica.publish(7);
        assert_eq!(state.kv().len(), 1, "a view has changed under its reader");
        assert_eq!(view.borrow().kv().len(), 2);
    }

    #[test]
    fn what_can_not_be_read_is_answered_and_changes_nothing() {
        let (mut replica, _view) = Replica::new();
        let before = replica.machine.clone();
        for bytes in [&b"\xff\xff\xff"[..], b"", b"\x7a\x01\x00"] {
            let answer = Answer::decode(&replica.apply(entry(1, bytes)));
            assert!(matches!(answer, Some(Answer::Invalid(_))), "{answer:?}");
        }
        assert_eq!(replica.machine, before);
    }

    #[test]
    fn a_frozen_copy_restores_what_was_there() {
        let (mut replica, _view) = Replica::new();
        replica.apply(entry(1, &put("a")));
        replica.publish(1);
        let frozen = replica.freeze();
        replica.apply(entry(2, &put("b")));
        let mut bytes = Vec::new();
        frozen.write_to(&mut bytes).unwrap();
        let (mut other, view) = Replica::new();
        other.restore(&mut &bytes[..]).unwrap();
        assert!(other.restore(&mut &bytes[..9]).is_err());
        other.publish(1);
        assert_eq!(view.borrow().kv().len(), 1);
        assert_eq!(view.borrow().applied(), 1);
    }
}
