//! The thread that a socket lives in, and how it is spoken to.
//!
//! libzmq's sockets belong to one thread, and its file descriptor tells of changes only once,
//! so no task waits for it: the thread waits in `zmq_poll`, for the socket and for a bell
//! that is rung after each order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::sync::{mpsc, oneshot};

use super::{super::link::Trouble, bell::Bell};

/// Most orders that wait for the thread.
const ORDERS: usize = 64;

/// The thread's side.
pub struct Inside<O> {
    /// What it is told to do.
    pub orders: mpsc::Receiver<O>,
    /// Rung when there is an order, and at the end.
    pub bell: Arc<Bell>,
    stop: Arc<AtomicBool>,
}

impl<O> Inside<O> {
    /// Whether it is to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Where orders are given.
pub struct Desk<O> {
    orders: mpsc::Sender<O>,
    bell: Arc<Bell>,
}

impl<O> Clone for Desk<O> {
    fn clone(&self) -> Self {
        Desk {
            orders: self.orders.clone(),
            bell: self.bell.clone(),
        }
    }
}

impl<O> Desk<O> {
    /// Gives an order; `false` when the thread has ended. Dropped halfway, it isn't given.
    pub async fn give(&self, order: O) -> bool {
        let given = self.orders.send(order).await.is_ok();
        self.bell.ring();
        given
    }
}

/// Ends the thread, and with it the socket, when it is dropped.
pub struct Worker {
    stop: Arc<AtomicBool>,
    bell: Arc<Bell>,
    done: Option<oneshot::Receiver<()>>,
}

impl Worker {
    /// Ends the thread and waits until the socket is closed and its address free.
    pub async fn end(mut self) {
        let done = self.done.take();
        drop(self);
        if let Some(done) = done {
            // It fails when the thread is over, too.
            let _ = done.await;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// Starts a thread that opens a socket and works with it. An error is `open`'s.
pub async fn start<S, O: Send + 'static>(
    open: impl FnOnce() -> Result<S, Trouble> + Send + 'static,
    work: impl FnOnce(S, Inside<O>) + Send + 'static,
) -> Result<(Desk<O>, Worker), Trouble> {
    let failed = |error| {
        Trouble::new(format!(
            "can't start the thread of a ZeroMQ socket: {error}"
        ))
    };
    let bell = Arc::new(Bell::new().map_err(failed)?);
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, orders) = mpsc::channel(ORDERS);
    let (opened, opening) = oneshot::channel();
    let (ended, done) = oneshot::channel();
    let inside = Inside {
        orders,
        bell: bell.clone(),
        stop: stop.clone(),
    };
    // Made before the thread, so that it ends with this call if that is given up.
    let worker = Worker {
        stop,
        bell: bell.clone(),
        done: Some(done),
    };
    thread::Builder::new()
        .name("zmq".to_owned())
        .spawn(move || {
            // Dropped last, however the thread ends.
            let _ended = ended;
            match open() {
                Ok(socket) => {
                    let _ = opened.send(Ok(()));
                    work(socket, inside);
                }
                Err(trouble) => {
                    let _ = opened.send(Err(trouble));
                }
            }
        })
        .map_err(failed)?;
    let panicked = |_| {
        Trouble::new(
            "libzmq failed with an error that its binding has no word for: this process' log has it",
        )
    };
    opening.await.map_err(panicked)??;
    Ok((
        Desk {
            orders: sender,
            bell,
        },
        worker,
    ))
}
