//! Producer of an outgoing's socket, as the run loop sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use quorate_clock::{Instant, rng};
use quorate_ipc::SendOutcome;
use quorate_resources::ZmqOutgoing;
use rand::Rng;
use tokio::{
    sync::{Mutex, Semaphore, oneshot, watch},
    time::{timeout, timeout_at},
};

use super::{
    super::broker_link::{ConnectorError, MessageProducer, OutgoingMessage},
    frames::BYTES_MAX,
    outgoing_message::{self, OutgoingFrames, ZmqSendResult},
    send_loop::{self, PendingFrames, ZmqSendLoop},
    worker::{self, ZmqCommandSender, ZmqWorker},
};

/// Upper bound of the memory of messages on their way, in units of [`UNIT`]; each takes one and
/// what its body fills. The largest body fits.
const UNITS: usize = 2 * BYTES_MAX / UNIT;
const UNIT: usize = 64 << 10;
/// Time before the caller's deadline at which the outcome is returned, so that the caller receives
/// it.
const HEARD: Duration = Duration::from_millis(5);
/// Time for the thread to report the outcome of a message that it has claimed.
const CLAIMED: Duration = Duration::from_secs(2);

/// Socket that messages go out by.
#[derive(Clone)]
pub(crate) struct ZmqProducer {
    target: ZmqOutgoing,
    commands: ZmqCommandSender<PendingFrames>,
    room: Arc<Semaphore>,
    requests: Arc<AtomicU32>,
    worker: Arc<Mutex<Option<ZmqWorker>>>,
}

impl ZmqProducer {
    /// Opens the socket. Once it is useless, `broken` has the error.
    pub(crate) async fn open(
        target: &ZmqOutgoing,
        broken: watch::Sender<Option<ConnectorError>>,
    ) -> Result<ZmqProducer, ConnectorError> {
        let (kind, opened) = (target.socket_type, target.clone());
        let (commands, worker) = worker::start(
            move || send_loop::open(&opened),
            move |socket, context| {
                if let Err(error) = ZmqSendLoop::new(kind, socket, context).run() {
                    broken.send_replace(Some(error));
                }
            },
        )
        .await?;
        Ok(ZmqProducer {
            target: target.clone(),
            commands,
            room: Arc::new(Semaphore::new(UNITS)),
            // As libzmq does: another process' answers are for other requests.
            requests: Arc::new(AtomicU32::new(rng().random())),
            worker: Arc::new(Mutex::new(Some(worker))),
        })
    }

    /// Returns why a message that nobody took was not sent.
    fn no_peer(&self) -> String {
        format!(
            "no peer took it at {} in its time: none is connected, or those that are take no more",
            self.target.address
        )
    }
}

impl MessageProducer for ZmqProducer {
    async fn send(&self, message: &OutgoingMessage) -> SendOutcome {
        let kind = self.target.socket_type;
        let OutgoingFrames {
            message_id,
            key,
            frames,
        } = match outgoing_message::pack(kind, message, &self.requests) {
            Ok(outgoing) => outgoing,
            Err(why) => return SendOutcome::Refused(why.to_string()),
        };
        let deadline = Instant::now() + message.within.saturating_sub(HEARD);
        let units = u32::try_from(1 + message.body.len() / UNIT).unwrap_or(u32::MAX);
        let Ok(Ok(_room)) = timeout_at(deadline, self.room.acquire_many(units)).await else {
            return SendOutcome::NotSent(format!(
                "too many messages are on their way: {}",
                self.no_peer()
            ));
        };
        let (done, mut answer) = oneshot::channel();
        let claim = Arc::new(AtomicBool::new(false));
        let item = PendingFrames {
            key,
            frames,
            claim: claim.clone(),
            done,
        };
        match timeout_at(deadline, self.commands.send(item)).await {
            Ok(true) => {}
            Ok(false) => {
                return SendOutcome::NotSent("the socket is closed; another is opened".to_owned());
            }
            Err(_) => return SendOutcome::NotSent(self.no_peer()),
        }
        let outcome = |answer: ZmqSendResult| match answer {
            Ok(reply) => SendOutcome::Confirmed { message_id, reply },
            Err(outcome) => outcome,
        };
        let is_late = match timeout_at(deadline, &mut answer).await {
            Ok(Ok(answer)) => return outcome(answer),
            Ok(Err(_)) => false,
            Err(_) => true,
        };
        if !claim.swap(true, Ordering::AcqRel) {
            // From here on the thread doesn't send the message.
            return SendOutcome::NotSent(if is_late {
                self.no_peer()
            } else {
                "the socket was closed before it was sent".to_owned()
            });
        }
        if is_late
            && !outgoing_message::is_answered(kind)
            && let Ok(Ok(answer)) = timeout(CLAIMED, answer).await
        {
            // The message was being handed to libzmq at that very moment.
            return outcome(answer);
        }
        SendOutcome::Unknown(if is_late {
            let address = &self.target.address;
            format!("it was sent to {address}, and the peer did not answer in time")
        } else {
            "it was sent, and the socket was closed before the peer answered".to_owned()
        })
    }

    async fn close(self) {
        let worker = self.worker.lock().await.take();
        if let Some(worker) = worker {
            worker.end().await;
        }
    }
}
