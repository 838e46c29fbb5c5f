//! Probe: what a library may do that a stranger's message has taken over.
//!
//! Who connects as [`USER`] is let in only if the process that has loaded the library may do
//! nothing that its connector does not need. The password is a file that it may not have.

use std::{fs, io, os::unix::process::parent_id, path::Path, process::Command};

/// The user in whose name the probe is made.
pub(super) const USER: &str = "prober";

/// Returns true if this process may neither read nor replace the file, look into its parent, nor
/// start a program.
pub(super) fn is_confined(file: &str) -> bool {
    let file = Path::new(file);
    let folder = file.parent().unwrap_or(file);
    let parent = |what: &str| format!("/proc/{}/{what}", parent_id());
    let tried = [
        refused(fs::read(file)),
        refused(fs::read_dir(folder)),
        refused(fs::write(folder.join("new"), "text")),
        refused(fs::remove_file(file)),
        refused(fs::read(parent("environ"))),
        refused(fs::File::open(parent("mem"))),
        refused(fs::read_dir(parent("fd"))),
        refused(Command::new("/bin/true").status()),
    ];
    tried.iter().all(|it| *it)
}

fn refused<T>(tried: io::Result<T>) -> bool {
    tried.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}
