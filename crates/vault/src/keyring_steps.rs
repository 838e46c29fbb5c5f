//! Steps by which the keyring comes to what it should be: proposed by who can take them.

use quorate_keyring::{ClusterKey, NoRandomness, WrapError};
use quorate_state::{
    Keyring,
    keyring::{KEY_BOXES_MAX, KeyBox, KeyringCommand, RECOVERY},
};
use quorate_types::MemberId;

use crate::{Vault, public};

impl Vault {
    /// Returns the command that adds the next version of the cluster's key, in boxes for these
    /// members and for the recovery key.
    pub fn add_version(
        &self,
        keyring: &Keyring,
        members: &[MemberId],
    ) -> Result<KeyringCommand, NoRandomness> {
        let key = ClusterKey::generate(keyring.newest() + 1)?;
        let owners = members.iter().copied().chain([RECOVERY]);
        let mut boxes = Vec::new();
        for owner in owners {
            boxes.extend(self.make_box(keyring, &key, owner)?);
        }
        Ok(KeyringCommand::AddVersion {
            version: key.version(),
            check: key.check_value().to_vec().into(),
            boxes,
        })
    }

    /// Returns the boxes that these members, and the recovery key, lack and this member can make.
    pub fn missing_boxes(
        &self,
        keyring: &Keyring,
        members: &[MemberId],
    ) -> Result<Vec<KeyBox>, NoRandomness> {
        let keys = self.keys(keyring);
        let mut boxes = Vec::new();
        for (version, it) in keyring.versions() {
            let Some(key) = keys.get(version) else {
                continue;
            };
            let owners = members.iter().copied().chain([RECOVERY]);
            for owner in owners.filter(|owner| !it.boxes.contains_key(owner)) {
                boxes.extend(self.make_box(keyring, key, owner)?);
                if boxes.len() == KEY_BOXES_MAX {
                    return Ok(boxes);
                }
            }
        }
        Ok(boxes)
    }

    /// Makes a box for the owner of an announced key; none for a key that nothing can be kept
    /// secret for.
    fn make_box(
        &self,
        keyring: &Keyring,
        key: &ClusterKey,
        owner: MemberId,
    ) -> Result<Option<KeyBox>, NoRandomness> {
        let Some(public_key) = keyring.key_of(owner) else {
            return Ok(None);
        };
        match key.wrap(&self.cluster, public(public_key)) {
            Ok(content) => Ok(Some(KeyBox {
                version: key.version(),
                owner,
                public_key,
                content: content.into(),
            })),
            Err(WrapError::NoRandomness(error)) => Err(error),
            Err(WrapError::WeakKey(_)) => Ok(None),
        }
    }
}
