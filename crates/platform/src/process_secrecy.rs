//! Memory of this process, kept from other processes of its user and from the disk.

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};

/// Keeps the memory of this process to itself: no core is written when it crashes, and other
/// processes of the same user, that are not root's, can't trace it, nor read its memory, its
/// environment or what it has open. Programs that it starts decide for themselves, but write no
/// core either.
///
/// `/proc/self` is as open to the process itself as ever, `/proc/self/exe` and `/proc/self/fd`
/// among it.
pub fn keep_memory() -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    prctl::set_dumpable(false)
}
