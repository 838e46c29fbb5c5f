//! Any bytes as a message that begins with MQRFH2 headers: read or refused, and what is read is
//! written, in either order of bytes and in every character set for folders, and read back. The
//! first byte chooses the order of bytes of what is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_rfh2::{
    ByteOrder, ContentDescriptor, ENCODING_BIG, ENCODING_LITTLE, FolderCharset, JmsFolders, MQHRF2,
    Rfh2Header, read_all,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, message)) = bytes.split_first() else {
        return;
    };
    let contents = ContentDescriptor {
        encoding: if first % 2 == 0 {
            ENCODING_BIG
        } else {
            ENCODING_LITTLE
        },
        ccsid: 1208,
        format: MQHRF2,
    };
    let Ok((headers, _, at)) = read_all(message, contents) else {
        return;
    };
    assert!(at <= message.len());
    let _ = JmsFolders::read(&headers);
    for header in &headers {
        for folder_charset in FolderCharset::ALL {
            for (order, encoding) in [
                (ByteOrder::Big, ENCODING_BIG),
                (ByteOrder::Little, ENCODING_LITTLE),
            ] {
                let header = Rfh2Header {
                    folder_charset,
                    ..header.clone()
                };
                if let Ok(bytes) = header.write(order) {
                    let again = ContentDescriptor {
                        encoding,
                        ..contents
                    };
                    let read = Rfh2Header::read(&bytes, again);
                    let (read, _) = read.expect("what was written is read");
                    assert_eq!(read, header);
                }
            }
        }
    }
});
