//! Whatever comes in place of a header is read or refused: in bounded time, without a panic, and
//! what is read can be written.

use proptest::prelude::*;
use quorate_rfh2::{
    ByteOrder, ContentDescriptor, ENCODING_BIG, ENCODING_LITTLE, FolderCharset, JmsFolders, MQHRF2,
    Rfh2Header, read_all,
};

use crate::golden::{big_endian, little_endian, utf_16};

/// Every way to write a header.
fn written() -> impl Iterator<Item = (FolderCharset, ByteOrder, i32)> {
    let orders = [
        (ByteOrder::Big, ENCODING_BIG),
        (ByteOrder::Little, ENCODING_LITTLE),
    ];
    let both = move |it| orders.map(|(endian, encoding)| (it, endian, encoding));
    FolderCharset::ALL.into_iter().flat_map(both)
}

/// What the fuzz target does, too.
fn swallow(encoding: i32, message: &[u8]) -> bool {
    let contents = ContentDescriptor {
        encoding,
        ccsid: 1208,
        format: MQHRF2,
    };
    let Ok((headers, _, at)) = read_all(message, contents) else {
        return false;
    };
    assert!(at <= message.len());
    let _ = JmsFolders::read(&headers);
    for header in &headers {
        for (folder_charset, endian, encoding) in written() {
            let header = Rfh2Header {
                folder_charset,
                ..header.clone()
            };
            if let Ok(bytes) = header.write(endian) {
                let again = ContentDescriptor {
                    encoding,
                    ..contents
                };
                let (read, length) = Rfh2Header::read(&bytes, again).unwrap();
                assert_eq!((read, length), (header, bytes.len()));
            }
        }
    }
    true
}

/// A small generator of the same numbers each time.
struct RandomNumbers(u64);

impl RandomNumbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

fn mutate(message: &mut Vec<u8>, numbers: &mut RandomNumbers) {
    const TOKENS: &[&[u8]] = &[
        b"<",
        b">",
        b"</",
        b"/>",
        b"&",
        b"&#",
        b";",
        b" dt='",
        b"'",
        b"=",
        b"<usr>",
        b"</usr>",
        b"<a/>",
        b"RFH ",
        b"MQHRF2  ",
        &[0xFF; 4],
        &[0x7F, 0xFF, 0xFF, 0xFF],
        &[0; 4],
    ];
    for _ in 0..=numbers.next(4) {
        let at = numbers.next(message.len().max(1)).min(message.len());
        match numbers.next(6) {
            0 if !message.is_empty() => message[at] ^= 1 << numbers.next(8),
            1 if !message.is_empty() => message[at] = numbers.next(256) as u8,
            2 => message.truncate(at),
            3 => {
                let token = TOKENS[numbers.next(TOKENS.len())];
                message.splice(at..at, token.iter().copied());
            }
            4 => {
                let token = TOKENS[numbers.next(TOKENS.len())];
                let to = (at + token.len()).min(message.len());
                message.splice(at..to, token.iter().copied());
            }
            _ => {
                let to = (at + numbers.next(24)).min(message.len());
                let part = message[at..to].to_vec();
                message.splice(at..at, part);
            }
        }
    }
}

#[test]
fn mutations_of_good_messages() {
    let mut numbers = RandomNumbers(0x05EE_DF0A_110F_7E57);
    let (mut read, mut refused) = (0, 0);
    for round in 0..200_000 {
        let (mut message, encoding) = match round % 3 {
            0 => (big_endian(), ENCODING_BIG),
            1 => (little_endian(), ENCODING_LITTLE),
            _ => (utf_16(), ENCODING_BIG),
        };
        mutate(&mut message, &mut numbers);
        match swallow(encoding, &message) {
            true => read += 1,
            false => refused += 1,
        }
    }
    // Both ways were gone.
    assert!(
        read > 10_000 && refused > 10_000,
        "{read} read, {refused} refused"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_bytes(encoding in any::<i32>(), message in proptest::collection::vec(any::<u8>(), 0..300)) {
        swallow(encoding, &message);
    }

    #[test]
    fn any_folder(text in "[ -~\u{0}\u{e9}]{0,200}") {
        let mut message = big_endian()[..36].to_vec();
        message.extend((text.len() as i32).to_be_bytes());
        message.extend(text.as_bytes());
        let length = message.len() as i32;
        message[8..12].copy_from_slice(&length.to_be_bytes());
        swallow(ENCODING_BIG, &message);
    }
}
