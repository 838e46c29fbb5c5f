//! Connections that are open, so that they can be closed once their certificates are not trusted
//! any more.
//!
//! A certificate is looked at in the handshake alone, and a connection between members lasts for
//! months. So whoever was let in by an authority that is gone, or by a certificate that has been
//! revoked, would stay. When trust changes, each open connection's certificates are verified anew,
//! and those that fail are closed. A handshake that began before the change and ends after it is
//! refused: nothing says by which trust it was made.

use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use tokio::sync::oneshot;

/// Entries from which on those of connections that have ended are forgotten.
const FORGET_AT: usize = 64;

/// Connections of one port, or to the ports of others.
#[derive(Default)]
pub(crate) struct OpenConnections {
    entries: Mutex<OpenEntries>,
}

#[derive(Default)]
struct OpenEntries {
    trust: u64,
    all: Vec<OpenConnection>,
    forget_at: usize,
}

struct OpenConnection {
    chain: Vec<CertificateDer<'static>>,
    closing: oneshot::Sender<()>,
}

/// End of a connection by a change of trust: ready when it is to be closed.
pub(crate) type ClosingNotice = oneshot::Receiver<()>;

/// Number of the trust by which a handshake is made, to be asked for before it begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrustNumber(u64);

impl OpenConnections {
    /// Returns the number of the trust that holds.
    pub(crate) fn trust(&self) -> TrustNumber {
        TrustNumber(self.entries.lock().trust)
    }

    /// Enters a connection whose other side has shown these certificates; `None` if trust has
    /// changed since, and the connection is not to be used.
    pub(crate) fn enter(
        &self,
        trust: TrustNumber,
        chain: &[CertificateDer<'static>],
    ) -> Option<ClosingNotice> {
        let mut entries = self.entries.lock();
        if trust.0 != entries.trust {
            return None;
        }
        if entries.all.len() >= entries.forget_at {
            entries.all.retain(|it| !it.closing.is_closed());
            // Seldom enough to cost nothing, whatever their number.
            entries.forget_at = FORGET_AT.max(2 * entries.all.len());
        }
        let (closing, notice) = oneshot::channel();
        entries.all.push(OpenConnection {
            chain: chain.to_vec(),
            closing,
        });
        Some(notice)
    }

    /// Closes the connections that are not trusted any more, and returns their number. Call it
    /// when handshakes go by the new trust already.
    pub(crate) fn change_trust(&self, is_trusted: impl Fn(&[CertificateDer<'_>]) -> bool) -> usize {
        let mut entries = self.entries.lock();
        entries.trust += 1;
        let mut all = std::mem::take(&mut entries.all);
        drop(entries);
        // Without the lock, for it takes a while: new connections are let in by the new trust.
        all.retain(|it| !it.closing.is_closed());
        let before = all.len();
        // What is dropped here wakes its connection.
        all.retain(|it| is_trusted(&it.chain));
        let closed = before - all.len();
        self.entries.lock().all.extend(all);
        closed
    }
}
