//! What the connections of a queue manager share: its settings, its store, each other.

use std::{
    collections::BTreeMap,
    net::{Shutdown, TcpStream},
    path::PathBuf,
};

use parking_lot::{Condvar, Mutex};

use crate::store::Store;

/// Its character set: UTF-8.
pub(crate) const CCSID: i32 = 1208;

/// What it is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; port 0 for any.
    pub listen: String,
    /// Its name.
    pub name: String,
    /// Its one server-connection channel.
    pub channel: String,
    /// The channel's cipher spec; empty for none.
    pub cipher: String,
    /// Where persistent messages are kept.
    pub journal: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: "127.0.0.1:0".to_owned(),
            name: "STANDIN".to_owned(),
            channel: "DEV.APP.SVRCONN".to_owned(),
            cipher: String::new(),
            journal: None,
        }
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) store: Mutex<Store>,
    /// Something has changed that somebody may wait for.
    pub(crate) changed: Condvar,
    pub(crate) connections: Mutex<Connections>,
}

/// The connections that there are.
#[derive(Default)]
pub(crate) struct Connections {
    /// How many there were.
    pub(crate) count: u64,
    /// Of libraries: the options that each asked for, and their version.
    pub(crate) libraries: Vec<(i32, i32)>,
    pub(crate) stopped: bool,
    /// Each with whether it is a library's.
    pub(crate) open: BTreeMap<u64, (TcpStream, bool)>,
}

impl Connections {
    /// Closes those of libraries, or all.
    pub(crate) fn cut(&self, all: bool) {
        for (stream, library) in self.open.values() {
            if all || *library {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}
