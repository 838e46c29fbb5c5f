//! An outgoing's socket as the run loop sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use quorate_clock::{Instant, rng};
use quorate_ipc::SendOutcome;
use rand::Rng;
use tokio::{
    sync::{Mutex, Semaphore, oneshot, watch},
    time::{timeout, timeout_at},
};

use super::{
    super::broker_link::{ConnectorError, OutgoingMessage, Sender},
    frames::BYTES_MAX,
    outgoing_message::{self, OutgoingFrames, ZmqOutgoingSettings},
    send_loop::{self, PendingFrames, ZmqSendLoop},
    worker::{self, ZmqCommandSender, ZmqWorker},
};

/// What the parcels on their way may take together, in units of [`UNIT`]; each takes one and
/// what its body fills. The largest body fits.
const UNITS: usize = 2 * BYTES_MAX / UNIT;
const UNIT: usize = 64 << 10;
/// So much before the caller's time is over the outcome is told, so that it is heard.
const HEARD: Duration = Duration::from_millis(5);
/// How long the thread may take to say what it did with a parcel that it has claimed.
const CLAIMED: Duration = Duration::from_secs(2);

/// A socket that messages go out by.
#[derive(Clone)]
pub struct ZmqProducer {
    target: ZmqOutgoingSettings,
    commands: ZmqCommandSender<PendingFrames>,
    room: Arc<Semaphore>,
    requests: Arc<AtomicU32>,
    worker: Arc<Mutex<Option<ZmqWorker>>>,
}

impl ZmqProducer {
    /// Opens it. When the socket is of no use any more, `broken` has why.
    pub async fn open(
        target: &ZmqOutgoingSettings,
        broken: watch::Sender<Option<ConnectorError>>,
    ) -> Result<ZmqProducer, ConnectorError> {
        let (kind, opened) = (target.socket_type, target.clone());
        let (desk, worker) = worker::start(
            move || send_loop::open(&opened),
            move |socket, inside| {
                if let Err(trouble) = ZmqSendLoop::new(kind, socket, inside).run() {
                    broken.send_replace(Some(trouble));
                }
            },
        )
        .await?;
        Ok(ZmqProducer {
            target: target.clone(),
            commands: desk,
            room: Arc::new(Semaphore::new(UNITS)),
            // As libzmq does: another process' answers are for other requests.
            requests: Arc::new(AtomicU32::new(rng().random())),
            worker: Arc::new(Mutex::new(Some(worker))),
        })
    }

    /// Why a parcel that nobody took was not sent.
    fn no_peer(&self) -> String {
        format!(
            "no peer took it at {} in its time: none is connected, or those that are take no more",
            self.target.endpoint.address
        )
    }
}

impl Sender for ZmqProducer {
    async fn send(&self, parcel: &OutgoingMessage) -> SendOutcome {
        let kind = self.target.socket_type;
        let OutgoingFrames {
            message_id,
            key,
            frames,
        } = match outgoing_message::pack(kind, parcel, &self.requests) {
            Ok(outgoing) => outgoing,
            Err(why) => return SendOutcome::Refused(why),
        };
        let deadline = Instant::now() + parcel.within.saturating_sub(HEARD);
        let units = u32::try_from(1 + parcel.body.len() / UNIT).unwrap_or(u32::MAX);
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
        let answered = timeout_at(deadline, &mut answer).await;
        if let Ok(Ok(verdict)) = answered {
            return verdict.into_send_outcome(message_id);
        }
        if !claim.swap(true, Ordering::AcqRel) {
            // From here on the thread doesn't send it.
            return SendOutcome::NotSent(match answered {
                Err(_) => self.no_peer(),
                Ok(_) => "the socket was closed before it was sent".to_owned(),
            });
        }
        if !kind.is_answered()
            && answered.is_err()
            && let Ok(Ok(verdict)) = timeout(CLAIMED, answer).await
        {
            // It was being handed to libzmq at that very moment.
            return verdict.into_send_outcome(message_id);
        }
        SendOutcome::Unknown(match answered {
            Err(_) => format!(
                "it was sent to {}, and the peer did not answer in time",
                self.target.endpoint.address
            ),
            Ok(_) => "it was sent, and the socket was closed before the peer answered".to_owned(),
        })
    }

    async fn close(self) {
        let worker = self.worker.lock().await.take();
        if let Some(worker) = worker {
            worker.end().await;
        }
    }
}
