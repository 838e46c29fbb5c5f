//! The stand-in queue manager.
fn main() {}
