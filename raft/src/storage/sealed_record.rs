//! Sealed record: the version and the checksum of a record on disk.
//!
//! A sealed record is `version (1 byte) | crc32c (4 bytes, little endian) | payload`. The
//! checksum covers the key under which the record stands, the version and the payload:
//! a record that was moved is as wrong as one that was changed. These five bytes keep
//! their meaning in every version, so that a record from the future is told apart from a damaged
//! one.

use bytes::{Buf, Bytes};
use prost::Message;

use super::convert::MalformedProto;

/// Version of a log record (entry, vote, purged, committed).
pub(super) const LOG_RECORD: u8 = 1;
/// Version of the marker.
pub(super) const MARKER: u8 = 1;
/// Version of the durable mark.
pub(super) const ACKNOWLEDGED: u8 = 2;
/// Version of the longest lease.
pub(super) const LONGEST_LEASE: u8 = 1;
/// Version of a snapshot file.
pub(super) const SNAPSHOT: u8 = 1;

/// Bytes in front of the payload.
pub(super) const SEAL: usize = 5;

/// Fault of a sealed record.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum RecordError {
    #[error("the record is {0} bytes long, which is too short")]
    Short(usize),
    #[error("the checksum does not match")]
    Checksum,
    #[error("it has format version {found}, this program knows versions up to {known}")]
    Future { found: u8, known: u8 },
    #[error("it has a part that this program does not know")]
    UnknownPart,
    #[error("it does not decode: {0}")]
    Undecodable(String),
}

impl RecordError {
    /// Returns whether a newer version wrote the record.
    pub(super) fn is_newer(&self) -> bool {
        matches!(self, RecordError::Future { .. } | RecordError::UnknownPart)
    }
}

impl From<MalformedProto> for RecordError {
    fn from(e: MalformedProto) -> Self {
        RecordError::Undecodable(e.0)
    }
}

/// Seals the payload that `write` appends.
pub(super) fn seal(version: u8, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = vec![version, 0, 0, 0, 0];
    write(&mut record);
    let crc = checksum(version, key, &record[SEAL..]);
    record[1..SEAL].copy_from_slice(&crc.to_le_bytes());
    record
}

/// Returns the payload of a sealed record, if it is sound.
pub(super) fn unseal(known: u8, key: &[u8], mut record: Bytes) -> Result<Bytes, RecordError> {
    if record.len() < SEAL {
        return Err(RecordError::Short(record.len()));
    }
    let version = record.get_u8();
    let crc = record.get_u32_le();
    if crc != checksum(version, key, &record) {
        return Err(RecordError::Checksum);
    }
    if version == 0 || version > known {
        let found = version;
        return Err(RecordError::Future { found, known });
    }
    Ok(record)
}

/// Decodes a payload to its last part. The decoder leaves out a part that it does not know, which
/// would be gone when the record is written again.
pub(super) fn decode_whole<M: Message + Default>(payload: Bytes) -> Result<M, RecordError> {
    let length = payload.len();
    let message = M::decode(payload).map_err(MalformedProto::from)?;
    if message.encoded_len() == length {
        Ok(message)
    } else {
        Err(RecordError::UnknownPart)
    }
}

fn checksum(version: u8, key: &[u8], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(key);
    let crc = crc32c::crc32c_append(crc, &[version]);
    crc32c::crc32c_append(crc, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_seen() {
        let record = seal(1, b"key", |out| out.extend(b"payload"));
        let good = unseal(1, b"key", record.clone().into());
        assert_eq!(good.unwrap(), Bytes::from_static(b"payload"));
        for bit in 0..record.len() * 8 {
            let mut bad = record.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(1, b"key", bad.into()), Err(RecordError::Checksum));
        }
        assert_eq!(unseal(1, b"yek", record.into()), Err(RecordError::Checksum));
    }

    #[test]
    fn a_part_more_is_not_dropped() {
        let known = quorate_proto::peer::Member {
            name: "a".into(),
            ..Default::default()
        };
        let bytes = known.encode_to_vec();
        assert_eq!(decode_whole(bytes.clone().into()), Ok(known.clone()));
        let newer = [&bytes[..], &[0xa0, 0x38, 0x01]].concat();
        let decoded = decode_whole::<quorate_proto::peer::Member>(newer.into());
        assert_eq!(decoded, Err(RecordError::UnknownPart));
        assert!(RecordError::UnknownPart.is_newer() && !RecordError::Checksum.is_newer());
        // Within another, at any depth.
        let member = [&bytes[..], &[0xa0, 0x38, 0x01]].concat();
        let entry = [&[0x08, 0x01, 0x12, member.len() as u8][..], &member].concat();
        let decoded = decode_whole::<quorate_proto::peer::MemberEntry>(entry.into());
        assert_eq!(decoded, Err(RecordError::UnknownPart));
    }

    #[test]
    fn newer_record_is_distinguished_from_damage() {
        let record = seal(9, b"key", |out| out.extend(b"payload"));
        let future = RecordError::Future { found: 9, known: 1 };
        assert_eq!(unseal(1, b"key", record.into()), Err(future));
        assert_eq!(
            unseal(1, b"", Bytes::from_static(b"abc")),
            Err(RecordError::Short(3))
        );
    }
}
