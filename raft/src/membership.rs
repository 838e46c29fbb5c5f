//! Who belongs: admission, promotion, and members that have moved.
//!
//! A newcomer's id is the index of a blank entry that the leader writes for it, so no id is
//! ever given twice. It becomes a learner, and asks by itself to vote once it has caught up
//! (see [`seek`]). Changes are made one at a time by the leader; what a leader that died has
//! left in a joint configuration is finished by its successor.
//!
//! A newcomer whose admission was lost on the way asks again and is given the same id: if
//! its name stands for a learner at the same peer address, of which the leader knows no
//! entry that it holds. Such a learner has no log, has never voted and counts for no quorum,
//! so whoever answers at that address may as well be it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use openraft::{
    ChangeMembers, Instant as _,
    async_runtime::watch::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};
use quorate_proto::peer::{self, admit_response::Outcome};
use tokio::time::{sleep, timeout_at};

use crate::{
    Admission, Member, MemberId, Node, ProposeError,
    network::{Fate, fate},
    node::{Inner, Retry, Tried, named},
    storage::{convert, types::StoredMembership},
};

/// How far behind a learner may be and still become a voter.
const CAUGHT_UP: u64 = 300;

/// Between two attempts at a change while another one is under way.
const CHANGE_PAUSE: Duration = Duration::from_millis(20);

/// Between two requests of a member that wants to vote or has moved.
const SEEK_FIRST: Duration = Duration::from_millis(50);
const SEEK_LONGEST: Duration = Duration::from_millis(1000);
const SEEK_PATIENCE: Duration = Duration::from_secs(10);

/// For one answer to a request that may be repeated.
const ASK_PATIENCE: Duration = Duration::from_secs(2);

/// Whether a member counts for quorums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It does.
    Voter,
    /// It only follows.
    Learner,
}

/// One member as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its id.
    pub id: MemberId,
    /// Its name and addresses.
    pub member: Member,
    /// Whether it counts for quorums.
    pub role: Role,
    /// Entries behind the leader's log; only the leader knows it of others.
    pub lag: Option<u64>,
    /// Whether the leader has heard from it within `failover`; only the leader knows.
    pub reachable: Option<bool>,
}

/// The members, ordered by id.
pub type Members = Vec<MemberStatus>;

type Changes = ChangeMembers<MemberId, Member>;

impl Node {
    /// Admits a newcomer as a learner, from any member; the newcomer then asks by itself to
    /// vote once it has caught up. A name or peer address that another member has is
    /// refused. Asking again with the same name and peer address gives the same id for as
    /// long as the newcomer has not begun to follow.
    pub async fn admit(
        &self,
        newcomer: Member,
        deadline: Instant,
    ) -> Result<Admission, ProposeError> {
        let (id, _) = self.inner.admit(0, newcomer, false, deadline).await?;
        Ok(Admission {
            cluster: self.inner.cluster.clone(),
            id,
        })
    }
}

impl Inner {
    /// The members with what the leader knows of them.
    pub(crate) fn members_now(&self) -> Members {
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
                let heard = heard.is_some_and(|at| at.elapsed() < self.timing.failover);
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

    /// Asks whoever leads to admit a newcomer (id 0), or to take in where a member is and
    /// that it wants to vote. Returns the id and whether it votes. May be asked again
    /// without harm, so what is unknown is retried.
    async fn admit(
        self: &Arc<Self>,
        id: MemberId,
        member: Member,
        vote: bool,
        deadline: Instant,
    ) -> Result<(MemberId, bool), ProposeError> {
        let mut retry = Retry::new(self, deadline);
        let mut doubt = None;
        let mut asked = self.id;
        loop {
            // A member that has moved hears from nobody, but somebody knows who leads.
            let leader = retry.leader().or_else(|| self.peers.after(asked));
            asked = leader.unwrap_or(asked);
            let tried = match leader {
                None => Tried::NotHere(None),
                Some(leader) if leader == self.id => {
                    self.admit_here(id, member.clone(), vote, deadline).await
                }
                Some(leader) => {
                    let request = peer::AdmitRequest {
                        id,
                        member: Some(convert::member_to_proto(&member)),
                        deadline_ms: retry.left_ms(),
                        vote,
                    };
                    let patience = Instant::now() + ASK_PATIENCE;
                    self.admit_at(leader, request, patience.min(deadline)).await
                }
            };
            let leader = match tried {
                Tried::Done(done) => return Ok(done),
                Tried::Refused(why) => return Err(ProposeError::Refused(why)),
                Tried::NotHere(leader) => leader,
                Tried::Unknown(why) => {
                    doubt = Some(why);
                    None
                }
            };
            if !retry.again(leader).await {
                return Err(match doubt {
                    Some(why) => ProposeError::Unknown(why),
                    None => ProposeError::NoQuorum {
                        waited_ms: retry.waited_ms(),
                    },
                });
            }
        }
    }

    async fn admit_at(
        &self,
        leader: MemberId,
        request: peer::AdmitRequest,
        deadline: Instant,
    ) -> Tried<(MemberId, bool)> {
        let Some(mut peer) = self.peers.get(leader) else {
            return Tried::NotHere(None);
        };
        match timeout_at(deadline.into(), peer.control.admit(request)).await {
            Err(_) => Tried::Unknown(format!("member {leader} did not answer in time")),
            Ok(Err(status)) if fate(&status) == Fate::NotDone => Tried::NotHere(None),
            Ok(Err(status)) => Tried::Unknown(format!("member {leader}: {}", status.message())),
            Ok(Ok(answer)) => match answer.into_inner().outcome {
                Some(Outcome::Admitted(done)) => Tried::Done((done.id, done.voter)),
                Some(Outcome::NotLeader(answer)) => Tried::NotHere(named(&answer)),
                Some(Outcome::Refused(why)) => Tried::Refused(why),
                None => Tried::Unknown(format!("the answer of member {leader} is empty")),
            },
        }
    }

    /// Does at this member, which must lead, what [`Inner::admit`] asks for.
    pub(crate) async fn admit_here(
        self: &Arc<Self>,
        id: MemberId,
        member: Member,
        vote: bool,
        deadline: Instant,
    ) -> Tried<(MemberId, bool)> {
        if !self.running() {
            return Tried::NotHere(None);
        }
        let node = self.clone();
        // On its own, because a change must not stop half way when the caller gives up.
        let work = tokio::spawn(async move {
            let turn = timeout_at(deadline.into(), node.changes.lock()).await;
            let Ok(_one_at_a_time) = turn else {
                return Tried::Unknown("other changes of the membership are under way".to_owned());
            };
            match id {
                0 => node.newcomer(member).await,
                _ => node.known(id, member, vote).await,
            }
        });
        match timeout_at(deadline.into(), work).await {
            Ok(Ok(done)) => done,
            Ok(Err(e)) => Tried::Unknown(format!("the change was cut short: {e}")),
            Err(_) => Tried::Unknown("no quorum took the change before the deadline".to_owned()),
        }
    }

    async fn newcomer(&self, member: Member) -> Tried<(MemberId, bool)> {
        let members = match self.membership_as_leader().await {
            Ok(membership) => list(&membership),
            Err(tried) => return tried,
        };
        if let Some(known) = members.iter().find(|m| m.member.name == member.name) {
            let same = known.member.peer == member.peer && known.role == Role::Learner;
            let followed = self.members_now().into_iter().find(|m| m.id == known.id);
            let followed = followed.is_none_or(|m| m.reachable != Some(false));
            if same && !followed && !self.holds_anything(known.id) {
                return Tried::Done((known.id, false));
            }
            return Tried::Refused(format!(
                "the name {:?} is taken by member {}, whose peer address is {}; give the \
                 newcomer another name",
                member.name, known.id, known.member.peer
            ));
        }
        if let Some(known) = members.iter().find(|m| m.member.peer == member.peer) {
            return Tried::Refused(format!(
                "the peer address {} is that of member {} ({:?}); give the newcomer its own",
                member.peer, known.id, known.member.name
            ));
        }
        let id = match self.raft.write_blank().await {
            Ok(written) => written.log_id.index,
            Err(e) => return self.not_changed(e),
        };
        let nodes = BTreeMap::from([(id, member)]);
        match self.change(Changes::AddNodes(nodes)).await {
            Ok(()) => Tried::Done((id, false)),
            Err(tried) => tried,
        }
    }

    async fn known(&self, id: MemberId, member: Member, vote: bool) -> Tried<(MemberId, bool)> {
        let members = match self.membership_as_leader().await {
            Ok(membership) => list(&membership),
            Err(tried) => return tried,
        };
        let Some(known) = members.iter().find(|m| m.id == id) else {
            return Tried::Refused(format!(
                "member {id} does not belong to this cluster any more; remove its data folder \
                 and let it join again"
            ));
        };
        if known.member != member {
            let taken = |m: &&MemberStatus| {
                m.id != id && (m.member.name == member.name || m.member.peer == member.peer)
            };
            if let Some(other) = members.iter().find(taken) {
                return Tried::Refused(format!(
                    "member {id} says that it is {:?} at {}, but that name or address is \
                     member {}'s",
                    member.name, member.peer, other.id
                ));
            }
            let nodes = BTreeMap::from([(id, member)]);
            if let Err(tried) = self.change(Changes::SetNodes(nodes)).await {
                return tried;
            }
        }
        if known.role == Role::Voter {
            return Tried::Done((id, true));
        }
        if !vote || !self.caught_up(id) {
            return Tried::Done((id, false));
        }
        match self
            .change(Changes::AddVoterIds(BTreeSet::from([id])))
            .await
        {
            Ok(()) => Tried::Done((id, true)),
            Err(tried) => tried,
        }
    }

    /// The membership in effect at this leader, which an earlier leader may have left in a
    /// joint configuration: that is finished first.
    async fn membership_as_leader<T>(&self) -> Result<Arc<StoredMembership>, Tried<T>> {
        let current = || async {
            let read = self
                .raft
                .with_raft_state(|s| s.membership_state.effective().clone());
            read.await.map_err(|_| Tried::NotHere(None))
        };
        let leader = self.tracker.current();
        if leader.leader != Some(self.id) {
            return Err(Tried::NotHere(leader.leader));
        }
        let membership = current().await?;
        if membership.membership().get_joint_config().len() < 2 {
            return Ok(membership);
        }
        self.change(Changes::AddVoterIds(BTreeSet::new())).await?;
        current().await
    }

    /// Makes one change; waits while another one is under way.
    async fn change<T>(&self, changes: Changes) -> Result<(), Tried<T>> {
        use ChangeMembershipError::InProgress;
        loop {
            match self.raft.change_membership(changes.clone(), true).await {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(InProgress(
                    _,
                )))) => sleep(CHANGE_PAUSE).await,
                Err(e) => return Err(self.not_changed(e)),
            }
        }
    }

    fn holds_anything(&self, id: MemberId) -> bool {
        let metrics = self.raft.metrics();
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

/// Asks until the group knows where this member is and lets it vote.
pub(crate) async fn seek(node: Arc<Inner>) {
    let mut pause = SEEK_FIRST;
    loop {
        let settled =
            |m: &MemberStatus| m.id == node.id && m.member == node.member && m.role == Role::Voter;
        if node.members.borrow().iter().any(settled) {
            return;
        }
        let deadline = Instant::now() + SEEK_PATIENCE;
        match node
            .admit(node.id, node.member.clone(), true, deadline)
            .await
        {
            Ok((_, true)) | Err(ProposeError::NoQuorum { .. }) => {}
            Ok((_, false)) => tracing::debug!(member = node.id, "has not caught up yet"),
            Err(e) => tracing::warn!(member = node.id, "can't take up its place yet: {e}"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(SEEK_LONGEST);
    }
}

/// Whenever this member has become leader: finishes a change that its predecessor began.
pub(crate) async fn tidy_up(node: Arc<Inner>) {
    let mut seen = node.tracker.subscribe();
    let mut done = 0;
    while let Ok(now) = seen
        .wait_for(|l| l.leading && l.term > done)
        .await
        .map(|l| *l)
    {
        let _one_at_a_time = node.changes.lock().await;
        match node.membership_as_leader::<()>().await {
            Ok(_) => done = now.term,
            Err(tried) => tracing::debug!(member = node.id, "a change is left over: {tried:?}"),
        }
        sleep(SEEK_FIRST).await;
    }
}

fn list(membership: &StoredMembership) -> Members {
    let voters: BTreeSet<MemberId> = membership.voter_ids().collect();
    let nodes = membership.membership().nodes();
    let members = nodes.map(|(id, member)| MemberStatus {
        id: *id,
        member: member.clone(),
        role: match voters.contains(id) {
            true => Role::Voter,
            false => Role::Learner,
        },
        lag: None,
        reachable: None,
    });
    members.collect()
}
