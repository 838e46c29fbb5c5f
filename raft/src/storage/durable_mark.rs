//! Durable mark: the vote and the last entry that this member has acknowledged.
//!
//! RocksDB's write-ahead log can't tell a record that was being written when the power
//! went from one that was acknowledged and has rotted since: both are a record whose
//! checksum is wrong, with nothing sound behind it. This file can tell them apart. It lies
//! beside the log, is fsynced after the log is, and never promises an entry that the log has
//! not got; so a log that ends before the mark has lost something that was promised to others.
//!
//! - A vote is under the mark before it is given: `save_vote` returns after the fsync of this
//!   file. The vote stands in the log too, whose next fsync may be later; a vote that was lost
//!   there is taken from here. If the newer slot rots, the log has the vote, unless the power
//!   went before that fsync.
//! - Entries come under the mark at most [`LAG`] and one fsync after they are acknowledged,
//!   so that a write costs one fsync and not two. In this window, and only in it, a record
//!   that rots (not one that the disk never got) is taken for a torn tail.
//! - Before entries are truncated the mark is lowered, and fsynced, to what will be left.
//!
//! Two slots are written in turn. A disk with sectors of 4 KiB, or one that reports 512 bytes
//! and has 4 KiB, writes all of such a block anew, and a file system all of a page; a write
//! that is torn can take the whole block with it. So each slot is a block of its own, with a
//! block between them, and a torn write leaves the slot before it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes};

use super::{
    data_folder::{DataFolder, read_small, write_atomically},
    error::OpenError,
    raft_types::{LeaderId, LogEntryId, StoredVote},
    sealed_record::{self, RecordError, SEAL},
};

/// Time for which an acknowledged entry may stay above the mark.
pub(super) const LAG: Duration = Duration::from_millis(20);

const KEY: &[u8] = b"acknowledged";
/// Bytes of a slot: no disk's sector and no page is larger.
const SLOT: usize = 4096;
/// Bytes from the beginning of one slot to that of the other.
pub(super) const APART: usize = 2 * SLOT;
const LENGTH: usize = APART + SLOT;
const PAYLOAD: usize = 8 + (1 + 8 + 8 + 1) + (1 + 8 + 8 + 8);

/// Mark of what has been acknowledged to others, and must be there after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DurableMark {
    pub(super) vote: Option<StoredVote>,
    pub(super) last: Option<LogEntryId>,
}

impl DurableMark {
    fn encode(&self, sequence: u64) -> Vec<u8> {
        let mut slot = sealed_record::seal(sealed_record::ACKNOWLEDGED, KEY, |out| {
            let vote = self.vote.unwrap_or_else(|| StoredVote::new(0, 0));
            out.put_u64_le(sequence);
            out.put_u8(self.vote.is_some().into());
            out.put_u64_le(vote.leader_id.term);
            out.put_u64_le(vote.leader_id.node_id);
            out.put_u8(vote.committed.into());
            let (leader, index) = match self.last {
                Some(last) => (last.leader_id, last.index),
                None => (vote.leader_id, 0),
            };
            out.put_u8(self.last.is_some().into());
            out.put_u64_le(leader.term);
            out.put_u64_le(leader.node_id);
            out.put_u64_le(index);
        });
        slot.resize(SLOT, 0);
        slot
    }

    fn decode(slot: &[u8]) -> Result<(u64, DurableMark), RecordError> {
        let record = Bytes::copy_from_slice(&slot[..SEAL + PAYLOAD]);
        let mut record = sealed_record::unseal(sealed_record::ACKNOWLEDGED, KEY, record)?;
        let leader = |record: &mut Bytes| LeaderId {
            term: record.get_u64_le(),
            node_id: record.get_u64_le(),
        };
        let sequence = record.get_u64_le();
        let has_vote = record.get_u8() == 1;
        let leader_id = leader(&mut record);
        let committed = record.get_u8() == 1;
        let has_last = record.get_u8() == 1;
        let last = LogEntryId::new(leader(&mut record), record.get_u64_le());
        let mark = DurableMark {
            vote: has_vote.then_some(StoredVote {
                leader_id,
                committed,
            }),
            last: has_last.then_some(last),
        };
        Ok((sequence, mark))
    }
}

/// File of the mark.
#[derive(Debug)]
pub(super) struct DurableMarkFile {
    file: File,
    sequence: u64,
}

impl DurableMarkFile {
    /// Makes the file for a member that has promised nothing yet.
    pub(super) fn create(folder: &DataFolder) -> Result<(), OpenError> {
        let path = folder.durable_mark();
        let none = DurableMark::default();
        let mut slots = none.encode(0);
        slots.resize(APART, 0);
        slots.extend(none.encode(1));
        write_atomically(&path, &slots).map_err(OpenError::io(&path, "writing"))
    }

    /// Opens the file and reads the newer of the slots that are sound; `None` if there is no file.
    pub(super) fn open(path: &Path) -> Result<Option<(DurableMarkFile, DurableMark)>, OpenError> {
        let Some(bytes) = read_small(path)? else {
            return Ok(None);
        };
        if bytes.len() != LENGTH {
            let found = format!("it has {} bytes instead of {LENGTH}", bytes.len());
            return Err(OpenError::damaged(path, found));
        }
        let slots = [&bytes[..SLOT], &bytes[APART..]].map(DurableMark::decode);
        for slot in &slots {
            if let Err(unsound @ RecordError::Future { .. }) = slot {
                return Err(OpenError::unsound(path, "a slot", unsound));
            }
        }
        let newest = slots
            .into_iter()
            .flatten()
            .max_by_key(|(sequence, _)| *sequence);
        let Some((sequence, mark)) = newest else {
            return Err(OpenError::damaged(path, "both slots have a wrong checksum"));
        };
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(OpenError::io(path, "opening"))?;
        Ok(Some((DurableMarkFile { file, sequence }, mark)))
    }

    /// Moves the mark, up or down, and makes that last.
    pub(super) fn write(&mut self, mark: &DurableMark) -> io::Result<()> {
        let sequence = self.sequence + 1;
        let offset = (sequence % 2) * APART as u64;
        self.file.write_all_at(&mark.encode(sequence), offset)?;
        self.file.sync_data()?;
        self.sequence = sequence;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn mark(term: u64, index: u64) -> DurableMark {
        let leader_id = LeaderId { term, node_id: 7 };
        DurableMark {
            vote: Some(StoredVote {
                leader_id,
                committed: true,
            }),
            last: Some(LogEntryId::new(leader_id, index)),
        }
    }

    fn read(path: &Path) -> Result<DurableMark, OpenError> {
        DurableMarkFile::open(path).map(|found| found.unwrap().1)
    }

    #[test]
    fn torn_block_leaves_previous_mark() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, _) = DataFolder::lock(dir.path(), Duration::ZERO).unwrap();
        let path = folder.durable_mark();
        assert!(DurableMarkFile::open(&path).unwrap().is_none());
        DurableMarkFile::create(&folder).unwrap();
        assert_eq!(read(&path).unwrap(), DurableMark::default());

        let (mut file, _) = DurableMarkFile::open(&path).unwrap().unwrap();
        for index in 1..=5 {
            file.write(&mark(2, index)).unwrap();
            assert_eq!(read(&path).unwrap(), mark(2, index));
        }
        let good = fs::read(&path).unwrap();
        // All of a block of 4 KiB is lost with it, wherever the write was.
        let mut left = Vec::new();
        for block in 0..good.chunks(4096).len() {
            for rubbish in [0x00, 0xff] {
                let mut torn = good.clone();
                torn.chunks_mut(4096).nth(block).unwrap().fill(rubbish);
                fs::write(&path, &torn).unwrap();
                left.push(read(&path).unwrap());
            }
        }
        let (newest, before) = (mark(2, 5), mark(2, 4));
        assert_eq!(left, [before, before, newest, newest, newest, newest]);
        let mut rotten = good.clone();
        rotten[20] ^= 1;
        rotten[APART + 20] ^= 1;
        fs::write(&path, &rotten).unwrap();
        let err = read(&path).unwrap_err().to_string();
        assert!(err.contains("both slots"), "{err}");
        fs::write(&path, &good[..SLOT]).unwrap();
        let err = read(&path).unwrap_err().to_string();
        assert!(err.contains("4096 bytes instead of 12288"), "{err}");
    }
}
