//! Texts and bytes in a caller's memory.

use std::ffi::c_void;

use libmqm_sys as mq;

/// The text of a field, which is padded with blanks or ends at a zero.
pub(super) fn text(field: &[mq::MQCHAR]) -> String {
    let bytes: Vec<u8> = field
        .iter()
        .map(|it| *it as u8)
        .take_while(|it| *it != 0)
        .collect();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// Writes a text into a field, padded with blanks.
pub(super) fn set_text(field: &mut [mq::MQCHAR], text: &str) {
    field.fill(b' ' as mq::MQCHAR);
    for (to, byte) in field.iter_mut().zip(text.bytes()) {
        *to = byte as mq::MQCHAR;
    }
}

/// The bytes that a caller gives.
///
/// # Safety
/// `from` is null or has so many bytes.
pub(super) unsafe fn bytes<'a>(from: *const c_void, length: mq::MQLONG) -> &'a [u8] {
    match usize::try_from(length) {
        // SAFETY: as above.
        Ok(length) if !from.is_null() => unsafe { std::slice::from_raw_parts(from.cast(), length) },
        _ => &[],
    }
}

/// Copies as many bytes to the caller as there is room for.
///
/// # Safety
/// `to` is null or has room for so many bytes.
pub(super) unsafe fn fill(to: *mut c_void, from: &[u8], room: usize) {
    if !to.is_null() {
        let length = from.len().min(room);
        // SAFETY: as above; what is ours doesn't overlap.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.cast(), length) };
    }
}
