//! HAProxy in front of the members, following the cluster.
//!
//! `quorate balancer` asks any member that it knows for the list of members, writes HAProxy's
//! configuration from the answer and keeps one HAProxy running with it. It is not on the path of a
//! request, and HAProxy finds out by itself, from each member's `/health/ready`, which members may
//! get one: when `quorate balancer` can't reach any member, requests go on flowing to the members
//! that were known last.
//!
//! A request whose member dies:
//! - the connection to the member could not be made: another member gets it, whatever
//!   its method, for nobody can have run it;
//! - it was sent and nothing came back: another member gets it when its method is
//!   idempotent (GET, HEAD, PUT, DELETE, OPTIONS) and it fits HAProxy's buffer of
//!   72 KiB; any other may have run and is answered with 502, never sent twice.
//!
//! A member that joins or leaves is added or taken out through HAProxy's runtime
//! socket, so that no connection of a client is touched, in use or kept alive. Only
//! when HAProxy refuses that, or when a service is to be waited for longer than any
//! before, or when the certificate of the front has changed, does a new process take over from the
//! old one, which finishes its requests and then closes its connections.

mod backend_servers;
mod error;
mod files;
mod follower;
mod front_certificate;
mod haproxy_log;
mod haproxy_process;
mod haproxy_program;
mod haproxy_supervisor;
mod member_cache;
mod member_client;
mod members_tls;
mod pid_file;
mod render;
mod runtime_socket;
pub mod settings;

use std::{path::Path, sync::Arc, time::Duration};

use quorate_tls::keep_reloaded;
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use error::{BadBalancerSetting, BalancerError, ConfigCheckError};
pub use front_certificate::{FrontFileError, FrontFiles};
pub use members_tls::MembersTlsFiles;
pub use settings::{BalancerSettings, StatsPage};

use follower::ClusterFollower;
use haproxy_supervisor::HaproxySupervisor;
use members_tls::MembersTls;

/// The time for which the first answer of a member is waited for before HAProxy is started with the
/// members known from an earlier run, if any.
const FIRST_ANSWER: Duration = Duration::from_secs(1);

/// The interval of the check whether HAProxy has to be started again or a member that left can be
/// deleted.
const TICK: Duration = Duration::from_millis(100);

/// Runs the balancer as the file `config` says, until `shutdown`.
///
/// An error means that the balancer could not start. Once HAProxy runs, it is started again when it
/// ends, and a configuration that it refuses leaves the one before in force. Certificates are
/// reloaded at once for each word on `reload`.
pub async fn run(
    config: &Path,
    shutdown: CancellationToken,
    reload: mpsc::Receiver<()>,
) -> Result<(), BalancerError> {
    serve(BalancerSettings::load(config)?, shutdown, reload).await
}

/// As [`run`], with settings that have been read.
pub async fn serve(
    mut settings: BalancerSettings,
    shutdown: CancellationToken,
    reload: mpsc::Receiver<()>,
) -> Result<(), BalancerError> {
    files::make_folder(&settings.dir)?;
    let _pid = pid_file::BalancerPidFile::take(&settings.dir)?;
    let program = haproxy_program::HaproxyProgram::find(&settings.haproxy).await?;
    let tls = load_tls(&settings).await?;
    settings.check_tls = tls.as_ref().map(|tls| tls.checks());
    let mut follower = ClusterFollower::start(&settings, tls.as_deref());
    follower.first(FIRST_ANSWER).await;

    let bind = settings.bind;
    let mut engine = HaproxySupervisor::start(settings, program, follower.view()).await?;
    let _reloading = tls.map(|tls| {
        let reloading = tokio::spawn(keep_reloaded(vec![tls], reload));
        AbortOnDropHandle::new(reloading)
    });
    tracing::info!(%bind, "the balancer is in service");

    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = follower.changed() => engine.apply_view(follower.view()).await,
            how = engine.ended() => engine.restart_later(&how),
            _ = tick.tick() => engine.tick().await,
        }
    }
    engine.stop().await;
    Ok(())
}

/// Loads the certificate by which members are asked.
async fn load_tls(settings: &BalancerSettings) -> Result<Option<Arc<MembersTls>>, BalancerError> {
    let Some(files) = settings.members_tls.clone() else {
        return Ok(None);
    };
    let loaded = spawn_blocking(move || MembersTls::load(files)).await;
    let loaded = loaded.map_err(|error| BalancerError::Start(error.to_string()))?;
    loaded.map(Some).map_err(BalancerError::Tls)
}
