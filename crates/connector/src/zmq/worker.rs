//! Thread that a socket lives in, and the sender of its commands.
//!
//! libzmq's sockets belong to one thread, and a socket's file descriptor reports changes only once,
//! so no task waits for it: the thread waits in `zmq_poll`, for the socket and for a waker that is
//! used after each command.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::sync::{mpsc, oneshot};

use super::{super::broker_link::ConnectorError, waker::ThreadWaker};

/// Upper bound of commands that wait for the thread.
const COMMANDS_MAX: usize = 64;

/// Thread's side.
pub(super) struct WorkerContext<O> {
    /// Commands to the thread.
    pub commands: mpsc::Receiver<O>,
    /// Waker, used after each command and at the end.
    pub waker: Arc<ThreadWaker>,
    stop: Arc<AtomicBool>,
}

impl<O> WorkerContext<O> {
    /// Returns true once the thread has to end.
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Sender of commands to the thread.
pub(super) struct ZmqCommandSender<O> {
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
    /// Sends a command; `false` when the thread has ended. Not cancel safe: dropped halfway, the
    /// command isn't sent.
    pub(super) async fn send(&self, command: O) -> bool {
        let given = self.commands.send(command).await.is_ok();
        self.waker.wake();
        given
    }
}

/// Handle of the thread, which ends, with its socket, when the handle is dropped.
pub(super) struct ZmqWorker {
    stop: Arc<AtomicBool>,
    waker: Arc<ThreadWaker>,
    done: Option<oneshot::Receiver<()>>,
}

impl ZmqWorker {
    /// Ends the thread and waits until the socket is closed and its address free.
    pub(super) async fn end(mut self) {
        let done = self.done.take();
        drop(self);
        if let Some(done) = done {
            // This fails when the thread is over, too.
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
pub(super) async fn start<S, O: Send + 'static>(
    open: impl FnOnce() -> Result<S, ConnectorError> + Send + 'static,
    work: impl FnOnce(S, WorkerContext<O>) + Send + 'static,
) -> Result<(ZmqCommandSender<O>, ZmqWorker), ConnectorError> {
    let failed = |error| {
        ConnectorError::new(format!(
            "can't start the thread of a ZeroMQ socket: {error}"
        ))
    };
    let waker = Arc::new(ThreadWaker::new().map_err(failed)?);
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    let (opened, opening) = oneshot::channel();
    let (ended, done) = oneshot::channel();
    let context = WorkerContext {
        commands: receiver,
        waker: waker.clone(),
        stop: stop.clone(),
    };
    // Made before the thread, so that it ends with this call if that is given up.
    let worker = ZmqWorker {
        stop,
        waker: waker.clone(),
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
                    work(socket, context);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
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
            waker,
        },
        worker,
    ))
}
