//! Nemeses: what is done to members, links and disks.
//!
//! Each proves that it took effect, and heals.

pub mod block_device;
pub mod broker_faults;
pub mod catalog;
pub mod compatibility;
pub mod contract;
pub mod disk_faults;
pub mod driver;
pub mod error;
pub mod failover_promises;
pub mod far_members;
pub mod forged_death;
pub mod held_release;
pub mod kill;
pub mod lasting;
pub mod leadership_transfer;
pub mod link_latency;
pub mod log_damage;
pub mod orderly_stop;
pub mod partition;
pub mod pause;
pub mod requirements;
pub mod resource_limits;
pub mod stranded_leader;
pub mod thin_links;
pub mod wall_clock;

pub use catalog::{ALL, NemesisKind, named};
pub use compatibility::{apart, together};
pub use contract::{FaultTarget, Nemesis};
pub use driver::track;
