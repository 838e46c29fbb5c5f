//! Framing of RocksDB's write-ahead logs and manifest, checked before RocksDB reads them.
//!
//! Two reasons. A flipped bit can turn a record's type into that of a recycled log, which
//! we never write; RocksDB 11.8 then reads the same header for ever instead of failing.
//! And RocksDB doesn't say where a log is damaged; people want the file and the place.
//!
//! The format: blocks of 32 KiB; in them frames of `crc32c (masked) u32 | length u16 |
//! type u8 | payload`, none across two blocks; a rest of less than 7 bytes is filler.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
/// Kinds of frame that stand in recycled logs only.
const RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// First frame of a file that is not sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FramingError {
    pub(super) path: PathBuf,
    pub(super) offset: u64,
    pub(super) why: FramingFault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FramingFault {
    /// The file ends in the middle of a frame, or the frame's length is wrong.
    CutShort,
    /// Zeros, where nothing was written or the disk has lost it.
    Zeros,
    Checksum,
    /// A kind of frame that stands in recycled logs only, which RocksDB would never get past.
    Recycled(u8),
}

impl std::fmt::Display for FramingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let why = match self.why {
            FramingFault::CutShort => "is cut short or has a wrong length".to_owned(),
            FramingFault::Zeros => "is all zeros".to_owned(),
            FramingFault::Checksum => "has a wrong checksum".to_owned(),
            FramingFault::Recycled(kind) => format!("is of a kind ({kind}) that is never written"),
        };
        write!(f, "in {name} the record at byte {} {why}", self.offset)
    }
}

/// Returns the first unsound frame of each write-ahead log in `dir`, ordered by file name.
pub(super) fn unframed_logs(dir: &Path) -> io::Result<Vec<FramingError>> {
    let mut paths = Vec::new();
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        found.extend(first_unframed(&path)?);
    }
    Ok(found)
}

/// Returns the first unsound frame of the manifest that is in force. Another one, left by a kill
/// while it was being made, doesn't count; nor does a `CURRENT` that names none, which
/// RocksDB refuses by itself.
pub(super) fn unframed_manifest(dir: &Path) -> io::Result<Option<FramingError>> {
    let current = fs::read(dir.join("CURRENT"))?;
    let path = dir.join(String::from_utf8_lossy(&current).trim());
    if path.is_file() {
        first_unframed(&path)
    } else {
        Ok(None)
    }
}

fn first_unframed(path: &Path) -> io::Result<Option<FramingError>> {
    let mut file = File::open(path)?;
    let mut block = Vec::with_capacity(BLOCK);
    let mut start = 0;
    loop {
        block.clear();
        (&mut file).take(BLOCK as u64).read_to_end(&mut block)?;
        if let Some((at, why)) = first_in_block(&block) {
            let path = path.to_owned();
            let offset = start + at as u64;
            return Ok(Some(FramingError { path, offset, why }));
        }
        if block.len() < BLOCK {
            return Ok(None);
        }
        start += BLOCK as u64;
    }
}

fn first_in_block(block: &[u8]) -> Option<(usize, FramingFault)> {
    let mut at = 0;
    while at < block.len() {
        let rest = &block[at..];
        if rest.len() < HEADER {
            let filler = block.len() == BLOCK;
            return (!filler).then_some((at, FramingFault::CutShort));
        }
        let crc = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
        let length = usize::from(u16::from_le_bytes([rest[4], rest[5]]));
        let kind = rest[6];
        if kind == 0 && length == 0 {
            return Some((at, FramingFault::Zeros));
        }
        if RECYCLED.contains(&kind) {
            return Some((at, FramingFault::Recycled(kind)));
        }
        let Some(payload) = rest.get(HEADER..HEADER + length) else {
            return Some((at, FramingFault::CutShort));
        };
        let found = crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload);
        if found != unmask(crc) {
            return Some((at, FramingFault::Checksum));
        }
        at += HEADER + length;
    }
    None
}

/// Unmasks a checksum as RocksDB stores it.
fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(0xa282_ead8).rotate_left(15)
}
