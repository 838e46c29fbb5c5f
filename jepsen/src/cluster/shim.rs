//! Library in members that makes wall clocks jump and fsync fail, built here by `cc`.
//!
//! So is the program that cuts a file system's power.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::disk::run;
use crate::plan::RunPlan;

const SHIM: &str = include_str!("../../shim/shim.c");
const GODOWN: &str = include_str!("../../shim/godown.c");

/// A planted bug: no sync of any member does anything.
pub const LIES: &str = "disk-lies";

/// Returns whether a plan needs the library.
pub fn needed(plan: &RunPlan) -> bool {
    let mut nemeses = plan.nemeses.iter();
    nemeses.any(|name| ["clock", "fsync"].contains(&name.as_str()))
        || plan.mutant.as_deref() == Some(LIES)
}

/// Builds the library.
pub fn build(folder: &Path) -> io::Result<PathBuf> {
    compile(
        folder,
        "shim",
        SHIM,
        &["-shared", "-fPIC", "-O1"],
        &["-ldl"],
    )
}

/// Builds the program that cuts the power of the file system a folder is on.
pub fn build_godown(folder: &Path) -> io::Result<PathBuf> {
    compile(folder, "godown", GODOWN, &["-O1"], &[])
}

fn compile(
    folder: &Path,
    name: &str,
    source: &str,
    before: &[&str],
    after: &[&str],
) -> io::Result<PathBuf> {
    let made = folder.join(name);
    if made.exists() {
        return Ok(made);
    }
    let file = folder.join(format!("{name}.c"));
    fs::write(&file, source)?;
    let mut cc = Command::new("cc");
    cc.args(before).arg("-o").arg(&made).arg(&file).args(after);
    run(&mut cc)?;
    Ok(made)
}

/// Switch of the library in one member's processes: four numbers in a file.
pub struct ShimSwitch {
    path: PathBuf,
    file: fs::File,
}

impl ShimSwitch {
    /// Makes a switch with everything off.
    pub fn make(path: &Path) -> io::Result<ShimSwitch> {
        fs::write(path, [0; 32])?;
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(ShimSwitch {
            path: path.to_owned(),
            file,
        })
    }

    /// Returns the environment that loads the library into a process.
    pub fn environment(&self, library: &Path) -> [(String, String); 2] {
        let text = |path: &Path| path.display().to_string();
        [
            ("LD_PRELOAD".to_owned(), text(library)),
            ("CHAOS_SWITCH".to_owned(), text(&self.path)),
        ]
    }

    /// Makes the wall clock jump by so many nanoseconds; 0 takes it back.
    pub fn wall(&self, ns: i64) -> io::Result<()> {
        self.file.write_all_at(&ns.to_ne_bytes(), 0)
    }

    /// Makes every sync fail with this error; 0 takes it back, and -1 makes a sync do nothing and
    /// report success.
    pub fn sync_errno(&self, errno: i64) -> io::Result<()> {
        self.file.write_all_at(&errno.to_ne_bytes(), 8)
    }

    /// Returns how often a false time was told.
    pub fn false_times(&self) -> io::Result<i64> {
        self.number(16)
    }

    /// Returns how often a sync has failed by the switch.
    pub fn failed(&self) -> io::Result<i64> {
        self.number(24)
    }

    fn number(&self, at: u64) -> io::Result<i64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(i64::from_ne_bytes(bytes))
    }
}
