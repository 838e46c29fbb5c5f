//! Who belongs: admission, promotion, and members that have moved.
//!
//! A newcomer's id is the index of a blank entry that the leader writes for it, so no id is
//! ever given twice. It becomes a learner, and asks by itself to vote once it has caught up
//! (see [`seek`](ask::seek)). Changes are made one at a time by the leader; what a leader
//! that died has left in a joint configuration is finished by its successor.
//!
//! A newcomer whose admission was lost on the way asks again and is given the same id: if
//! its name stands for a learner at the same peer address, of which the leader knows no
//! entry that it holds. Such a learner has no log, has never voted and counts for no quorum,
//! so whoever answers at that address may as well be it.

mod admission;
mod change;

use openraft::{Instant as _, async_runtime::watch::WatchReceiver};

pub(crate) use admission::seek_voter_role;
pub(crate) use change::finish_membership_changes;

use quorate_types::{MemberList, MemberStatus, Role};

use crate::{node::NodeInner, storage::raft_types::StoredMembership};

impl NodeInner {
    /// The members with what the leader knows of them.
    pub(crate) fn members_now(&self) -> MemberList {
        let metrics = self.raft.metrics();
        let seen = metrics.borrow_watched();
        let mut members = list(&seen.membership_config);
        if let (Some(replication), Some(heartbeat)) = (&seen.replication, &seen.heartbeat) {
            let last = seen.last_log_index.map_or(0, |i| i + 1);
            for m in &mut members {
                let mine = m.id == self.id;
                let matched = replication.get(&m.id).copied().flatten();
                let behind = last.saturating_sub(matched.map_or(0, |id| id.index + 1));
                let heard = heartbeat.get(&m.id).copied().flatten();
                let heard = heard.is_some_and(|at| at.elapsed() < self.timing().patience.failover);
                m.lag = Some(if mine { 0 } else { behind });
                m.reachable = Some(mine || heard);
            }
        }
        members
    }

    /// Publishes a membership and takes in where everyone is.
    pub(crate) fn membership_changed(&self, membership: &StoredMembership) {
        let members = list(membership);
        for m in members.iter().filter(|m| m.id != self.id) {
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

/// In a joint configuration only who counts on both sides is a voter: losing one of the
/// others may still cost a quorum that it could be spared from afterwards.
fn list(membership: &StoredMembership) -> MemberList {
    let membership = membership.membership();
    let sets = membership.get_joint_config();
    let members = membership.nodes().map(|(id, member)| MemberStatus {
        id: *id,
        member: member.clone(),
        role: match sets.iter().all(|voters| voters.contains(id)) {
            true => Role::Voter,
            false => Role::Learner,
        },
        lag: None,
        reachable: None,
    });
    members.collect()
}
