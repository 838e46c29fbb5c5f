//! Disks of members: a folder, a file system whose power can be cut, or a small one.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Large enough for a run of minutes.
const EXT4_BYTES: u64 = 512 << 20;
/// Small enough to be filled in a moment; what is not used takes no memory.
const TMPFS_MIB: u64 = 192;

/// Kind of a member's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    /// A folder.
    Folder,
    /// ext4 in a file: bytes that were not synced are gone once its power was cut, and each is made
    /// slow alone.
    Ext4,
    /// A small tmpfs.
    Small,
}

impl DiskKind {
    /// Returns the kind that these nemeses need.
    pub fn for_nemeses(nemeses: &[String]) -> DiskKind {
        let any = |what: &str| nemeses.iter().any(|name| name.starts_with(what));
        match () {
            // On a file system that others share, what waits for the disk holds them up too.
            () if any("power") || any("slow-disk") => DiskKind::Ext4,
            () if any("disk-full") => DiskKind::Small,
            () => DiskKind::Folder,
        }
    }
}

/// Disk of one member; it is unmounted when it is dropped.
pub struct MemberDisk {
    kind: DiskKind,
    image: PathBuf,
    point: PathBuf,
}

impl MemberDisk {
    /// Makes and mounts a disk.
    pub fn make(kind: DiskKind, point: &Path) -> io::Result<MemberDisk> {
        fs::create_dir_all(point)?;
        let disk = MemberDisk {
            kind,
            image: point.with_extension("ext4"),
            point: point.to_owned(),
        };
        if kind == DiskKind::Ext4 {
            fs::File::create(&disk.image)?.set_len(EXT4_BYTES)?;
            run(Command::new("mkfs.ext4").arg("-q").arg(&disk.image))?;
        }
        disk.mount()?;
        Ok(disk)
    }

    /// Returns the mount point.
    pub fn path(&self) -> &Path {
        &self.point
    }

    /// Mounts the disk, as a machine does that has power again.
    pub fn mount(&self) -> io::Result<()> {
        let mut mount = Command::new("mount");
        match self.kind {
            DiskKind::Folder => return self.close(),
            DiskKind::Ext4 => mount.args(["-t", "ext4", "-o", "loop"]).arg(&self.image),
            DiskKind::Small => mount
                .args(["-t", "tmpfs", "-o"])
                .arg(format!("size={TMPFS_MIB}m"))
                .arg("quorate-chaos"),
        };
        run(mount.arg(&self.point))?;
        self.close()
    }

    /// A member takes no folder that others may look into.
    fn close(&self) -> io::Result<()> {
        fs::set_permissions(&self.point, fs::Permissions::from_mode(0o700))
    }

    /// Unmounts the disk. Nobody may use it any more.
    pub fn unmount(&self) -> io::Result<()> {
        match self.kind {
            DiskKind::Folder => Ok(()),
            DiskKind::Ext4 | DiskKind::Small => run(Command::new("umount").arg(&self.point)),
        }
    }
}

impl Drop for MemberDisk {
    fn drop(&mut self) {
        if self.kind != DiskKind::Folder {
            let mut umount = Command::new("umount");
            umount.arg("--lazy").arg(&self.point);
            let _ = umount.stderr(Stdio::null()).status();
        }
    }
}

/// Failure of a program that ran to its end.
#[derive(Debug, thiserror::Error)]
#[error("{command}: {said}")]
struct ToolFailure {
    command: String,
    said: String,
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(ToolFailure {
        command: format!("{command:?}"),
        said: said.trim().to_owned(),
    }))
}
