//! The shared library: those verbs of MQI that Quorate calls, with MQI's C ABI.
//!
//! A verb answers with a completion code and a reason, as MQI's do. What is passed is trusted
//! as far as MQI trusts it: pointers are valid, and buffers as long as they are said to be.
#![allow(non_snake_case, unsafe_code)]

use std::{collections::BTreeMap, ffi::c_void, sync::Arc};

use libmqm_sys as mq;
use parking_lot::Mutex;

use crate::{
    client::Client,
    descriptor::LENGTH,
    wire::{Answer, Request},
};

type Handles = BTreeMap<mq::MQHCONN, Arc<Mutex<Client>>>;
static HANDLES: Mutex<Handles> = Mutex::new(BTreeMap::new());

type Out<'a> = (&'a mut mq::MQLONG, &'a mut mq::MQLONG);

/// What a verb answers, whatever happened.
fn answer(out: Out<'_>, answer: Result<&Answer, mq::MQLONG>) {
    (*out.0, *out.1) = match answer {
        Ok(answer) => (answer.completion, answer.reason),
        Err(reason) => (mq::MQCC_FAILED, reason),
    };
}

/// Asks the queue manager over this connection.
fn ask(
    hconn: mq::MQHCONN,
    request: &Request,
    bytes: &[u8],
) -> Result<(Answer, Vec<u8>), mq::MQLONG> {
    let client = HANDLES.lock().get(&hconn).cloned();
    let client = client.ok_or(mq::MQRC_HCONN_ERROR)?;
    let answered = client.lock().ask(request, bytes);
    answered.map_err(|_| mq::MQRC_CONNECTION_BROKEN)
}

fn simple(hconn: mq::MQHCONN, request: &Request, out: Out<'_>) -> i64 {
    let asked = ask(hconn, request, &[]);
    answer(
        out,
        asked.as_ref().map(|(it, _)| it).map_err(|reason| *reason),
    );
    asked.map_or(0, |(it, _)| it.number)
}

fn text(field: &[mq::MQCHAR]) -> String {
    let bytes: Vec<u8> = field
        .iter()
        .map(|it| *it as u8)
        .take_while(|it| *it != 0)
        .collect();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// # Safety
/// `from` is null or has so many bytes.
unsafe fn bytes<'a>(from: *const c_void, length: mq::MQLONG) -> &'a [u8] {
    match usize::try_from(length) {
        // SAFETY: as above.
        Ok(length) if !from.is_null() => unsafe { std::slice::from_raw_parts(from.cast(), length) },
        _ => &[],
    }
}

/// # Safety
/// `to` is null or has room for so many bytes.
unsafe fn fill(to: *mut c_void, from: &[u8], room: usize) {
    if !to.is_null() {
        let length = from.len().min(room);
        // SAFETY: as above; what is ours doesn't overlap.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.cast(), length) };
    }
}

/// MQCONNX.
///
/// # Safety
/// The options point at structures of the versions that they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn MQCONNX(
    name: &mq::MQCHAR48,
    options: &mut mq::MQCNO,
    hconn: &mut mq::MQHCONN,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    *hconn = mq::MQHC_UNUSABLE_HCONN;
    if options.Options & mq::MQCNO_RECONNECT_DISABLED == 0 || options.Version < mq::MQCNO_VERSION_7
    {
        return answer((completion, reason), Err(mq::MQRC_OPTIONS_ERROR));
    }
    // SAFETY: a channel definition, as the caller says.
    let Some(channel) = (unsafe { options.ClientConnPtr.cast::<mq::MQCD>().as_ref() }) else {
        return answer((completion, reason), Err(mq::MQRC_CD_ERROR));
    };
    // SAFETY: credentials or null, and in them texts as long as they say.
    let (user, password) = match unsafe { options.SecurityParmsPtr.as_ref() } {
        None => (None, String::new()),
        Some(it) => unsafe {
            let text = |from: &[u8]| String::from_utf8_lossy(from).into_owned();
            (
                Some(text(bytes(it.CSPUserIdPtr, it.CSPUserIdLength))),
                text(bytes(it.CSPPasswordPtr, it.CSPPasswordLength)),
            )
        },
    };
    let cipher = text(&channel.SSLCipherSpec);
    if !cipher.is_empty() && options.SSLConfigPtr.is_null() {
        return answer((completion, reason), Err(mq::MQRC_KEY_REPOSITORY_ERROR));
    }
    // HOST(PORT), as MQ writes it.
    let address = text(&channel.ConnectionName)
        .replace('(', ":")
        .replace(')', "");
    let Ok(mut client) = Client::connect(&address) else {
        return answer((completion, reason), Err(mq::MQRC_HOST_NOT_AVAILABLE));
    };
    let request = Request::Connect {
        queue_manager: text(name),
        channel: text(&channel.ChannelName),
        user,
        password,
        cipher,
        name: text(&options.ApplName),
    };
    let asked = client
        .ask(&request, &[])
        .map_err(|_| mq::MQRC_CONNECTION_BROKEN);
    answer(
        (completion, reason),
        asked.as_ref().map(|(it, _)| it).map_err(|it| *it),
    );
    if let Ok((
        Answer {
            completion: mq::MQCC_OK,
            number,
            ..
        },
        _,
    )) = asked
    {
        let mut handles = HANDLES.lock();
        *hconn = handles.last_key_value().map_or(1, |(last, _)| last + 1);
        handles.insert(*hconn, Arc::new(Mutex::new(client)));
        options.ConnectionId[..8].copy_from_slice(b"STANDIN ");
        options.ConnectionId[16..].copy_from_slice(&number.to_be_bytes());
    }
}

/// MQDISC.
#[unsafe(no_mangle)]
pub extern "C" fn MQDISC(
    hconn: &mut mq::MQHCONN,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    simple(*hconn, &Request::Disconnect, (completion, reason));
    HANDLES.lock().remove(hconn);
    *hconn = mq::MQHC_UNUSABLE_HCONN;
}

/// MQOPEN.
#[unsafe(no_mangle)]
pub extern "C" fn MQOPEN(
    hconn: mq::MQHCONN,
    object: &mut mq::MQOD,
    options: mq::MQLONG,
    hobj: &mut mq::MQHOBJ,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    let queue = (object.ObjectType == mq::MQOT_Q).then(|| text(&object.ObjectName));
    let number = simple(
        hconn,
        &Request::Open { queue, options },
        (completion, reason),
    );
    *hobj = mq::MQLONG::try_from(number).unwrap_or(mq::MQHO_UNUSABLE_HOBJ);
}

/// MQCLOSE.
#[unsafe(no_mangle)]
pub extern "C" fn MQCLOSE(
    hconn: mq::MQHCONN,
    hobj: &mut mq::MQHOBJ,
    _options: mq::MQLONG,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    simple(
        hconn,
        &Request::Close { handle: *hobj },
        (completion, reason),
    );
    *hobj = mq::MQHO_UNUSABLE_HOBJ;
}

/// MQGET.
///
/// # Safety
/// The descriptor is of version 2, and the buffer has as much room as is said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn MQGET(
    hconn: mq::MQHCONN,
    hobj: mq::MQHOBJ,
    descriptor: mq::PMQVOID,
    options: &mut mq::MQGMO,
    room: mq::MQLONG,
    buffer: mq::PMQVOID,
    length: &mut mq::MQLONG,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    let waits = options.Options & mq::MQGMO_WAIT != 0;
    let request = Request::Get {
        handle: hobj,
        options: options.Options,
        wait_ms: if waits { options.WaitInterval } else { 0 },
        room,
    };
    let asked = ask(hconn, &request, &[]);
    answer(
        (completion, reason),
        asked.as_ref().map(|(it, _)| it).map_err(|it| *it),
    );
    let Ok((told, got)) = asked else { return };
    *length = mq::MQLONG::try_from(told.number).unwrap_or(0);
    if let Some((head, message)) = got.split_at_checked(LENGTH) {
        // SAFETY: as the caller says.
        unsafe {
            fill(descriptor, head, LENGTH);
            fill(buffer, message, usize::try_from(room).unwrap_or(0));
        }
    }
}

/// Both ways to put.
///
/// # Safety
/// The descriptor is of version 2, and the buffer as long as is said.
unsafe fn put(
    hconn: mq::MQHCONN,
    (hobj, queue): (mq::MQHOBJ, Option<String>),
    (descriptor, options): (mq::PMQVOID, &mq::MQPMO),
    (length, buffer): (mq::MQLONG, mq::PMQVOID),
    out: Out<'_>,
) {
    // SAFETY: as the caller says.
    let sent = unsafe {
        let head = bytes(descriptor, LENGTH as mq::MQLONG);
        [head, bytes(buffer, length)].concat()
    };
    let request = Request::Put {
        handle: hobj,
        queue,
        options: options.Options,
    };
    let asked = ask(hconn, &request, &sent);
    answer(out, asked.as_ref().map(|(it, _)| it).map_err(|it| *it));
    if let Ok((_, head)) = asked {
        // SAFETY: as the caller says.
        unsafe { fill(descriptor, &head, LENGTH) };
    }
}

/// MQPUT.
///
/// # Safety
/// The descriptor is of version 2, and the buffer as long as is said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn MQPUT(
    hconn: mq::MQHCONN,
    hobj: mq::MQHOBJ,
    descriptor: mq::PMQVOID,
    options: &mut mq::MQPMO,
    length: mq::MQLONG,
    buffer: mq::PMQVOID,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    let out = (completion, reason);
    // SAFETY: as the caller says.
    unsafe {
        put(
            hconn,
            (hobj, None),
            (descriptor, options),
            (length, buffer),
            out,
        )
    }
}

/// MQPUT1.
///
/// # Safety
/// The descriptor is of version 2, and the buffer as long as is said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn MQPUT1(
    hconn: mq::MQHCONN,
    object: &mut mq::MQOD,
    descriptor: mq::PMQVOID,
    options: &mut mq::MQPMO,
    length: mq::MQLONG,
    buffer: mq::PMQVOID,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    let queue = Some(text(&object.ObjectName));
    let out = (completion, reason);
    // SAFETY: as the caller says.
    unsafe {
        put(
            hconn,
            (mq::MQHO_UNUSABLE_HOBJ, queue),
            (descriptor, options),
            (length, buffer),
            out,
        )
    }
}

/// MQINQ of one selector.
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
    if selectors_count != 1 {
        return answer((completion, reason), Err(mq::MQRC_SELECTOR_COUNT_ERROR));
    }
    // SAFETY: there is one selector.
    let selector = unsafe { *selectors };
    let asked = ask(
        hconn,
        &Request::Inquire {
            handle: hobj,
            selector,
        },
        &[],
    );
    answer(
        (completion, reason),
        asked.as_ref().map(|(it, _)| it).map_err(|it| *it),
    );
    let Ok((told, _)) = asked else { return };
    match told.text {
        Some(text) => {
            let room = usize::try_from(text_length).unwrap_or(0);
            let padded = format!("{text:room$}");
            // SAFETY: there is room for so many characters.
            unsafe { fill(texts.cast(), padded.as_bytes(), room) };
        }
        None if numbers_count > 0 => {
            // SAFETY: there is room for one.
            unsafe { *numbers = mq::MQLONG::try_from(told.number).unwrap_or(0) };
        }
        None => {}
    }
}

/// MQCMIT.
#[unsafe(no_mangle)]
pub extern "C" fn MQCMIT(hconn: mq::MQHCONN, completion: &mut mq::MQLONG, reason: &mut mq::MQLONG) {
    simple(hconn, &Request::Commit, (completion, reason));
}

/// MQBACK.
#[unsafe(no_mangle)]
pub extern "C" fn MQBACK(hconn: mq::MQHCONN, completion: &mut mq::MQLONG, reason: &mut mq::MQLONG) {
    simple(hconn, &Request::BackOut, (completion, reason));
}
