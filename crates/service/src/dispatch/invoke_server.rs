//! Server by which other members have services run here.

use std::sync::Arc;

use async_trait::async_trait;
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_proto::peer::{
    Invocation, InvocationResult,
    services_server::{Services as Invocations, ServicesServer},
};
use quorate_types::MemberId;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use super::{
    INVOCATION_BYTES_MAX, invocation_codec,
    pause_detector::{CatchUp, PauseDetector, PauseLimit},
};
use crate::{
    api::{Origin, Reply, Request as Call, ServiceError},
    registry::Services,
};

/// Metadata of every call between members: the caller's cluster,
pub(super) const CLUSTER: &str = "quorate-cluster";
/// and the id of the member that is meant.
pub(super) const TARGET: &str = "quorate-target";
/// Metadata of refusals: nothing was run.
pub(super) const NOT_RUN: &str = "quorate-not-run";

/// gRPC service by which other members run services on this one. [`Services::call`] checks the
/// epoch of a message against the newest that this member has applied, and before that
/// [`PauseDetector`] makes sure that this is not from before a pause.
pub struct InvokeServer {
    cluster: String,
    me: String,
    run_on: Handle,
    runner: InvocationRunner,
}

/// Runner of a call, wherever it is polled.
#[derive(Clone)]
struct InvocationRunner {
    services: Arc<Services>,
    pause_detector: Arc<PauseDetector>,
}

impl InvokeServer {
    /// Creates the server, for the peer port: `.add_service(InvokeServer::new(..))`. When nothing
    /// ran in this process for longer than `pause`, messages are refused until `catch_up` is
    /// through. Services run on `run_on`; the pause detector on the runtime that this is called in.
    pub fn new(
        cluster: impl Into<String>,
        me: MemberId,
        services: Arc<Services>,
        run_on: Handle,
        pause: PauseLimit,
        catch_up: CatchUp,
    ) -> ServicesServer<InvokeServer> {
        ServicesServer::new(InvokeServer {
            cluster: cluster.into(),
            me: me.to_string(),
            run_on,
            runner: InvocationRunner {
                services,
                pause_detector: PauseDetector::start(pause, catch_up),
            },
        })
        .max_decoding_message_size(INVOCATION_BYTES_MAX)
        .max_encoding_message_size(INVOCATION_BYTES_MAX)
    }

    fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        for (key, mine) in [(CLUSTER, &self.cluster), (TARGET, &self.me)] {
            let theirs = metadata.get(key).and_then(|value| value.to_str().ok());
            if theirs != Some(mine) {
                let mut refusal = Status::failed_precondition(format!(
                    "{key} is {theirs:?}, but this is {mine:?}; the call was meant for another member"
                ));
                refusal
                    .metadata_mut()
                    .insert(NOT_RUN, "1".parse().expect("invariant: a digit is ASCII"));
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Runs the call where services run; gives it up when its caller is gone.
    async fn run(&self, service: String, call: Call) -> Result<Reply, ServiceError> {
        let runner = self.runner.clone();
        let running = self
            .run_on
            .spawn(async move { runner.run(&service, call).await });
        let ran = AbortOnDropHandle::new(running).await;
        // Panics of services are caught where they run: an error here is a panic of this code, or
        // the runtime's end.
        ran.unwrap_or_else(|error| Err(ServiceError::Failed(format!("it broke off: {error}"))))
    }
}

impl InvocationRunner {
    /// Runs the call, and never passes it on: the caller has chosen. The checks stand right before
    /// the call, after any wait for a thread.
    async fn run(&self, service: &str, call: Call) -> Result<Reply, ServiceError> {
        if matches!(call.origin, Origin::Message(_)) {
            if self.services.refuses_messages() {
                return Err(ServiceError::NotRun("it is stopping".into()));
            }
            if !planted(Mutant::GatewayIgnoresEpochs) && !self.pause_detector.is_current() {
                let why = "it was paused, and can't tell yet which epoch is the newest";
                return Err(ServiceError::NotRun(why.into()));
            }
        }
        self.services.call(service, call).await
    }
}

#[async_trait]
impl Invocations for InvokeServer {
    async fn invoke(
        &self,
        request: Request<Invocation>,
    ) -> Result<Response<InvocationResult>, Status> {
        self.check(request.metadata())?;
        let outcome = match invocation_codec::to_request(request.into_inner(), Instant::now()) {
            Err(error) => Err(ServiceError::NotRun(error.to_string())),
            Ok((service, request)) => self.run(service, request).await,
        };
        Ok(Response::new(invocation_codec::to_result(outcome)))
    }
}
