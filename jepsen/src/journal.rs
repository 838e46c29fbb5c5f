//! File of JSON lines that many tasks write to, in order of time.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use serde::Serialize;

use crate::{
    record_file::{self, RecordFileError},
    run_clock::RunClock,
};

struct JournalFile {
    file: BufWriter<File>,
    lines: u64,
    /// The first failure to write; nothing is known of a run that has a failure.
    failed: Option<io::Error>,
}

/// File of JSON lines.
pub struct LineJournal {
    path: PathBuf,
    clock: RunClock,
    inner: Mutex<JournalFile>,
}

impl LineJournal {
    /// Makes the file.
    pub fn create(path: &Path, clock: RunClock) -> Result<LineJournal, RecordFileError> {
        let file = File::create(path).map_err(RecordFileError::io(path))?;
        let inner = JournalFile {
            file: BufWriter::new(file),
            lines: 0,
            failed: None,
        };
        Ok(LineJournal {
            path: path.to_owned(),
            clock,
            inner: Mutex::new(inner),
        })
    }

    /// Writes a line that is made of the time at which it is written, so that lines are in order.
    pub fn note<T: Serialize>(&self, line: impl FnOnce(u64) -> T) -> u64 {
        let mut inner = self.inner.lock();
        let now = self.clock.now();
        let written = record_file::write_line(&mut inner.file, &line(now));
        inner.lines += 1;
        if let Err(error) = written {
            inner.failed.get_or_insert(error);
        }
        now
    }

    /// Returns the number of lines.
    pub fn lines(&self) -> u64 {
        self.inner.lock().lines
    }

    /// Writes out what is held back.
    pub fn finish(&self) -> Result<(), RecordFileError> {
        let mut inner = self.inner.lock();
        let flushed = inner.file.flush();
        let written = inner.failed.take().map_or(Ok(()), Err);
        flushed
            .and(written)
            .map_err(RecordFileError::io(&self.path))
    }
}
