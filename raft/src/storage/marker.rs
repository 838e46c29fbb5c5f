//! Marker of a data folder: the member and the cluster that it belongs to.
//!
//! Two lines of text, so that people can read it:
//! ```text
//! quorate-data 1 9a3f01bc
//! {"cluster":"5f0c...","member":3}
//! ```
//! The first carries the format version and the checksum (crc32c over version and second
//! line). The marker is written last when a member is made: a folder without one holds nothing
//! that counts, and one with a marker has everything or is refused.

use std::path::Path;

use quorate_types::MemberId;
use serde::{Deserialize, Serialize};

use super::{
    data_folder::{marker_path, read_small, write_atomically},
    error::OpenError,
    sealed_record::{self, RecordError},
};

const MAGIC: &str = "quorate-data";

/// Member and cluster that a data folder belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FolderMarker {
    pub(crate) cluster: String,
    pub(crate) member: MemberId,
}

/// Reads the marker of the data folder `dir`, if it has one. Needs no lock.
pub(crate) fn read_marker(dir: &Path) -> Result<Option<FolderMarker>, OpenError> {
    let path = marker_path(dir);
    let Some(bytes) = read_small(&path)? else {
        return Ok(None);
    };
    match parse(&bytes) {
        Ok(marker) => Ok(Some(marker)),
        Err(unsound) => Err(OpenError::unsound(&path, "the marker", &unsound)),
    }
}

/// Writes the marker, whole or not at all.
pub(super) fn write_marker(dir: &Path, marker: &FolderMarker) -> Result<(), OpenError> {
    let path = marker_path(dir);
    write_atomically(&path, render(sealed_record::MARKER, marker).as_bytes())
        .map_err(OpenError::io(&path, "writing the marker"))
}

fn render(version: u8, marker: &FolderMarker) -> String {
    let body = serde_json::to_string(marker).expect("invariant: strings and numbers are JSON");
    let crc = checksum(version, &body);
    format!("{MAGIC} {version} {crc:08x}\n{body}\n")
}

fn parse(bytes: &[u8]) -> Result<FolderMarker, RecordError> {
    let undecodable = |what: &str| RecordError::Undecodable(what.to_owned());
    let text = str::from_utf8(bytes).map_err(|_| undecodable("it is not text"))?;
    let lines: Vec<&str> = text.split('\n').collect();
    let [head, body, ""] = lines[..] else {
        return Err(undecodable("it does not have two lines"));
    };
    let words: Vec<&str> = head.split(' ').collect();
    let [MAGIC, version, crc] = words[..] else {
        return Err(undecodable("its first line is not that of a marker"));
    };
    let version: u8 = version.parse().map_err(|_| RecordError::Checksum)?;
    if format!("{:08x}", checksum(version, body)) != crc {
        return Err(RecordError::Checksum);
    }
    if version != sealed_record::MARKER {
        return Err(RecordError::Future {
            found: version,
            known: sealed_record::MARKER,
        });
    }
    serde_json::from_str(body).map_err(|e| RecordError::Undecodable(e.to_string()))
}

fn checksum(version: u8, body: &str) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[version]), body.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn marker() -> FolderMarker {
        FolderMarker {
            cluster: "5f0c".to_owned(),
            member: 3,
        }
    }

    #[test]
    fn marker_is_read_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_marker(dir.path()).unwrap(), None);
        write_marker(dir.path(), &marker()).unwrap();
        assert_eq!(read_marker(dir.path()).unwrap(), Some(marker()));
    }

    #[test]
    fn flipped_bit_is_refused_and_file_named() {
        let dir = tempfile::tempdir().unwrap();
        write_marker(dir.path(), &marker()).unwrap();
        let path = dir.path().join("marker");
        let good = fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).unwrap();
            let err = read_marker(dir.path()).unwrap_err();
            assert!(matches!(err, OpenError::Damaged { .. }), "bit {bit}: {err}");
            assert!(err.to_string().contains(path.to_str().unwrap()));
        }
    }

    #[test]
    fn newer_marker_is_refused_as_newer() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("marker"), render(2, &marker())).unwrap();
        let err = read_marker(dir.path()).unwrap_err();
        assert!(matches!(err, OpenError::Future { .. }), "{err}");
        assert!(err.to_string().contains("newer version"), "{err}");
    }
}
