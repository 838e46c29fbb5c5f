//! Messages under load while members die: where they come from, what a service saw of
//! them, who consumed and who reigned, and what must be true of all that.

pub mod consumers;
pub mod reigns;
pub mod sink;
pub mod source;
pub mod verdict;
