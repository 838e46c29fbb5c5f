//! Conversion between openraft's types and the generated ones, for the wire and the disk alike.
//!
//! Free functions, because neither side is ours. Towards the generated types nothing can fail;
//! from them, each part that is missing is named.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;
use quorate_proto::peer;
use quorate_types::Member;

use super::raft_types::{
    FileSnapshotMeta, GroupMembership, LeaderId, LogEntry, LogEntryId, ProposedCommand,
    StoredMembership, StoredVote,
};

/// Error of a message that decodes, but lacks what it must have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct MalformedProto(pub(crate) String);

impl From<MalformedProto> for std::io::Error {
    fn from(e: MalformedProto) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, e)
    }
}

impl From<prost::DecodeError> for MalformedProto {
    fn from(e: prost::DecodeError) -> Self {
        MalformedProto(e.to_string())
    }
}

fn missing(what: &str) -> MalformedProto {
    MalformedProto(format!("{what} is missing"))
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

pub(crate) fn vote_to_proto(vote: &StoredVote) -> peer::Ballot {
    peer::Ballot {
        leader: Some(leader_id_to_proto(&vote.leader_id)),
        committed: vote.committed,
    }
}

pub(crate) fn vote_from_proto(ballot: &peer::Ballot) -> Result<StoredVote, MalformedProto> {
    let leader = ballot.leader.as_ref();
    let leader = leader.ok_or_else(|| missing("the ballot's leader"))?;
    Ok(StoredVote {
        leader_id: leader_id_from_proto(leader),
        committed: ballot.committed,
    })
}

pub(crate) fn log_id_to_proto(id: &LogEntryId) -> peer::LogId {
    peer::LogId {
        leader: Some(leader_id_to_proto(&id.leader_id)),
        index: id.index,
    }
}

pub(crate) fn log_id_from_proto(id: &peer::LogId) -> Result<LogEntryId, MalformedProto> {
    let leader = id.leader.as_ref();
    let leader = leader.ok_or_else(|| missing("the log id's leader"))?;
    Ok(LogEntryId::new(leader_id_from_proto(leader), id.index))
}

/// Converts a log id; an absent one is "none yet", on both sides.
pub(crate) fn opt_log_id_to_proto(id: Option<&LogEntryId>) -> Option<peer::LogId> {
    id.map(log_id_to_proto)
}

pub(crate) fn opt_log_id_from_proto(
    id: Option<&peer::LogId>,
) -> Result<Option<LogEntryId>, MalformedProto> {
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

pub(crate) fn membership_to_proto(membership: &GroupMembership) -> peer::Membership {
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

pub(crate) fn membership_from_proto(
    membership: peer::Membership,
) -> Result<GroupMembership, MalformedProto> {
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
    GroupMembership::new(voters, members)
        .map_err(|e| MalformedProto(format!("the membership is wrong: {e}")))
}

pub(crate) fn entry_to_proto(entry: &LogEntry) -> peer::Entry {
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

pub(crate) fn entry_from_proto(entry: peer::Entry) -> Result<LogEntry, MalformedProto> {
    use peer::entry::Payload;
    let id = entry.id.ok_or_else(|| missing("the entry's log id"))?;
    let payload = entry.payload;
    let payload = payload.ok_or_else(|| missing(&format!("the payload of entry {}", id.index)))?;
    Ok(LogEntry {
        log_id: log_id_from_proto(&id)?,
        payload: match payload {
            Payload::Blank(_) => EntryPayload::Blank,
            Payload::Command(bytes) => EntryPayload::Normal(ProposedCommand(bytes)),
            Payload::Membership(m) => EntryPayload::Membership(membership_from_proto(m)?),
        },
    })
}

/// Builds the header of a snapshot. Its `ballot` and `snapshot_id` belong to a transfer, and
/// `length` and `crc32c` to a file: the caller fills in those that it has.
pub(crate) fn snapshot_meta_to_proto(meta: &FileSnapshotMeta) -> peer::SnapshotHeader {
    peer::SnapshotHeader {
        last: opt_log_id_to_proto(meta.last_log_id.as_ref()),
        membership_id: opt_log_id_to_proto(meta.last_membership.log_id().as_ref()),
        membership: Some(membership_to_proto(meta.last_membership.membership())),
        ..Default::default()
    }
}

pub(crate) fn snapshot_meta_from_proto(
    header: &peer::SnapshotHeader,
) -> Result<FileSnapshotMeta, MalformedProto> {
    let membership = header.membership.clone();
    let membership = membership.ok_or_else(|| missing("the snapshot's membership"))?;
    Ok(FileSnapshotMeta {
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

    fn log_id(term: u64, member: u64, index: u64) -> LogEntryId {
        let leader = LeaderId {
            term,
            node_id: member,
        };
        LogEntryId::new(leader, index)
    }

    fn membership() -> GroupMembership {
        let member = |n: u64| Member {
            name: format!("m{n}"),
            http: format!("h:{n}"),
            admin: format!("a:{n}"),
            peer: format!("p:{n}"),
        };
        let members: BTreeMap<u64, Member> = (1..=4).map(|n| (n, member(n))).collect();
        let sets = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3])];
        GroupMembership::new(sets, members).unwrap()
    }

    #[test]
    fn entries_come_back_as_they_went() {
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(ProposedCommand(Bytes::from_static(b"\0command\xff"))),
            EntryPayload::Normal(ProposedCommand(Bytes::new())),
            EntryPayload::Membership(membership()),
        ];
        for payload in payloads {
            let entry = LogEntry {
                log_id: log_id(7, 3, 0),
                payload,
            };
            assert_eq!(entry_from_proto(entry_to_proto(&entry)).unwrap(), entry);
        }
    }

    #[test]
    fn votes_and_snapshot_headers_round_trip() {
        for vote in [StoredVote::new(3, 9), StoredVote::new_committed(4, 1)] {
            assert_eq!(vote_from_proto(&vote_to_proto(&vote)).unwrap(), vote);
        }
        let full = FileSnapshotMeta {
            last_log_id: Some(log_id(2, 1, 40)),
            last_membership: StoredMembership::new(Some(log_id(1, 1, 4)), membership()),
        };
        for meta in [full, FileSnapshotMeta::default()] {
            let header = snapshot_meta_to_proto(&meta);
            assert_eq!(snapshot_meta_from_proto(&header).unwrap(), meta);
        }
    }

    #[test]
    fn missing_message_part_is_named() {
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
