//! Sandbox of this thread and all that it starts: the files that it names and no others, by
//! Landlock.
//!
//! 1. What is not named can't be opened, made, renamed or removed, whoever owns it, and no program
//!    is executed. Files that are open already stay so: what a process was given is its own.
//! 2. No process outside of the sandbox can be traced, nor its memory read or written, by
//!    `/proc/PID/mem`, `process_vm_readv` or `ptrace`; from ABI 6 on none can be sent a signal, and
//!    no abstract socket of another process be connected to; from ABI 9 on no socket in the file
//!    system either, but in the folders that are named.
//!    Environment and layout of other processes are kept by their path alone: Linux 6.18 shows
//!    them to root in any sandbox, so `/proc` as a whole is never to be named.
//! 3. A sandbox is never left, and the processes and threads that are started in it are in it. Those
//!    that run already are not: it is entered before there is a second thread.
//!
//! The kernel decides how much of this it can do, by the version of its ABI, and is told to do as
//! much as it can.

use std::{path::PathBuf, thread};

use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope, make_bitflags, path_beneath_rules,
};

/// Newest ABI whose rights are asked for.
const NEWEST: ABI = ABI::V9;

/// Oldest ABI (Linux 6.2) that keeps every file from being read, written and cut.
pub const ABI_THAT_KEEPS_FILES: u8 = 3;

/// Sandbox that the kernel has refused.
#[derive(Debug, thiserror::Error)]
#[error("the kernel refuses the sandbox (Landlock): {0}")]
pub struct SandboxError(#[from] RulesetError);

/// Files and folders with all that is below them. What isn't there is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedFiles {
    /// Files that are read, and folders that are listed.
    pub read: Vec<PathBuf>,
    /// Devices, which are read and written.
    pub devices: Vec<PathBuf>,
    /// Folders of sockets that are connected to.
    pub sockets: Vec<PathBuf>,
    /// Folders in which files and sockets are made, written and removed.
    pub write: Vec<PathBuf>,
}

/// Enters a sandbox with these files. Returns the ABI that the kernel keeps it by; 0: there is no
/// sandbox, since the kernel has none. Gives up, in any case, the right to gain rights by a program
/// that is started.
pub fn enter(files: &AllowedFiles) -> Result<u8, SandboxError> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let devices = make_bitflags!(AccessFs::{ReadFile | WriteFile});
    let sockets = make_bitflags!(AccessFs::{ReadDir | ResolveUnix});
    let write: BitFlags<AccessFs> = read
        | make_bitflags!(AccessFs::{
            WriteFile | Truncate | MakeReg | MakeDir | MakeSock | RemoveFile | ResolveUnix
        });
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(&files.read, read))?
        .add_rules(path_beneath_rules(&files.devices, devices))?
        .add_rules(path_beneath_rules(&files.sockets, sockets))?
        .add_rules(path_beneath_rules(&files.write, write))?
        .restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u8,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
    })
}

/// Returns the ABI by which this kernel would keep a sandbox; 0: it keeps none. Blocks for a
/// moment.
pub fn kernel_abi() -> u8 {
    // A sandbox is of the thread that has entered it, and ends with this one.
    let asked = thread::spawn(|| enter(&AllowedFiles::default()));
    asked.join().ok().and_then(Result::ok).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::{ErrorKind, IoSliceMut},
        os::unix::net::UnixListener,
        path::Path,
        process::{Child, Command, Stdio},
    };

    use nix::{
        errno::Errno,
        sys::{
            signal::kill,
            uio::{RemoteIoVec, process_vm_readv},
        },
        unistd::Pid,
    };

    use super::*;

    /// A process outside, with an address of its memory.
    struct OutsideProcess {
        child: Child,
        address: usize,
    }

    impl OutsideProcess {
        fn start() -> OutsideProcess {
            let child = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let maps = fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
            let address = usize::from_str_radix(maps.split('-').next().unwrap(), 16).unwrap();
            OutsideProcess { child, address }
        }

        fn pid(&self) -> Pid {
            Pid::from_raw(self.child.id().try_into().unwrap())
        }

        fn read_memory(pid: Pid, base: usize) -> Result<usize, Errno> {
            let mut bytes = [0; 4];
            let remote = [RemoteIoVec { base, len: 4 }];
            process_vm_readv(pid, &mut [IoSliceMut::new(&mut bytes)], &remote)
        }
    }

    impl Drop for OutsideProcess {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn refused<T>(result: std::io::Result<T>, what: &str) {
        let error = result.err().unwrap_or_else(|| panic!("{what} was allowed"));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}");
    }

    /// Runs in a sandbox with these files; `false` where the kernel has none.
    fn inside(files: AllowedFiles, work: impl FnOnce(u8) + Send + 'static) -> bool {
        let entered = thread::spawn(move || {
            let abi = enter(&files).unwrap();
            if abi > 0 {
                work(abi);
            }
            abi > 0
        });
        entered.join().unwrap()
    }

    // Test 58.
    // guarantee: SECURITY-40
    #[test]
    fn files_that_are_not_named_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let [data, run, libraries] = ["data", "run", "lib"].map(|it| dir.path().join(it));
        for folder in [&data, &run, &libraries] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), "text").unwrap();
        }
        std::os::unix::fs::symlink(data.join("file"), run.join("link")).unwrap();
        let held = File::open(data.join("file")).unwrap();
        let files = AllowedFiles {
            read: vec![libraries.clone(), dir.path().join("absent")],
            devices: vec!["/dev/null".into()],
            sockets: Vec::new(),
            write: vec![run.clone()],
        };
        let entered = inside(files, move |abi| {
            let file = |folder: &Path| folder.join("file");
            assert_eq!(fs::read_to_string(file(&libraries)).unwrap(), "text");
            assert!(fs::read_dir(&libraries).is_ok());
            fs::write(run.join("new"), "text").unwrap();
            UnixListener::bind(run.join("socket")).unwrap();
            fs::remove_file(run.join("socket")).unwrap();
            assert!(File::options().write(true).open("/dev/null").is_ok());
            refused(fs::read_to_string(file(&data)), "reading");
            refused(fs::read_dir(&data), "listing");
            refused(fs::read_to_string(run.join("link")), "reading by a link");
            refused(File::options().append(true).open(file(&data)), "writing");
            refused(fs::remove_file(file(&data)), "removing");
            refused(UnixListener::bind(data.join("socket")), "a socket");
            refused(fs::write(libraries.join("new"), ""), "a new library");
            refused(Command::new("/bin/true").status(), "a program");
            if abi >= ABI_THAT_KEEPS_FILES {
                refused(
                    nix::unistd::truncate(&file(&data), 0).map_err(Into::into),
                    "cutting",
                );
            }
            // What was open before stays open.
            assert_eq!(std::io::read_to_string(held).unwrap(), "text");
        });
        assert!(entered || kernel_abi() == 0);
    }

    // Test 58.
    // guarantee: SECURITY-40
    #[test]
    fn memory_of_processes_outside_is_out_of_reach() {
        let other = OutsideProcess::start();
        let (pid, address) = (other.pid(), other.address);
        // Without a sandbox it can be read, or this shows nothing.
        assert_eq!(OutsideProcess::read_memory(pid, address), Ok(4));
        // With its path allowed it is the process itself that is refused.
        let files = AllowedFiles {
            read: vec!["/proc".into()],
            ..AllowedFiles::default()
        };
        inside(files, move |_| {
            assert_eq!(OutsideProcess::read_memory(pid, address), Err(Errno::EPERM));
            refused(fs::read(format!("/proc/{pid}/mem")), "mem");
        });
        inside(AllowedFiles::default(), move |abi| {
            assert_eq!(OutsideProcess::read_memory(pid, address), Err(Errno::EPERM));
            for file in ["mem", "environ", "maps"] {
                refused(fs::read(format!("/proc/{pid}/{file}")), file);
            }
            if abi >= 6 {
                assert_eq!(kill(pid, None), Err(Errno::EPERM));
            }
        });
    }
}
