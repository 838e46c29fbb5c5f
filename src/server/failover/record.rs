//! The record in the data folder of the values that a member goes by: `failover`.
//!
//! A restarted member goes by them until it has applied the promise again. Its settings would not
//! do: they may name another value than the cluster's, and a leader or voter that goes by a value
//! of its own is what the promise of a cluster is there to prevent.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use quorate_platform::private_folder::{self, DATA_HOLDS};
use quorate_state::FailoverPromise;
use quorate_types::{
    EffectiveTiming, Timing,
    timing::{FAILOVER_MS_MAX, FAILOVER_MS_MIN},
};
use serde::{Deserialize, Serialize};

const FILE: &str = "failover";
/// Raised when an older program could misread what this one writes.
const FORMAT: u32 = 1;

/// The values that a member goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalFailoverRecord {
    /// The log index at which the promise was set; 0 before the first.
    pub revision: u64,
    /// The promise by which the member grants leases, in milliseconds.
    pub lease_ms: u64,
    /// The promise by which the member waits for a silent leader, in milliseconds.
    pub patience_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FailoverFile {
    format: u32,
    revision: u64,
    lease_ms: u64,
    patience_ms: u64,
}

impl LocalFailoverRecord {
    /// Takes the values of the cluster's promise.
    pub(crate) fn from_promise(promise: &FailoverPromise) -> LocalFailoverRecord {
        LocalFailoverRecord {
            revision: promise.revision,
            lease_ms: promise.lease_ms(),
            patience_ms: promise.patience_ms(),
        }
    }

    /// Makes a record of one value for both, before the cluster has made a promise.
    pub(crate) fn alone(failover_ms: u64) -> LocalFailoverRecord {
        LocalFailoverRecord {
            revision: 0,
            lease_ms: failover_ms,
            patience_ms: failover_ms,
        }
    }

    /// Returns the timers that follow from the values.
    pub(crate) fn timing(&self) -> EffectiveTiming {
        EffectiveTiming {
            lease: timing(self.lease_ms),
            patience: timing(self.patience_ms),
        }
    }

    /// Reads the data folder; `None` where there is no record. Blocks.
    pub(crate) fn read(dir: &Path) -> io::Result<Option<LocalFailoverRecord>> {
        let path = dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(named(&path, error)),
        };
        let bad = |what: String| named(&path, io::Error::new(io::ErrorKind::InvalidData, what));
        let it: FailoverFile = serde_json::from_slice(&bytes)
            .map_err(|error| bad(format!("it is not as this program writes it: {error}")))?;
        if it.format != FORMAT {
            return Err(bad(format!(
                "it has format {} and this program reads format {FORMAT}: run the version that wrote it",
                it.format
            )));
        }
        let known = FAILOVER_MS_MIN..=FAILOVER_MS_MAX;
        if !known.contains(&it.lease_ms) || !known.contains(&it.patience_ms) {
            return Err(bad("it names a promise that can't be made".into()));
        }
        Ok(Some(LocalFailoverRecord {
            revision: it.revision,
            lease_ms: it.lease_ms,
            patience_ms: it.patience_ms,
        }))
    }

    /// Writes the record, whole or not at all, and syncs it. Blocks.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let path = dir.join(FILE);
        let written = FailoverFile {
            format: FORMAT,
            revision: self.revision,
            lease_ms: self.lease_ms,
            patience_ms: self.patience_ms,
        };
        let temp = path.with_extension("tmp");
        let write = || {
            if !dir.try_exists()? {
                // Consensus, which would make the folder, starts after this.
                private_folder::make(dir, DATA_HOLDS).map_err(io::Error::other)?;
            }
            let mut file = File::create(&temp)?;
            serde_json::to_writer(&file, &written)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&temp, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|error| named(&path, error))
    }
}

/// A value that this version can't go by does not come here: it ends the member that is to apply it
/// (see `replica.rs`).
fn timing(failover_ms: u64) -> Timing {
    Timing::from_failover_ms(failover_ms.clamp(FAILOVER_MS_MIN, FAILOVER_MS_MAX))
        .expect("invariant: it was brought into the range")
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_reads_back_and_unknown_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(LocalFailoverRecord::read(dir.path()).unwrap(), None);
        let record = LocalFailoverRecord {
            revision: 7,
            lease_ms: 500,
            patience_ms: 2_000,
        };
        record.write(&dir.path().join("data")).unwrap();
        let path = dir.path().join("data");
        assert_eq!(LocalFailoverRecord::read(&path).unwrap(), Some(record));
        let good = fs::read_to_string(path.join(FILE)).unwrap();
        for bad in [
            good.replace("\"format\":1", "\"format\":2"),
            good.replace("500", "99"),
            good.replace("2000", "60001"),
            good.replace("revision", "other"),
            String::new(),
        ] {
            fs::write(path.join(FILE), &bad).unwrap();
            let error = LocalFailoverRecord::read(&path).unwrap_err().to_string();
            assert!(error.contains("data/failover: it "), "{bad}: {error}");
        }
    }
}
