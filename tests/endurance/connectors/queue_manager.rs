//! The stand-in for IBM MQ as a peer: a queue for each channel, one that all outgoings send to.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use mq_stand_in::{
    control::Control,
    descriptor,
    manager::{Manager, Settings},
    wire::Attributes,
};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_testkit::programs;
use serde_json::{Value, json};

/// The queue that all outgoings send to.
pub const OUT: &str = "SCALE.OUT";

/// Between two looks at that queue.
const LOOK: Duration = Duration::from_millis(2);

/// The queue manager and what gives it commands.
pub struct QueueManager {
    manager: Manager,
    control: Mutex<Control>,
}

impl QueueManager {
    /// Starts it, and notes what arrives on [`OUT`] until told to stop.
    pub fn start(arrived: Arc<Mutex<HashMap<String, Instant>>>, stop: Arc<AtomicBool>) -> Self {
        let manager = Manager::start(Settings::default()).expect("a queue manager");
        let connect = || Control::connect(&manager.address().to_string()).expect("a connection");
        let (control, mut taking) = (connect(), connect());
        taking
            .define(OUT, Attributes::default())
            .expect("it defines a queue");
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match taking.take(OUT) {
                    Ok(Some(taken)) => super::peers::note(&arrived, &taken.message),
                    Ok(None) => thread::sleep(LOOK),
                    Err(_) => return,
                }
            }
        });
        QueueManager {
            manager,
            control: Mutex::new(control),
        }
    }

    /// The connection to it, as a resource.
    pub fn connection(&self) -> Value {
        json!({
            "kind": "ibm_mq_connection", "name": "manager", "host": "127.0.0.1",
            "port": self.manager.address().port(), "queue_manager": "STANDIN",
            "channel": "DEV.APP.SVRCONN", "username": "app", "password": "secret", "ssl": false,
            "library": programs::built("libmq_stand_in.so"),
        })
    }

    /// Makes a queue.
    pub fn define(&self, queue: &str) {
        let defined = self.control.lock().define(queue, Attributes::default());
        defined.expect("it defines a queue");
    }

    /// Puts a text.
    pub fn put(&self, queue: &str, text: &str) {
        let head = descriptor::utf_8();
        let put = self.control.lock().put(queue, &head, text.as_bytes());
        put.expect("it takes a message");
    }
}
