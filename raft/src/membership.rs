//! Membership: admission of newcomers, promotion to voter, and members that have moved.
//!
//! A newcomer's id is the index of a blank entry that the leader writes for it, so no id is
//! ever given twice. The newcomer becomes a learner, and asks by itself to vote once it has
//! caught up (see [`seek_voter_role`]). Changes are made one at a time by the leader; a joint
//! configuration that a leader has left at its death is finished by its successor.
//!
//! A newcomer whose admission was lost on the way asks again and is given the same id: if
//! its name stands for a learner at the same peer address, of which the leader knows no
//! entry that it holds. Such a learner has no log, has never voted and counts for no quorum,
//! so a process that answers at that address may as well be it.

mod admission;
mod change;

use std::sync::Arc;

use openraft::{Instant as _, async_runtime::watch::WatchReceiver};
use quorate_types::{Member, MemberList, MemberStatus, Role};
use tokio::sync::watch;

pub(crate) use admission::seek_voter_role;
pub(crate) use change::finish_membership_changes;

use crate::{
    consensus::ConsensusHandle, network::PeerDirectory, storage::raft_types::StoredMembership,
};

/// List of the members, and the one place from which this member changes it.
pub(crate) struct MemberRegistry {
    consensus: Arc<ConsensusHandle>,
    peers: Arc<PeerDirectory>,
    /// This member, as it wants the group to know it.
    own: Member,
    members: watch::Sender<MemberList>,
    /// Held while this member, as leader, changes the membership.
    changes: tokio::sync::Mutex<()>,
}

impl MemberRegistry {
    pub(crate) fn new(
        consensus: Arc<ConsensusHandle>,
        peers: Arc<PeerDirectory>,
        own: Member,
    ) -> Self {
        MemberRegistry {
            consensus,
            peers,
            own,
            members: watch::Sender::new(Vec::new()),
            changes: tokio::sync::Mutex::new(()),
        }
    }

    /// Returns this member, as it wants the group to know it.
    pub(crate) fn own(&self) -> &Member {
        &self.own
    }

    /// Follows changes of the membership (ids, roles, addresses; not lag).
    pub(crate) fn subscribe(&self) -> watch::Receiver<MemberList> {
        self.members.subscribe()
    }

    /// Has all that follow the members look anew where they are.
    pub(crate) fn announce_move(&self) {
        self.members.send_modify(|_| {});
    }

    /// Returns the members with what the leader knows of them.
    pub(crate) fn members_now(&self) -> MemberList {
        let metrics = self.consensus.raft.metrics();
        let seen = metrics.borrow_watched();
        let mut members = list(&seen.membership_config);
        if let (Some(replication), Some(heartbeat)) = (&seen.replication, &seen.heartbeat) {
            let last = seen.last_log_index.map_or(0, |i| i + 1);
            let failover = || self.consensus.timing().patience.failover;
            for m in &mut members {
                let mine = m.id == self.consensus.id;
                let matched = replication.get(&m.id).copied().flatten();
                let behind = last.saturating_sub(matched.map_or(0, |id| id.index + 1));
                let heard = heartbeat.get(&m.id).copied().flatten();
                let heard = heard.is_some_and(|at| at.elapsed() < failover());
                m.lag = Some(if mine { 0 } else { behind });
                m.reachable = Some(mine || heard);
            }
        }
        members
    }

    /// Publishes a membership and takes in where the members are.
    pub(crate) fn membership_changed(&self, membership: &StoredMembership) {
        let members = list(membership);
        for m in members.iter().filter(|m| m.id != self.consensus.id) {
            self.peers.learn(m.id, &m.member);
        }
        self.peers.retain(|id| members.iter().any(|m| m.id == id));
        self.members.send_if_modified(|known| {
            let changed = *known != members;
            *known = members;
            changed
        });
    }
}

/// Lists the members. In a joint configuration only a member of both sides is a voter: losing
/// one of the others may still cost a quorum that could do without it afterwards.
fn list(membership: &StoredMembership) -> MemberList {
    let membership = membership.membership();
    let sets = membership.get_joint_config();
    let members = membership.nodes().map(|(id, member)| MemberStatus {
        id: *id,
        member: member.clone(),
        role: if sets.iter().all(|voters| voters.contains(id)) {
            Role::Voter
        } else {
            Role::Learner
        },
        lag: None,
        reachable: None,
    });
    members.collect()
}
