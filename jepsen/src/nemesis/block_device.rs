//! Disk that a folder is on, as cgroups know it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::stat::{major, minor};
use quorate_clock::Instant;

use super::error::NemesisError;

/// Returns the numbers of the whole disk that a folder is on, as in `8:0`; `None` where it is on
/// none.
pub fn whole_disk(folder: &Path) -> Option<String> {
    let dev = fs::metadata(folder).ok()?.dev();
    let at = PathBuf::from(format!("/sys/dev/block/{}:{}", major(dev), minor(dev)));
    let at = fs::canonicalize(at).ok()?;
    // Limits are for whole disks.
    let disk = if at.join("partition").exists() {
        at.parent()?.to_owned()
    } else {
        at
    };
    let numbers = fs::read_to_string(disk.join("dev")).ok()?;
    Some(numbers.trim().to_owned())
}

/// Sets how often a group may write to a disk in a second; without a number, as often as it likes.
pub fn throttle(group: &Path, device: &str, second: bool, writes: Option<u32>) -> io::Result<()> {
    let (file, text) = match (second, writes) {
        (true, Some(writes)) => ("io.max", format!("{device} wiops={writes}")),
        (true, None) => ("io.max", format!("{device} wiops=max")),
        // Of version 1, where 0 is no limit.
        (false, writes) => (
            "blkio.throttle.write_iops_device",
            format!("{device} {}", writes.unwrap_or(0)),
        ),
    };
    fs::write(group.join(file), text)
}

/// Measures how long a member of this group takes to write a few blocks so that they last.
pub fn writes(group: &Path, folder: &Path, blocks: u32) -> Result<Duration, NemesisError> {
    let file = folder.join("slow-disk-probe");
    let script = r#"echo $$ > "$0/cgroup.procs" && exec dd if=/dev/zero of="$1" bs=4k count="$2" oflag=dsync"#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(group).arg(&file);
    command.arg(blocks.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begun = Instant::now();
    let output = command
        .output()
        .map_err(NemesisError::io("sh can't be run"))?;
    let took = begun.elapsed();
    let _ = fs::remove_file(&file);
    if output.status.success() {
        return Ok(took);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(NemesisError::ProgramFailed(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_memory_is_on_no_disk() {
        assert_eq!(whole_disk(Path::new("/proc")), None);
        let here = whole_disk(Path::new(env!("CARGO_MANIFEST_DIR")));
        assert!(here.is_none_or(|numbers| numbers.contains(':')));
    }
}
