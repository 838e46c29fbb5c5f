//! Connections by their handles.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread::{self, ThreadId},
};

use libmqm_sys as mq;
use parking_lot::Mutex;

use crate::{
    client::Client,
    wire::{Answer, Request},
};

/// Where a verb's completion code and reason go.
pub(super) type Out<'a> = (&'a mut mq::MQLONG, &'a mut mq::MQLONG);

struct Connected {
    client: Mutex<Client>,
    /// The one thread that may use it, unless it is shared.
    thread: Option<ThreadId>,
    /// Whether a second thread waits for its turn.
    waits: bool,
}

static HANDLES: Mutex<BTreeMap<mq::MQHCONN, Arc<Connected>>> = Mutex::new(BTreeMap::new());

/// Keeps a connection and gives its handle.
pub(super) fn keep(client: Client, options: mq::MQLONG) -> mq::MQHCONN {
    let shared = mq::MQCNO_HANDLE_SHARE_BLOCK | mq::MQCNO_HANDLE_SHARE_NO_BLOCK;
    let connected = Connected {
        client: Mutex::new(client),
        thread: (options & shared == 0).then(|| thread::current().id()),
        waits: options & mq::MQCNO_HANDLE_SHARE_NO_BLOCK == 0,
    };
    let mut handles = HANDLES.lock();
    let hconn = handles.last_key_value().map_or(1, |(last, _)| last + 1);
    handles.insert(hconn, Arc::new(connected));
    hconn
}

/// Forgets a connection.
pub(super) fn drop_handle(hconn: mq::MQHCONN) {
    HANDLES.lock().remove(&hconn);
}

/// Asks the queue manager over this connection.
pub(super) fn ask(
    hconn: mq::MQHCONN,
    request: &Request,
    bytes: &[u8],
) -> Result<(Answer, Vec<u8>), mq::MQLONG> {
    let connected = HANDLES.lock().get(&hconn).cloned();
    let connected = connected.ok_or(mq::MQRC_HCONN_ERROR)?;
    if connected
        .thread
        .is_some_and(|it| it != thread::current().id())
    {
        return Err(mq::MQRC_HCONN_ERROR);
    }
    let mut client = if connected.waits {
        connected.client.lock()
    } else {
        let free = connected.client.try_lock();
        free.ok_or(mq::MQRC_CALL_IN_PROGRESS)?
    };
    let answered = client.ask(request, bytes);
    answered.map_err(|_| mq::MQRC_CONNECTION_BROKEN)
}

/// Asks for what needs no bytes.
pub(super) fn ask_plain(hconn: mq::MQHCONN, request: &Request) -> Result<Answer, mq::MQLONG> {
    ask(hconn, request, &[]).map(|(answer, _)| answer)
}

/// Tells the caller what came of a verb: what the queue manager answered, or the reason why it
/// was not asked. The last thing that every verb does.
pub(super) fn tell(out: Out<'_>, did: Result<Answer, mq::MQLONG>) {
    (*out.0, *out.1) = match did {
        Ok(answer) => (answer.completion, answer.reason),
        Err(reason) => (mq::MQCC_FAILED, reason),
    };
}
