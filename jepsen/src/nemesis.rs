//! The nemeses: what is done to members, links and disks; each proves that it took effect,
//! and heals.

pub mod broker;
pub mod catalog;
pub mod clock;
pub mod compatibility;
pub mod contract;
pub mod damage;
pub mod device;
pub mod disk;
pub mod driver;
pub mod error;
pub mod far;
pub mod forge;
pub mod kill;
pub mod lasting;
pub mod latency;
pub mod limits;
pub mod missing;
pub mod partition;
pub mod pause;
pub mod promises;
pub mod release;
pub mod stop;
pub mod stranded;
pub mod thin;
pub mod transfer;

pub use catalog::{ALL, Kind, named};
pub use compatibility::{apart, together};
pub use contract::{Nemesis, Target};
pub use driver::track;
