//! The stand-in does what its documentation says, through the functions of its library.
#![allow(
    clippy::disallowed_types,
    reason = "it stands for a program of others, which has a clock of its own"
)]

mod conversion;
mod messages;
mod objects;
mod program;
mod units;
mod versions;
