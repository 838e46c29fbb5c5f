//! Snapshot file: its form, and how it is written, read and checked.
//!
//! ```text
//! "QUORSNAP" | seal: version, crc32c | head length u32 | data length u64 | data crc32c u32
//! head: what the snapshot covers (peer.SnapshotHeader) | data: what the machine wrote
//! ```
//! The seal covers everything in front of the data. Built and received snapshots have the
//! same form, so that installing one is a rename. The file is never held in memory whole.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Buf, Bytes};
use prost::Message;
use quorate_proto::peer;

use super::{
    convert::{snapshot_meta_from_proto, snapshot_meta_to_proto},
    data_folder::DataFolder,
    raft_types::{FileSnapshotMeta, Types},
    sealed_record::{self, RecordError, SEAL},
};

/// Snapshot as openraft knows it: what it covers, and its file.
pub(crate) type FileSnapshot = openraft::alias::SnapshotOf<Types, SnapshotFile>;

const MAGIC: &[u8; 8] = b"QUORSNAP";
/// Head length, data length and data checksum.
const FIXED: usize = 4 + 8 + 4;
/// Everything in front of the head.
const PREAMBLE: usize = MAGIC.len() + SEAL + FIXED;
/// Largest head; no membership comes near this.
const HEAD_MAX: u32 = 16 << 20;
/// Bytes that are read or written at once.
const BUFFER: usize = 1 << 20;

/// Handle of a snapshot's data. Keeps the file readable even when a newer snapshot has
/// replaced it on disk; a received one that is never installed goes with its last handle.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    file: Arc<File>,
    path: PathBuf,
    start: u64,
    length: u64,
    crc: u32,
    temporary: Option<Arc<TemporaryFile>>,
    _folder: Arc<DataFolder>,
}

/// Reason why a snapshot can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Unsound(#[from] RecordError),
}

impl From<SnapshotReadError> for io::Error {
    fn from(e: SnapshotReadError) -> Self {
        match e {
            SnapshotReadError::Io(e) => e,
            SnapshotReadError::Unsound(e) => io::Error::new(io::ErrorKind::InvalidData, e),
        }
    }
}

/// File that is removed unless it is kept.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    path: PathBuf,
    kept: AtomicBool,
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) {
            // What can't be removed now is removed when the folder is opened next.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl SnapshotFile {
    /// Opens a snapshot file. The data is not read; see [`SnapshotFile::verify`].
    pub(super) fn open(
        path: &Path,
        folder: &Arc<DataFolder>,
    ) -> Result<(FileSnapshotMeta, SnapshotFile), SnapshotReadError> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut front = Vec::new();
        (&mut file).take(PREAMBLE as u64).read_to_end(&mut front)?;
        if front.len() < PREAMBLE || &front[..MAGIC.len()] != MAGIC {
            let what = "it does not begin as a snapshot does".to_owned();
            return Err(RecordError::Undecodable(what).into());
        }
        let head_len = (&front[MAGIC.len() + SEAL..]).get_u32_le();
        if head_len > HEAD_MAX {
            return Err(RecordError::Checksum.into());
        }
        (&mut file).take(head_len.into()).read_to_end(&mut front)?;
        let head = SnapshotHead::decode(Bytes::from(front).slice(MAGIC.len()..), size)?;
        let snapshot = SnapshotFile {
            file: Arc::new(file),
            path: path.to_owned(),
            start: head.start,
            length: head.length,
            crc: head.crc,
            temporary: None,
            _folder: folder.clone(),
        };
        Ok((head.meta, snapshot))
    }

    /// Returns the number of bytes of data.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the checksum of the data.
    pub(crate) fn crc32c(&self) -> u32 {
        self.crc
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads at most `max` bytes of data from `offset`; nothing at the end. Blocks.
    pub(crate) fn read_at(&self, offset: u64, max: usize) -> io::Result<Bytes> {
        let left = self.length.saturating_sub(offset);
        let want = left.min(max as u64) as usize;
        let mut chunk = vec![0; want];
        self.file.read_exact_at(&mut chunk, self.start + offset)?;
        Ok(chunk.into())
    }

    /// Reads the data from its beginning. Blocks.
    pub(crate) fn reader(&self) -> impl Read + use<> {
        let cursor = SnapshotCursor {
            snapshot: self.clone(),
            offset: 0,
        };
        BufReader::with_capacity(BUFFER, cursor)
    }

    /// Reads all data and compares its checksum. Blocks.
    pub(super) fn verify(&self) -> Result<(), SnapshotReadError> {
        let mut crc = 0;
        let mut offset = 0;
        while offset < self.length {
            let chunk = self.read_at(offset, BUFFER)?;
            crc = crc32c::crc32c_append(crc, &chunk);
            offset += chunk.len() as u64;
        }
        if crc != self.crc {
            return Err(RecordError::Checksum.into());
        }
        Ok(())
    }

    /// Returns whether the snapshot has not been installed yet.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Gives a temporary file its lasting name.
    pub(super) fn rename(&self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        if let Some(temporary) = &self.temporary {
            temporary.kept.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

struct SnapshotCursor {
    snapshot: SnapshotFile,
    offset: u64,
}

impl Read for SnapshotCursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.snapshot.length - self.offset;
        let want = left.min(buf.len() as u64) as usize;
        let at = self.snapshot.start + self.offset;
        let n = self.snapshot.file.read_at(&mut buf[..want], at)?;
        if n == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += n as u64;
        Ok(n)
    }
}

struct SnapshotHead {
    meta: FileSnapshotMeta,
    start: u64,
    length: u64,
    crc: u32,
}

impl SnapshotHead {
    fn decode(sealed: Bytes, file_size: u64) -> Result<SnapshotHead, RecordError> {
        let mut record = sealed_record::unseal(sealed_record::SNAPSHOT, MAGIC, sealed)?;
        if record.len() < FIXED {
            return Err(RecordError::Short(record.len()));
        }
        let head_len = record.get_u32_le();
        let length = record.get_u64_le();
        let crc = record.get_u32_le();
        let start = (PREAMBLE as u64) + u64::from(head_len);
        let header: peer::SnapshotHeader = sealed_record::decode_whole(record)?;
        let meta = snapshot_meta_from_proto(&header)?;
        if start.checked_add(length) != Some(file_size) {
            let what =
                format!("it should have {length} bytes of data and has a size of {file_size}");
            return Err(RecordError::Undecodable(what));
        }
        Ok(SnapshotHead {
            meta,
            start,
            length,
            crc,
        })
    }
}

/// Writes a snapshot file under a temporary name. Blocks.
pub(super) struct SnapshotWriter {
    out: BufWriter<File>,
    temporary: TemporaryFile,
    head: Vec<u8>,
    length: u64,
    crc: u32,
    folder: Arc<DataFolder>,
}

impl SnapshotWriter {
    pub(super) fn create(
        path: PathBuf,
        meta: &FileSnapshotMeta,
        folder: Arc<DataFolder>,
    ) -> io::Result<SnapshotWriter> {
        let head = snapshot_meta_to_proto(meta).encode_to_vec();
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        let mut out = BufWriter::with_capacity(BUFFER, file);
        // The seal comes last: until then this is no snapshot.
        out.write_all(&vec![0; PREAMBLE + head.len()])?;
        Ok(SnapshotWriter {
            out,
            temporary: TemporaryFile {
                path,
                kept: AtomicBool::new(false),
            },
            head,
            length: 0,
            crc: 0,
            folder,
        })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn crc32c(&self) -> u32 {
        self.crc
    }

    /// Seals the file and makes its content last; its name is still temporary.
    pub(super) fn seal(self) -> io::Result<SnapshotFile> {
        let mut file = self.out.into_inner().map_err(|e| e.into_error())?;
        let head_len = u32::try_from(self.head.len()).map_err(io::Error::other)?;
        let sealed = sealed_record::seal(sealed_record::SNAPSHOT, MAGIC, |out| {
            out.extend(head_len.to_le_bytes());
            out.extend(self.length.to_le_bytes());
            out.extend(self.crc.to_le_bytes());
            out.extend(&self.head);
        });
        file.seek(SeekFrom::Start(0))?;
        file.write_all(MAGIC)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        Ok(SnapshotFile {
            file: Arc::new(file),
            path: self.temporary.path.clone(),
            start: (PREAMBLE + self.head.len()) as u64,
            length: self.length,
            crc: self.crc,
            temporary: Some(Arc::new(self.temporary)),
            _folder: self.folder,
        })
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.out.write_all(data)?;
        self.length += data.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
