//! Key of a cluster: versions of it, and boxes that carry one to a member.

use std::fmt;

use ring::hmac;
use zeroize::Zeroizing;

use crate::{
    NoRandomness, OpenError, PublicSealKey, SealKey,
    derivation::{derive, joined, random},
};

/// Bytes of a box with a version of the key in it.
pub const WRAPPED_BYTES: usize = 1 + 32 + 32 + 16;

/// One version of the cluster's key. Its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct ClusterKey {
    pub(crate) version: u32,
    pub(crate) bytes: Zeroizing<[u8; 32]>,
}

impl ClusterKey {
    /// Makes a new key, which is to be this version.
    pub fn generate(version: u32) -> Result<ClusterKey, NoRandomness> {
        let bytes = random()?;
        Ok(ClusterKey { version, bytes })
    }

    /// Returns its version, from 1 on.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Puts it into a box for the owner of a pair of keys.
    pub fn wrap(&self, cluster: &str, to: PublicSealKey) -> Result<Vec<u8>, WrapError> {
        let ephemeral = SealKey::generate()?;
        self.wrap_by(cluster, to, &ephemeral)
    }

    pub(crate) fn wrap_by(
        &self,
        cluster: &str,
        to: PublicSealKey,
        ephemeral: &SealKey,
    ) -> Result<Vec<u8>, WrapError> {
        let info = wrap_info(cluster, self.version);
        to.make_box(&info, &*self.bytes, ephemeral)
            .ok_or(WrapError::WeakKey(to))
    }

    /// Takes it out of a box that was made for `own`. The version and the cluster have to be those
    /// under which it was put there.
    pub fn unwrap(
        cluster: &str,
        version: u32,
        own: &SealKey,
        boxed: &[u8],
    ) -> Result<ClusterKey, OpenError> {
        let opened = own.open_box(&wrap_info(cluster, version), boxed)?;
        let bytes: [u8; 32] = opened[..].try_into().map_err(|_| OpenError::Form)?;
        Ok(ClusterKey {
            version,
            bytes: Zeroizing::new(bytes),
        })
    }

    /// Returns a value by which holders of a key know that it is the one that is meant: it tells
    /// nothing of the key.
    pub fn check_value(&self) -> [u8; 16] {
        let info = joined("quorate/check/1", &[&self.version.to_be_bytes()]);
        let derived = derive(&*self.bytes, &[], &info);
        let mut value = [0; 16];
        value.copy_from_slice(&derived[..16]);
        value
    }

    pub(crate) fn mac(&self, text: &[u8]) -> hmac::Tag {
        let key = derive(&*self.bytes, &[], b"quorate/fingerprint/1");
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*key), text)
    }
}

/// Reason why a key can't be put into a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// There is no chance.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Nothing can be kept secret for this public key.
    #[error("nothing can be kept secret for the public key {0:?}")]
    WeakKey(PublicSealKey),
}

fn wrap_info(cluster: &str, version: u32) -> Vec<u8> {
    joined(
        "quorate/wrap/1",
        &[cluster.as_bytes(), &version.to_be_bytes()],
    )
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKey(version {}, hidden)", self.version)
    }
}
