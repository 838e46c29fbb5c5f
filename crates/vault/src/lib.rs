//! Vault of one member: what it can open with its own key, and what it seals.
//!
//! The member's pair of keys lies in a file outside of the data folder ([`key_file`]). With it the
//! vault opens the boxes of the keyring in the replicated state, and so has the cluster's key, in
//! as many versions as there are. Before a resource is proposed, its secrets are sealed
//! ([`Vault::seal`]); whoever uses secrets reads a state in which they are in clear
//! ([`Vault::opened`]), which is of this member alone and is written nowhere.
//!
//! A vault without a key, because the file was lost, because the data folder is a copy, or because
//! the member was admitted a moment ago, opens nothing and seals nothing, and says why.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod encoding;
pub mod key_file;
mod keyring_steps;
mod opening;
mod sealing;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_keyring::{ClusterKey, PublicSealKey, SealKey};
use quorate_state::{Keyring, keyring::SealPublicKey};
use quorate_types::MemberId;

use opening::LatestOpened;
pub use sealing::{ResealCursor, ResealStep, SealError};

/// Reason why a member can't open the cluster's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The cluster has no key yet.
    #[error(
        "the cluster has no key for its secrets yet: it is made once all members answer and run a version that seals; `quorate status` names those that don't"
    )]
    NotMade,
    /// The key is in no box for this member.
    #[error(
        "this member has no box with the cluster's key yet; it is given one within moments of its admission"
    )]
    NoBox,
    /// The member has another pair of keys than the one that was accepted.
    #[error(
        "this member has another sealing key than the one that the cluster knows: bring back its keys folder, or accept the new key with `quorate secret rewrap`"
    )]
    OtherKey,
    /// The box can't be opened.
    #[error(
        "the box with the cluster's key does not open for this member; accept its key anew with `quorate secret rewrap`"
    )]
    BadBox,
}

/// Versions of the cluster's key that this member has opened, each with the box it came from.
#[derive(Debug, Default)]
struct KeySet(BTreeMap<u32, (Bytes, Arc<ClusterKey>)>);

impl KeySet {
    fn get(&self, version: u32) -> Option<&Arc<ClusterKey>> {
        self.0.get(&version).map(|(_, key)| key)
    }

    fn is_as(&self, other: &KeySet) -> bool {
        let boxes = |set: &KeySet| {
            let boxes = set
                .0
                .iter()
                .map(|(version, (content, _))| (*version, content.clone()));
            boxes.collect::<Vec<_>>()
        };
        boxes(self) == boxes(other)
    }
}

/// Vault of one member.
pub struct Vault {
    cluster: String,
    me: MemberId,
    own: SealKey,
    /// Keys as of one revision of the keyring.
    keys: Mutex<(u64, Arc<KeySet>)>,
    opened: Mutex<Option<LatestOpened>>,
}

impl Vault {
    /// Makes the vault of member `me` of a cluster.
    pub fn new(cluster: &str, me: MemberId, own: SealKey) -> Vault {
        Vault {
            cluster: cluster.to_owned(),
            me,
            own,
            keys: Mutex::default(),
            opened: Mutex::default(),
        }
    }

    /// Returns the public key of this member.
    pub fn public_key(&self) -> SealPublicKey {
        self.own.public().0
    }

    /// Returns why this member can't open what is sealed now, if it can't.
    pub fn missing_key(&self, keyring: &Keyring) -> Option<NoKey> {
        self.newest_key(keyring).err()
    }

    /// Returns the newest version of the cluster's key.
    fn newest_key(&self, keyring: &Keyring) -> Result<Arc<ClusterKey>, NoKey> {
        let newest = keyring.newest();
        if newest == 0 {
            return Err(NoKey::NotMade);
        }
        if let Some(key) = self.keys(keyring).get(newest) {
            return Ok(key.clone());
        }
        Err(match keyring.members().get(&self.me) {
            Some(it) if it.public_key != self.public_key() => NoKey::OtherKey,
            _ if self.box_of(keyring, newest).is_some() => NoKey::BadBox,
            _ => NoKey::NoBox,
        })
    }

    fn box_of<'k>(&self, keyring: &'k Keyring, version: u32) -> Option<&'k Bytes> {
        keyring.version(version)?.boxes.get(&self.me)
    }

    /// Returns the versions of the cluster's key that this member can open: the same set for as
    /// long as they are the same.
    fn keys(&self, keyring: &Keyring) -> Arc<KeySet> {
        let mut held = self.keys.lock();
        if held.0 == keyring.revision() {
            return held.1.clone();
        }
        let before = held.1.clone();
        let mut now = KeySet::default();
        for (version, it) in keyring.versions() {
            let Some(content) = it.boxes.get(&self.me) else {
                continue;
            };
            let key = match before.0.get(&version) {
                Some((from, key)) if from == content => Some(key.clone()),
                _ => self.open_box(version, content, &it.check),
            };
            if let Some(key) = key {
                now.0.insert(version, (content.clone(), key));
            }
        }
        let now = if now.is_as(&before) {
            before
        } else {
            Arc::new(now)
        };
        *held = (keyring.revision(), now.clone());
        now
    }

    fn open_box(&self, version: u32, content: &Bytes, check: &Bytes) -> Option<Arc<ClusterKey>> {
        let key = ClusterKey::unwrap(&self.cluster, version, &self.own, content).ok()?;
        (key.check_value()[..] == check[..]).then(|| Arc::new(key))
    }
}

fn public(key: SealPublicKey) -> PublicSealKey {
    PublicSealKey(key)
}

#[cfg(test)]
mod tests;
