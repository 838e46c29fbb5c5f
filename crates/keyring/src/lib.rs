//! Keys by which a cluster seals its secrets. Pure: bytes in, bytes out, and chance.
//!
//! - Each member has a [`SealKey`], a pair of X25519 keys. The private one never leaves it.
//! - The cluster has a [`ClusterKey`], of which there can be several versions. Each version is in
//!   the replicated state only in boxes ([`ClusterKey::wrap`]), one for each member, which that
//!   member alone can open.
//! - A secret is sealed by the cluster's key for one place ([`SecretPlace`]): cluster, kind, name
//!   and field. Moved to another place it does not open.
//!
//! **Why no nonce repeats.** Both a box and a sealed secret are encrypted by AES-256-GCM under a
//! key that is used once: that of a box is derived from an ephemeral pair of keys, that of a secret
//! from a random salt of 32 bytes, both by HKDF-SHA256. So the nonce is zero, and no count of
//! secrets makes another cluster key due.
//!
//! **What the fingerprint tells.** It is an HMAC of place and text under a key that is derived from
//! the cluster's, so that members without that key can tell that two sealed forms of one place mean
//! the same. Who has no key learns no more from it: equal texts in two places have different ones.
//!
//! X25519 comes from `x25519-dalek`, since ring offers no pair of keys that is kept; all else is
//! ring's.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod cluster_key;
mod derivation;
mod recovery_text;
mod seal_key;
mod sealed_secret;

pub use cluster_key::{ClusterKey, WRAPPED_BYTES, WrapError};
pub use recovery_text::{BadRecoveryText, recovery_key_from_text, recovery_key_to_text};
pub use seal_key::{KEY_BYTES, PublicSealKey, SealKey};
pub use sealed_secret::{FINGERPRINT_BYTES, SALT_BYTES, SealedSecret, SecretPlace};

/// Reason why something can't be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not in a form that this version knows.
    #[error("it is not in a form that this version knows")]
    Form,
    /// It was sealed by another version of the cluster's key.
    #[error("it was sealed by version {sealed} of the cluster's key, and this is version {held}")]
    OtherVersion {
        /// Version that sealed it.
        sealed: u32,
        /// Version that was tried.
        held: u32,
    },
    /// It was sealed by another key or for another place, or was changed.
    #[error("it was sealed by another key or for another place, or has been changed")]
    NotGenuine,
}

/// Error: the machine gives no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

#[cfg(test)]
mod tests;
