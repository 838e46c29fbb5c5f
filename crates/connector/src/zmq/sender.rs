//! An outgoing's socket as the run loop sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use quorate_clock::{Instant, chance};
use quorate_ipc::Sent;
use rand::Rng;
use tokio::{
    sync::{Mutex, Semaphore, oneshot, watch},
    time::{timeout, timeout_at},
};

use super::{
    super::link::{Parcel, Sender, Trouble},
    frames::BYTES_MAX,
    outgoing::{self, Outgoing, Target},
    outlet::{self, Item, Outlet},
    worker::{self, Desk, Worker},
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
pub struct Sending {
    target: Target,
    desk: Desk<Item>,
    room: Arc<Semaphore>,
    requests: Arc<AtomicU32>,
    worker: Arc<Mutex<Option<Worker>>>,
}

impl Sending {
    /// Opens it. When the socket is of no use any more, `broken` has why.
    pub async fn open(
        target: &Target,
        broken: watch::Sender<Option<Trouble>>,
    ) -> Result<Sending, Trouble> {
        let (kind, opened) = (target.socket_type, target.clone());
        let (desk, worker) = worker::start(
            move || outlet::open(&opened),
            move |socket, inside| {
                if let Err(trouble) = Outlet::new(kind, socket, inside).run() {
                    broken.send_replace(Some(trouble));
                }
            },
        )
        .await?;
        Ok(Sending {
            target: target.clone(),
            desk,
            room: Arc::new(Semaphore::new(UNITS)),
            // As libzmq does: another process' answers are for other requests.
            requests: Arc::new(AtomicU32::new(chance().random())),
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

impl Sender for Sending {
    async fn send(&self, parcel: &Parcel) -> Sent {
        let kind = self.target.socket_type;
        let Outgoing {
            message_id,
            key,
            frames,
        } = match outgoing::pack(kind, parcel, &self.requests) {
            Ok(outgoing) => outgoing,
            Err(why) => return Sent::Refused(why),
        };
        let deadline = Instant::now() + parcel.within.saturating_sub(HEARD);
        let units = u32::try_from(1 + parcel.body.len() / UNIT).unwrap_or(u32::MAX);
        let Ok(Ok(_room)) = timeout_at(deadline, self.room.acquire_many(units)).await else {
            return Sent::NotSent(format!(
                "too many messages are on their way: {}",
                self.no_peer()
            ));
        };
        let (done, mut answer) = oneshot::channel();
        let claim = Arc::new(AtomicBool::new(false));
        let item = Item {
            key,
            frames,
            claim: claim.clone(),
            done,
        };
        match timeout_at(deadline, self.desk.give(item)).await {
            Ok(true) => {}
            Ok(false) => {
                return Sent::NotSent("the socket is closed; another is opened".to_owned());
            }
            Err(_) => return Sent::NotSent(self.no_peer()),
        }
        let answered = timeout_at(deadline, &mut answer).await;
        if let Ok(Ok(verdict)) = answered {
            return verdict.told(message_id);
        }
        if !claim.swap(true, Ordering::AcqRel) {
            // From here on the thread doesn't send it.
            return Sent::NotSent(match answered {
                Err(_) => self.no_peer(),
                Ok(_) => "the socket was closed before it was sent".to_owned(),
            });
        }
        if !kind.is_answered()
            && answered.is_err()
            && let Ok(Ok(verdict)) = timeout(CLAIMED, answer).await
        {
            // It was being handed to libzmq at that very moment.
            return verdict.told(message_id);
        }
        Sent::Unknown(match answered {
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
