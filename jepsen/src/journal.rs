//! A file of JSON lines that many tasks write to, in order of time.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use parking_lot::Mutex;
use serde::Serialize;

use crate::{clock::Clock, history};

struct Inner {
    file: BufWriter<File>,
    lines: u64,
    /// The first failure to write; nothing is known of a run that has one.
    failed: Option<String>,
}

/// The file.
pub struct Journal {
    clock: Clock,
    inner: Mutex<Inner>,
}

impl Journal {
    /// Makes the file.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(path: &Path, clock: Clock) -> io::Result<Journal> {
        let file = File::create(path)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        let inner = Inner {
            file: BufWriter::new(file),
            lines: 0,
            failed: None,
        };
        Ok(Journal {
            clock,
            inner: Mutex::new(inner),
        })
    }

    /// Writes a line that is made of the time at which it is written: lines are in order.
    pub fn note<T: Serialize>(&self, line: impl FnOnce(u64) -> T) -> u64 {
        let mut inner = self.inner.lock();
        let now = self.clock.now();
        let written = history::write(&mut inner.file, &line(now));
        inner.lines += 1;
        if let Err(error) = written {
            inner.failed.get_or_insert(error.to_string());
        }
        now
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.inner.lock().lines
    }

    /// Writes out what is held back.
    ///
    /// # Errors
    /// When a line could not be written, now or before.
    pub fn finish(&self) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.file.flush()?;
        match inner.failed.clone() {
            None => Ok(()),
            Some(failed) => Err(io::Error::other(failed)),
        }
    }
}
