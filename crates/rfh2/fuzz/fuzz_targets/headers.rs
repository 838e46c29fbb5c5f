//! Any bytes as a message that begins with MQRFH2 headers: read or refused, and what is read is
//! written, in either order of bytes and in every character set for folders, and read back. The
//! first byte chooses the order of bytes of what is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_rfh2::{BIG, Contents, Endian, FolderCharset, Jms, LITTLE, MQHRF2, Rfh2, read_all};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, message)) = bytes.split_first() else {
        return;
    };
    let contents = Contents {
        encoding: if first % 2 == 0 { BIG } else { LITTLE },
        ccsid: 1208,
        format: MQHRF2,
    };
    let Ok((headers, _, at)) = read_all(message, contents) else {
        return;
    };
    assert!(at <= message.len());
    let _ = Jms::read(&headers);
    for header in &headers {
        for folder_charset in FolderCharset::ALL {
            for (endian, encoding) in [(Endian::Big, BIG), (Endian::Little, LITTLE)] {
                let header = Rfh2 {
                    folder_charset,
                    ..header.clone()
                };
                if let Ok(bytes) = header.write(endian) {
                    let again = Contents {
                        encoding,
                        ..contents
                    };
                    let (read, _) = Rfh2::read(&bytes, again).expect("what was written is read");
                    assert_eq!(read, header);
                }
            }
        }
    }
});
