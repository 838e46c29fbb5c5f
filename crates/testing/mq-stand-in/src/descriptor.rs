//! Message descriptors (MQMD, version 2) as bytes: where their fields are.

/// How long one is.
pub const LENGTH: usize = 364;
/// Version.
pub const VERSION: usize = 4;
/// Report.
pub const REPORT: usize = 8;
/// MsgType.
pub const TYPE: usize = 12;
/// Expiry.
pub const EXPIRY: usize = 16;
/// Feedback.
pub const FEEDBACK: usize = 20;
/// Encoding.
pub const ENCODING: usize = 24;
/// CodedCharSetId.
pub const CCSID: usize = 28;
/// Format, of 8 characters.
pub const FORMAT: usize = 32;
/// Priority.
pub const PRIORITY: usize = 40;
/// Persistence.
pub const PERSISTENCE: usize = 44;
/// MsgId, of 24 bytes.
pub const MESSAGE_ID: usize = 48;
/// CorrelId, of 24 bytes.
pub const CORRELATION_ID: usize = 72;
/// BackoutCount.
pub const BACKOUT_COUNT: usize = 96;
/// ReplyToQ, of 48 characters.
pub const REPLY_TO: usize = 100;
/// ReplyToQMgr, of 48 characters.
pub const REPLY_TO_MANAGER: usize = 148;
/// UserIdentifier, of 12 characters; the first of the identity context.
pub const USER: usize = 196;
/// AccountingToken, of 32 bytes.
pub const ACCOUNTING_TOKEN: usize = 208;
/// ApplIdentityData, of 32 characters; the last of the identity context.
pub const IDENTITY_DATA: usize = 240;
/// PutApplType; the first of the origin context.
pub const APPLICATION_TYPE: usize = 272;
/// PutApplName, of 28 characters.
pub const APPLICATION: usize = 276;
/// PutDate and PutTime, of 8 characters each.
pub const PUT_DATE: usize = 304;
/// ApplOriginData, of 4 characters; the last of the origin context.
pub const ORIGIN_DATA: usize = 320;
/// GroupId, of 24 bytes.
pub const GROUP_ID: usize = 324;
/// MsgSeqNumber.
pub const SEQUENCE_NUMBER: usize = 348;
/// OriginalLength.
pub const ORIGINAL_LENGTH: usize = 360;

/// One as an application makes it that says nothing: for a persistent datagram of bytes in
/// this machine's encoding.
pub fn plain() -> Vec<u8> {
    let mut descriptor = vec![0; LENGTH];
    descriptor[..4].copy_from_slice(b"MD  ");
    let numbers = [
        (VERSION, 2),
        (TYPE, libmqm_sys::MQMT_DATAGRAM),
        (EXPIRY, libmqm_sys::MQEI_UNLIMITED),
        (ENCODING, libmqm_sys::MQENC_NATIVE),
        (PERSISTENCE, libmqm_sys::MQPER_PERSISTENT),
        (SEQUENCE_NUMBER, 1),
        (ORIGINAL_LENGTH, libmqm_sys::MQOL_UNDEFINED),
    ];
    for (at, number) in numbers {
        set_field(&mut descriptor, at, number);
    }
    set_text(&mut descriptor[FORMAT..FORMAT + 8], "");
    set_text(&mut descriptor[REPLY_TO..REPLY_TO + 96], "");
    descriptor
}

/// One for a persistent text in UTF-8.
pub fn utf_8() -> Vec<u8> {
    let mut descriptor = plain();
    set_field(&mut descriptor, CCSID, 1208);
    set_text(&mut descriptor[FORMAT..FORMAT + 8], "MQSTR");
    descriptor
}

/// A number.
pub fn field(descriptor: &[u8], at: usize) -> i32 {
    descriptor
        .get(at..)
        .and_then(|rest| rest.first_chunk::<4>())
        .map_or(0, |four| i32::from_ne_bytes(*four))
}

/// Sets a number.
pub fn set_field(descriptor: &mut [u8], at: usize, number: i32) {
    descriptor[at..at + 4].copy_from_slice(&number.to_ne_bytes());
}

/// A text, without the blanks or the zero that it ends with.
pub fn text(from: &[u8]) -> String {
    let bytes: Vec<u8> = from.iter().copied().take_while(|it| *it != 0).collect();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// Sets a text, padded with blanks.
pub fn set_text(to: &mut [u8], text: &str) {
    to.fill(b' ');
    for (to, byte) in to.iter_mut().zip(text.bytes()) {
        *to = byte;
    }
}
