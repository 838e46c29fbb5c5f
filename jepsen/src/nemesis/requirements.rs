//! Requirements of nemeses on this machine.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Root, if that is what is missing.
pub fn root() -> Option<String> {
    let root = nix::unistd::geteuid().is_root();
    (!root).then(|| "it needs root".to_owned())
}

/// A compiler of C.
pub fn compiler() -> Option<String> {
    program("cc", "--version")
}

/// Returns what is missing to cut the power of a disk.
pub fn power() -> Option<String> {
    disks().or_else(compiler)
}

/// Returns what is missing to give each member a disk of its own.
pub fn disks() -> Option<String> {
    let loops = || {
        let there = Path::new("/dev/loop-control").exists();
        (!there).then(|| "it needs loop devices".to_owned())
    };
    root().or_else(|| program("mkfs.ext4", "-V")).or_else(loops)
}

/// Returns what is missing to make the links thin.
pub fn traffic_control() -> Option<String> {
    program("tc", "-V")
}

/// Returns what is missing of the command that changes the promise of a cluster.
pub fn cluster_set(quorate: &Path) -> Option<String> {
    let mut command = Command::new(quorate);
    let command = command
        .args(["cluster", "set", "--help"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let there = command.status().is_ok_and(|status| status.success());
    (!there).then(|| "the program has no `cluster set`".to_owned())
}

fn program(name: &str, flag: &str) -> Option<String> {
    let mut command = Command::new(name);
    let command = command
        .arg(flag)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let there = command.status().is_ok_and(|status| status.success());
    (!there).then(|| format!("it needs the program {name}"))
}
