//! Between openraft's types and the generated ones, for the wire and the disk alike.
//!
//! Free functions, because neither side is ours. Towards the generated types nothing
//! can fail; from them, whatever is missing is named.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;
use quorate_proto::peer;
use quorate_types::Member;

use super::types::{
    Entry, LeaderId, LogId, Membership, Proposal, SnapshotMeta, StoredMembership, Vote,
};

/// A message that decodes, but lacks what it must have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) String);

impl From<Malformed> for std::io::Error {
    fn from(e: Malformed) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, e)
    }
}

impl From<prost::DecodeError> for Malformed {
    fn from(e: prost::DecodeError) -> Self {
        Malformed(e.to_string())
    }
}

fn missing(what: &str) -> Malformed {
    Malformed(format!("{what} is missing"))
}

pub(crate) fn leader_id_to_proto(id: &LeaderId) -> peer::LeaderId {
    peer::LeaderId {
        term: id.term,
        member: id.node_id,
    }
}

pub(crate) fn leader_id_from_proto(id: &peer::LeaderId) -> LeaderId {
    LeaderId {
        term: id.term,
        node_id: id.member,
    }
}

pub(crate) fn vote_to_proto(vote: &Vote) -> peer::Ballot {
    peer::Ballot {
        leader: Some(leader_id_to_proto(&vote.leader_id)),
        committed: vote.committed,
    }
}

pub(crate) fn vote_from_proto(ballot: &peer::Ballot) -> Result<Vote, Malformed> {
    let leader = ballot.leader.as_ref();
    let leader = leader.ok_or_else(|| missing("the ballot's leader"))?;
    Ok(Vote {
        leader_id: leader_id_from_proto(leader),
        committed: ballot.committed,
    })
}

pub(crate) fn log_id_to_proto(id: &LogId) -> peer::LogId {
    peer::LogId {
        leader: Some(leader_id_to_proto(&id.leader_id)),
        index: id.index,
    }
}

pub(crate) fn log_id_from_proto(id: &peer::LogId) -> Result<LogId, Malformed> {
    let leader = id.leader.as_ref();
    let leader = leader.ok_or_else(|| missing("the log id's leader"))?;
    Ok(LogId::new(leader_id_from_proto(leader), id.index))
}

/// An absent log id is "none yet", on both sides.
pub(crate) fn opt_log_id_to_proto(id: Option<&LogId>) -> Option<peer::LogId> {
    id.map(log_id_to_proto)
}

pub(crate) fn opt_log_id_from_proto(id: Option<&peer::LogId>) -> Result<Option<LogId>, Malformed> {
    id.map(log_id_from_proto).transpose()
}

pub(crate) fn member_to_proto(member: &Member) -> peer::Member {
    peer::Member {
        name: member.name.clone(),
        http: member.http.clone(),
        admin: member.admin.clone(),
        peer: member.peer.clone(),
    }
}

pub(crate) fn member_from_proto(member: peer::Member) -> Member {
    Member {
        name: member.name,
        http: member.http,
        admin: member.admin,
        peer: member.peer,
    }
}

pub(crate) fn membership_to_proto(membership: &Membership) -> peer::Membership {
    let voters = membership.get_joint_config().iter().map(|set| peer::IdSet {
        ids: set.iter().copied().collect(),
    });
    let members = membership.nodes().map(|(id, member)| peer::MemberEntry {
        id: *id,
        member: Some(member_to_proto(member)),
    });
    peer::Membership {
        voters: voters.collect(),
        members: members.collect(),
    }
}

pub(crate) fn membership_from_proto(membership: peer::Membership) -> Result<Membership, Malformed> {
    let voters: Vec<BTreeSet<u64>> = membership
        .voters
        .into_iter()
        .map(|set| set.ids.into_iter().collect())
        .collect();
    let mut members = BTreeMap::new();
    for entry in membership.members {
        let member = entry.member;
        let member = member.ok_or_else(|| missing(&format!("member {}", entry.id)))?;
        members.insert(entry.id, member_from_proto(member));
    }
    Membership::new(voters, members).map_err(|e| Malformed(format!("the membership is wrong: {e}")))
}

pub(crate) fn entry_to_proto(entry: &Entry) -> peer::Entry {
    use peer::entry::Payload;
    peer::Entry {
        id: Some(log_id_to_proto(&entry.log_id)),
        payload: Some(match &entry.payload {
            EntryPayload::Blank => Payload::Blank(true),
            EntryPayload::Normal(proposal) => Payload::Command(proposal.0.clone()),
            EntryPayload::Membership(m) => Payload::Membership(membership_to_proto(m)),
        }),
    }
}

pub(crate) fn entry_from_proto(entry: peer::Entry) -> Result<Entry, Malformed> {
    use peer::entry::Payload;
    let id = entry.id.ok_or_else(|| missing("the entry's log id"))?;
    let payload = entry.payload;
    let payload = payload.ok_or_else(|| missing(&format!("the payload of entry {}", id.index)))?;
    Ok(Entry {
        log_id: log_id_from_proto(&id)?,
        payload: match payload {
            Payload::Blank(_) => EntryPayload::Blank,
            Payload::Command(bytes) => EntryPayload::Normal(Proposal(bytes)),
            Payload::Membership(m) => EntryPayload::Membership(membership_from_proto(m)?),
        },
    })
}

/// The header of a snapshot. Its `ballot` and `snapshot_id` belong to a transfer, and
/// `length` and `crc32c` to a file: the caller fills in what it has.
pub(crate) fn snapshot_meta_to_proto(meta: &SnapshotMeta) -> peer::SnapshotHeader {
    peer::SnapshotHeader {
        last: opt_log_id_to_proto(meta.last_log_id.as_ref()),
        membership_id: opt_log_id_to_proto(meta.last_membership.log_id().as_ref()),
        membership: Some(membership_to_proto(meta.last_membership.membership())),
        ..Default::default()
    }
}

pub(crate) fn snapshot_meta_from_proto(
    header: &peer::SnapshotHeader,
) -> Result<SnapshotMeta, Malformed> {
    let membership = header.membership.clone();
    let membership = membership.ok_or_else(|| missing("the snapshot's membership"))?;
    Ok(SnapshotMeta {
        last_log_id: opt_log_id_from_proto(header.last.as_ref())?,
        last_membership: StoredMembership::new(
            opt_log_id_from_proto(header.membership_id.as_ref())?,
            membership_from_proto(membership)?,
        ),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn log_id(term: u64, member: u64, index: u64) -> LogId {
        let leader = LeaderId {
            term,
            node_id: member,
        };
        LogId::new(leader, index)
    }

    fn membership() -> Membership {
        let member = |n: u64| Member {
            name: format!("m{n}"),
            http: format!("h:{n}"),
            admin: format!("a:{n}"),
            peer: format!("p:{n}"),
        };
        let members: BTreeMap<u64, Member> = (1..=4).map(|n| (n, member(n))).collect();
        let sets = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3])];
        Membership::new(sets, members).unwrap()
    }

    #[test]
    fn entries_come_back_as_they_went() {
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal(Bytes::from_static(b"\0command\xff"))),
            EntryPayload::Normal(Proposal(Bytes::new())),
            EntryPayload::Membership(membership()),
        ];
        for payload in payloads {
            let entry = Entry {
                log_id: log_id(7, 3, 0),
                payload,
            };
            assert_eq!(entry_from_proto(entry_to_proto(&entry)).unwrap(), entry);
        }
    }

    #[test]
    fn votes_and_snapshot_headers_come_back_as_they_went() {
        for vote in [Vote::new(3, 9), Vote::new_committed(4, 1)] {
            assert_eq!(vote_from_proto(&vote_to_proto(&vote)).unwrap(), vote);
        }
        let full = SnapshotMeta {
            last_log_id: Some(log_id(2, 1, 40)),
            last_membership: StoredMembership::new(Some(log_id(1, 1, 4)), membership()),
        };
        for meta in [full, SnapshotMeta::default()] {
            let header = snapshot_meta_to_proto(&meta);
            assert_eq!(snapshot_meta_from_proto(&header).unwrap(), meta);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let err = entry_from_proto(peer::Entry::default()).unwrap_err();
        assert_eq!(err.to_string(), "the entry's log id is missing");
        let entry = peer::Entry {
            id: Some(log_id_to_proto(&log_id(1, 1, 12))),
            payload: None,
        };
        let err = entry_from_proto(entry).unwrap_err();
        assert_eq!(err.to_string(), "the payload of entry 12 is missing");
        let err = vote_from_proto(&peer::Ballot::default()).unwrap_err();
        assert_eq!(err.to_string(), "the ballot's leader is missing");
        let stranger = peer::Membership {
            voters: vec![peer::IdSet { ids: vec![5] }],
            members: vec![],
        };
        let err = membership_from_proto(stranger).unwrap_err().to_string();
        assert!(err.starts_with("the membership is wrong"), "{err}");
    }
}
