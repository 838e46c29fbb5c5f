//! Router of outgoing messages on the connector server, from the caller to the outgoing's process.
//!
//! Each message gets one outcome:
//!
//! 1. A message waits in the outgoing's queue, and exactly one takes it out: the actor, to give it
//!    to the process, or the caller that gives up waiting, because its time is over or this member
//!    acts no more.
//! 2. So [`SendOutcome::NotSent`] is the outcome only of a message that surely has not left this
//!    member, or of which the process reports that.
//! 3. A message that the actor took and that has no outcome is [`SendOutcome::Unknown`].

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
pub(crate) use quorate_ipc::SendOutcome;
use quorate_resources::Kind;
use quorate_types::backoff::Backoff;

/// Pauses between tries while the outgoing can't send.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_LAST: Duration = Duration::from_millis(200);

/// Reason why a message can't be sent from here at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendUnavailable {
    /// Another member is the connector server, or none.
    #[error("this member does not run the connectors")]
    Elsewhere,
    /// No such outgoing is declared.
    #[error("there is no such outgoing")]
    Missing,
    /// The outgoing is declared inactive, or paused.
    #[error("it is paused: resume it, or set `active` to true")]
    Paused,
}

/// Send queues of this member's outgoings.
pub(crate) struct SendRouter {
    reign_status: watch::Receiver<ReignStatus>,
    view: watch::Receiver<Arc<ConnectorsView>>,
    queues: Mutex<BTreeMap<ConnectorKey, SendQueue>>,
}

impl SendRouter {
    pub(crate) fn new(
        reign_status: watch::Receiver<ReignStatus>,
        view: watch::Receiver<Arc<ConnectorsView>>,
    ) -> Self {
        SendRouter {
            reign_status,
            view,
            queues: Mutex::default(),
        }
    }

    /// Returns the queue of this outgoing, for its actor.
    pub(crate) fn open(&self, key: &ConnectorKey) -> SendQueue {
        self.queues.lock().entry(key.clone()).or_default().clone()
    }

    /// Sends a message by the outgoing of this kind and name. Waits until the deadline for the
    /// outgoing to become able to.
    pub(crate) async fn send(
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
        let mut reign_status = self.reign_status.clone();
        if !reign_status.borrow_and_update().reigns() {
            return Err(SendUnavailable::Elsewhere);
        }
        let queue = self.open(&self.find(kind, name)?);
        let (answer, mut outcome) = oneshot::channel();
        let Some(ticket) = queue.put(SendRequest::new(message, deadline, answer)) else {
            return Ok(SendOutcome::NotSent(
                "too many messages wait for it already: is its broker reachable?".into(),
            ));
        };
        let moved = async move {
            // While the lease has lapsed the process reports that it has not sent the message. An
            // end of the status is one of the reign.
            let _ = reign_status
                .wait_for(|reign_status| !reign_status.reigns())
                .await;
        };
        let waited = tokio::select! {
            answered = timeout_at(deadline, &mut outcome) => answered,
            () = moved => {
                if ticket.withdraw() {
                    return Err(SendUnavailable::Elsewhere);
                }
                // The process has the message, and reports its outcome.
                timeout_at(deadline, &mut outcome).await
            }
        };
        Ok(match waited {
            Ok(Ok(sent)) => sent,
            _ if ticket.withdraw() => SendOutcome::NotSent(
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
