//! Shared lease page: three words, one writer, any number of reading processes.
//!
//! Word 0 is the epoch, word 1 the deadline on CLOCK_BOOTTIME in nanoseconds, 0 for none. Word 2 is
//! the respite, a time in nanoseconds for which a process may keep what it holds beyond the
//! deadline, without doing anything with it. No safety depends on it, so it is written before the
//! deadline and read beside it without further care.
//!
//! A change of epoch is written as `deadline = 0`, `epoch = new`, `deadline = new`, with a release
//! fence before the second and the third store; a renewal or a revocation stores the deadline
//! alone, after a release fence. A reader loads epoch, deadline, epoch, with an acquire fence after
//! the first and the second load, and starts again when the two epochs differ. Epochs only grow, so
//! an epoch that was read twice was there in between:
//!
//! - new epoch, old deadline: having read the new epoch, the reader sees at least the 0 that was
//!   stored before it. It may see 0 (no lease), never the old deadline.
//! - old epoch, new deadline: having read the new deadline, its second look at the epoch sees at
//!   least the new epoch, which differs from the first: it starts again.
//!
//! A writer that dies or is stopped between two stores leaves 0: no lease. Readers never wait for
//! it.

#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed, fence},
    },
    time::Duration,
};

use memmap2::{MmapOptions, MmapRaw};
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use parking_lot::Mutex;
use quorate_planted::{Mutant, planted};

use super::BootInstant;

const PAGE_BYTES: usize = 4096;

/// Content of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// Epoch of the reign.
    pub epoch: u64,
    /// Time until which the holder may act; `None` when it may not.
    pub deadline: Option<BootInstant>,
    /// Time for which the holder may keep what it holds beyond the deadline.
    pub respite: Duration,
}

/// Standing of an epoch at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseTenure {
    /// The holder may act for this time from now on, unless the lease is renewed.
    Runs(Duration),
    /// The lease ran out at this deadline and may be renewed: nothing may begin, and what is held
    /// may be kept for this time.
    Lapsed(BootInstant, Duration),
    /// The holder may not act, and what it holds goes back.
    Over,
}

/// Words of a mapping that is at least [`PAGE_BYTES`] long and can't shrink.
struct LeaseWords(MmapRaw);

impl LeaseWords {
    fn word(&self, index: usize) -> &AtomicU64 {
        // SAFETY: the mapping is `PAGE_BYTES` bytes of a memfd that is sealed against
        // shrinking (checked where it is mapped), so its words stay backed by memory for
        // as long as `self` lives; it is page-aligned, hence 8-aligned. All access in all
        // processes is through atomics: relaxed loads, which are sound on read-only
        // memory, and, in the one process that mapped it writable, relaxed stores.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().cast::<u64>().add(index)) }
    }

    fn epoch(&self) -> &AtomicU64 {
        self.word(0)
    }

    fn deadline(&self) -> &AtomicU64 {
        self.word(1)
    }

    fn respite(&self) -> &AtomicU64 {
        self.word(2)
    }

    fn read(&self) -> LeaseState {
        loop {
            let epoch = self.epoch().load(Relaxed);
            fence(std::sync::atomic::Ordering::Acquire);
            let deadline = self.deadline().load(Relaxed);
            fence(std::sync::atomic::Ordering::Acquire);
            // Epochs change once per takeover: this goes round twice at most in practice.
            if self.epoch().load(Relaxed) == epoch {
                let deadline = (deadline != 0).then_some(BootInstant(deadline));
                let respite = Duration::from_nanos(self.respite().load(Relaxed));
                return LeaseState {
                    epoch,
                    deadline,
                    respite,
                };
            }
        }
    }
}

/// Writer's side of the page. A member has one.
pub struct LeaseWriter {
    words: Mutex<Arc<LeaseWords>>,
    reader: LeaseReader,
    file: OwnedFd,
}

impl LeaseWriter {
    /// Makes a page: epoch 0, no lease.
    pub fn new() -> io::Result<LeaseWriter> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let writable = File::from(memfd_create(c"quorate-lease", flags)?);
        writable.set_len(PAGE_BYTES as u64)?;
        let words = Arc::new(LeaseWords(
            MmapOptions::new().len(PAGE_BYTES).map_raw(&writable)?,
        ));
        // From here on nobody else can write the page, not even with the descriptor.
        let seals = SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_FUTURE_WRITE
            | SealFlag::F_SEAL_SEAL;
        fcntl(&writable, FcntlArg::F_ADD_SEALS(seals))?;
        // Processes get a descriptor that was opened for reading only.
        let file = File::open(format!("/proc/self/fd/{}", writable.as_raw_fd()))?;
        let view = LeaseReader {
            words: words.clone(),
        };
        Ok(LeaseWriter {
            words: Mutex::new(words),
            reader: view,
            file: file.into(),
        })
    }

    /// Lets the holder act under `epoch` until `deadline`, and keep what it holds for `respite`
    /// beyond it. Returns true if it does: an epoch older than the page's gets nothing.
    pub fn grant(&self, epoch: u64, deadline: BootInstant, respite: Duration) -> bool {
        use std::sync::atomic::Ordering::Release;
        let words = self.words.lock();
        let now = words.epoch().load(Relaxed);
        if epoch < now {
            return false;
        }
        if epoch > now {
            words.deadline().store(0, Relaxed);
            fence(Release);
            words.epoch().store(epoch, Relaxed);
        }
        let respite = respite.as_nanos().try_into().unwrap_or(u64::MAX);
        words.respite().store(respite, Relaxed);
        fence(Release);
        words.deadline().store(deadline.0, Relaxed);
        true
    }

    /// Revokes the lease: nobody may act from here on, until the next grant.
    pub fn revoke(&self) {
        let words = self.words.lock();
        fence(std::sync::atomic::Ordering::Release);
        words.deadline().store(0, Relaxed);
    }

    /// Returns the reader's side in this process.
    pub fn reader(&self) -> &LeaseReader {
        &self.reader
    }

    /// Returns a descriptor for a process that has to read the page.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.try_clone()
    }
}

/// Reader's side of the page.
#[derive(Clone)]
pub struct LeaseReader {
    words: Arc<LeaseWords>,
}

impl LeaseReader {
    /// Maps the page by the descriptor from the parent.
    pub fn open(file: impl AsFd) -> io::Result<LeaseReader> {
        let seals = fcntl(file.as_fd(), FcntlArg::F_GET_SEALS).map_err(io::Error::from)?;
        let length = File::from(file.as_fd().try_clone_to_owned()?)
            .metadata()?
            .len();
        if !SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK)
            || length < PAGE_BYTES as u64
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the descriptor is not a lease page: it must be sealed and 4096 bytes long",
            ));
        }
        let map = MmapOptions::new()
            .len(PAGE_BYTES)
            .map_raw_read_only(file.as_fd().as_raw_fd())?;
        Ok(LeaseReader {
            words: Arc::new(LeaseWords(map)),
        })
    }

    /// Returns the current content.
    pub fn read(&self) -> LeaseState {
        self.words.read()
    }

    /// Returns true if the holder of `epoch` may act now.
    pub fn holds(&self, epoch: u64) -> bool {
        planted(Mutant::LeaseCheckRemoved) || self.remaining(epoch).is_some()
    }

    /// Returns how long the holder of `epoch` may act from now on, unless the lease is renewed.
    pub fn remaining(&self, epoch: u64) -> Option<Duration> {
        let lease = self.read();
        if lease.epoch != epoch {
            return None;
        }
        // The clock is read after the page: a delay in between makes the answer later
        // than it was, never earlier.
        lease.deadline?.remaining(BootInstant::now())
    }

    /// Returns how `epoch` stands now.
    pub fn tenure(&self, epoch: u64) -> LeaseTenure {
        if planted(Mutant::LeaseCheckRemoved) {
            return LeaseTenure::Runs(Duration::from_secs(1));
        }
        let lease = self.read();
        let Some(deadline) = lease.deadline.filter(|_| lease.epoch == epoch) else {
            return LeaseTenure::Over;
        };
        let now = BootInstant::now();
        match deadline.remaining(now) {
            Some(left) => LeaseTenure::Runs(left),
            None => match (deadline + lease.respite).remaining(now) {
                Some(left) => LeaseTenure::Lapsed(deadline, left),
                None => LeaseTenure::Over,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    const RESPITE: Duration = Duration::from_secs(30);

    // guarantee: LEASE-5
    #[test]
    fn lapsed_lease_renewable_until_respite_end_or_revocation() {
        let page = LeaseWriter::new().unwrap();
        let tenure = || page.reader().tenure(7);
        assert_eq!(tenure(), LeaseTenure::Over);
        page.grant(7, in_a_minute(), RESPITE);
        assert!(matches!(tenure(), LeaseTenure::Runs(_)));
        let past = BootInstant::now();
        page.grant(7, past, RESPITE);
        assert!(matches!(tenure(), LeaseTenure::Lapsed(at, left) if at == past && left <= RESPITE));
        assert!(!page.reader().holds(7));
        assert_eq!(page.reader().tenure(6), LeaseTenure::Over);
        page.grant(7, in_a_minute(), RESPITE);
        assert!(matches!(tenure(), LeaseTenure::Runs(_)));
        page.grant(7, BootInstant::now(), Duration::ZERO);
        assert_eq!(tenure(), LeaseTenure::Over);
        page.grant(7, BootInstant::now(), RESPITE);
        page.revoke();
        assert_eq!(tenure(), LeaseTenure::Over);
    }

    fn in_a_minute() -> BootInstant {
        BootInstant::now() + Duration::from_secs(60)
    }

    #[test]
    fn lease_holds_for_its_epoch_until_deadline() {
        let page = LeaseWriter::new().unwrap();
        assert!(!page.reader().holds(0));
        assert!(page.grant(7, in_a_minute(), RESPITE));
        assert!(page.reader().holds(7));
        assert!(!page.reader().holds(6));
        assert!(!page.reader().holds(8));
        page.grant(7, BootInstant::now(), RESPITE);
        assert!(!page.reader().holds(7));
        page.grant(7, in_a_minute(), RESPITE);
        page.revoke();
        assert!(!page.reader().holds(7));
        assert_eq!(
            page.reader().read(),
            LeaseState {
                epoch: 7,
                deadline: None,
                respite: RESPITE,
            }
        );
    }

    #[test]
    fn an_older_epoch_gets_no_lease() {
        let page = LeaseWriter::new().unwrap();
        assert!(page.grant(9, in_a_minute(), RESPITE));
        assert!(!page.grant(8, in_a_minute(), RESPITE));
        assert!(page.reader().holds(9));
        assert!(!page.reader().holds(8));
    }

    #[test]
    fn process_reads_but_cannot_write_lease_page() {
        let page = LeaseWriter::new().unwrap();
        let fd = page.descriptor().unwrap();
        let view = LeaseReader::open(&fd).unwrap();
        page.grant(3, in_a_minute(), RESPITE);
        assert!(view.holds(3));
        page.revoke();
        assert!(!view.holds(3));
        // Not through its descriptor, not through one opened anew for writing.
        assert!(MmapOptions::new().len(PAGE_BYTES).map_raw(&fd).is_err());
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let anew = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path);
        if let Ok(file) = anew {
            assert!(MmapOptions::new().len(PAGE_BYTES).map_raw(&file).is_err());
            assert!(nix::unistd::write(&file, b"x").is_err());
            assert!(file.set_len(0).is_err());
        }
    }

    #[test]
    fn another_file_is_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(PAGE_BYTES as u64).unwrap();
        assert!(LeaseReader::open(&file).is_err());
    }

    /// Tests with deadlines of `epoch * 1000 + n`: a pair that doesn't fit shows at once.
    #[test]
    fn reader_never_pairs_epoch_with_foreign_deadline() {
        let page = LeaseWriter::new().unwrap();
        let stop = AtomicBool::new(false);
        let seen = AtomicU64::new(0);
        let view = LeaseReader::open(page.descriptor().unwrap()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut last = 0;
                while !stop.load(Relaxed) {
                    let lease = view.read();
                    if let Some(deadline) = lease.deadline {
                        assert_eq!(deadline.0 / 1000, lease.epoch, "{lease:?}");
                        if lease.epoch != last {
                            last = lease.epoch;
                            seen.fetch_add(1, Relaxed);
                        }
                    }
                }
            });
            // On a busy machine the reader may come late: go on until it ran beside this.
            let start = quorate_clock::Instant::now();
            let mut epoch = 0;
            while epoch < 200_000 || seen.load(Relaxed) < 1000 {
                epoch += 1;
                for n in 0..3 {
                    page.grant(epoch, BootInstant(epoch * 1000 + n), RESPITE);
                }
                if epoch % 5 == 0 {
                    page.revoke();
                }
                if start.elapsed() > Duration::from_secs(60) {
                    break;
                }
            }
            stop.store(true, Relaxed);
        });
        let seen = seen.into_inner();
        assert!(seen >= 1000, "the reader saw only {seen} epochs go by");
    }
}
