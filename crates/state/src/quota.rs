//! How much is kept at most: all of it is in the memory of every member and in each snapshot.
//!
//! Decided where a put is applied, by what is there at that place of the log: of several puts
//! that are proposed at one moment only those are done for which there is room. What takes
//! room back, a deletion or a smaller value, is always done. The bounds are part of the format
//! (see [`super::command`]).

use std::fmt;

/// The bytes of all keys and values together.
pub const KV_BYTES_MAX: u64 = 1 << 30;
/// How many resources there are at most.
pub const RESOURCES_MAX: usize = 250_000;
/// The bytes of JSON of all resources together.
pub const RESOURCES_BYTES_MAX: u64 = 512 << 20;

/// How many resources there may be, and of how many bytes of JSON together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResourceLimits {
    pub count: usize,
    pub bytes: u64,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        ResourceLimits {
            count: RESOURCES_MAX,
            bytes: RESOURCES_BYTES_MAX,
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaKind {
    /// The bytes of all keys and values.
    KeyBytes,
    /// The resources.
    Resources,
    /// The bytes of JSON of all resources.
    ResourceBytes,
}

/// A put for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverQuota {
    /// What there would be too much of.
    pub counted: QuotaKind,
    /// How much there is.
    pub now: u64,
    /// How much there may be.
    pub most: u64,
}

impl fmt::Display for OverQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OverQuota { counted, now, most } = self;
        let (what, delete) = match counted {
            QuotaKind::KeyBytes => (
                format!("the keys and values have {now} bytes"),
                "quorate kv delete KEY",
            ),
            QuotaKind::Resources => (
                format!("there are {now} resources"),
                "quorate delete KIND NAME",
            ),
            QuotaKind::ResourceBytes => (
                format!("the resources have {now} bytes of JSON"),
                "quorate delete KIND NAME",
            ),
        };
        write!(
            f,
            "{what}, and the cluster keeps at most {most}; delete some (`{delete}`)"
        )
    }
}

/// Refuses what would grow beyond the bound. Beyond it already, what doesn't grow is let through.
pub(super) fn check(counted: QuotaKind, now: u64, then: u64, most: u64) -> Result<(), OverQuota> {
    if then <= now || then <= most {
        return Ok(());
    }
    Err(OverQuota { counted, now, most })
}
