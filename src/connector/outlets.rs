//! The way from whoever has a message to send to the outgoing's process, on the connector
//! server.
//!
//! Each message gets one outcome. [`Sent::NotSent`] is said only of what surely has not left
//! this member: it waits in the keeper's mailbox, whose taking is a step that either the
//! keeper or the one who gives up waiting can make, never both; or the process has said so.
//! What was taken and has no outcome is [`Sent::Unknown`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use quorate_proto::connector::Send;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout_at},
};

pub use super::child::Sent;
use super::{child::backoff::Backoff, reign::Standing, spec::Key, view::View};
use crate::state::Kind;

/// Most messages that wait for one outgoing.
const WAITING: usize = 1000;
/// Between tries while the outgoing can't send.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_LAST: Duration = Duration::from_millis(200);
/// How long before the deadline the process gives up, so that its word is heard.
const AHEAD: Duration = Duration::from_millis(50);

/// Why a message can't be sent from here at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// Another member is the connector server, or none.
    #[error("this member does not run the connectors")]
    Elsewhere,
    /// There is no such outgoing.
    #[error("there is no such outgoing")]
    Missing,
    /// It is declared inactive, or paused.
    #[error("it is paused: resume it, or set `active` to true")]
    Paused,
}

/// A message on its way to the process.
pub struct Job {
    /// The message; its number is the process's.
    pub message: Send,
    /// When nobody waits any more.
    pub deadline: Instant,
    taken: Arc<AtomicBool>,
    outcome: oneshot::Sender<Sent>,
}

impl Job {
    /// Takes it, unless the one who asked has given up. From here on it has to be answered.
    pub fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }

    /// Answers it.
    pub fn answer(self, sent: Sent) {
        // The one who asked may have gone.
        let _ = self.outcome.send(sent);
    }

    /// What is left until the deadline, less than which the process may use.
    pub fn within(&self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        left.saturating_sub(AHEAD.min(left / 4))
    }
}

/// The mailboxes of this member's outgoings.
pub struct Outlets {
    standing: watch::Receiver<Standing>,
    view: watch::Receiver<Arc<View>>,
    boxes: Mutex<BTreeMap<Key, mpsc::Sender<Job>>>,
}

impl Outlets {
    /// None so far.
    pub fn new(standing: watch::Receiver<Standing>, view: watch::Receiver<Arc<View>>) -> Self {
        Outlets {
            standing,
            view,
            boxes: Mutex::default(),
        }
    }

    /// A mailbox for this outgoing, in the place of an earlier one.
    pub fn open(&self, key: &Key) -> mpsc::Receiver<Job> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut boxes = self.boxes.lock();
        boxes.retain(|_, it| !it.is_closed());
        boxes.insert(key.clone(), sender);
        receiver
    }

    /// Sends a message by the outgoing of this kind and name. Waits until the deadline for
    /// the outgoing to be able to.
    pub async fn send(
        &self,
        kind: &str,
        name: &str,
        message: Send,
        deadline: Instant,
    ) -> Result<Sent, NoWay> {
        let mut retry = Backoff::new(RETRY_FIRST, RETRY_LAST);
        loop {
            let why = match self.attempt(kind, name, message.clone(), deadline).await? {
                Sent::NotSent(why) => why,
                sent => return Ok(sent),
            };
            let wait = retry.step();
            if Instant::now() + wait >= deadline {
                return Ok(Sent::NotSent(why));
            }
            sleep(wait).await;
        }
    }

    async fn attempt(
        &self,
        kind: &str,
        name: &str,
        message: Send,
        deadline: Instant,
    ) -> Result<Sent, NoWay> {
        if !self.standing.borrow().acting {
            return Err(NoWay::Elsewhere);
        }
        let key = self.find(kind, name)?;
        let not_yet = || Sent::NotSent("its process is not there yet".into());
        let Some(mailbox) = self.boxes.lock().get(&key).cloned() else {
            return Ok(not_yet());
        };
        let taken = Arc::new(AtomicBool::new(false));
        let (sender, outcome) = oneshot::channel();
        let job = Job {
            message,
            deadline,
            taken: taken.clone(),
            outcome: sender,
        };
        match mailbox.try_send(job) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return Ok(not_yet()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                let full = format!("{WAITING} messages wait for it already");
                return Ok(Sent::NotSent(full));
            }
        }
        let answered = timeout_at(deadline.into(), outcome).await;
        Ok(match answered {
            Ok(Ok(sent)) => sent,
            _ if !taken.swap(true, Ordering::AcqRel) => {
                Sent::NotSent("it could not be sent in time: is its broker reachable?".into())
            }
            Ok(Err(_)) => Sent::Unknown("its process has ended before it said more".into()),
            Err(_) => Sent::Unknown("there was no answer in time".into()),
        })
    }

    fn find(&self, kind: &str, name: &str) -> Result<Key, NoWay> {
        let view = self.view.borrow();
        let kind: Kind = kind.parse().map_err(|_| NoWay::Missing)?;
        let key = Key {
            kind: kind.as_str(),
            name: name.to_owned(),
        };
        match view.connectors.get(&key) {
            Some(spec) if spec.service.is_some() => Err(NoWay::Missing),
            Some(spec) if spec.active => Ok(key),
            Some(_) => Err(NoWay::Paused),
            None => Err(NoWay::Missing),
        }
    }
}
