//! Commands about the keyring, and their form in the log.

use bytes::Bytes;
use quorate_proto::command::{self as wire, FieldError, command::Write};
use quorate_types::MemberId;

use crate::field_errors::error;

/// Bytes of a public key.
pub const SEAL_KEY_BYTES: usize = 32;
/// Most boxes of one command.
pub const KEY_BOXES_MAX: usize = 1000;
/// Longest box, in bytes.
const BOX_BYTES_MAX: usize = 256;
/// Longest check value, in bytes.
const CHECK_BYTES_MAX: usize = 32;

/// Public key of a pair of keys.
pub type SealPublicKey = [u8; SEAL_KEY_BYTES];

/// Box with a version of the cluster's key in it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyBox {
    /// Version of the cluster's key.
    pub version: u32,
    /// Member that can open it; [`super::RECOVERY`]: the holder of the recovery key.
    pub owner: MemberId,
    /// Public key that it was made for.
    pub public_key: SealPublicKey,
    /// The box.
    pub content: Bytes,
}

impl std::fmt::Debug for KeyBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "(version {} for member {})", self.version, self.owner)
    }
}

/// One change of the keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyringCommand {
    /// A member announces its public key.
    Announce {
        /// The member.
        member: MemberId,
        /// Its key.
        public_key: SealPublicKey,
    },
    /// Adds the next version of the cluster's key.
    AddVersion {
        /// The version, from 1 on.
        version: u32,
        /// Value by which holders know that they have the right key.
        check: Bytes,
        /// Boxes for the members.
        boxes: Vec<KeyBox>,
    },
    /// Adds boxes for members that lack them.
    AddBoxes {
        /// The boxes.
        boxes: Vec<KeyBox>,
    },
    /// An operator accepts another key of a member.
    Accept {
        /// The member.
        member: MemberId,
        /// The key.
        public_key: SealPublicKey,
    },
    /// An operator has made a recovery key.
    SetRecovery {
        /// Its public key.
        public_key: SealPublicKey,
    },
    /// Drops a version by which nothing is sealed any more.
    DropVersion {
        /// The version.
        version: u32,
    },
}

impl KeyringCommand {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            KeyringCommand::Announce { .. } => "announce_seal_key",
            KeyringCommand::AddVersion { .. } => "add_cluster_key",
            KeyringCommand::AddBoxes { .. } => "add_key_boxes",
            KeyringCommand::Accept { .. } => "accept_seal_key",
            KeyringCommand::SetRecovery { .. } => "set_recovery_key",
            KeyringCommand::DropVersion { .. } => "drop_cluster_key",
        }
    }
}

pub(crate) fn check(command: &KeyringCommand) -> Vec<FieldError> {
    let (check, boxes) = match command {
        KeyringCommand::AddVersion { check, boxes, .. } => (check.len(), boxes.as_slice()),
        KeyringCommand::AddBoxes { boxes } => (0, boxes.as_slice()),
        KeyringCommand::Announce { member: 0, .. } => {
            return vec![error("member", "0", "must be a member's id")];
        }
        _ => return Vec::new(),
    };
    let mut errors = Vec::new();
    if check > CHECK_BYTES_MAX {
        let problem = format!("must have at most {CHECK_BYTES_MAX} bytes");
        errors.push(error("check", format!("{check} bytes"), problem));
    }
    let is_long = |it: &KeyBox| it.content.len() > BOX_BYTES_MAX;
    if boxes.len() > KEY_BOXES_MAX || boxes.iter().any(is_long) {
        let problem = format!("must be at most {KEY_BOXES_MAX} of {BOX_BYTES_MAX} bytes");
        errors.push(error("boxes", format!("{} of them", boxes.len()), problem));
    }
    errors
}

pub(crate) fn to_wire(command: &KeyringCommand) -> Write {
    match command {
        KeyringCommand::Announce { member, public_key } => {
            Write::AnnounceSealKey(wire::AnnounceSealKey {
                member: *member,
                public_key: Bytes::copy_from_slice(public_key),
            })
        }
        KeyringCommand::AddVersion {
            version,
            check,
            boxes,
        } => Write::AddClusterKey(wire::AddClusterKey {
            version: *version,
            check: check.clone(),
            boxes: boxes.iter().map(box_to_wire).collect(),
        }),
        KeyringCommand::AddBoxes { boxes } => Write::AddKeyBoxes(wire::AddKeyBoxes {
            boxes: boxes.iter().map(box_to_wire).collect(),
        }),
        KeyringCommand::Accept { member, public_key } => {
            Write::AcceptSealKey(wire::AcceptSealKey {
                member: *member,
                public_key: Bytes::copy_from_slice(public_key),
            })
        }
        KeyringCommand::SetRecovery { public_key } => Write::SetRecoveryKey(wire::SetRecoveryKey {
            public_key: Bytes::copy_from_slice(public_key),
        }),
        KeyringCommand::DropVersion { version } => {
            Write::DropClusterKey(wire::DropClusterKey { version: *version })
        }
    }
}

/// Reads a command about the keyring; `None` where it is about something else.
pub(crate) fn from_wire(write: &Write) -> Result<Option<KeyringCommand>, FieldError> {
    Ok(Some(match write {
        Write::AnnounceSealKey(it) => KeyringCommand::Announce {
            member: it.member,
            public_key: public_key(&it.public_key)?,
        },
        Write::AddClusterKey(it) => KeyringCommand::AddVersion {
            version: it.version,
            check: it.check.clone(),
            boxes: boxes(&it.boxes)?,
        },
        Write::AddKeyBoxes(it) => KeyringCommand::AddBoxes {
            boxes: boxes(&it.boxes)?,
        },
        Write::AcceptSealKey(it) => KeyringCommand::Accept {
            member: it.member,
            public_key: public_key(&it.public_key)?,
        },
        Write::SetRecoveryKey(it) => KeyringCommand::SetRecovery {
            public_key: public_key(&it.public_key)?,
        },
        Write::DropClusterKey(it) => KeyringCommand::DropVersion {
            version: it.version,
        },
        _ => return Ok(None),
    }))
}

fn box_to_wire(it: &KeyBox) -> wire::KeyBox {
    wire::KeyBox {
        version: it.version,
        owner: it.owner,
        public_key: Bytes::copy_from_slice(&it.public_key),
        content: it.content.clone(),
    }
}

fn boxes(boxes: &[wire::KeyBox]) -> Result<Vec<KeyBox>, FieldError> {
    let read = |it: &wire::KeyBox| {
        Ok(KeyBox {
            version: it.version,
            owner: it.owner,
            public_key: public_key(&it.public_key)?,
            content: it.content.clone(),
        })
    };
    boxes.iter().map(read).collect()
}

/// Reads a public key of a command or of a snapshot.
pub(crate) fn public_key(bytes: &Bytes) -> Result<SealPublicKey, FieldError> {
    bytes[..].try_into().map_err(|_| {
        let problem = format!("must have {SEAL_KEY_BYTES} bytes");
        error("public_key", format!("{} bytes", bytes.len()), problem)
    })
}
