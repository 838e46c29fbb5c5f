//! Framing of records: one after the other, each with its length before it.

use std::io::{self, Read, Write};

use bytes::Bytes;
use prost::Message;

use super::{
    bad,
    records::{Body, Record},
};

/// Longest record. Each holds the content of one command, by the rules of whichever version
/// proposed it; and no entry of the log is longer than what members read of each other at once, 4
/// MiB. Part of the format.
const RECORD_BYTES_MAX: usize = 4 << 20;

pub(super) struct RecordWriter<W: Write> {
    out: W,
    pub records: u64,
}

impl<W: Write> RecordWriter<W> {
    pub(super) fn new(out: W) -> Self {
        RecordWriter { out, records: 0 }
    }

    pub(super) fn record(&mut self, body: Body) -> io::Result<()> {
        let record = Record { body: Some(body) }.encode_to_vec();
        let length = u32::try_from(record.len()).map_err(|_| bad("a record is too long"))?;
        self.records += 1;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&record)
    }

    /// Writes the number of records. Nothing follows.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.record(Body::End(self.records))?;
        self.out.flush()
    }
}

pub(super) struct RecordReader<R: Read> {
    input: R,
    pub records: u64,
}

impl<R: Read> RecordReader<R> {
    pub(super) fn new(input: R) -> Self {
        RecordReader { input, records: 0 }
    }

    pub(super) fn record(&mut self) -> io::Result<Body> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > RECORD_BYTES_MAX {
            return Err(bad(format!(
                "record {} would have {length} bytes, and this program reads up to {RECORD_BYTES_MAX}: run the version that wrote it",
                self.records
            )));
        }
        let mut record = vec![0; length];
        self.fill(&mut record)?;
        let record = Record::decode(Bytes::from(record))
            .map_err(|problem| bad(format!("record {}: {problem}", self.records)))?;
        // Unknown parts are left out when it is read.
        let whole = record.encoded_len() == length;
        let body = record.body.filter(|_| whole).ok_or_else(|| {
            bad(format!(
                "record {} is of a sort that this program does not know, or has such parts: run the version that wrote it",
                self.records
            ))
        })?;
        self.records += 1;
        Ok(body)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.input
            .read_exact(buffer)
            .map_err(|problem| match problem.kind() {
                io::ErrorKind::UnexpectedEof => {
                    bad(format!("it ends after {} records", self.records))
                }
                _ => problem,
            })
    }
}
