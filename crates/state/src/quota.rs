//! Quotas: bounds on what every member holds in memory and in each snapshot.
//!
//! They are decided where a put is applied, by what is there at that place of the log: of several
//! puts that are proposed at one moment only those are done for which there is room. A command that
//! takes no further room, a deletion or a smaller value, is always done. The bounds are part of the
//! format (see [`super::command`]).

use std::fmt;

/// Most bytes of all keys and values together.
pub const KV_BYTES_MAX: u64 = 1 << 30;
/// Most resources.
pub const RESOURCES_MAX: usize = 250_000;
/// Most bytes of JSON of all resources together.
pub const RESOURCES_BYTES_MAX: u64 = 512 << 20;

/// Limits on the resources: their number, and the bytes of their JSON together.
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

/// Quantity that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaKind {
    /// Bytes of all keys and values.
    KeyBytes,
    /// Number of resources.
    Resources,
    /// Bytes of JSON of all resources.
    ResourceBytes,
}

/// Error: a put for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverQuota {
    /// Quantity that would be too large.
    pub counted: QuotaKind,
    /// Present amount.
    pub now: u64,
    /// Largest amount that is allowed.
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

/// Refuses a growth beyond the bound. Beyond it already, anything that doesn't grow is let through.
pub(super) fn check(counted: QuotaKind, now: u64, then: u64, most: u64) -> Result<(), OverQuota> {
    if then <= now || then <= most {
        return Ok(());
    }
    Err(OverQuota { counted, now, most })
}
