//! Files of a run's folder: JSON as a whole or line by line, with errors that name the file.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// Failure to read or write a file of a run's folder.
#[derive(Debug, thiserror::Error)]
pub enum RecordFileError {
    /// The folder is missing.
    #[error("{} is not the folder of a run", .0.display())]
    NotARun(PathBuf),
    /// The file can't be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file holds something else, or its value can't be written as JSON.
    #[error("{}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A line can't be read.
    #[error("{}, line {line}", path.display())]
    IoInLine {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1; 0 when the file can't be opened.
        line: usize,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line holds something else.
    #[error("{}, line {line}", path.display())]
    JsonInLine {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

impl RecordFileError {
    /// Names the file that an operation failed on.
    pub fn io(path: &Path) -> impl Fn(io::Error) -> RecordFileError {
        move |source| RecordFileError::Io {
            path: path.to_owned(),
            source,
        }
    }

    fn json(path: &Path) -> impl Fn(serde_json::Error) -> RecordFileError {
        move |source| RecordFileError::Json {
            path: path.to_owned(),
            source,
        }
    }
}

/// Reads a file that is one JSON value.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, RecordFileError> {
    let text = fs::read(path).map_err(RecordFileError::io(path))?;
    serde_json::from_slice(&text).map_err(RecordFileError::json(path))
}

/// Writes a value as JSON for people, ending with a newline.
pub fn write(path: &Path, value: &impl Serialize) -> Result<(), RecordFileError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(RecordFileError::json(path))?;
    text.push(b'\n');
    fs::write(path, text).map_err(RecordFileError::io(path))
}

/// Writes a value as JSON, whole or not at all.
pub fn replace_json(path: &Path, value: &impl Serialize) -> Result<(), RecordFileError> {
    let text = serde_json::to_vec_pretty(value).map_err(RecordFileError::json(path))?;
    replace(path, &text)
}

/// Writes a file whole or not at all: a run that is killed while it is judged leaves no half.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), RecordFileError> {
    let named = RecordFileError::io(path);
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).map_err(&named)?;
    file.write_all(bytes).map_err(&named)?;
    fs::rename(&beside, path).map_err(&named)
}

/// Reads a file of JSON lines. A last line that was cut off is an error as any other.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordFileError> {
    let failed = |line: usize| {
        move |source| RecordFileError::IoInLine {
            path: path.to_owned(),
            line,
            source,
        }
    };
    let file = File::open(path).map_err(failed(0))?;
    let lines = BufReader::new(file).lines().enumerate();
    let parsed = lines.map(|(n, text)| {
        let line = n + 1;
        let text = text.map_err(failed(line))?;
        serde_json::from_str(&text).map_err(|source| RecordFileError::JsonInLine {
            path: path.to_owned(),
            line,
            source,
        })
    });
    parsed.collect()
}

/// Writes a value as one line, and nothing but whole lines.
pub fn write_line<T: Serialize>(mut to: impl Write, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)
}
