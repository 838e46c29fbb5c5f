//! Shared types: members, leadership, elections, timing, backoff, token buckets, failed logins,
//! error chains, and the errors of proposals.
//!
//! Values and pure functions only. Every crate may know this one; it knows the clock.
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

pub mod backoff;
mod election;
pub mod error_chain;
mod errors;
mod failed_logins;
mod leadership;
mod member;
pub mod timing;
mod token_bucket;

pub use election::{ElectionReason, ElectionRecord};
pub use errors::{ProposeError, ReadError, TransferError};
pub use failed_logins::{FAILURES_A_MINUTE, FailedLogins, source_network};
pub use leadership::Leadership;
pub use member::{Member, MemberId, MemberList, MemberStatus, Role};
pub use timing::{EffectiveTiming, Timing, TimingError};
pub use token_bucket::{BucketRate, BucketTable, TokenBucket};
