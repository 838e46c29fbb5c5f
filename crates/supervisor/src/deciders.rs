//! What decides who takes over and how processes stand, for tests that drive it over a group
//! that they make up.

pub use super::{
    spec::{Key, Spec},
    stance::{Situation, Stance},
    standing::{Grant, Standing},
    takeover::{Act, Decision, Outcome, Release, Rest, Takeover},
    view::Reign,
};
pub use quorate_ipc::lease::{BootInstant, Offsets};
