//! Changes of the membership, made by this member as leader.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{
    ChangeMembers,
    async_runtime::watch::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};
use quorate_clock::Instant;
use quorate_types::{Member, MemberId, MemberStatus, Role};
use tokio::time::{sleep, timeout_at};

use super::{MemberRegistry, list};
use crate::{node::LeaderAttempt, storage::raft_types::StoredMembership};

/// Entries that a learner may be behind and still become a voter.
const CAUGHT_UP: u64 = 300;

/// Pause between two attempts at a change while another one is under way.
const CHANGE_PAUSE: Duration = Duration::from_millis(20);

type MembershipChange = ChangeMembers<MemberId, Member>;

impl MemberRegistry {
    /// Does at this member, which must lead, what [`MemberRegistry::admit`] asks for.
    pub(crate) async fn admit_here(
        self: &Arc<Self>,
        id: MemberId,
        member: Member,
        vote: bool,
        deadline: Instant,
    ) -> LeaderAttempt<(MemberId, bool)> {
        if !self.consensus.is_running() {
            return LeaderAttempt::NotLeader(None);
        }
        if let Some(why) = unfit(&member) {
            return LeaderAttempt::Refused(why);
        }
        let registry = self.clone();
        // On its own, because a change must not stop half way when the caller gives up.
        let work = tokio::spawn(async move {
            let turn = timeout_at(deadline, registry.changes.lock()).await;
            let Ok(_one_at_a_time) = turn else {
                return LeaderAttempt::Unknown(
                    "other changes of the membership are under way".to_owned(),
                );
            };
            match id {
                0 => registry.admit_newcomer(member).await,
                _ => registry.update_member(id, member, vote).await,
            }
        });
        match timeout_at(deadline, work).await {
            Ok(Ok(done)) => done,
            Ok(Err(e)) => LeaderAttempt::Unknown(format!("the change was cut short: {e}")),
            Err(_) => {
                LeaderAttempt::Unknown("no quorum took the change before the deadline".to_owned())
            }
        }
    }

    async fn admit_newcomer(&self, member: Member) -> LeaderAttempt<(MemberId, bool)> {
        let members = match self.membership_as_leader().await {
            Ok(membership) => list(&membership),
            Err(tried) => return tried,
        };
        if let Some(known) = members.iter().find(|m| m.member.name == member.name) {
            let same = known.member.peer == member.peer && known.role == Role::Learner;
            let followed = self.members_now().into_iter().find(|m| m.id == known.id);
            let followed = followed.is_none_or(|m| m.reachable != Some(false));
            if same && !followed && !self.holds_anything(known.id) {
                return LeaderAttempt::Done((known.id, false));
            }
            return LeaderAttempt::Refused(format!(
                "the name {:?} is taken by member {}, whose peer address is {}; give the \
                 newcomer another name",
                member.name, known.id, known.member.peer
            ));
        }
        if let Some(known) = members.iter().find(|m| m.member.peer == member.peer) {
            return LeaderAttempt::Refused(format!(
                "the peer address {} is that of member {} ({:?}); give the newcomer its own",
                member.peer, known.id, known.member.name
            ));
        }
        let id = match self.consensus.raft.write_blank().await {
            Ok(written) => written.log_id.index,
            Err(e) => return LeaderAttempt::from_raft_error(self.consensus.id, e),
        };
        let nodes = BTreeMap::from([(id, member)]);
        match self.change(MembershipChange::AddNodes(nodes)).await {
            Ok(()) => LeaderAttempt::Done((id, false)),
            Err(tried) => tried,
        }
    }

    async fn update_member(
        &self,
        id: MemberId,
        member: Member,
        vote: bool,
    ) -> LeaderAttempt<(MemberId, bool)> {
        let members = match self.membership_as_leader().await {
            Ok(membership) => list(&membership),
            Err(tried) => return tried,
        };
        let Some(known) = members.iter().find(|m| m.id == id) else {
            return LeaderAttempt::Refused(format!(
                "member {id} does not belong to this cluster any more; remove its data folder \
                 and let it join again"
            ));
        };
        if known.member != member {
            let taken = |m: &&MemberStatus| {
                m.id != id && (m.member.name == member.name || m.member.peer == member.peer)
            };
            if let Some(other) = members.iter().find(taken) {
                return LeaderAttempt::Refused(format!(
                    "member {id} says that it is {:?} at {}, but that name or address is \
                     member {}'s",
                    member.name, member.peer, other.id
                ));
            }
            let nodes = BTreeMap::from([(id, member)]);
            if let Err(tried) = self.change(MembershipChange::SetNodes(nodes)).await {
                return tried;
            }
        }
        if known.role == Role::Voter {
            return LeaderAttempt::Done((id, true));
        }
        if !vote || !self.caught_up(id) {
            return LeaderAttempt::Done((id, false));
        }
        match self
            .change(MembershipChange::AddVoterIds(BTreeSet::from([id])))
            .await
        {
            Ok(()) => LeaderAttempt::Done((id, true)),
            Err(tried) => tried,
        }
    }

    /// Returns the membership in effect at this leader. A joint configuration that an earlier
    /// leader has left is finished first.
    async fn membership_as_leader<T>(&self) -> Result<Arc<StoredMembership>, LeaderAttempt<T>> {
        let current = || async {
            let read = self
                .consensus
                .raft
                .with_raft_state(|s| s.membership_state.effective().clone());
            read.await.map_err(|_| LeaderAttempt::NotLeader(None))
        };
        let leader = self.consensus.tracker.current();
        if leader.leader != Some(self.consensus.id) {
            return Err(LeaderAttempt::NotLeader(leader.leader));
        }
        if !self.consensus.is_confirmed() {
            return Err(LeaderAttempt::NotLeader(None));
        }
        let membership = current().await?;
        if membership.membership().get_joint_config().len() < 2 {
            return Ok(membership);
        }
        self.change(MembershipChange::AddVoterIds(BTreeSet::new()))
            .await?;
        current().await
    }

    /// Makes one change, and waits while another one is under way.
    async fn change<T>(&self, changes: MembershipChange) -> Result<(), LeaderAttempt<T>> {
        use ChangeMembershipError::InProgress;
        loop {
            match self
                .consensus
                .raft
                .change_membership(changes.clone(), true)
                .await
            {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(InProgress(
                    _,
                )))) => sleep(CHANGE_PAUSE).await,
                Err(e) => return Err(LeaderAttempt::from_raft_error(self.consensus.id, e)),
            }
        }
    }

    fn holds_anything(&self, id: MemberId) -> bool {
        let metrics = self.consensus.raft.metrics();
        let seen = metrics.borrow_watched();
        let replication = seen.replication.as_ref();
        replication.is_none_or(|r| r.get(&id).copied().flatten().is_some())
    }

    fn caught_up(&self, id: MemberId) -> bool {
        let members = self.members_now();
        let known = members.iter().find(|m| m.id == id);
        known.is_some_and(|m| m.reachable == Some(true) && m.lag.is_some_and(|n| n <= CAUGHT_UP))
    }
}

/// Finishes, whenever this member has become leader, a change that its predecessor began.
pub(crate) async fn finish_membership_changes(registry: Arc<MemberRegistry>) {
    let mut seen = registry.consensus.tracker.subscribe();
    let mut done = 0;
    while let Ok(now) = seen
        .wait_for(|l| l.leading && l.term > done)
        .await
        .map(|l| *l)
    {
        let _one_at_a_time = registry.changes.lock().await;
        match registry.membership_as_leader::<()>().await {
            Ok(_) => done = now.term,
            Err(tried) => tracing::debug!(
                member = registry.consensus.id,
                "a change is left over: {tried:?}"
            ),
        }
        sleep(CHANGE_PAUSE).await;
    }
}

/// Returns why a member can't be taken in as it is. Its addresses become parts of the URLs that
/// the others ask, and its name stands in logs and labels.
fn unfit(member: &Member) -> Option<String> {
    let Member {
        name,
        http,
        admin,
        peer,
    } = member;
    if name.len() > 255 || name.chars().any(char::is_control) {
        return Some(format!(
            "the name {name:?} can't be a member's: it must have at most 255 bytes and no control characters"
        ));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let odd = [http, admin, peer]
        .into_iter()
        .find(|it| !it.chars().all(plain))?;
    Some(format!("{odd:?} is no address: it must be host:port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piece_of_url_as_address_is_refused() {
        let member = |name: &str, admin: &str| Member {
            name: name.into(),
            http: "10.0.0.1:17010".into(),
            admin: admin.into(),
            peer: "[::1]:17210".into(),
        };
        assert_eq!(unfit(&member("one", "one.example:17110")), None);
        assert_eq!(unfit(&member("one", "")), None);
        for admin in ["169.254.169.254/latest/x?:80", "a@b:80", "a b:80", "a\n:80"] {
            assert!(unfit(&member("one", admin)).is_some(), "{admin}");
        }
        assert!(unfit(&member("a\nb", "one.example:17110")).is_some());
    }
}
