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

use super::{super::broker_link::ConnectorError, waker::ThreadWaker};

/// Most orders that wait for the thread.
const ORDERS: usize = 64;

/// The thread's side.
pub struct WorkerContext<O> {
    /// What it is told to do.
    pub commands: mpsc::Receiver<O>,
    /// Rung when there is an order, and at the end.
    pub waker: Arc<ThreadWaker>,
    stop: Arc<AtomicBool>,
}

impl<O> WorkerContext<O> {
    /// Whether it is to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Where orders are given.
pub struct ZmqCommandSender<O> {
    commands: mpsc::Sender<O>,
    waker: Arc<ThreadWaker>,
}

impl<O> Clone for ZmqCommandSender<O> {
    fn clone(&self) -> Self {
        ZmqCommandSender {
            commands: self.commands.clone(),
            waker: self.waker.clone(),
        }
    }
}

impl<O> ZmqCommandSender<O> {
    /// Gives an order; `false` when the thread has ended. Dropped halfway, it isn't given.
    pub async fn send(&self, order: O) -> bool {
        let given = self.commands.send(order).await.is_ok();
        self.waker.wake();
        given
    }
}

/// Ends the thread, and with it the socket, when it is dropped.
pub struct ZmqWorker {
    stop: Arc<AtomicBool>,
    waker: Arc<ThreadWaker>,
    done: Option<oneshot::Receiver<()>>,
}

impl ZmqWorker {
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

impl Drop for ZmqWorker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// Starts a thread that opens a socket and works with it. An error is `open`'s.
pub async fn start<S, O: Send + 'static>(
    open: impl FnOnce() -> Result<S, ConnectorError> + Send + 'static,
    work: impl FnOnce(S, WorkerContext<O>) + Send + 'static,
) -> Result<(ZmqCommandSender<O>, ZmqWorker), ConnectorError> {
    let failed = |error| {
        ConnectorError::new(format!(
            "can't start the thread of a ZeroMQ socket: {error}"
        ))
    };
    let bell = Arc::new(ThreadWaker::new().map_err(failed)?);
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, orders) = mpsc::channel(ORDERS);
    let (opened, opening) = oneshot::channel();
    let (ended, done) = oneshot::channel();
    let inside = WorkerContext {
        commands: orders,
        waker: bell.clone(),
        stop: stop.clone(),
    };
    // Made before the thread, so that it ends with this call if that is given up.
    let worker = ZmqWorker {
        stop,
        waker: bell.clone(),
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
        ConnectorError::new(
            "libzmq failed with an error that its binding has no word for: this process' log has it",
        )
    };
    opening.await.map_err(panicked)??;
    Ok((
        ZmqCommandSender {
            commands: sender,
            waker: bell,
        },
        worker,
    ))
}
