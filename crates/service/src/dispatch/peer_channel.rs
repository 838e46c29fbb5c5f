//! Channel to one other member.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quorate_clock::Instant;
use quorate_proto::peer::{Invocation, services_client::ServicesClient};
use quorate_tls::MemberDialer;
use quorate_types::{MemberId, backoff::Backoff, error_chain::causes};
use tokio::time::{sleep, timeout_at};
use tonic::{
    Code, ConnectError, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::{INVOCATION_BYTES_MAX, invocation_codec, invoke_server};
use crate::{
    api::{Reply, ServiceError},
    upstream::is_canceled,
};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// Keepalive interval and timeout: together the longest time for which a member that vanished goes
/// unnoticed.
const KEEPALIVE: Duration = Duration::from_millis(400);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_millis(600);

const PROBE_FIRST: Duration = Duration::from_millis(50);
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(1);
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Outcome of a call.
pub(super) enum InvocationOutcome {
    /// The member answered, other than that it did not run the call.
    Answered(Result<Reply, ServiceError>),
    /// The member was reached, and surely did not run the call.
    NotRun(String),
    /// The member was not reached.
    Unreached(String),
    /// The connection broke: the member may have run the call.
    Broken(String),
    /// No answer in time: the member may have run the call.
    TimedOut,
}

impl From<Result<Reply, ServiceError>> for InvocationOutcome {
    fn from(outcome: Result<Reply, ServiceError>) -> InvocationOutcome {
        match outcome {
            Err(ServiceError::NotRun(why)) => InvocationOutcome::NotRun(why),
            outcome => InvocationOutcome::Answered(outcome),
        }
    }
}

pub(super) struct PeerChannel {
    address: String,
    channel: Channel,
    cluster: MetadataValue<Ascii>,
    target: MetadataValue<Ascii>,
    down: AtomicBool,
}

/// Reason why there is no channel to a member.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerChannelError {
    #[error(transparent)]
    Address(tonic::transport::Error),
    #[error("{0:?} can't be sent as metadata")]
    ClusterName(String),
}

impl PeerChannel {
    pub(super) fn new(
        cluster: &str,
        id: MemberId,
        address: &str,
        dialer: Option<MemberDialer>,
    ) -> Result<Arc<PeerChannel>, PeerChannelError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(PeerChannelError::Address)?
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            // Bodies of messages are larger than the default window of HTTP/2.
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(8 << 20);
        let channel = match dialer {
            None => endpoint.connect_lazy(),
            Some(dialer) => endpoint.connect_with_connector_lazy(dialer),
        };
        Ok(Arc::new(PeerChannel {
            address: address.to_owned(),
            channel,
            cluster: cluster
                .parse()
                .map_err(|_| PeerChannelError::ClusterName(cluster.to_owned()))?,
            target: id.into(),
            down: AtomicBool::new(false),
        }))
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns true when the member could not be reached, and no probe has had an answer since.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub(super) async fn invoke(
        self: &Arc<Self>,
        invocation: Invocation,
        deadline: Instant,
    ) -> InvocationOutcome {
        if invocation.body.len() > INVOCATION_BYTES_MAX - (1 << 20) {
            return InvocationOutcome::NotRun(format!(
                "a body of {} bytes is too long to be sent to another member",
                invocation.body.len()
            ));
        }
        let sent = self.send(invocation, deadline).await;
        if matches!(
            sent,
            InvocationOutcome::Unreached(_) | InvocationOutcome::Broken(_)
        ) {
            self.watch_for_return();
        }
        sent
    }

    async fn send(&self, invocation: Invocation, deadline: Instant) -> InvocationOutcome {
        let mut request = tonic::Request::new(invocation);
        request
            .metadata_mut()
            .insert(invoke_server::CLUSTER, self.cluster.clone());
        request
            .metadata_mut()
            .insert(invoke_server::TARGET, self.target.clone());
        let mut client = ServicesClient::new(self.channel.clone())
            .max_encoding_message_size(INVOCATION_BYTES_MAX)
            .max_decoding_message_size(INVOCATION_BYTES_MAX);
        match timeout_at(deadline, client.invoke(request)).await {
            Err(_) => InvocationOutcome::TimedOut,
            Ok(Err(status)) => classify(&status),
            Ok(Ok(response)) => invocation_codec::from_result(response.into_inner()).into(),
        }
    }

    /// Probes the member until there is an answer, so that no message has to find out.
    fn watch_for_return(self: &Arc<Self>) {
        if self.down.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::debug!(
            address = self.address,
            "member can't be reached for services"
        );
        let peer: Weak<PeerChannel> = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut pauses = Backoff::new(PROBE_FIRST, PROBE_PAUSE_MAX);
            loop {
                sleep(pauses.step()).await;
                let Some(peer) = peer.upgrade() else { return };
                // No service has an empty name: the answer is that nothing was run.
                let asked = peer
                    .send(Invocation::default(), Instant::now() + PROBE_TIMEOUT)
                    .await;
                if matches!(
                    asked,
                    InvocationOutcome::NotRun(_) | InvocationOutcome::Answered(_)
                ) {
                    peer.down.store(false, Ordering::Relaxed);
                    tracing::debug!(address = peer.address, "member can be reached again");
                    return;
                }
            }
        });
    }
}

fn classify(status: &Status) -> InvocationOutcome {
    let why = innermost(status);
    if never_sent(status) {
        return InvocationOutcome::Unreached(why);
    }
    let refused = status.metadata().contains_key(invoke_server::NOT_RUN);
    // A member that is starting or stopping serves its peer port without services.
    if refused || status.code() == Code::Unimplemented {
        InvocationOutcome::NotRun(why)
    } else {
        InvocationOutcome::Broken(why)
    }
}

fn never_sent(status: &Status) -> bool {
    is_canceled(status) || causes(status).any(|cause| cause.is::<ConnectError>())
}

fn innermost(status: &Status) -> String {
    match causes(status).last() {
        Some(cause) if !cause.is::<Status>() => cause.to_string(),
        _ => status.message().to_owned(),
    }
}
