//! Every key in RocksDB: the entries by index, and three records beside them.

/// First byte of an entry's key, in front of its index.
const ENTRY: u8 = b'e';
/// Key of the vote: the member that this one stands by, and the term.
pub(super) const VOTE: &[u8] = b"m/vote";
/// Key of the id of the last entry that was purged behind a snapshot.
pub(super) const PURGED: &[u8] = b"m/purged";
/// Key of the id of the last entry known to be committed.
pub(super) const COMMITTED: &[u8] = b"m/committed";

/// Returns the key of an entry; keys sort as indexes do.
pub(super) fn entry(index: u64) -> [u8; 9] {
    let mut key = [ENTRY; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Returns the first key behind all entries.
pub(super) fn entries_end() -> [u8; 1] {
    [ENTRY + 1]
}

/// Returns the index in an entry's key; `None` for any other key.
pub(super) fn index_of(key: &[u8]) -> Option<u64> {
    let (first, index) = key.split_first()?;
    let index: [u8; 8] = index.try_into().ok()?;
    (*first == ENTRY).then(|| u64::from_be_bytes(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_indexes_do() {
        let indexes = [0, 1, 255, 256, u64::from(u32::MAX), u64::MAX];
        for pair in indexes.windows(2) {
            assert!(entry(pair[0]) < entry(pair[1]));
            assert_eq!(index_of(&entry(pair[1])), Some(pair[1]));
        }
        assert!(entry(u64::MAX).as_slice() < entries_end().as_slice());
        for other in [VOTE, PURGED, COMMITTED] {
            assert_eq!(index_of(other), None);
            assert!(other > entries_end().as_slice());
        }
    }
}
