//! The cluster as the rest of a member uses it: typed writes, fresh reads, the state.

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_raft::{AppliedProposal, Node};
use quorate_resources::{AccessVerb, Kind};
use quorate_state::{AccessRequirement, Actor, Answer, Command, Permissions, State};
use quorate_types::{EffectiveTiming, ProposeError, ReadError, Timing};
use quorate_vault::{SealError, Vault};
use tokio::sync::watch;
use tracing::{Instrument, Span, debug_span};

/// The handle of this member's part in the cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClusterHandle {
    node: Node,
    state: watch::Receiver<Arc<State>>,
    timing: watch::Receiver<EffectiveTiming>,
    vault: Arc<Vault>,
    actor: Option<Arc<Actor>>,
}

impl ClusterHandle {
    /// Makes the handle. `state` is the receiver that [`crate::replica::StateReplica::new`]
    /// returned, for the replica that `node` runs; `vault` seals the secrets of what is proposed.
    pub fn new(node: Node, state: watch::Receiver<Arc<State>>, vault: Arc<Vault>) -> ClusterHandle {
        let timing = node.timing();
        ClusterHandle {
            node,
            state,
            timing,
            vault,
            actor: None,
        }
    }

    /// Returns a handle whose writes are on behalf of an actor: they are refused, here and again
    /// where they are applied, unless its permissions allow them.
    pub fn acting_for(&self, actor: Option<Arc<Actor>>) -> ClusterHandle {
        ClusterHandle {
            actor,
            ..self.clone()
        }
    }

    /// Returns the node: leadership, members, transfer.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Returns this member's vault.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Returns the timers of the promise as of now: during a change those of the longer one.
    pub fn timing(&self) -> Timing {
        self.timing.borrow().patience
    }

    /// Follows the timers in force.
    pub fn watch_timing(&self) -> watch::Receiver<EffectiveTiming> {
        self.timing.clone()
    }

    /// Returns true if a leader that was heard at `heard_at` is still taken to lead.
    pub fn is_fresh(&self, heard_at: Option<Instant>) -> bool {
        let lease = self.timing.borrow().lease.lease;
        heard_at.is_some_and(|at| at.elapsed() < lease)
    }

    /// Returns the state that this member has applied; it may lag behind the others.
    pub fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// Follows the state that this member applies.
    pub fn watch_state(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Returns the time by which a write or a fresh read must be answered: slightly less than twice
    /// the failover promise from now, so that the answer is out by then.
    pub fn write_deadline(&self) -> Instant {
        Instant::now() + answer_within(self.timing().failover)
    }

    /// Returns the answer that a write would get if it came next, as of `state`. Nothing changes.
    pub fn dry_run(&self, state: &State, command: &Command) -> Answer {
        if let Some(refused) = self.refusal(command) {
            return refused;
        }
        match command.check() {
            Ok(()) => self.redacted(state.dry_run(command)),
            Err(errors) => Answer::Invalid(errors),
        }
    }

    /// Returns the answer to a command that the actor may not propose.
    fn refusal(&self, command: &Command) -> Option<Answer> {
        let missing = self.state().refusal(self.actor.as_deref()?, command)?;
        Some(Answer::Forbidden(missing.to_string()))
    }

    /// Returns true if the actor may read a resource.
    pub fn may_read(&self, kind: Kind, name: &str) -> bool {
        let required = AccessRequirement::on_resource(AccessVerb::Read, kind, name);
        self.permissions().is_none_or(|it| it.allow(&required))
    }

    /// Takes out of an answer what it tells of things that the actor may not read.
    fn redacted(&self, answer: Answer) -> Answer {
        match self.permissions() {
            Some(permissions) => answer.redacted(&permissions),
            None => answer,
        }
    }

    /// Returns what the actor may do now; `None`: there is no actor, and nothing is refused.
    fn permissions(&self) -> Option<Permissions> {
        let actor = self.actor.as_deref()?;
        Some(self.state().permissions_of_actor(actor))
    }

    /// Writes, from any member. When it returns, the write is applied on this member. A command
    /// that this member's rules refuse is not proposed; the index is then of no entry. What is
    /// proposed has its secrets sealed: this is the one way by which resources come into the log.
    pub async fn propose(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<(u64, Answer), ProposeError> {
        if let Some(refused) = self.refusal(&command) {
            return Ok((0, refused));
        }
        if let Err(errors) = command.check() {
            return Ok((0, Answer::Invalid(errors)));
        }
        let command = self.sealed(command, deadline).await?;
        #[cfg(feature = "mutants")]
        if let Some(answered) = self.before_commit(&command, deadline).await {
            return Ok(answered);
        }
        let encoded = command.encode_for(self.actor.as_deref());
        let proposed = self.node.propose(encoded, deadline);
        let (index, answer) =
            read_answer(proposed.instrument(proposal_span(&command, None)).await?)?;
        Ok((index, self.redacted(answer)))
    }

    /// Seals the secrets of a put. Where there is no key for that yet, as in the first moments of a
    /// cluster or of a member, it is waited for.
    async fn sealed(&self, command: Command, deadline: Instant) -> Result<Command, ProposeError> {
        let mut states = self.state.clone();
        loop {
            let state = states.borrow_and_update().clone();
            let why = match seal(&self.vault, &state, &command) {
                Ok(None) => return Ok(command),
                Ok(Some(sealed)) => return Ok(sealed),
                Err(why) => why,
            };
            let revision = state.keyring().revision();
            let changed = states.wait_for(|now| now.keyring().revision() != revision);
            if !matches!(why, SealError::NoKey(_))
                || !matches!(tokio::time::timeout_at(deadline, changed).await, Ok(Ok(_)))
            {
                return Err(ProposeError::Sealed(self.why_sealed(&state, why)));
            }
        }
    }

    /// Says what has to be done so that secrets can be sealed.
    fn why_sealed(&self, state: &State, why: SealError) -> String {
        let members = self.node.members();
        let silent = members
            .iter()
            .filter(|it| !state.keyring().members().contains_key(&it.id))
            .map(|it| it.member.name.as_str());
        let silent: Vec<&str> = silent.collect();
        if silent.is_empty() || silent.len() == members.len() {
            return why.to_string();
        }
        format!("{why} (missing: {})", silent.join(", "))
    }

    /// Planted: what a leader answers to an unconditional put once it is in its own log.
    #[cfg(feature = "mutants")]
    async fn before_commit(&self, command: &Command, deadline: Instant) -> Option<(u64, Answer)> {
        use quorate_planted::{Mutant, planted};
        let Command::PutKey {
            key,
            precondition: None,
            ..
        } = command
        else {
            return None;
        };
        if !planted(Mutant::AckBeforeCommit) || !self.node.leadership().borrow().leading {
            return None;
        }
        let created = self.state().kv().get(key).is_none();
        let proposed = self.node.propose_uncommitted(command.encode(), deadline);
        let revision = proposed.await?;
        let answer = Answer::Done {
            revision,
            changed: true,
            created,
        };
        Some((revision, answer))
    }

    /// Writes as leader of exactly this term: never forwarded, never retried. A command that this
    /// member's rules refuse is not proposed, as in [`ClusterHandle::propose`].
    pub async fn propose_in_term(
        &self,
        term: u64,
        command: Command,
        deadline: Instant,
    ) -> Result<(u64, Answer), ProposeError> {
        if let Err(errors) = command.check() {
            return Ok((0, Answer::Invalid(errors)));
        }
        let proposed = self.node.propose_in_term(term, command.encode(), deadline);
        let span = proposal_span(&command, Some(term));
        read_answer(proposed.instrument(span).await?)
    }

    /// Returns the state with at least every write that was acknowledged anywhere before the call.
    pub async fn fresh_state(&self, deadline: Instant) -> Result<Arc<State>, ReadError> {
        let started = Instant::now();
        let barrier = self.node.read_barrier(deadline).await?;
        let mut state = self.state.clone();
        let applied = state.wait_for(|state| state.applied() >= barrier);
        match tokio::time::timeout_at(deadline, applied).await {
            Ok(Ok(state)) => Ok(state.clone()),
            // Too late, or the node is shutting down.
            Ok(Err(_)) | Err(_) => Err(ReadError::NoQuorum {
                waited_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }
}

/// Seals the secrets of a put; `None` where there are none.
fn seal(vault: &Vault, state: &State, command: &Command) -> Result<Option<Command>, SealError> {
    match command {
        Command::PutResource {
            kind,
            name,
            spec,
            precondition,
        } => {
            let sealed = vault.seal(state, *kind, name, spec)?;
            Ok(sealed.map(|spec| Command::PutResource {
                kind: *kind,
                name: name.clone(),
                spec,
                precondition: *precondition,
            }))
        }
        Command::PutResources(puts) => {
            let mut sealed = puts.clone();
            for it in &mut sealed {
                if let Some(spec) = vault.seal(state, it.kind, &it.name, &it.spec)? {
                    it.spec = spec;
                }
            }
            Ok(Some(Command::PutResources(sealed)))
        }
        _ => Ok(None),
    }
}

/// Leaves ten percent of the time for what happens before and after.
fn answer_within(failover: Duration) -> Duration {
    failover * 2 * 9 / 10
}

/// Returns the span of a proposal: of level debug, since every write has one. A proposal on behalf
/// of a message stands in that one's span, which has its correlation id.
fn proposal_span(command: &Command, term: Option<u64>) -> Span {
    debug_span!(
        "proposal",
        kind = command.name(),
        epoch = command.epoch(),
        term
    )
}

fn read_answer(
    AppliedProposal { index, answer }: AppliedProposal,
) -> Result<(u64, Answer), ProposeError> {
    match Answer::decode(&answer) {
        Some(answer) => Ok((index, answer)),
        None => Err(ProposeError::Unknown(format!(
            "log index {index} was applied, but its answer is of another version than this member's"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_out_within_twice_the_promise() {
        for failover_ms in [100, 500, 60_000] {
            let failover = Duration::from_millis(failover_ms);
            let within = answer_within(failover);
            assert!(within < failover * 2 && within > failover * 17 / 10);
        }
    }

    #[test]
    fn unreadable_answer_is_an_unknown_outcome() {
        let proposed = |answer: Vec<u8>| AppliedProposal {
            index: 7,
            answer: answer.into(),
        };
        assert_eq!(
            read_answer(proposed(Answer::NotFound.encode())),
            Ok((7, Answer::NotFound))
        );
        let unknown = read_answer(proposed(b"\x7a\x00".to_vec()));
        assert!(matches!(unknown, Err(ProposeError::Unknown(_))));
    }
}
