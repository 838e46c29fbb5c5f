//! The queue manager: a listener, and a thread for each connection.

use std::{
    collections::BTreeMap,
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
};

use parking_lot::{Condvar, Mutex};

use crate::{conversation::Conversation, store::Store};

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

/// One that runs until it is dropped. What its journal has is there when another one begins
/// with the same.
pub struct Manager {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<thread::JoinHandle<()>>,
}

impl Manager {
    /// Starts it.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(&settings.listen)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::open(&settings.name, settings.journal.as_deref())?),
            settings,
            changed: Condvar::new(),
            connections: Mutex::default(),
        });
        let accepting = thread::spawn({
            let shared = shared.clone();
            move || accept(&shared, &listener)
        });
        Ok(Manager {
            shared,
            address,
            accepting: Some(accepting),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until the process ends.
    pub fn wait(mut self) {
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.shared.connections.lock().stopped = true;
        // As when the process is killed.
        self.shared.store.lock().die();
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        self.shared.connections.lock().cut(true);
        self.shared.changed.notify_all();
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut connections = shared.connections.lock();
        if connections.stopped {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(kept) = stream.try_clone() else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        connections.count += 1;
        let id = connections.count;
        connections.open.insert(id, (kept, false));
        drop(connections);
        let shared = shared.clone();
        thread::spawn(move || {
            Conversation::new(&shared, id, stream).run();
            // In this order: a unit of work is backed out before anybody can see that its
            // connection is gone.
            shared.store.lock().forget(id);
            shared.changed.notify_all();
            shared.connections.lock().open.remove(&id);
        });
    }
}
