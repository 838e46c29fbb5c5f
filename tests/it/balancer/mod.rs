//! `quorate balancer` with a real HAProxy, in front of members that are played.

mod fake;
mod following;
mod front;
mod life;
mod requests;
mod rig;
