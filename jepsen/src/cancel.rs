//! Cancellation of tasks, and sleeps that it ends.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

/// Token that cancels tasks. Cheap to clone; all clones are cancelled at once.
#[derive(Clone)]
pub struct CancelToken {
    asked: Arc<watch::Sender<bool>>,
}

impl Default for CancelToken {
    fn default() -> CancelToken {
        CancelToken {
            asked: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl CancelToken {
    /// Cancels all clones of the token.
    pub fn cancel(&self) {
        self.asked.send_replace(true);
    }

    /// Returns whether the token was cancelled.
    pub fn is_cancelled(&self) -> bool {
        *self.asked.borrow()
    }

    /// Sleeps so long, or until the token is cancelled; gives whether it was.
    pub async fn cancelled_within(&self, time: Duration) -> bool {
        let mut asked = self.asked.subscribe();
        let stopped = asked.wait_for(|asked| *asked);
        tokio::time::timeout(time, stopped).await.is_ok()
    }

    /// Sleeps until that moment, or until the token is cancelled; gives whether it was.
    pub async fn cancelled_before(&self, moment: quorate_clock::Instant) -> bool {
        let left = moment.saturating_duration_since(quorate_clock::Instant::now());
        self.cancelled_within(left).await
    }
}
