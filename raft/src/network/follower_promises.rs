//! Promises of followers: what each has acknowledged to this leader, and who denies to have it.
//!
//! A member acknowledges an entry once it is on its disk. If it denies to have that entry later,
//! its disk has lost what was synced, or an old copy of its folder was put back. Two things follow:
//!
//! 1. **The leader goes on.** It surely has the entry. If it ended, as openraft does unless
//!    `allow_log_reversion` is set, the others could elect one of those without it, and an entry
//!    that only these two had acknowledged would be gone for good; alive it sends it anew.
//! 2. **The follower counts for nothing** until it has acknowledged the entries again: openraft
//!    forgets its progress. What was committed stays so; what comes later needs a quorum of
//!    acknowledgements that are true now.
//!
//! Meanwhile fewer disks than promised have the entries in between, so it is told of, as an error.
//! Within one term that is never a false alarm: no leader takes back what it has sent.

use std::collections::BTreeMap;

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use parking_lot::Mutex;
use quorate_types::MemberId;

use crate::storage::raft_types::{LogEntryId, Types};

/// Last entry that a follower has acknowledged in a term.
#[derive(Clone, Copy, Debug)]
struct AcknowledgedLog {
    term: u64,
    last: LogEntryId,
}

/// What all followers have acknowledged to this member while it leads.
#[derive(Debug, Default)]
pub(crate) struct FollowerPromises(Mutex<BTreeMap<MemberId, AcknowledgedLog>>);

impl FollowerPromises {
    /// Takes in the answer of a follower to a request that ended with `last`.
    pub(super) fn answered(
        &self,
        follower: MemberId,
        request: &SentAppend,
        answer: &AppendEntriesResponse<Types>,
    ) {
        match answer {
            AppendEntriesResponse::Success => self.kept(follower, request),
            AppendEntriesResponse::Conflict if self.is_broken(follower, request) => {
                tell_of(follower, request.previous);
            }
            _ => {}
        }
    }

    fn kept(&self, follower: MemberId, request: &SentAppend) {
        let Some(last) = request.last else {
            return;
        };
        let mut all = self.0.lock();
        let term = request.term;
        let known = all
            .entry(follower)
            .or_insert(AcknowledgedLog { term, last });
        if known.term != term || known.last < last {
            *known = AcknowledgedLog { term, last };
        }
    }

    /// Returns true if a follower that has no such previous entry had acknowledged it, once for
    /// each time.
    fn is_broken(&self, follower: MemberId, request: &SentAppend) -> bool {
        let mut all = self.0.lock();
        let broken = all.get(&follower).is_some_and(|known| {
            known.term == request.term && request.previous <= Some(known.last)
        });
        if broken {
            all.remove(&follower);
        }
        broken
    }
}

fn tell_of(follower: MemberId, entry: Option<LogEntryId>) {
    metrics::counter!("quorate_promises_broken_total").increment(1);
    let entry = entry.map_or(0, |entry| entry.index);
    tracing::error!(
        member = follower,
        entry,
        "a member does not have an entry that it had acknowledged: its disk has lost what was synced, or an old copy of its data folder was put back; it is sent anew and counts for nothing until it has it. Look at that member's disk"
    );
}

/// Request of a log, without its entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentAppend {
    /// The leader's term.
    pub(super) term: u64,
    /// The entry before those of the request.
    pub(super) previous: Option<LogEntryId>,
    /// The end of the other side's log once it has taken the request.
    pub(super) last: Option<LogEntryId>,
}

impl From<&AppendEntriesRequest<Types>> for SentAppend {
    fn from(request: &AppendEntriesRequest<Types>) -> SentAppend {
        let last = request.entries.last().map(|entry| entry.log_id);
        SentAppend {
            term: request.vote.leader_id.term,
            previous: request.prev_log_id,
            last: last.or(request.prev_log_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::raft_types::StoredVote;

    fn sent(term: u64, previous: u64, last: u64) -> SentAppend {
        let id = |index| Some(LogEntryId::new(StoredVote::new(3, 1).leader_id, index));
        SentAppend {
            term,
            previous: id(previous),
            last: id(last),
        }
    }

    #[test]
    fn lost_entry_is_told_of_once() {
        let promises = FollowerPromises::default();
        let broken = |previous| promises.is_broken(2, &sent(3, previous, previous + 5));
        assert!(!broken(4), "nothing is known of it");
        promises.kept(2, &sent(3, 4, 9));
        promises.kept(2, &sent(3, 4, 6));
        assert!(!broken(10), "it never said that it had 10");
        assert!(broken(9));
        assert!(!broken(4), "told of already");
        promises.kept(2, &sent(3, 0, 2));
        assert!(!broken(3) && broken(2));
    }

    #[test]
    fn another_leader_may_take_entries_back() {
        let promises = FollowerPromises::default();
        promises.kept(2, &sent(3, 4, 9));
        assert!(!promises.is_broken(2, &sent(5, 7, 9)));
        promises.kept(2, &sent(5, 4, 6));
        assert!(!promises.is_broken(2, &sent(5, 7, 9)));
    }
}
