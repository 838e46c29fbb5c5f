//! Attributes of objects: MQINQ.

use libmqm_sys as mq;

use super::{
    handles::{ask_plain, tell},
    memory::fill,
};
use crate::wire::{Answer, Attribute, Request};

/// The most selectors of a call.
const SELECTORS_MAX: mq::MQLONG = 256;

/// MQINQ.
///
/// # Safety
/// The arrays are as long as they are said to be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn MQINQ(
    hconn: mq::MQHCONN,
    hobj: mq::MQHOBJ,
    selectors_count: mq::MQLONG,
    selectors: mq::PMQLONG,
    numbers_count: mq::MQLONG,
    numbers: mq::PMQLONG,
    text_length: mq::MQLONG,
    texts: mq::PMQCHAR,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    let numbers = (numbers_count, numbers);
    let texts = (text_length, texts);
    // SAFETY: as the caller says.
    let told = unsafe { inquire(hconn, hobj, (selectors_count, selectors), numbers, texts) };
    tell((completion, reason), told);
}

/// Asks for the attributes and writes them where they go.
///
/// # Safety
/// The arrays are as long as they are said to be.
unsafe fn inquire(
    hconn: mq::MQHCONN,
    hobj: mq::MQHOBJ,
    (selectors_count, selectors): (mq::MQLONG, mq::PMQLONG),
    (numbers_count, numbers): (mq::MQLONG, mq::PMQLONG),
    (text_length, texts): (mq::MQLONG, mq::PMQCHAR),
) -> Result<Answer, mq::MQLONG> {
    let wrong = match (selectors_count, numbers_count, text_length) {
        (..=-1, _, _) => Some(mq::MQRC_SELECTOR_COUNT_ERROR),
        (count, _, _) if count > SELECTORS_MAX => Some(mq::MQRC_SELECTOR_LIMIT_EXCEEDED),
        (1.., _, _) if selectors.is_null() => Some(mq::MQRC_SELECTOR_ERROR),
        (_, ..=-1, _) => Some(mq::MQRC_INT_ATTR_COUNT_ERROR),
        (_, 1.., _) if numbers.is_null() => Some(mq::MQRC_INT_ATTRS_ARRAY_ERROR),
        (_, _, ..=-1) => Some(mq::MQRC_CHAR_ATTR_LENGTH_ERROR),
        (_, _, 1..) if texts.is_null() => Some(mq::MQRC_CHAR_ATTRS_ERROR),
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let count = usize::try_from(selectors_count).unwrap_or(0);
    let selectors = match count {
        0 => Vec::new(),
        // SAFETY: there are so many.
        _ => unsafe { std::slice::from_raw_parts(selectors, count) }.to_vec(),
    };
    let request = Request::Inquire {
        handle: hobj,
        selectors,
    };
    let mut told = ask_plain(hconn, &request)?;
    let (mut all_numbers, mut all_texts) = (Vec::new(), String::new());
    for attribute in &told.attributes {
        match attribute {
            Attribute::Number(number) => all_numbers.push(*number),
            Attribute::Text(text, width) => all_texts.push_str(&format!("{text:width$.width$}")),
        }
    }
    let room = usize::try_from(numbers_count).unwrap_or(0);
    let text_room = usize::try_from(text_length).unwrap_or(0);
    for (at, number) in all_numbers.iter().take(room).enumerate() {
        // SAFETY: there is room for so many.
        unsafe { *numbers.add(at) = *number };
    }
    // SAFETY: there is room for so many characters.
    unsafe { fill(texts.cast(), all_texts.as_bytes(), text_room) };
    if all_numbers.len() > room {
        (told.completion, told.reason) = (mq::MQCC_WARNING, mq::MQRC_INT_ATTR_COUNT_TOO_SMALL);
    }
    if all_texts.len() > text_room {
        (told.completion, told.reason) = (mq::MQCC_WARNING, mq::MQRC_CHAR_ATTRS_TOO_SHORT);
    }
    Ok(told)
}
