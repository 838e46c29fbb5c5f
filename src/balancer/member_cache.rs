//! `members.json`: the members seen so far, for a start when no member answers.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{BalancerError, files, member_client::BalancedMember};

/// The number of addresses that are remembered; the oldest goes first.
const SEEN_MAX: usize = 64;

/// The cluster as its own answers described it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberCache {
    /// The members of the last answer.
    pub(super) members: Vec<BalancedMember>,
    /// Every address for administration ever seen, the latest last.
    pub(super) seen: Vec<String>,
}

impl MemberCache {
    fn path(dir: &Path) -> PathBuf {
        dir.join("members.json")
    }

    /// Reads the file of an earlier run. A file that can't be read is as good as none: the seeds in
    /// the settings are still there.
    pub(super) fn load(dir: &Path) -> MemberCache {
        let path = MemberCache::path(dir);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return MemberCache::default(),
            Err(e) => {
                tracing::warn!(path = %path.display(), "the members seen earlier can't be read: {e}");
                return MemberCache::default();
            }
        };
        serde_json::from_slice(&text).unwrap_or_else(|e| {
            tracing::warn!(path = %path.display(), "the members seen earlier can't be read: {e}");
            MemberCache::default()
        })
    }

    /// Takes in an answer; returns true when it changed anything.
    pub(super) fn learn(&mut self, members: &[BalancedMember]) -> bool {
        let mut changed = self.members != members;
        for member in members {
            if !self.seen.contains(&member.admin) {
                self.seen.push(member.admin.clone());
                changed = true;
            }
        }
        let surplus = self.seen.len().saturating_sub(SEEN_MAX);
        self.seen.drain(..surplus);
        if changed {
            self.members = members.to_vec();
        }
        changed
    }

    /// Saves the cache for the next run.
    pub(super) fn save(&self, dir: &Path) -> Result<(), BalancerError> {
        let text = serde_json::to_string_pretty(self)
            .expect("invariant: strings and numbers can be written as JSON");
        files::replace(&MemberCache::path(dir), &(text + "\n"))
    }
}
