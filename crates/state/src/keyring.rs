//! Keyring of the cluster: who can open the cluster's key, and its versions in boxes.
//!
//! Each member announces the public key of its own pair. The first member to lead a group in which
//! all have done so adds the first version of the cluster's key, in a box for each. Whoever holds a
//! version puts it into boxes for members that were admitted since. So the state carries the key
//! and nobody can read it there; no key comes here, and no chance: what is compared are numbers and
//! public keys.
//!
//! - **One key.** A version is added only as the next one, so of two members that lead one after
//!   the other and both begin, one is ignored.
//! - **No box for a stranger.** A box counts only for the public key that is the member's at this
//!   place of the log. A member that announces another key than before, because its old one was
//!   lost or because somebody uses a copy of its data, gets nothing until an operator accepts it.
//! - **Nothing is lost by a rotation.** A version is dropped only once no secret is sealed by it,
//!   the oldest first and never the newest; a put that was sealed by it before and is applied after
//!   is refused ([`super::Catalog`]).
//!
//! The pair of keys of the recovery key is kept by people. Its boxes stand under the member 0,
//! which no member is.

mod command;

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use quorate_types::MemberId;

use super::{Answer, Catalog};

pub use command::{KEY_BOXES_MAX, KeyBox, KeyringCommand, SEAL_KEY_BYTES, SealPublicKey};
pub(crate) use command::{check, from_wire, public_key, to_wire};

/// Owner of the boxes that are opened by the recovery key.
pub const RECOVERY: MemberId = 0;

/// Announced key of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSealKey {
    /// Public key for which boxes are made.
    pub public_key: SealPublicKey,
    /// Another key that the member announced later, until an operator accepts it.
    pub pending: Option<SealPublicKey>,
}

/// One version of the cluster's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVersion {
    /// Log index at which it was added.
    pub added: u64,
    /// Value by which holders know that they have the right key.
    pub check: Bytes,
    /// Boxes with the key, by the member that can open each.
    pub boxes: OrdMap<MemberId, Bytes>,
}

/// The keyring as of one log index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keyring {
    pub(crate) revision: u64,
    pub(crate) members: OrdMap<MemberId, MemberSealKey>,
    pub(crate) recovery: Option<SealPublicKey>,
    pub(crate) versions: OrdMap<u32, Arc<KeyVersion>>,
}

impl Keyring {
    /// Returns the log index that last changed it.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the announced keys of the members.
    pub fn members(&self) -> &OrdMap<MemberId, MemberSealKey> {
        &self.members
    }

    /// Returns the public key of the recovery key, if there is one.
    pub fn recovery(&self) -> Option<SealPublicKey> {
        self.recovery
    }

    /// Lists the versions of the cluster's key, oldest first.
    pub fn versions(&self) -> impl Iterator<Item = (u32, &KeyVersion)> {
        self.versions.iter().map(|(version, it)| (*version, &**it))
    }

    /// Returns one version.
    pub fn version(&self, version: u32) -> Option<&KeyVersion> {
        self.versions.get(&version).map(|it| &**it)
    }

    /// Returns the newest version; 0 when there is none yet.
    pub fn newest(&self) -> u32 {
        self.versions.get_max().map_or(0, |(version, _)| *version)
    }

    /// Returns the oldest version that is not dropped; 0 when there is none yet.
    pub fn oldest(&self) -> u32 {
        self.versions.get_min().map_or(0, |(version, _)| *version)
    }

    /// Returns the public key for which the boxes of a member, or of the recovery key, are made.
    pub fn key_of(&self, owner: MemberId) -> Option<SealPublicKey> {
        match owner {
            RECOVERY => self.recovery,
            member => self.members.get(&member).map(|it| it.public_key),
        }
    }

    pub(super) fn apply(
        &mut self,
        index: u64,
        command: &KeyringCommand,
        catalog: &Catalog,
    ) -> Answer {
        let changed = match command {
            KeyringCommand::Announce { member, public_key } => {
                Ok(self.announce(*member, *public_key))
            }
            KeyringCommand::AddVersion {
                version,
                check,
                boxes,
            } => self.add_version(index, *version, check, boxes),
            KeyringCommand::AddBoxes { boxes } => Ok(self.add_boxes(boxes)),
            KeyringCommand::Accept { member, public_key } => self.accept(*member, *public_key),
            KeyringCommand::SetRecovery { public_key } => Ok(self.set_recovery(*public_key)),
            KeyringCommand::DropVersion { version } => self.drop_version(*version, catalog),
        };
        match changed {
            Ok(changed) => {
                if changed {
                    self.revision = index;
                }
                Answer::Done {
                    revision: self.revision,
                    changed,
                    created: false,
                }
            }
            Err(why) => Answer::Ignored(why),
        }
    }

    fn announce(&mut self, member: MemberId, public_key: SealPublicKey) -> bool {
        let before = self.members.get(&member);
        let now = match before {
            None => MemberSealKey {
                public_key,
                pending: None,
            },
            Some(before) => MemberSealKey {
                public_key: before.public_key,
                pending: Some(public_key).filter(|it| *it != before.public_key),
            },
        };
        let changed = before != Some(&now);
        self.members.insert(member, now);
        changed
    }

    fn add_version(
        &mut self,
        index: u64,
        version: u32,
        check: &Bytes,
        boxes: &[KeyBox],
    ) -> Result<bool, String> {
        let next = self.newest() + 1;
        if version != next {
            return Err(format!(
                "version {version} of the cluster's key is not the next one, which is {next}"
            ));
        }
        let added = KeyVersion {
            added: index,
            check: check.clone(),
            boxes: OrdMap::new(),
        };
        self.versions.insert(version, added.into());
        self.add_boxes(boxes);
        Ok(true)
    }

    /// Adds the boxes that are for present keys and are missing.
    fn add_boxes(&mut self, boxes: &[KeyBox]) -> bool {
        let mut changed = false;
        for it in boxes {
            let is_for_present_key = self.key_of(it.owner) == Some(it.public_key);
            let Some(version) = self.versions.get_mut(&it.version) else {
                continue;
            };
            if is_for_present_key && !version.boxes.contains_key(&it.owner) {
                let boxes = &mut Arc::make_mut(version).boxes;
                boxes.insert(it.owner, it.content.clone());
                changed = true;
            }
        }
        changed
    }

    fn accept(&mut self, member: MemberId, public_key: SealPublicKey) -> Result<bool, String> {
        match self.members.get(&member) {
            Some(it) if it.pending == Some(public_key) => {}
            _ => {
                return Err(format!(
                    "member {member} does not wait for this sealing key to be accepted"
                ));
            }
        }
        let now = MemberSealKey {
            public_key,
            pending: None,
        };
        self.members.insert(member, now);
        self.remove_boxes(member);
        Ok(true)
    }

    fn set_recovery(&mut self, public_key: SealPublicKey) -> bool {
        if self.recovery == Some(public_key) {
            return false;
        }
        self.recovery = Some(public_key);
        self.remove_boxes(RECOVERY);
        true
    }

    fn remove_boxes(&mut self, owner: MemberId) {
        let versions: Vec<u32> = self.versions.keys().copied().collect();
        for version in versions {
            if let Some(version) = self.versions.get_mut(&version) {
                Arc::make_mut(version).boxes.remove(&owner);
            }
        }
    }

    fn drop_version(&mut self, version: u32, catalog: &Catalog) -> Result<bool, String> {
        if version == self.newest() || version != self.oldest() {
            return Err(format!(
                "version {version} of the cluster's key is the newest, or not the oldest"
            ));
        }
        match catalog.sealed_by(version) {
            0 => Ok(self.versions.remove(&version).is_some()),
            count => Err(format!(
                "{count} secrets are sealed by version {version} of the cluster's key"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
