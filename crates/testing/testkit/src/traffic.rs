//! Message load while members die: sources, what a service saw, consumers, reigns, verdicts.

pub mod consumers;
pub mod reigns;
pub mod sink;
pub mod source;
pub mod verdict;
