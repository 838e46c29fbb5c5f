//! Client library of IBM MQ, loaded when the first connection needs it.
//!
//! Only the verbs that are called are looked up: a library without the rest is good enough. The
//! library is never unloaded, as it runs threads of its own.
// MQI's own names, and as many arguments as it has.
#![allow(non_snake_case, clippy::too_many_arguments)]
#![allow(unsafe_code)]

use std::{
    collections::HashMap,
    env,
    path::{Path, PathBuf},
};

use dlopen2::wrapper::{Container, WrapperApi};
use libmqm_sys as mq;
use parking_lot::Mutex;

use super::super::broker_link::ConnectorError;

/// Verbs of MQI that are called, with the types that IBM's headers give them.
#[derive(WrapperApi)]
pub(super) struct MqiVerbs {
    MQCONNX: unsafe extern "C" fn(
        name: &mq::MQCHAR48,
        options: &mut mq::MQCNO,
        hconn: &mut mq::MQHCONN,
        completion: &mut mq::MQLONG,
        reason: &mut mq::MQLONG,
    ),
    MQDISC: unsafe extern "C" fn(
        hconn: &mut mq::MQHCONN,
        completion: &mut mq::MQLONG,
        reason: &mut mq::MQLONG,
    ),
    MQOPEN: unsafe extern "C" fn(
        hconn: mq::MQHCONN,
        object: &mut mq::MQOD,
        options: mq::MQLONG,
        hobj: &mut mq::MQHOBJ,
        completion: &mut mq::MQLONG,
        reason: &mut mq::MQLONG,
    ),
    MQCLOSE: unsafe extern "C" fn(
        hconn: mq::MQHCONN,
        hobj: &mut mq::MQHOBJ,
        options: mq::MQLONG,
        completion: &mut mq::MQLONG,
        reason: &mut mq::MQLONG,
    ),
    MQGET: unsafe extern "C" fn(
        hconn: mq::MQHCONN,
        hobj: mq::MQHOBJ,
        descriptor: mq::PMQVOID,
        options: &mut mq::MQGMO,
        room: mq::MQLONG,
        buffer: mq::PMQVOID,
        length: &mut mq::MQLONG,
        completion: &mut mq::MQLONG,
        reason: &mut mq::MQLONG,
    ),
    MQPUT: unsafe extern "C" fn(
        hconn: mq::MQHCONN,
        hobj: mq::MQHOBJ,
        descriptor: mq::PMQVOID,
        options: &mut mq::MQPMO,
        length: mq::MQLONG,
        buffer: mq::PMQVOID,
        completion: &mut mq::MQLONG,
        reason: &mut mq::MQLONG,
    ),
    MQPUT1: unsafe extern "C" fn(
        hconn: mq::MQHCONN,
        object: &mut mq::MQOD,
        descriptor: mq::PMQVOID,
        options: &mut mq::MQPMO,
        length: mq::MQLONG,
        buffer: mq::PMQVOID,
        completion: &mut mq::MQLONG,
        reason: &mut mq::MQLONG,
    ),
    MQINQ: unsafe extern "C" fn(
        hconn: mq::MQHCONN,
        hobj: mq::MQHOBJ,
        selectors_count: mq::MQLONG,
        selectors: mq::PMQLONG,
        numbers_count: mq::MQLONG,
        numbers: mq::PMQLONG,
        text_length: mq::MQLONG,
        text: mq::PMQCHAR,
        completion: &mut mq::MQLONG,
        reason: &mut mq::MQLONG,
    ),
    MQCMIT: unsafe extern "C" fn(
        hconn: mq::MQHCONN,
        completion: &mut mq::MQLONG,
        reason: &mut mq::MQLONG,
    ),
    MQBACK: unsafe extern "C" fn(
        hconn: mq::MQHCONN,
        completion: &mut mq::MQLONG,
        reason: &mut mq::MQLONG,
    ),
}

pub(super) type MqLibrary = &'static Container<MqiVerbs>;

/// Loads the library of this name or path, once.
pub(super) fn load(name: &Path) -> Result<MqLibrary, ConnectorError> {
    static LOADED: Mutex<Option<HashMap<PathBuf, MqLibrary>>> = Mutex::new(None);
    let mut loaded = LOADED.lock();
    let loaded = loaded.get_or_insert_default();
    if let Some(library) = loaded.get(name) {
        return Ok(library);
    }
    // SAFETY: loading runs the library's initialisers. It is the one that the connection
    // names, by default IBM's, and that this host allows ([`quorate_ipc::local_rules`]); its
    // functions have the types above in every version of MQI.
    let container = unsafe { Container::<MqiVerbs>::load(name) };
    let container = container.map_err(|error| {
        ConnectorError::new(absent(&name.to_string_lossy(), &error.to_string()))
    })?;
    let library: MqLibrary = Box::leak(Box::new(container));
    loaded.insert(name.to_owned(), library);
    Ok(library)
}

fn absent(name: &str, error: &str) -> String {
    let path = env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let looked = match (name.contains('/'), path.is_empty()) {
        (true, _) => "at that path".to_owned(),
        (false, true) => "in the system's library folders (LD_LIBRARY_PATH is not set)".to_owned(),
        (false, false) => {
            format!("in LD_LIBRARY_PATH ({path}) and the system's library folders")
        }
    };
    format!(
        "the IBM MQ client library {name:?} can't be loaded; it was looked for {looked}: {error}. \
         Quorate doesn't contain it: install IBM's \"MQ redistributable client\" for Linux \
         (https://ibm.biz/mq94redistclients) on every member, and name the library in `library` \
         of the ibm_mq_connection, such as /opt/mqm/lib64/libmqic_r.so"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_library_error_names_path_and_source() {
        let text = load(Path::new("libquorate-no-such_r.so"))
            .err()
            .unwrap()
            .text;
        for part in [
            "\"libquorate-no-such_r.so\"",
            "LD_LIBRARY_PATH",
            "cannot open shared object file",
            "https://ibm.biz/mq94redistclients",
            "/opt/mqm/lib64/libmqic_r.so",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = load(Path::new("/no/such/libmqic_r.so")).err().unwrap().text;
        assert!(text.contains("at that path"), "{text}");
        // A library, but not IBM's.
        let text = load(Path::new("libc.so.6")).err().unwrap().text;
        assert!(text.contains("undefined symbol: MQ"), "{text}");
    }
}
