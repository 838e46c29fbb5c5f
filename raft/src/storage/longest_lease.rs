//! Longest lease that this member may have had a part in, on disk.
//!
//! A voter that restarts has forgotten which leaders it answered. It can know how long a lease
//! may run that it had a part in: no append is answered that carries a longer one than stands
//! here, on disk (see [`crate::votes`]).
//!
//! The length on disk becomes shorter again, so that a failover promise that was long once does
//! not hold takeovers up for ever: once a period of 1.02 x the length on disk is over, all
//! leases from before it are, and the longest that was seen in the period will do.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_types::timing::lease_elsewhere;
use tokio::task;

use super::{
    data_folder::{DataFolder, read_small, write_atomically},
    error::OpenError,
    sealed_record,
};

/// Key that the checksum covers beside the payload.
const KEY: &[u8] = b"longest lease";

/// File of the longest lease, and what is in it.
pub(crate) struct LongestLease {
    path: PathBuf,
    // Held only while something is written: this does not keep the folder in use.
    folder: Weak<DataFolder>,
    seen: Mutex<LeaseMaximum>,
    /// Held while the file is written.
    writing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct LeaseMaximum {
    /// The length on disk.
    kept: Duration,
    /// Start of the period in which leases are looked at, and the longest since then.
    since: Instant,
    longest: Duration,
}

impl fmt::Debug for LongestLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.seen.lock(), f)
    }
}

impl LongestLease {
    /// Reads the file, for a process that began at `started`. In a folder without the file no
    /// append was answered yet.
    pub(super) fn open(folder: &Arc<DataFolder>, started: Instant) -> Result<Self, OpenError> {
        let path = folder.root().join("lease");
        let kept = match read_small(&path)? {
            None => Duration::ZERO,
            Some(bytes) => decode(bytes.into())
                .map_err(|unsound| OpenError::unsound(&path, "the longest lease", &unsound))?,
        };
        Ok(LongestLease {
            path,
            folder: Arc::downgrade(folder),
            seen: Mutex::new(LeaseMaximum {
                kept,
                since: started,
                longest: Duration::ZERO,
            }),
            writing: Arc::default(),
        })
    }

    /// Returns the length that is on disk.
    pub(crate) fn kept(&self) -> Duration {
        self.seen.lock().kept
    }

    /// Has it on disk that a lease of this length is about to be supported, at `now`. Must have
    /// returned before the lease is supported.
    pub(crate) async fn cover(&self, lease: Duration, now: Instant) -> io::Result<()> {
        if self.seen.lock().due(lease, now).is_none() {
            return Ok(());
        }
        // Goes on when the caller does not wait any more: file and memory would differ.
        let one = self.writing.clone().lock_owned().await;
        let Some(kept) = self.seen.lock().due(lease, now) else {
            return Ok(());
        };
        let folder = self.folder.upgrade();
        let folder = folder.ok_or_else(|| io::Error::other("the data folder is closed"))?;
        let path = self.path.clone();
        let written = task::spawn_blocking(move || {
            let _held = (one, folder);
            write_atomically(&path, &encode(kept))
        });
        written.await.unwrap_or_else(|e| Err(io::Error::other(e)))?;
        self.seen.lock().keep(kept, now);
        Ok(())
    }
}

impl LeaseMaximum {
    /// Returns the length that is to be written, if any.
    fn due(&mut self, lease: Duration, now: Instant) -> Option<Duration> {
        self.longest = self.longest.max(lease);
        let over = self.since + lease_elsewhere(self.kept);
        if now > over && self.longest == self.kept {
            (self.since, self.longest) = (now, lease);
        }
        let shorter = now > over && self.longest < self.kept;
        (lease > self.kept || shorter).then_some(self.longest)
    }

    fn keep(&mut self, kept: Duration, now: Instant) {
        if kept < self.kept {
            (self.since, self.longest) = (now, kept);
        }
        self.kept = kept;
    }
}

fn encode(lease: Duration) -> Vec<u8> {
    let us = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
    sealed_record::seal(sealed_record::LONGEST_LEASE, KEY, |out| out.put_u64_le(us))
}

fn decode(record: Bytes) -> Result<Duration, sealed_record::RecordError> {
    let mut payload = sealed_record::unseal(sealed_record::LONGEST_LEASE, KEY, record)?;
    if payload.len() != 8 {
        return Err(sealed_record::RecordError::Short(payload.len()));
    }
    Ok(Duration::from_micros(payload.get_u64_le()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn open(dir: &Path) -> (LongestLease, Arc<DataFolder>) {
        let (folder, _) = DataFolder::lock(dir, Duration::ZERO).unwrap();
        let folder = Arc::new(folder);
        let longest = LongestLease::open(&folder, Instant::now()).unwrap();
        (longest, folder)
    }

    #[tokio::test]
    async fn longer_lease_is_on_disk_before_support() {
        let dir = tempfile::tempdir().unwrap();
        let (longest, folder) = open(dir.path());
        let now = Instant::now();
        assert_eq!(longest.kept(), Duration::ZERO);
        longest.cover(300 * MS, now).await.unwrap();
        longest.cover(100 * MS, now + MS).await.unwrap();
        drop(folder);
        assert_eq!(open(dir.path()).0.kept(), 300 * MS);
        // Whoever still has it can't promise anything more.
        assert!(longest.cover(500 * MS, now).await.is_err());
    }

    #[tokio::test]
    async fn length_shrinks_once_longer_leases_are_over() {
        let dir = tempfile::tempdir().unwrap();
        let (longest, folder) = open(dir.path());
        let now = Instant::now();
        longest.cover(1000 * MS, now).await.unwrap();
        longest.cover(100 * MS, now + 10 * MS).await.unwrap();
        // The long one was seen in this period.
        longest.cover(100 * MS, now + 1030 * MS).await.unwrap();
        assert_eq!(longest.kept(), 1000 * MS);
        longest.cover(100 * MS, now + 2040 * MS).await.unwrap();
        assert_eq!(longest.kept(), 1000 * MS);
        longest.cover(100 * MS, now + 2060 * MS).await.unwrap();
        drop(folder);
        assert_eq!(open(dir.path()).0.kept(), 100 * MS);
    }

    #[tokio::test]
    async fn a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (longest, folder) = open(dir.path());
        longest.cover(300 * MS, Instant::now()).await.unwrap();
        drop(folder);
        let path = dir.path().join("lease");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (folder, _) = DataFolder::lock(dir.path(), Duration::ZERO).unwrap();
        let err = LongestLease::open(&Arc::new(folder), Instant::now()).unwrap_err();
        assert!(matches!(err, OpenError::Damaged { .. }), "{err}");
    }
}
