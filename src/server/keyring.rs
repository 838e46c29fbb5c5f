//! The keeper of the keyring: it takes the steps by which every member can open the cluster's
//! secrets, and no secret stays in clear.
//!
//! The steps follow from the replicated state alone, one after the other: this member announces its
//! public key; the leader adds the first version of the cluster's key once every member has done
//! so; whoever holds the key puts it into boxes for members that lack one; the leader has what is
//! in clear, or was sealed by an older version, sealed by the newest, a hundred resources at a
//! time; and it drops an old version by which nothing is sealed any more. So a rotation is begun by
//! adding a version, and goes on at whichever member leads, also after a restart.
//!
//! Before the first step all members have to know of the keyring: see
//! [`super::sealing_members`].
//!
//! Each step may be taken twice, and by two members: the state decides (see
//! [`quorate_state::keyring`]).

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_state::{
    Answer, Command, Keyring, KeyringCommand, State,
    keyring::{MemberSealKey, SealPublicKey},
};
use quorate_types::{MemberId, ProposeError};
use quorate_vault::{ResealCursor, SealError, Vault};
use tokio::time::{sleep, sleep_until};

use super::sealing_members::not_sealing;
use crate::{admin::peers::AdminPeers, cluster::ClusterHandle};

/// The pause after a step that was not taken.
const PAUSE: Duration = Duration::from_millis(200);
/// The time after which secrets that could not be sealed anew are tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// The time after which members that did not say that they seal are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The task that keeps the keyring.
pub(super) struct KeyringKeeper {
    cluster: ClusterHandle,
    vault: Arc<Vault>,
    peers: AdminPeers,
    /// The names of the members for which it was told that nothing is sealed.
    waits_for: Vec<String>,
    /// The place up to which secrets were sealed anew.
    cursor: ResealCursor,
    /// The time of the next look at secrets that were left as they are.
    again: Option<Instant>,
    /// The revision of the keyring at the last look.
    revision: u64,
}

/// What a step is decided by, beside the state.
struct GroupView {
    me: MemberId,
    leader: Option<MemberId>,
    members: Vec<MemberId>,
}

impl GroupView {
    fn leads(&self) -> bool {
        self.leader == Some(self.me)
    }
}

impl KeyringKeeper {
    pub(super) fn new(cluster: ClusterHandle, peers: AdminPeers) -> KeyringKeeper {
        let vault = cluster.vault().clone();
        KeyringKeeper {
            cluster,
            vault,
            peers,
            waits_for: Vec::new(),
            cursor: None,
            again: None,
            revision: 0,
        }
    }

    /// Runs for as long as the member does.
    pub(super) async fn keep(mut self) {
        let mut states = self.cluster.watch_state();
        let mut leadership = self.cluster.node().leadership();
        let mut members = self.cluster.node().watch_members();
        loop {
            let state = states.borrow_and_update().clone();
            let leader = leadership.borrow_and_update().leader;
            let group = GroupView {
                me: self.cluster.node().id(),
                leader,
                members: members.borrow_and_update().iter().map(|it| it.id).collect(),
            };
            show(&state, &self.vault);
            if self.revision != state.keyring().revision() {
                // Other keys may open what was left.
                (self.revision, self.again) = (state.keyring().revision(), None);
            }
            let step = if self.may_begin(&state).await {
                self.next_step(&state, &group)
            } else {
                self.again = Some(Instant::now() + ASK_AGAIN);
                Ok(None)
            };
            match step {
                Ok(Some(command)) => {
                    let reseals = matches!(command, Command::ResealResources(_));
                    if !self.take(command).await {
                        self.again = reseals.then(|| Instant::now() + PAUSE * 10);
                        sleep(PAUSE).await;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "the keyring can't be kept");
                    self.again = Some(Instant::now() + AGAIN);
                }
            }
            let seen = inputs(&state);
            let wake = sleep_until(self.again.unwrap_or_else(Instant::now));
            tokio::select! {
                changed = states.wait_for(|state| inputs(state) != seen) => if changed.is_err() { return },
                changed = leadership.wait_for(|now| now.leader != leader) => if changed.is_err() { return },
                changed = members.changed() => if changed.is_err() { return },
                () = wake, if self.again.is_some() => self.again = None,
            }
        }
    }

    /// Returns true if all members know of the keyring.
    async fn may_begin(&mut self, state: &State) -> bool {
        if state.keyring().revision() > 0 {
            return true;
        }
        let me = self.cluster.node().id();
        let members = self.cluster.node().watch_members().borrow().clone();
        if members.iter().all(|it| it.id != me) {
            return false;
        }
        let waits_for = not_sealing(&self.peers, me, &members).await;
        let may_begin = waits_for.is_empty();
        if waits_for != self.waits_for {
            if !may_begin {
                tracing::info!(
                    members = waits_for.join(", "),
                    "nothing is sealed yet: all members have to answer, and to run a version that seals"
                );
            }
            self.waits_for = waits_for;
        }
        may_begin
    }

    /// Returns the next step that this member can take.
    fn next_step(
        &mut self,
        state: &State,
        group: &GroupView,
    ) -> Result<Option<Command>, SealError> {
        let keyring = state.keyring();
        if announcement_due(keyring.members().get(&group.me), self.vault.public_key()) {
            return Ok(Some(command(KeyringCommand::Announce {
                member: group.me,
                public_key: self.vault.public_key(),
            })));
        }
        if keyring.newest() == 0 {
            let announced = |it: &MemberId| keyring.members().contains_key(it);
            let all = group.members.iter().all(announced) && !group.members.is_empty();
            if !group.leads() || !all {
                return Ok(None);
            }
            let first = self.vault.add_version(keyring, &group.members)?;
            return Ok(Some(command(first)));
        }
        if self.vault.missing_key(keyring).is_some() {
            return Ok(None);
        }
        if makes_boxes(keyring, group) {
            let boxes = self.vault.missing_boxes(keyring, &group.members)?;
            if !boxes.is_empty() {
                return Ok(Some(command(KeyringCommand::AddBoxes { boxes })));
            }
        }
        if !group.leads() {
            return Ok(None);
        }
        if let Some(resealed) = self.next_reseal(state)? {
            return Ok(Some(resealed));
        }
        let version = keyring.oldest();
        let unused = version < keyring.newest() && state.catalog().sealed_by(version) == 0;
        Ok(unused.then(|| command(KeyringCommand::DropVersion { version })))
    }

    /// Returns the next secrets that are to be sealed by the newest key.
    fn next_reseal(&mut self, state: &State) -> Result<Option<Command>, SealError> {
        let catalog = state.catalog();
        let is_left = catalog.secret_count() > catalog.sealed_by(state.keyring().newest());
        if !is_left || self.again.is_some() {
            self.cursor = self.cursor.take().filter(|_| is_left);
            return Ok(None);
        }
        let step = self.vault.reseal(state, self.cursor.take())?;
        let ends = step.next.is_none();
        self.cursor = step.next;
        if step.resources.is_empty() {
            // Some don't open here: there is nothing to do until something is another.
            self.again = ends.then(|| Instant::now() + AGAIN);
            return Ok(None);
        }
        Ok(Some(Command::ResealResources(step.resources)))
    }

    /// Proposes a step. Returns true if it was taken.
    async fn take(&self, command: Command) -> bool {
        let name = command.name();
        let deadline = self.cluster.write_deadline();
        let taken: Result<(u64, Answer), ProposeError> =
            self.cluster.propose(command, deadline).await;
        match taken {
            Ok((index, Answer::Done { changed, .. })) => {
                if changed {
                    tracing::info!(step = name, index, "the keyring has changed");
                }
                changed
            }
            Ok((index, answer)) => {
                tracing::debug!(
                    step = name,
                    index,
                    ?answer,
                    "a step of the keyring was not due"
                );
                false
            }
            Err(error) => {
                tracing::debug!(step = name, %error, "a step of the keyring was not taken yet");
                false
            }
        }
    }
}

fn command(it: KeyringCommand) -> Command {
    Command::Keyring(it.into())
}

/// The parts of the state whose change wakes the keeper. A put that is sealed by the newest key
/// changes none of them.
fn inputs(state: &State) -> (u64, u64) {
    let catalog = state.catalog();
    let old = catalog.secret_count() - catalog.sealed_by(state.keyring().newest());
    (state.keyring().revision(), old)
}

/// Returns true if the state doesn't know this member's key yet, or waits for another one that is
/// no longer its own.
fn announcement_due(known: Option<&MemberSealKey>, own: SealPublicKey) -> bool {
    known.is_none_or(|known| match known.pending {
        Some(pending) => pending != own,
        None => known.public_key != own,
    })
}

/// Returns true if this member is the one that makes boxes: the leader, or, where that has no key
/// itself, the first that has.
fn makes_boxes(keyring: &Keyring, group: &GroupView) -> bool {
    let holds = |member: &MemberId| {
        let newest = keyring.version(keyring.newest());
        let is_own = |it: &MemberSealKey| it.pending.is_none();
        newest.is_some_and(|it| it.boxes.contains_key(member))
            && keyring.members().get(member).is_some_and(is_own)
    };
    match group.leader {
        Some(leader) if holds(&leader) => leader == group.me,
        _ => group.members.iter().find(|it| holds(it)) == Some(&group.me),
    }
}

/// Shows in the metrics which version of the key is the newest, and 0 where this member has none.
fn show(state: &State, vault: &Vault) {
    let keyring = state.keyring();
    let held = match vault.missing_key(keyring) {
        None => keyring.newest(),
        Some(_) => 0,
    };
    metrics::gauge!("quorate_secret_key_version").set(f64::from(held));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(public_key: u8, pending: Option<u8>) -> MemberSealKey {
        let key = |byte| [byte; 32];
        MemberSealKey {
            public_key: key(public_key),
            pending: pending.map(key),
        }
    }

    #[test]
    fn key_is_announced_until_it_is_known() {
        let own = [1; 32];
        for (known, due) in [
            (None, true),
            (Some(known(1, None)), false),
            (Some(known(2, None)), true),
            (Some(known(2, Some(1))), false),
            (Some(known(2, Some(3))), true),
            // The old key is back: the other one is no longer waited for.
            (Some(known(1, Some(3))), true),
        ] {
            assert_eq!(announcement_due(known.as_ref(), own), due, "{known:?}");
        }
    }
}
