//! ZeroMQ over libzmq.
//!
//! There is no broker: connecting is consuming. So a process that stands by has nothing but itself
//! up, and a session is a socket: a thread, a context and libzmq's own threads, made when the
//! session is opened and gone when it is closed. Two processes would share the messages of a PUSH
//! or DEALER peer between them, and nobody keeps the second one out, so it is always the lease that
//! does: a new reign opens the socket when the leases of all earlier ones are over. A bound address
//! is kept by the kernel too, on one host: binding it is refused while the old process lives, and
//! tried again.
//!
//! A ROUTER channel answers a message after its service has succeeded and never before, so a peer
//! that sends again what was not answered loses nothing, whatever becomes of this process; that a
//! message may be handled twice is in the nature of it. PULL and SUB have no answers: messages that
//! are in libzmq, in the kernel or with the service when the process ends are lost, and the queues
//! are small for that reason. REP answers, but its peers seldom ask again.

mod consumer;
mod endpoint;
mod envelope;
mod frames;
mod host_locator;
mod outgoing_message;
mod peer_warnings;
mod producer;
mod receive_loop;
mod reply_frames;
mod send_loop;
mod socket;
mod socket_monitor;
#[cfg(test)]
mod tests;
mod waker;
mod worker;

use quorate_resources::{ZmqChannel, ZmqOutgoing};
use tokio::sync::watch;

use self::{consumer::ZmqConsumer, producer::ZmqProducer};
use super::broker_link::{BrokerLink, ConnectorError, InboundLink, OutboundLink};

/// Link before a socket: nothing is connected yet.
pub(crate) struct ZmqLink {
    label: String,
    /// Error that made an outgoing's socket useless.
    broken: watch::Sender<Option<ConnectorError>>,
}

impl BrokerLink for ZmqLink {
    type Connection = ();

    fn connection_key(_of: &()) -> impl PartialEq {}

    async fn connect(_to: &(), label: &str) -> Result<Self, ConnectorError> {
        Ok(ZmqLink {
            label: label.to_owned(),
            broken: watch::Sender::new(None),
        })
    }

    fn name(&self) -> String {
        String::new()
    }

    fn label(&self) -> String {
        self.label.clone()
    }

    async fn wait_lost(&self) -> ConnectorError {
        let mut broken = self.broken.subscribe();
        let why = broken.wait_for(Option::is_some).await;
        match why.ok().and_then(|why| why.clone()) {
            Some(error) => error,
            // The sender is this link's own.
            None => std::future::pending().await,
        }
    }

    fn is_lost(&self) -> bool {
        self.broken.borrow().is_some()
    }

    async fn close(self) {}
}

impl InboundLink for ZmqLink {
    type Source = ZmqChannel;
    type Session = ZmqConsumer;

    fn session_key(of: &ZmqChannel) -> impl PartialEq {
        (of.method, &of.address, of.socket_type, &of.sub_key)
    }

    async fn open(
        &self,
        source: &ZmqChannel,
        prefetch: u16,
        _epoch: Option<u64>,
        _offset: Option<u64>,
    ) -> Result<ZmqConsumer, ConnectorError> {
        ZmqConsumer::open(source, prefetch).await
    }

    fn source_name(&self, _source: &ZmqChannel) -> String {
        String::new()
    }

    async fn is_taken(&self, _source: &ZmqChannel) -> Option<bool> {
        None
    }

    async fn waiting_count(&self, _source: &ZmqChannel) -> Option<u64> {
        None
    }
}

impl OutboundLink for ZmqLink {
    type Target = ZmqOutgoing;
    type Producer = ZmqProducer;

    fn session_key(of: &ZmqOutgoing) -> impl PartialEq {
        (of.method, &of.address, of.socket_type)
    }

    async fn open(&self, target: &ZmqOutgoing) -> Result<ZmqProducer, ConnectorError> {
        ZmqProducer::open(target, self.broken.clone()).await
    }
}
