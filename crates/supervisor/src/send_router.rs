//! The way from whoever has a message to send to the outgoing's process, on the connector
//! server.
//!
//! Each message gets one outcome. It waits in the outgoing's mailbox, and whoever takes it out
//! has it: the keeper, to give it to the process, or the one who gives up waiting, because
//! its time is over or this member acts no more. So [`Sent::NotSent`] is said only of what
//! surely has not left this member, or what the process says so of. What the keeper took and
//! has no outcome is [`Sent::Unknown`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_proto::connector::Send;
use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout_at},
};

use super::{
    connector_spec::ConnectorKey,
    connectors_view::ConnectorsView,
    reign_status::ReignStatus,
    send_queue::{SendQueue, SendRequest},
};
pub use quorate_ipc::SendOutcome;
use quorate_resources::Kind;
use quorate_types::backoff::Backoff;

/// Between tries while the outgoing can't send.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_LAST: Duration = Duration::from_millis(200);

/// Why a message can't be sent from here at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendUnavailable {
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

/// The mailboxes of this member's outgoings.
pub struct SendRouter {
    reign_status: watch::Receiver<ReignStatus>,
    view: watch::Receiver<Arc<ConnectorsView>>,
    queues: Mutex<BTreeMap<ConnectorKey, SendQueue>>,
}

impl SendRouter {
    /// None so far.
    pub fn new(
        standing: watch::Receiver<ReignStatus>,
        view: watch::Receiver<Arc<ConnectorsView>>,
    ) -> Self {
        SendRouter {
            reign_status: standing,
            view,
            queues: Mutex::default(),
        }
    }

    /// The mailbox of this outgoing, for its keeper.
    pub fn open(&self, key: &ConnectorKey) -> SendQueue {
        self.queues.lock().entry(key.clone()).or_default().clone()
    }

    /// Sends a message by the outgoing of this kind and name. Waits until the deadline for
    /// the outgoing to be able to.
    pub async fn send(
        &self,
        kind: &str,
        name: &str,
        message: Send,
        deadline: Instant,
    ) -> Result<SendOutcome, SendUnavailable> {
        let mut retry = Backoff::new(RETRY_FIRST, RETRY_LAST);
        loop {
            let why = match self.attempt(kind, name, message.clone(), deadline).await? {
                SendOutcome::NotSent(why) => why,
                sent => return Ok(sent),
            };
            let wait = retry.step();
            if Instant::now() + wait >= deadline {
                return Ok(SendOutcome::NotSent(why));
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
    ) -> Result<SendOutcome, SendUnavailable> {
        let mut standing = self.reign_status.clone();
        if !standing.borrow_and_update().reigns() {
            return Err(SendUnavailable::Elsewhere);
        }
        let mailbox = self.open(&self.find(kind, name)?);
        let (answer, mut outcome) = oneshot::channel();
        let Some(place) = mailbox.put(SendRequest::new(message, deadline, answer)) else {
            return Ok(SendOutcome::NotSent(
                "too many messages wait for it already: is its broker reachable?".into(),
            ));
        };
        let moved = async move {
            // While the lease has lapsed the process says that it has not sent it. An end of
            // the standing is one of the reign.
            let _ = standing.wait_for(|standing| !standing.reigns()).await;
        };
        let waited = tokio::select! {
            answered = timeout_at(deadline, &mut outcome) => answered,
            () = moved => {
                if place.withdraw() {
                    return Err(SendUnavailable::Elsewhere);
                }
                // The process has it, and says what becomes of it.
                timeout_at(deadline, &mut outcome).await
            }
        };
        Ok(match waited {
            Ok(Ok(sent)) => sent,
            _ if place.withdraw() => SendOutcome::NotSent(
                "it could not be sent in time: is its broker reachable?".into(),
            ),
            Ok(Err(_)) => SendOutcome::Unknown("its process has ended before it said more".into()),
            Err(_) => SendOutcome::Unknown("there was no answer in time".into()),
        })
    }

    fn find(&self, kind: &str, name: &str) -> Result<ConnectorKey, SendUnavailable> {
        let view = self.view.borrow();
        let kind: Kind = kind.parse().map_err(|_| SendUnavailable::Missing)?;
        let key = ConnectorKey {
            kind: kind.as_str(),
            name: name.to_owned(),
        };
        match view.connectors.get(&key) {
            Some(spec) if spec.service.is_some() => Err(SendUnavailable::Missing),
            Some(spec) if spec.active => Ok(key),
            Some(_) => Err(SendUnavailable::Paused),
            None => Err(SendUnavailable::Missing),
        }
    }
}
