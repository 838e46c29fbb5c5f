//! The key by which members vouch to each other: made once, by the first member that asks callers
//! who they are.

use std::time::Duration;

use quorate_clock::id128;
use quorate_state::{Answer, Command, VoucherKey};
use quorate_types::backoff::Backoff;
use tokio::time::sleep;

use crate::cluster::ClusterHandle;

const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Proposes a key until the cluster has one. Of several the first in the log stays, so that it can
/// be proposed again after an unknown outcome.
pub(super) async fn create(cluster: ClusterHandle) {
    let mut pauses = Backoff::new(PAUSE, PAUSE_MAX);
    while cluster.state().access().voucher_key().is_none() {
        let command = Command::CreateVoucherKey(random());
        match cluster.propose(command, cluster.write_deadline()).await {
            Ok((_, Answer::Done { .. })) => return,
            Ok((_, answer)) => {
                tracing::error!(?answer, "the key by which members vouch was refused");
                return;
            }
            Err(error) => tracing::debug!(%error, "there is no voucher key yet"),
        }
        sleep(pauses.step()).await;
    }
}

/// Draws a key from the process's generator, which is a cryptographic one.
fn random() -> VoucherKey {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&id128().to_le_bytes());
    bytes[16..].copy_from_slice(&id128().to_le_bytes());
    VoucherKey::from(bytes)
}
