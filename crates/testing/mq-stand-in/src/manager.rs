//! The queue manager: a listener, and a thread for each connection.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use parking_lot::{Condvar, Mutex};

pub use crate::shared::Settings;
use crate::{conversation::Conversation, shared::Shared, store::Store};

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
